"""What came of a scenario: when it was seen, when all was well again, and what should have been."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from cryofw.engine.site import SIMULATED_EPOCH
from cryofw.fleet.quantity import duration_text
from cryofw.gameday.scenario_document import Expected
from cryofw.journal import JOURNAL_NAME, MemoryDisk, MemoryStorage, read_journal
from cryofw.rollout import Ending

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cryofw.gameday.casting import Cast
    from cryofw.gameday.game import Result
    from cryofw.gameday.scenario import Scenario
    from cryofw.journal import Record

_SHOWS = frozenset({
    "device-refused", "device-unreachable", "device-reverted", "device-stuck", "device-frozen",
    "device-quarantined", "device-abandoned", "upload-failed", "confirm-refused",
    "common-cause-found", "failure-spread", "gate-failed", "cryostat-frozen", "retry-granted",
    "rollout-resumed", "power-cycle-requested", "device-rollback-requested", "abort-requested",
    "stop-requested", "pause-requested", "cryostat-held-out", "upload-interrupted",
    "calibration-failed", "device-not-safe",
})  # fmt: skip
"""Kinds of records by which cryofw says that something is not as it should be."""
_BACK = frozenset({"device-rolled-back", "device-reverted", "device-abandoned"})
_RAN = "test-booted"


@dataclass(frozen=True)
class Outcome:
    """How a scenario went under one seed.

    Attributes:
        ended: as in `expect`; empty if it was not played, for `why`.
        hit_s: when it happened, in seconds from the first visit; None: never.
        detected_s: from then to the first record that shows it.
        back_s: from that record to the last device that went back.
        affected: devices that ran the release.
        broken: the invariant that did not hold; empty: all did.
        unmet: what was expected and did not come.
        set_aside: what was not as in the lab.
    """

    scenario: str
    seed: int
    ended: str
    why: str = ""
    hit_s: float | None = None
    detected_s: float | None = None
    back_s: float | None = None
    lasted_s: float = 0.0
    affected: tuple[str, ...] = ()
    devices: int = 0
    broken: str = ""
    unmet: tuple[str, ...] = ()
    set_aside: tuple[str, ...] = ()
    digest: str = ""

    @property
    def good(self) -> bool:
        """Nothing is wrong with it."""
        return not self.broken and not self.unmet


def judge(scenario: Scenario, cast: Cast, seed: int, result: Result) -> Outcome:
    """Read from its journal how a game went, and hold it against what the scenario expects."""
    records = _records(result.journal)
    begun_s = result.notes[0].t_s if result.notes else 0.0
    hit_s = _hit(scenario, cast, result, records)
    detected_s = back_s = None
    if hit_s is not None:
        shown = [_t_s(one) for one in records if _shows(one) and _t_s(one) >= hit_s - _ROUNDING_S]
        if shown:
            detected_s = max(0.0, shown[0] - hit_s)
        back = [_t_s(one) for one in records if one.kind in _BACK and _t_s(one) >= hit_s]
        if shown and back and result.ended is not Ending.CONFIRMED:
            back_s = max(0.0, back[-1] - shown[0])
    outcome = Outcome(
        scenario=scenario.name,
        seed=seed,
        ended=str(Expected.NOT_BEGUN if result.ended is None else result.ended),
        why=result.why,
        hit_s=None if hit_s is None else hit_s - begun_s,
        detected_s=detected_s,
        back_s=back_s,
        lasted_s=result.seconds,
        affected=result.affected,
        devices=sum(len(cast.game.fleet.stage_controllers(s)) for s in cast.game.fleet.stages),
        broken="" if result.broken is None else str(result.broken),
        set_aside=cast.rehearsal.set_aside,
        digest=result.digest,
    )
    return replace(outcome, unmet=tuple(_unmet(outcome, scenario, cast)))


def _unmet(outcome: Outcome, scenario: Scenario, cast: Cast) -> Iterator[str]:
    expect = scenario.says.expect
    if outcome.hit_s is None and outcome.ended == Expected.CONFIRMED:
        lasted = _words(outcome.lasted_s)
        yield f"nothing happened: the rollout was over after {lasted}, before its moment came"
    elif outcome.ended not in {str(one) for one in expect.ended}:
        yield f"ended {outcome.ended} ({outcome.why}), expected {' or '.join(expect.ended)}"
    elif expect.detected_within is not None:
        yield from _late("detected", outcome.detected_s, expect.detected_within)
    if expect.back_within is not None and outcome.detected_s is not None:
        yield from _late("back", outcome.back_s, expect.back_within)
    beyond = (
        [] if cast.furthest is None else [n for n in outcome.affected if n not in cast.furthest]
    )
    if beyond:
        yield f"{', '.join(beyond)} ran the release, beyond stage {expect.no_further_than}"


def _late(what: str, took_s: float | None, within_s: float) -> Iterator[str]:
    wanted = duration_text(within_s)
    if took_s is None:
        yield f"never {what}, expected within {wanted}"
    elif took_s > within_s:
        yield f"{what} after {_words(took_s)}, expected within {wanted}"


def _words(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"


_ROUNDING_S = 0.002
"""Records tell milliseconds."""


def _records(journal: bytes) -> Sequence[Record]:
    disk = MemoryDisk({JOURNAL_NAME: journal[: journal.rfind(b"\n") + 1]})
    return read_journal(MemoryStorage(disk)).records if journal else ()


def _t_s(record: Record) -> float:
    """Seconds of the lab's clock; that of the host, which a scenario may set wrong."""
    return (datetime.fromisoformat(record.t) - SIMULATED_EPOCH).total_seconds()


def _shows(record: Record) -> bool:
    if record.kind == "verdict-reached":
        return _field(record, "outcome") not in ("passed", "")
    if record.kind == "rollout-paused":
        return _field(record, "needs") in ("device", "cryostat")
    return record.kind in _SHOWS


def _field(record: Record, name: str) -> str:
    return str(record.fields.get(name, ""))


def _hit(scenario: Scenario, cast: Cast, result: Result, records: Sequence[Record]) -> float | None:
    """When the first thing happened, in the lab's seconds; nothing was to happen: its start."""
    says = scenario.says.release
    texts = {str(one.what) for one in cast.game.happenings}
    hits = [note.t_s for note in result.notes if note.text in texts]
    faulty = says.hang_after is not None or says.boot_loop or says.shift is not None
    if faulty:
        after_s = says.hang_after or (says.shift.after if says.shift else 0.0)
        ends_s = _t_s(records[-1]) if records else 0.0
        boots = [_t_s(one) + after_s for one in records if one.kind == _RAN]
        hits += [t_s for t_s in boots[:1] if t_s <= ends_s]
    elif says.key.value != "everybody" or not texts:
        asked = [_t_s(one) for one in records if one.kind == "image-test-requested"]
        hits += asked[:1]
    return min(hits, default=None)
