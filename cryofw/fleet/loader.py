"""Reads a fleet.yaml, strictly: all defects at once, or a complete fleet."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import TYPE_CHECKING

from cryofw.fleet import checks
from cryofw.fleet.document import MAX_BYTES, Mark, read_document
from cryofw.fleet.finding import Finding, FleetError
from cryofw.fleet.fleet import Cryostat, Fleet
from cryofw.fleet.resolve import Resolver
from cryofw.fleet.shape import check_shape

if TYPE_CHECKING:
    from cryofw.fleet.document import Document


def load_fleet(path: str | FilePath) -> Fleet:
    """The fleet in the file at `path`; raises FleetError with every defect."""
    file = FilePath(path)
    if file.exists() and not (file.is_file() or file.is_dir()):  # a pipe may never end
        raise FleetError(str(path), [Finding(0, 0, "cannot be read: it is no regular file", "")])
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
        check_shape(document)
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
    prometheus = resolver.sources.prometheus()
    budgets = resolver.sources.error_budgets()
    built = [one for cryostat in cryostats.values() if cryostat for one in cryostat.controllers]

    problems = resolver.problems
    problems += checks.check_controllers(document)
    problems += checks.check_stages(document)
    problems += checks.check_hooks(document, built)
    for index, stage in enumerate(stages):
        if stage is not None:
            problems += checks.check_waves(index, stage, cryostats)
            problems += checks.check_soak(index, stage, cryostats)
    problems += checks.check_guards(document, cryostats)
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
        prometheus=prometheus,
        error_budgets=budgets,
    )
