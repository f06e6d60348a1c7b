"""`cryofw audit show`: the journal as a story."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from cryofw.cli.evidenceview import show_numbers
from cryofw.cli.options import json_option, state_option
from cryofw.cli.output import Output
from cryofw.cli.suggestion import did_you_mean
from cryofw.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from cryofw.audit import Filter, StoryLine
    from cryofw.journal import Record

_SHOWN = 12


@click.command()
@state_option
@click.option("--device", default="", help="Only records about this device.")
@click.option("--rollout", default="", help="Only this rollout; the beginning of its id is enough.")
@click.option("--kind", default="", help="Only records of this kind, such as gate-passed.")
@click.option("--who", default="", help="Only what this person or job did.")
@click.option("--around", type=click.IntRange(min=0), help="Only records near this number.")
@click.option("--evidence", is_flag=True, help="The numbers below verdicts and baselines.")
@click.option("--journal", default="", metavar="NAME", help="A retired one: retired/ID.jsonl.")
@json_option
def show(
    state: Path,
    device: str,
    rollout: str,
    kind: str,
    who: str,
    around: int | None,
    evidence: bool,
    journal: str,
    as_json: bool,
) -> None:
    """Tell who did what, when and why. --json prints the records as they lie in the journal."""
    from cryofw.audit import Filter, tell
    from cryofw.journal import JOURNAL_NAME, FileStorage, read_journal

    records = read_journal(FileStorage(state), journal or JOURNAL_NAME).records
    wanted = Filter(device, rollout, kind, around, who=who)
    _require_known(records, wanted)
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
        if evidence:
            show_numbers(output, line.kind, line.fields, indent=17)


def _require_known(records: Sequence[Record], wanted: Filter) -> None:
    """A misspelt filter must not look like a quiet journal.

    Raises:
        UsageError: no record has such a device, rollout, kind, person or number.
    """
    from cryofw.audit import kinds_told

    _require("device", wanted.device, {record.device or "" for record in records})
    _require_kind(wanted.kind, {record.kind for record in records}, kinds_told())
    people = {str(record.fields.get("by", "")) for record in records}
    _require("person", wanted.who, {record.who for record in records} | people)
    rollouts = {record.rollout for record in records} - {""}
    if wanted.rollout and not any(one.startswith(wanted.rollout) for one in rollouts):
        _require("rollout", wanted.rollout, rollouts)
    if wanted.around is not None and wanted.around >= len(records):
        raise UsageError(
            f"there is no record {wanted.around}", why=f"the journal has {len(records)} records"
        )


def _require_kind(kind: str, here: set[str], told: Iterable[str]) -> None:
    """A kind that cryofw knows may be missing here; one that nobody knows is misspelt."""
    if not kind or kind in here or kind in told:
        return
    raise UsageError(
        f"the journal knows no kind {kind!r}",
        why=f"it has {', '.join(sorted(here)) or 'none'}",
        hint=did_you_mean(kind, sorted(here.union(told))),
    )


def _require(what: str, name: str, known: Iterable[str]) -> None:
    names = sorted(set(known) - {""})
    if name and name not in names:
        raise UsageError(
            f"the journal knows no {what} {name!r}",
            why=f"it has {_some(names)}",
            hint=did_you_mean(name, names),
        )


def _some(names: Sequence[str]) -> str:
    """The latest of many; that there are more is said."""
    more = len(names) - _SHOWN
    shown = ", ".join(names[-_SHOWN:]) or "none"
    return f"{shown}, and {more} more" if more > 0 else shown


def _tell(output: Output, line: StoryLine) -> None:
    rollout = f"{line.rollout}  " if line.rollout else ""
    head = f"{line.time}  {line.n:>5}  "
    output.hanging(head, f"{rollout}{line.who}: {line.text}", len(head))
    for reason in line.reasons:
        output.hanging(f"{'':17}", reason, 17, "dim")
