"""The schema of a file of coefficients agrees with its loader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # no stubs here

from cryofw.release import CoefficientType
from cryofw.release.coefficients import CoefficientsError, parse_coefficients
from cryofw.release.coefficients_schema import coefficients_json_schema

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = coefficients_json_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_published_schema_is_current() -> None:
    published = json.loads((REPOSITORY / "docs/coefficients.v1.schema.json").read_text())
    assert published == coefficients_json_schema(), (
        "run `cryofw schema coefficients > docs/coefficients.v1.schema.json`"
    )


SCALARS = (
    st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.sampled_from([0, 1, -1, 255, 256, 2.5, -0.5])
    | st.sampled_from(["", "00ff", "0g", "text"])
)
KINDS = st.sampled_from([*(one.value for one in CoefficientType), "f16"])


@given(
    st.fixed_dictionaries({"type": KINDS}, optional={"value": SCALARS | st.lists(SCALARS)}),
    st.sampled_from(["readout/gain", "", "a b", "a//b", "x" * 64, "x" * 65]),
)
def test_schema_and_loader_agree(one: dict[str, Any], name: str) -> None:
    document = {"schema": "cryofw.coefficients/v1", "controllers": {"c1-a": {name: one}}}
    try:
        parse_coefficients(json.dumps(document).encode())
        taken = True
    except CoefficientsError as error:
        if "bytes; at most" in error.why:  # how many bytes it takes, the schema cannot say
            return
        taken = False
    # A whole number with a fraction of zero is an integer to JSON Schema; not drawn here.
    assert Draft202012Validator(coefficients_json_schema()).is_valid(document) == taken, document
