"""The JSON Schema of fleet.yaml, made from the models that read it."""

from __future__ import annotations

from typing import Any

from cryofw.fleet.fleet_document import FleetDocument

SCHEMA_ID = "urn:cryofw:fleet:v1"


def fleet_json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of fleet.yaml, for editors and offline checks."""
    schema: dict[str, Any] = FleetDocument.model_json_schema(by_alias=True)
    body: dict[str, Any] = tidy(schema)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        **body,
    }


def tidy(node: Any) -> Any:
    """Drop what pydantic adds for `| None`: a key is written with a value or not at all.

    Where keys are names, other keys are refused, as the loader does.
    """
    if isinstance(node, list):
        return [tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: tidy(value) for key, value in node.items()}
    if node.get("default", 0) is None:
        del node["default"]
    if isinstance(node.get("title"), str):
        del node["title"]
    if "patternProperties" in node:
        node["additionalProperties"] = False
    options = node.get("anyOf")
    if options and {"type": "null"} in options:
        rest = [option for option in options if option != {"type": "null"}]
        del node["anyOf"]
        node = {**rest[0], **node} if len(rest) == 1 else {"anyOf": rest, **node}
    return node
