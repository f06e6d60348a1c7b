"""The verdicts of a rollout, drawn again: its records and raw readings, folded once more.

That raw readings are those of a digest says nothing about what follows from them. Here the rollout
is replayed as a resume would replay it, and each verdict on record must be the one that the same
readings give again, with its numbers; each step must be one that the table of states allows.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, NamedTuple

from cryofw.errors import CryofwError
from cryofw.health import reading_from_json
from cryofw.rollout import IllegalMove, RolloutState, step_from_record
from cryofw.rollout import events as e

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cryofw.audit.ledger import RolloutLedger
    from cryofw.health import Reading, Verdict
    from cryofw.journal import Record, Storage
    from cryofw.rollout import Plan, Step

_TOLERANCE = 1e-6
"""Of a number, relatively: another processor may round the last digit otherwise."""

_UNFIT = (
    IllegalMove, CryofwError, LookupError, ValueError, TypeError, AttributeError, AssertionError,
    ArithmeticError, StopIteration,
)  # fmt: skip
"""What folding a record may raise that no rollout wrote there."""


class _Logged(NamedTuple):
    """A raw reading, and how many records the journal had when it was taken."""

    after: int
    device: str
    reading: Reading


class VerdictEvidence:
    """Draws each verdict of each rollout again. A `Check`.

    Args:
        storage: the state directory.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._replays: dict[str, _Replay] = {}
        self.drawn = 0
        """How many verdicts were drawn again so far, and were those on record."""

    def problems(self, record: Record, rollout: RolloutLedger | None) -> Iterable[str]:
        """See `Check`."""
        plan = rollout.plan if rollout is not None else None
        if plan is None:
            return
        if record.kind == e.RolloutStarted.kind and record.rollout not in self._replays:
            yield from self._open(record.rollout, plan)
        replay = self._replays.get(record.rollout)
        if replay is None:
            return
        found = list(replay.take(record))
        if record.kind == e.VerdictReached.kind and not found:
            self.drawn += 1
        yield from found

    def _open(self, rollout: str, plan: Plan) -> Iterator[str]:
        name = f"rollouts/{rollout}/readings.jsonl"
        data = self._storage.read(name) if self._storage.exists(name) else b""
        whole = data[: data.rfind(b"\n") + 1]
        try:
            readings = tuple(_read(whole))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            yield f"{name} is damaged: {error}"
            return
        self._replays[rollout] = _Replay(plan, readings)


def _read(data: bytes) -> Iterator[_Logged]:
    """The readings of devices; those of cryostats decide no verdict."""
    for line in data.splitlines():
        fields = json.loads(line)
        if "c" not in fields:
            yield _Logged(int(fields["n"]), str(fields["d"]), reading_from_json(fields))


class _Replay:
    """One rollout, folded as far as the records were read."""

    def __init__(self, plan: Plan, readings: tuple[_Logged, ...]) -> None:
        self._plan = plan
        self._readings = readings
        self._steps: list[tuple[int, Step]] = []
        self._state = RolloutState(plan)
        self._next = 0
        self._is_lost = False

    def take(self, record: Record) -> Iterator[str]:
        """Fold a record, and say what is wrong with it; after the first misfit nothing more."""
        if self._is_lost:
            return
        try:
            step = step_from_record(record)
            if step is None:
                return
            if isinstance(step, e.RolloutResumed):
                self._restart(record.n)
            self._hear(record.n)
            if isinstance(step, e.VerdictReached):
                yield from self._judge(step, record)
            self._state.apply(step)
            self._steps.append((record.n, step))
        except _UNFIT as error:
            self._is_lost = True
            yield f"it does not follow from what stands before it: {error}"

    def _hear(self, until: float) -> None:
        """Take the readings that were taken before the journal went on after `until` records."""
        readings, state = self._readings, self._state
        while self._next < len(readings) and readings[self._next].after <= until:
            logged = readings[self._next]
            self._next += 1
            if logged.device in state.devices:
                state.apply(e.ReadingTaken(logged.device, logged.reading))

    def _restart(self, n: int) -> None:
        """A new process knew what lay on the disk, and nothing that the one before remembered."""
        self._state, self._next = RolloutState(self._plan), 0
        for at, step in self._steps:
            self._hear(at)
            self._state.apply(step)
        self._hear(n)
        self._state.restart()

    def _judge(self, step: e.VerdictReached, record: Record) -> Iterator[str]:
        readings = record.fields.get("readings")
        if not isinstance(readings, dict):
            yield "it does not say on which readings it rests"
            return
        verdict = self._state.verdict(self._state.devices[step.device])
        if verdict is None or verdict.outcome.value != step.outcome:
            drawn = "none" if verdict is None else f"`{verdict.outcome}`: {verdict.reason}"
            yield f"the verdict is `{step.outcome}`; from the same readings follows {drawn}"
        elif where := _difference(_plain(verdict), step.evidence):
            yield f"its number {where} is not the one that follows from the same readings"


def _plain(verdict: Verdict) -> Mapping[str, object]:
    """As a record would hold it."""
    found: Mapping[str, object] = json.loads(json.dumps(verdict.evidence))
    return found


def _difference(drawn: object, told: object, where: str = "") -> str:
    """Where two pieces of evidence differ; what only one version of cryofw tells is no matter."""
    if isinstance(drawn, dict) and isinstance(told, dict):
        pairs = ((f"{where}.{k}".lstrip("."), drawn[k], told[k]) for k in drawn if k in told)
    elif isinstance(drawn, list) and isinstance(told, list) and len(drawn) == len(told):
        pairs = ((f"{where}[{n}]", *pair) for n, pair in enumerate(zip(drawn, told, strict=True)))
    else:
        return "" if _is_same(drawn, told) else where or "evidence"
    return next((found for name, a, b in pairs if (found := _difference(a, b, name))), "")


def _is_same(drawn: object, told: object) -> bool:
    numbers = [one for one in (drawn, told) if isinstance(one, int | float)]
    if len(numbers) == 2 and bool not in map(type, numbers):
        return math.isclose(*numbers, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return drawn == told
