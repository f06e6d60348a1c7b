"""The JSON Schema: valid 2020-12, current in docs/, and of one mind with the loader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # no stubs here

from cryofw.fleet import fleet_json_schema

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = fleet_json_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_published_schema_is_current() -> None:
    published = json.loads((REPOSITORY / "docs/fleet.v1.schema.json").read_text())
    assert published == fleet_json_schema(), "run `cryofw schema > docs/fleet.v1.schema.json`"


def test_repository_fleet_is_valid_and_names_its_schema(validator: Draft202012Validator) -> None:
    text = (REPOSITORY / "fleet.yaml").read_text()
    validator.validate(yaml.safe_load(text))
    name = text.splitlines()[0].partition("$schema=")[2]
    assert (REPOSITORY / name).is_file()


def _good() -> dict[str, Any]:
    return {
        "schema": "cryofw.fleet/v1",
        "lab": "delft",
        "defaults": {"reset": "watchdog", "thermal": {"capacity": "1.5 W"}},
        "stages": [{"name": "s", "targets": ["c"], "soak": "1 h", "waves": [1, "100 %"]}],
        "cryostats": {"c": {"controllers": {"a": {"port": "sim://a"}}}},
    }


def test_both_forms_of_reset_are_valid(validator: Draft202012Validator) -> None:
    document = _good()
    validator.validate(document)
    document["defaults"]["reset"] = {"hook": ["pdu"], "shared_by": ["b"]}
    validator.validate(document)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema",), "cryofw.fleet/v2"),
        (("lab",), None),
        (("labs",), "x"),
        (("defaults", "reset"), "watchdg"),
        (("defaults", "thermal", "capacity"), "1.5 V"),
        (("defaults", "thermal", "capacity"), 1.5),
        (("stages",), []),
        (("stages", 0, "soak"), "1 hour"),
        (("stages", 0, "waves"), ["half"]),
        (("stages", 0, "waves"), [0]),
        (("stages", 0, "on_failure"), "all"),
        (("cryostats", "c", "controllers"), {}),
        (("cryostats", "c", "controllers", "a b"), {"port": "sim://a"}),
        (("cryostats", "c", "controllers", "a", "hw"), "xyz"),
    ],
)
def test_what_the_loader_refuses_by_shape_the_schema_refuses(
    validator: Draft202012Validator, path: tuple[str | int, ...], value: object
) -> None:
    document: Any = _good()
    holder = document
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = value
    assert not validator.is_valid(document)


def test_every_key_is_described() -> None:
    for name, model in fleet_json_schema()["$defs"].items():
        assert model["description"], name
        for key, described in model.get("properties", {}).items():
            assert "description" in described or "$ref" in described, (name, key)
