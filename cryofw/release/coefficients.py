"""The calibration coefficients that a release brings: one file beside the image, read strictly.

{"schema": "cryofw.coefficients/v1",
 "defaults": {"readout/gain": {"type": "f32", "value": 2.0}},
 "controllers": {"c1-a": {"readout/gain": {"type": "f32", "value": 2.03}}, "c1-b": {}}}
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from cryofw.errors import BadInput
from cryofw.fleet.document import MAX_BYTES, Document, Problem, read_document
from cryofw.fleet.finding import Finding
from cryofw.release.coefficient import Coefficient, CoefficientError, CoefficientType

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cryofw.fleet.document import Path

SCHEMA = "cryofw.coefficients/v1"
SETTING_NAME = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
LONGEST_NAME = 64
_TOP = ("schema", "defaults", "controllers")
_FIELDS = ("type", "value")
_EXAMPLE = 'for example "readout/gain": {"type": "f32", "value": 2.0}'


@dataclass(frozen=True)
class Coefficients:
    """What each controller gets with a release.

    Attributes:
        defaults: by name of the setting, for every controller.
        controllers: controller to what it gets instead or besides; one that is listed without any
            gets the defaults.
        digest: hex SHA-256 of the file.
    """

    defaults: Mapping[str, Coefficient]
    controllers: Mapping[str, Mapping[str, Coefficient]]
    digest: str

    def of(self, controller: str) -> dict[str, Coefficient]:
        """What `controller` gets, by name, in order of the names."""
        own = {**self.defaults, **self.controllers.get(controller, {})}
        return dict(sorted(own.items()))

    def covers(self, controller: str) -> bool:
        """Whether the file says anything about `controller`, were it that it gets nothing."""
        return bool(self.defaults) or controller in self.controllers


class CoefficientsError(BadInput):
    """A file of coefficients cannot be used; `findings` holds every defect, in its order."""

    def __init__(self, file_name: str, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        count = len(self.findings)
        super().__init__(
            f"{file_name} has {'an error' if count == 1 else f'{count} errors'}",
            why="\n".join(finding.render(file_name) for finding in self.findings),
            hint="docs/operating.md, Coefficients, shows such a file",
        )


def parse_coefficients(data: bytes, name: str = "coefficients.json") -> Coefficients:
    """Read a file of coefficients, JSON or YAML.

    Raises:
        CoefficientsError: with every defect of the file `name`.
    """
    document = read_document(_text(data, name), name)
    reader = _Reader(document)
    defaults, controllers = reader.read()
    if document.findings:
        raise CoefficientsError(name, sorted(document.findings))
    return Coefficients(defaults, controllers, hashlib.sha256(data).hexdigest())


def _text(data: bytes, name: str) -> str:
    if len(data) > MAX_BYTES:
        raise CoefficientsError(name, [Finding(0, 0, "the file is larger than 1 MiB")])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        finding = Finding(line, column, "not UTF-8 text", "save the file as UTF-8")
        raise CoefficientsError(name, [finding]) from None
    # JSON may be indented with tabs, YAML may not; inside of JSON text there are none.
    return text.replace("\t", " ") if text.lstrip().startswith("{") else text


class _Reader:
    """Takes the pieces out of one document and collects what is wrong with them."""

    def __init__(self, document: Document) -> None:
        self._document = document

    def read(self) -> tuple[dict[str, Coefficient], dict[str, dict[str, Coefficient]]]:
        """Defaults and controllers, as far as they can be read."""
        top = self._mapping((), self._document.value, _TOP)
        if self._document.findings and not top:
            return {}, {}
        if top.get("schema") != SCHEMA:
            said = f"`{top['schema']}`" if "schema" in top else "missing"
            self._report(("schema",), f"`schema` is {said}; this cryofw knows {SCHEMA}")
        defaults = self._set(("defaults",), top.get("defaults", {}), {})
        written = self._mapping(("controllers",), top.get("controllers", {}))
        controllers = {
            name: self._set(("controllers", name), value, defaults)
            for name, value in written.items()
        }
        if not any([defaults, *controllers.values()]) and not self._document.findings:
            self._report((), "there is no coefficient in it", _EXAMPLE)
        return defaults, controllers

    def _set(
        self, path: Path, value: object, defaults: Mapping[str, Coefficient]
    ) -> dict[str, Coefficient]:
        found: dict[str, Coefficient] = {}
        for name, written in self._mapping(path, value).items():
            here = (*path, name)
            if len(name) > LONGEST_NAME or not SETTING_NAME.fullmatch(name):
                hint = "letters, digits, `_`, `.` and `-`, parts joined by `/`, at most 64"
                self._report(here, f"`{name}` is not a name of a setting", hint, on_key=True)
                continue
            one = self._coefficient(here, written)
            if one is None:
                continue
            found[name] = one
            if name in defaults and defaults[name].type is not one.type:
                message = f"`{name}` is {one.type} here and {defaults[name].type} in `defaults`"
                self._report((*here, "type"), message, "one setting has one type")
        return found

    def _coefficient(self, path: Path, value: object) -> Coefficient | None:
        if not isinstance(value, dict):
            message = f"expected a type and a value for `{path[-1]}`"
            self._report(path, message, _EXAMPLE)
            return None
        fields = self._mapping(path, value, _FIELDS)
        missing = [name for name in _FIELDS if name not in fields]
        for name in missing:
            message = f"`{name}` is missing in `{path[-1]}`"
            self._report(path, message, _EXAMPLE, on_key=True)
        if missing:
            return None
        kind = fields["type"]
        names = [one.value for one in CoefficientType]
        if kind not in names:
            self._report((*path, "type"), f"`{kind}` is not a type", _nearest(kind, names))
            return None
        try:
            return Coefficient.of(CoefficientType(str(kind)), fields["value"])
        except CoefficientError as error:
            message = f"the value of `{path[-1]}` is no {kind}: {error}"
            self._report((*path, "value"), message)
            return None

    def _mapping(
        self, path: Path, value: object, known: Iterable[str] | None = None
    ) -> dict[str, object]:
        if not isinstance(value, dict):
            if not self._document.findings:
                what = f"`{path[-1]}`" if path else "the file"
                self._report(path, f"expected a mapping of keys to values for {what}")
            return {}
        names = list(known) if known is not None else None
        for key in value:
            if names is not None and key not in names:
                hint = _nearest(key, names)
                self._report((*path, key), f"unknown key `{key}`", hint, on_key=True)
        return value

    def _report(self, path: Path, message: str, hint: str = "", *, on_key: bool = False) -> None:
        self._document.report_problem(Problem(path, message, hint, on_key))


def _nearest(word: object, options: Sequence[str]) -> str:
    near = get_close_matches(str(word), options, n=1)
    return f"did you mean `{near[0]}`?" if near else f"known: {', '.join(options)}"
