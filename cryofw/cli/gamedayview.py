"""What `cryofw sim gameday` shows: a table with a line for each scenario, what went wrong, JSON."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING

from cryofw.cli.output import Status
from cryofw.errors import Refused, VerificationFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from cryofw.cli.output import Output
    from cryofw.gameday.outcome import Outcome
    from cryofw.gameday.scenario import Scenario

_HEADER = ("scenario", "ended", "detected", "back", "ran it", "invariants")


def list_scenarios(output: Output, scenarios: Iterable[Scenario], *, as_json: bool) -> None:
    """Their names and what they are about."""
    if as_json:
        output.json([{"name": one.name, "title": one.says.title} for one in scenarios])
    else:
        output.table(("scenario", "what"), [(one.name, one.says.title) for one in scenarios])


def show_outcomes(
    output: Output, outcomes: Sequence[Outcome], fleet_path: Path, sources: Mapping[str, str]
) -> None:
    """For people."""
    by_name: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_name.setdefault(outcome.scenario, []).append(outcome)
    output.table(_HEADER, [_row(output, name, many) for name, many in by_name.items()])
    output.line()
    for outcome in outcomes:
        for words in filter(None, (outcome.broken, *outcome.unmet)):
            output.status(Status.FAILED, f"{outcome.scenario}, seed {outcome.seed}", words)
        if not outcome.good:
            output.line(f"  {replay_command(outcome, fleet_path, sources)}")
    for name, many in by_name.items():
        if not many[0].ended:
            output.status(Status.NOTHING, f"{name} not played", many[0].why)
    for words, names in _set_aside(outcomes).items():
        whom = "" if len(names) == len([n for n, m in by_name.items() if m[0].ended]) else names
        head = f"{', '.join(whom)}: " if whom else ""
        output.status(Status.NOTHING, "not as in the lab", f"{head}{words}")
    if all(one.good for one in outcomes):
        runs = len([one for one in outcomes if one.ended])
        output.status(Status.OK, "all well", f"{runs} rehearsals ended as they must")


def _row(output: Output, name: str, many: Sequence[Outcome]) -> tuple[str, ...]:
    if not many[0].ended:
        return (name, "-", "-", "-", "-", "-")
    ends = {one.ended: sum(o.ended == one.ended for o in many) for one in many}
    kept = not any(one.broken for one in many)
    most = max(many, key=lambda one: len(one.affected))
    return (
        name,
        ", ".join(end if len(many) == 1 else f"{count} {end}" for end, count in ends.items()),
        _times(one.detected_s for one in many),
        _times(one.back_s for one in many),
        f"{len(most.affected)} of {most.devices}",
        output.mark(Status.OK, "kept") if kept else output.mark(Status.FAILED, "broken"),
    )


def _times(many: Iterable[float | None]) -> str:
    """The longest; `-` where there is none."""
    times = [one for one in many if one is not None]
    return _time(max(times)) if times else "-"


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _set_aside(outcomes: Iterable[Outcome]) -> dict[str, list[str]]:
    """What was not as in the lab, and in which scenarios."""
    found: dict[str, list[str]] = {}
    for outcome in outcomes:
        for words in outcome.set_aside:
            names = found.setdefault(words, [])
            if outcome.scenario not in names:
                names.append(outcome.scenario)
    return found


def replay_command(outcome: Outcome, fleet_path: Path, sources: Mapping[str, str]) -> str:
    """What tells the whole story of one run."""
    name = sources.get(outcome.scenario, outcome.scenario)
    words = ["cryofw", "sim", "gameday", name, "--fleet", str(fleet_path)]
    return shlex.join([*words, "--seed", str(outcome.seed), "--story"])


def outcomes_json(
    outcomes: Iterable[Outcome], fleet_path: Path, sources: Mapping[str, str]
) -> list[dict[str, object]]:
    """For programs."""
    return [
        {
            **asdict(one),
            "good": one.good,
            "played": bool(one.ended),
            "replay": replay_command(one, fleet_path, sources),
        }
        for one in outcomes
    ]


def require_good(outcomes: Iterable[Outcome]) -> None:
    """Raise unless every run was as it must be.

    Raises:
        VerificationFailed: an invariant did not hold.
        Refused: a scenario did not end as its file says.
    """
    many = list(outcomes)
    broken = [f"{one.scenario}, seed {one.seed}" for one in many if one.broken]
    if broken:
        hint = "this is a bug of cryofw: report it with the story that the command above tells"
        raise VerificationFailed("an invariant did not hold", why="; ".join(broken), hint=hint)
    unmet = [f"{one.scenario}, seed {one.seed}" for one in many if one.unmet]
    if unmet:
        hint = "the command below each of them tells the story"
        raise Refused("not all ended as they must", why="; ".join(unmet), hint=hint)
