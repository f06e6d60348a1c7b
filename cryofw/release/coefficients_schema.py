"""The JSON Schema of a file of coefficients, for editors; the loader says more."""

from __future__ import annotations

from typing import Any

from cryofw.release.coefficient import MAX_SIZE, CoefficientType
from cryofw.release.coefficients import LONGEST_NAME, SCHEMA, SETTING_NAME

SCHEMA_ID = "urn:cryofw:coefficients:v1"
_T = CoefficientType
_UNSIGNED = (_T.U8, _T.U16, _T.U32, _T.U64)
_SIGNED = (_T.I8, _T.I16, _T.I32, _T.I64)


def coefficients_json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the file that `--coefficients` names."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "description": "Calibration coefficients that a release brings to controllers.",
        "type": "object",
        "properties": {
            "schema": {"const": SCHEMA, "description": "Format of this file."},
            "defaults": {
                "$ref": "#/$defs/set",
                "description": "For every controller that does not say otherwise.",
            },
            "controllers": {
                "description": "By controller of fleet.yaml: instead of the defaults or besides.",
                "type": "object",
                "additionalProperties": {"$ref": "#/$defs/set"},
            },
        },
        "required": ["schema"],
        "additionalProperties": False,
        "$defs": {
            "set": {
                "description": "Coefficients by name of the setting.",
                "type": "object",
                "propertyNames": {
                    "pattern": f"^{SETTING_NAME.pattern}$",
                    "maxLength": LONGEST_NAME,
                },
                "additionalProperties": {"$ref": "#/$defs/coefficient"},
            },
            "coefficient": {
                "description": "A value and how its bytes are meant (numbers little-endian).",
                "oneOf": [
                    *(_one([one], _number(one)) for one in (*_UNSIGNED, *_SIGNED)),
                    _one([_T.F32, _T.F64], _some({"type": "number"})),
                    _one([_T.BOOL], {"type": "boolean"}),
                    _one([_T.TEXT], {"type": "string", "minLength": 1, "maxLength": MAX_SIZE}),
                    _one([_T.BYTES], {"type": "string", "pattern": "^([0-9a-fA-F]{2})+$"}),
                ],
            },
        },
    }


def _one(kinds: list[CoefficientType], value: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"type": {"enum": [kind.value for kind in kinds]}, "value": value},
        "required": ["type", "value"],
        "additionalProperties": False,
    }


def _number(kind: CoefficientType) -> dict[str, Any]:
    bits = int(kind.value[1:])
    low, high = (0, 2**bits - 1) if kind in _UNSIGNED else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return _some({"type": "integer", "minimum": low, "maximum": high})


def _some(number: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [number, {"type": "array", "items": number, "minItems": 1}]}
