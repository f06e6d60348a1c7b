"""`cryofw audit`: prove the journal, and read it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from cryofw.cli.options import json_option, state_option
from cryofw.cli.output import Output, Status

if TYPE_CHECKING:
    from pathlib import Path

    from cryofw.audit import AuditReport, StoryLine


@click.group()
def audit() -> None:
    """Prove that the journal is whole and honest, and read it as a story."""


@audit.command("verify")
@state_option
@json_option
def verify(state: Path, as_json: bool) -> None:
    """Check every record, the checkpoint, the order of events and the evidence.

    Exit code 4 if the journal was changed or breaks a rule; it names the first record that lies.
    """
    from cryofw.audit import verify_log
    from cryofw.journal import FileStorage

    report = verify_log(FileStorage(state))
    output = Output()
    if as_json:
        output.json(_as_json(report))
        return
    _render(output, report)


def _as_json(report: AuditReport) -> dict[str, object]:
    return {
        "verified": True,
        "records": report.records,
        "anchored": report.anchored,
        "root": report.root.hex(),
        "rollouts": report.rollouts,
        "repairs": report.repairs,
        "torn_bytes": report.torn_bytes,
        "unknown_kinds": list(report.unknown_kinds),
    }


def _render(output: Output, report: AuditReport) -> None:
    span = f", {report.first_time} to {report.last_time}" if report.records else ""
    output.status(Status.OK, "verified", f"{report.records} records{span}")
    output.line(f"  tree head  {report.root.hex()}")
    output.line(f"  rollouts   {report.rollouts}")
    loose = report.records - report.anchored
    if loose:
        note = f"the last {loose} records are not under a checkpoint yet"
        output.status(Status.WARNING, "not anchored", note)
    if report.torn_bytes:
        note = f"{report.torn_bytes} bytes of an unfinished last line; the next writer repairs it"
        output.status(Status.WARNING, "torn", note)
    if report.repairs:
        note = f"{report.repairs} torn lines were repaired; `cryofw audit show` names them"
        output.status(Status.NOTHING, "repaired", note)
    if report.unknown_kinds:
        output.status(Status.NOTHING, "no rules for", ", ".join(report.unknown_kinds))


@audit.command("show")
@state_option
@click.option("--device", default="", help="Only records about this device.")
@click.option("--rollout", default="", help="Only this rollout; the beginning of its id is enough.")
@click.option("--kind", default="", help="Only records of this kind, such as gate-passed.")
@click.option("--around", type=click.IntRange(min=0), help="Only records near this number.")
@json_option
def show(
    state: Path, device: str, rollout: str, kind: str, around: int | None, as_json: bool
) -> None:
    """Tell who did what, when and why. --json prints the records as they lie in the journal."""
    from cryofw.audit import Filter, tell
    from cryofw.journal import FileStorage, read_journal

    records = read_journal(FileStorage(state)).records
    wanted = Filter(device, rollout, kind, around)
    output = Output()
    if as_json:
        for record in records:
            if wanted.passes(record):
                output.json(json.loads(record.line))
        return
    day = ""
    for line in tell(records, wanted):
        if line.day != day:
            day = line.day
            output.line(output.style(day, "dim"))
        _tell(output, line)


def _tell(output: Output, line: StoryLine) -> None:
    rollout = f"{line.rollout}  " if line.rollout else ""
    output.line(f"{line.time}  {line.n:>5}  {rollout}{line.who}: {line.text}")
    for reason in line.reasons:
        output.line(output.style(f"{'':17}{reason}", "dim"))
