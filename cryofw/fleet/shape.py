"""Does the document have the shape of the schema? pydantic's errors in our words and places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from cryofw.fleet import checks
from cryofw.fleet.controller_document import SettingsDocument
from cryofw.fleet.document import UNREADABLE, Document, Problem
from cryofw.fleet.fleet_document import FleetDocument

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from cryofw.fleet.document import Path


def check_shape(document: Document, model: type[BaseModel] = FleetDocument) -> None:
    """Report every place where the document does not have the shape of the schema."""
    try:
        model.model_validate(document.value)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            if detail["input"] is not UNREADABLE:
                document.report_problem(_shape_problem(document, detail, model))


def _shape_problem(document: Document, detail: ErrorDetails, model: type[BaseModel]) -> Problem:
    path: Path = tuple(detail["loc"])
    if path and path[-1] == "[key]":
        return Problem(path[:-1], f"`{path[-2]}` is not a name", _NAME_HINT, on_key=True)
    key = path[-1] if path else ""
    kind, context = detail["type"], detail.get("ctx", {})
    value = detail["input"]
    if kind == "extra_forbidden":
        return Problem(path, f"unknown key `{key}`", _unknown_key_hint(path, model), on_key=True)
    if kind == "missing":
        holder = f" in `{path[-2]}`" if len(path) > 1 and isinstance(path[-2], str) else ""
        hint = "see the example that `cryofw init` writes" if model is FleetDocument else ""
        return Problem(path, f"`{key}` is missing{holder}", hint)
    if "message" in context:
        return Problem(path, str(context["message"]), str(context.get("hint", "")))
    return Problem(path, *_value_message(document, path, kind, value, context))


def _value_message(
    document: Document, path: Path, kind: str, value: object, context: dict[str, Any]
) -> tuple[str, str]:
    """Message and hint for a value of the wrong type or range."""
    shown, key = _shown(value), path[-1]
    if kind in {"literal_error", "enum"}:
        options = _options(str(context["expected"]))
        return f"{shown} is not allowed for `{key}`", checks.did_you_mean(value, options)
    if kind == "string_pattern_mismatch":
        what, hint = _PATTERNS.get(str(key), ("a name", _NAME_HINT))
        return f"{shown} is not {what}", hint
    if kind in {"string_too_short", "too_short"}:
        return f"`{_label(path)}` is empty", ""
    expected = _EXPECTED.get(kind)
    if expected is None:
        limit = " and ".join(
            f"{_LIMITS[name]} {context[name]:g}" for name in _LIMITS if name in context
        )
        return f"{shown} is out of range for `{key}`", f"it must be {limit}" if limit else ""
    hint = ""
    if kind == "string_type" and isinstance(value, int | float):
        mark = document.values.get(path)
        raw = document.lines[mark.line - 1][mark.column - 1 :][: mark.length] if mark else value
        hint = f'put it in quotes: "{raw}"'
    elif isinstance(value, str) and _is_number(value):
        hint = "write it without quotes"
    return f"expected {expected} for `{_label(path)}`, got {shown}", hint


_NAME_HINT = "letters, digits, `.`, `_` and `-`, beginning with a letter or digit, at most 64"
_PATTERNS = {
    "hw": ("a hardware id", "pairs of lower-case hex digits, for example 5a31c0de00000001"),
    "token_env": (
        "a name of an environment variable",
        "the token itself never stands in this file: export it under a name such as PROM_TOKEN",
    ),
    "label": ("a name of a label", "letters, digits and `_`, beginning with no digit"),
    "key": ("a fingerprint", "as `ssh-keygen -l` shows it: SHA256 and 43 characters"),
    "at": ("a date", "as in 2026-11-20"),
}
_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
}
_LIMITS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}


def _options(expected: str) -> list[str]:
    """The options of pydantic's "'a', 'b' or 'c'"."""
    return expected.replace(" or ", ", ").replace("'", "").split(", ")


def _shown(value: object) -> str:
    match value:
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case bool():
            return f"`{str(value).lower()}`"
        case str() if len(value) > 60:
            return f"`{value[:60]}...`"
        case _:
            return f"`{value}`"


def _label(path: Path) -> str:
    names = [str(step) for step in path if isinstance(step, str)]
    return names[-1] if names else "the file"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _unknown_key_hint(path: Path, root: type[BaseModel]) -> str:
    model = _model_at(path[:-1], root)
    if model is None:
        return ""
    known = {info.alias or name for name, info in model.model_fields.items()}
    if path[-1] == "thermal" and issubclass(model, SettingsDocument):
        return "the heat budget belongs to the cryostat, or to `defaults`"
    return checks.did_you_mean(path[-1], known)


def _model_at(path: Path, root: type[BaseModel]) -> type[BaseModel] | None:
    """The model that describes the mapping at `path`, found through the annotations."""
    here: Any = root
    for step in path:
        if isinstance(here, type) and issubclass(here, BaseModel):
            fields = {info.alias or name: info for name, info in here.model_fields.items()}
            info = fields.get(str(step))
            here = info.annotation if info else None
        else:
            here = get_args(here)[-1] if get_args(here) else None
        here = _without_none(here)
    return here if isinstance(here, type) and issubclass(here, BaseModel) else None


def _without_none(annotation: Any) -> Any:
    options = [one for one in get_args(annotation) if one is not type(None)]
    return options[0] if type(None) in get_args(annotation) else annotation
