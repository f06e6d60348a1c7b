"""Reads a fleet.yaml, strictly: all defects at once, or a complete fleet."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from cryofw.fleet import checks
from cryofw.fleet.document import MAX_BYTES, UNREADABLE, Document, Mark, Problem, read_document
from cryofw.fleet.finding import Finding, FleetError
from cryofw.fleet.fleet import Cryostat, Fleet
from cryofw.fleet.resolve import Resolver
from cryofw.fleet.schema import FleetDocument, SettingsDocument

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from cryofw.fleet.document import Path


def load_fleet(path: str | FilePath) -> Fleet:
    """The fleet in the file at `path`; raises FleetError with every defect."""
    file = FilePath(path)
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or "cannot be opened"
        hint = "`cryofw init` writes an example; --fleet names another file"
        raise FleetError(str(path), [Finding(0, 0, f"cannot be read: {reason}", hint)]) from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        finding = Finding(line, column, "not UTF-8 text", "save the file as UTF-8")
        raise FleetError(str(path), [finding]) from None
    return parse_fleet(text, str(path))


def parse_fleet(text: str, name: str = "fleet.yaml") -> Fleet:
    """The fleet that `text` describes; raises FleetError with every defect of the file `name`."""
    document = read_document(text, name)
    fleet = None
    if isinstance(document.value, dict):
        _check_shape(document)
        fleet = _resolve(document, name)
    elif not document.findings:
        hint = "`cryofw init` writes an example"
        document.report(Mark(1, 1), "a fleet.yaml is a mapping of keys to values", hint)
    if document.findings or fleet is None:
        raise FleetError(name, sorted(document.findings))
    return fleet


def _resolve(document: Document, name: str) -> Fleet | None:
    resolver = Resolver(document)
    written = document.value
    assert isinstance(written, dict)
    raw = written.get("cryostats")
    cryostats = {one: resolver.cryostat(one) for one in raw} if isinstance(raw, dict) else {}
    raw_stages = written.get("stages")
    count = len(raw_stages) if isinstance(raw_stages, list) else 0
    stages = [resolver.stage(index) for index in range(count)]
    simulation = resolver.simulation()
    built = [one for cryostat in cryostats.values() if cryostat for one in cryostat.controllers]

    problems = resolver.problems
    problems += checks.check_controllers(document)
    problems += checks.check_stages(document)
    problems += checks.check_hooks(document, built)
    for index, stage in enumerate(stages):
        if stage is not None:
            problems += checks.check_waves(index, stage, cryostats)
            problems += checks.check_soak(index, stage, cryostats)
    if all(cryostats.values()):
        problems += checks.check_simulation(document, built)
    for problem in problems:
        document.report_problem(problem)

    ready: dict[str, Cryostat] = {key: one for key, one in cryostats.items() if one is not None}
    if document.findings or len(ready) != len(cryostats):
        return None
    return Fleet(
        lab=str(written["lab"]),
        board=str(written.get("board", "")),
        stages=tuple(stage for stage in stages if stage is not None),
        cryostats=ready,
        simulation=simulation,
        source_path=name,
    )


def _check_shape(document: Document) -> None:
    """Report every place where the document does not have the shape of the schema."""
    try:
        FleetDocument.model_validate(document.value)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            if detail["input"] is not UNREADABLE:
                document.report_problem(_shape_problem(document, detail))


def _shape_problem(document: Document, detail: ErrorDetails) -> Problem:
    path: Path = tuple(detail["loc"])
    if path and path[-1] == "[key]":
        hint = "letters, digits, `.`, `_` and `-`, beginning with a letter or digit, at most 64"
        return Problem(path[:-1], f"`{path[-2]}` is not a name", hint, on_key=True)
    key = path[-1] if path else ""
    kind, context = detail["type"], detail.get("ctx", {})
    value = detail["input"]
    if kind == "extra_forbidden":
        return Problem(path, f"unknown key `{key}`", _unknown_key_hint(path), on_key=True)
    if kind == "missing":
        holder = f" in `{path[-2]}`" if len(path) > 1 and isinstance(path[-2], str) else ""
        hint = "see the example that `cryofw init` writes"
        return Problem(path, f"`{key}` is missing{holder}", hint)
    if "message" in context:
        return Problem(path, str(context["message"]), str(context.get("hint", "")))
    return Problem(path, *_value_message(document, path, kind, value, context))


def _value_message(
    document: Document, path: Path, kind: str, value: object, context: dict[str, Any]
) -> tuple[str, str]:
    """Message and hint for a value of the wrong type or range."""
    shown, key = _shown(value), path[-1]
    if kind == "literal_error":
        options = _options(str(context["expected"]))
        return f"{shown} is not allowed for `{key}`", checks.did_you_mean(value, options)
    if kind == "string_pattern_mismatch":
        what = "a hardware id" if key == "hw" else "a name"
        hint = (
            "pairs of lower-case hex digits, for example 5a31c0de00000001"
            if key == "hw"
            else "letters, digits, `.`, `_` and `-`, beginning with a letter or digit, at most 64"
        )
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


def _unknown_key_hint(path: Path) -> str:
    model = _model_at(path[:-1])
    if model is None:
        return ""
    known = {info.alias or name for name, info in model.model_fields.items()}
    if path[-1] == "thermal" and issubclass(model, SettingsDocument):
        return "the heat budget belongs to the cryostat, or to `defaults`"
    return checks.did_you_mean(path[-1], known)


def _model_at(path: Path) -> type[BaseModel] | None:
    """The model that describes the mapping at `path`, found through the annotations."""
    here: Any = FleetDocument
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
