"""Scenarios: files that say what happens in a rehearsal, read strictly, with line and column."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import TYPE_CHECKING, Any

from cryofw.errors import BadInput
from cryofw.fleet.document import MAX_BYTES, Document, Mark, Problem, read_document
from cryofw.fleet.finding import Finding
from cryofw.fleet.schema import tidy
from cryofw.fleet.shape import check_shape
from cryofw.gameday.scenario_document import ScenarioDocument
from cryofw.rollout.commands import COMMANDS
from cryofw.rollout.record import EVENTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryofw.fleet.document import Path

SCHEMA_ID = "urn:cryofw:scenario:v1"
_FOLDER = "scenarios"
KINDS = frozenset(EVENTS) | frozenset(COMMANDS)
"""Of records that something may follow."""


class ScenarioError(BadInput):
    """A scenario cannot be played; `findings` holds every defect, in the file's order."""

    def __init__(self, file_name: str, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        count = len(self.findings)
        super().__init__(
            f"{file_name} has {'an error' if count == 1 else f'{count} errors'}",
            why="\n".join(finding.render(file_name) for finding in self.findings),
            hint="`cryofw schema scenario` prints what may stand in the file",
        )


@dataclass(frozen=True)
class Scenario:
    """A scenario as it was written.

    Attributes:
        source: name of the file.
        text: the file.
    """

    source: str
    text: str

    @cached_property
    def says(self) -> ScenarioDocument:
        """What it says; the text was checked."""
        return ScenarioDocument.model_validate(self._document.value)

    @cached_property
    def _document(self) -> Document:
        return read_document(self.text, self.source)

    @property
    def name(self) -> str:
        """What it is called."""
        return self.says.name

    def error(self, path: Path, message: str, hint: str = "") -> ScenarioError:
        """What is wrong at a path of the file, seen beside a fleet."""
        document = read_document(self.text, self.source)
        document.report_problem(Problem(path, message, hint))
        return ScenarioError(self.source, document.findings)


def parse_scenario(data: bytes, source: str) -> Scenario:
    """Read a scenario.

    Raises:
        ScenarioError: with every defect of the file `source`.
    """
    document = read_document(_text(data, source), source)
    if isinstance(document.value, dict):
        check_shape(document, ScenarioDocument)
    elif not document.findings:
        document.report(Mark(1, 1), "a scenario is a mapping of keys to values")
    if not document.findings:
        scenario = Scenario(source, _text(data, source))
        _check(document, scenario.says)
        if not document.findings:
            return scenario
    raise ScenarioError(source, sorted(document.findings))


def _text(data: bytes, source: str) -> str:
    if len(data) > MAX_BYTES:
        raise ScenarioError(source, [Finding(0, 0, "the file is larger than 1 MiB")])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        finding = Finding(line, column, "not UTF-8 text", "save the file as UTF-8")
        raise ScenarioError(source, [finding]) from None


def _check(document: Document, says: ScenarioDocument) -> None:
    """What the shape cannot say: one kind a happening, records that exist, one size of a shift."""
    shifts: list[tuple[Path, Any]] = [(("release", "shift"), says.release.shift)]
    for index, happening in enumerate(says.happenings):
        at: Path = ("happenings", index)
        kinds = list(happening.written)
        if len(kinds) != 1:
            words = "nothing happens here" if not kinds else f"{' and '.join(kinds)} in one"
            document.report_problem(Problem(at, words, "one kind for each entry of the list"))
        if happening.when.after not in KINDS:
            words = f"no record is called `{happening.when.after}`"
            hint = f"as `audit show` names them: {', '.join(sorted(KINDS))}"
            document.report_problem(Problem((*at, "when", "after"), words, hint))
        shifts.append(((*at, "calibration-shift"), happening.calibration_shift))
    for at, shift in shifts:
        if shift is not None and shift.by is not None and shift.times_reject is not None:
            document.report_problem(Problem((*at, "by"), "`by` and `times_reject` in one", ""))
        if shift is not None and shift.by is not None and shift.metric is None:
            document.report_problem(Problem((*at, "by"), "`by` needs a `metric`", ""))


def scenario_names() -> tuple[str, ...]:
    """The scenarios that come with cryofw."""
    folder = resources.files("cryofw.gameday") / _FOLDER
    names = [entry.name for entry in folder.iterdir()]
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


def shipped_scenario(name: str) -> Scenario:
    """A scenario that comes with cryofw."""
    file = resources.files("cryofw.gameday") / _FOLDER / f"{name}.yaml"
    return parse_scenario(file.read_bytes(), f"{name}.yaml")


def scenario_json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a scenario file, for editors and offline checks."""
    body: dict[str, Any] = tidy(ScenarioDocument.model_json_schema(by_alias=True))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        **body,
    }
