"""Runs one rollout: writes each decision down, does it, and feeds the outcome back.

    intent to the journal (fsync) -> do the command -> outcome to the journal -> decide again

The engine decides nothing. It may be killed at any instruction: whoever comes next folds the
journal and goes on, and every command looks at the device before it acts.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, TypeAlias

from cryofw.engine.device_watchers import DeviceWatchers
from cryofw.engine.reading_log import LoggedGuardReading, LoggedReading
from cryofw.journal import Entry
from cryofw.rollout import Command, DeviceState, Event, GuardReading, fields_of
from cryofw.rollout import cryostat_events as ce
from cryofw.rollout import events as e
from cryofw.rollout import operator_events as oe
from cryofw.rollout.lab_events import LabEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from collections.abc import Set as AbstractSet

    from cryofw.clock import Clock
    from cryofw.engine.hands_port import Hands
    from cryofw.engine.log_shelf import LogShelf
    from cryofw.engine.reading_log import ReadingLog
    from cryofw.engine.request_box import RequestBox
    from cryofw.journal import Journal, Record
    from cryofw.rollout import Rollout, RolloutState, Step

    _Decided: TypeAlias = tuple[Step, Entry]
    """A step, and what the journal will say of it."""

_REQUEST_POLL_S = 1.0
_LATE_S = 30.0
"""A look at a cryostat that takes so much longer than planned found nothing."""

_READINGS = (e.ReadingTaken, ce.CryostatObserved)
_PASSING = (*_READINGS, e.ClockTicked)
_MOST_AT_ONCE = 1000
"""Records that are written with one sync; the commands among them wait for it."""
_WITH_READINGS = (e.VerdictReached, e.BaselineTaken)
_WITH_GUARD_READINGS = (ce.CryostatBaseTaken, ce.CryostatFrozen, ce.CryostatThawed)
_SAID = (
    e.StageApproved, e.AbortRequested, e.RollbackRequested, e.StopRequested, e.QuarantineCleared,
    oe.DeviceAccepted, ce.GuardOverridden, LabEvent,
)  # fmt: skip
_LONGEST_TEXT = 2000
"""Characters of a device's words in a record; a record is at most 64 KiB."""

_PROVEN = frozenset(
    {
        DeviceState.CHECKED,
        DeviceState.SKIPPED,
        DeviceState.UPLOADED,
        DeviceState.ABANDONED,
        DeviceState.CONFIRMED,
        DeviceState.SELF_REVERTED,
        DeviceState.ROLLED_BACK,
    }
)
"""States in which no lease has to bring a device back."""


class Eyes(Protocol):
    """Looks at cryostats. Never raises for what a source does: that is a gap in the reading."""

    async def look(self, cryostat: str) -> GuardReading:
        """What its guards read now."""


class Engine:
    """One run of one rollout, from its start or resume to its pause or end.

    Args:
        rollout: the decisions, folded from the journal.
        journal: open for writing.
        hands: what acts on devices.
        clock: the time.
        readings: the raw readings.
        requests: what people ask of the running rollout.
        on_record: called with each step once its record is on disk.
        on_reading: called with the state after each reading.
        eyes: what looks at cryostats; None only if the plan guards none.
        logs: keeps what a device printed before it failed.
    """

    def __init__(
        self,
        rollout: Rollout,
        journal: Journal,
        hands: Hands,
        clock: Clock,
        readings: ReadingLog,
        requests: RequestBox,
        on_record: Callable[[Step, Record], None] = lambda _step, _record: None,
        on_reading: Callable[[RolloutState], None] = lambda _state: None,
        eyes: Eyes | None = None,
        logs: LogShelf | None = None,
    ) -> None:
        self._logs = logs
        self._rollout = rollout
        self._eyes = eyes
        self._guarded: AbstractSet[str] = frozenset()
        self._looks: dict[str, asyncio.Task[None]] = {}
        self._journal = journal
        self._hands = hands
        self._clock = clock
        self._readings = readings
        self._requests = requests
        self._on_record = on_record
        self._on_reading = on_reading
        self._events: asyncio.Queue[tuple[Event, str]] = asyncio.Queue()
        self._lines: dict[str, asyncio.Lock] = {}
        self._watchers = DeviceWatchers(rollout, hands, clock, self._line, self.ask)
        self._commands: set[asyncio.Task[None]] = set()
        self._tasks: asyncio.TaskGroup | None = None

    def ask(self, event: Event) -> None:
        """Give the running rollout an event from this process, such as a pause on Ctrl-C."""
        self._events.put_nowait((event, ""))

    def note(self, event: Event) -> None:
        """Journal what a command is about to do on its way, before it does it."""
        assert self._tasks is not None
        self._take(event, self._tasks)

    async def run(self, first: Sequence[Event]) -> None:
        """Run from the events `first` (a start, or a resume) until the rollout pauses or ends.

        Raises:
            JournalWriteFailed: nothing that was not written down was done.
        """
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            poll = tasks.create_task(self._poll_requests())
            try:
                for event in first:
                    # A stop or an abort may end it at once: nothing follows an end.
                    if self._rollout.state.ended is None or isinstance(event, e.RollbackRequested):
                        self._take(event, tasks)
                while not self._rollout.at_rest:
                    self._take_all(await self._events.get(), tasks)
            finally:
                poll.cancel()
                for task in (*self._watchers.tasks, *self._looks.values(), *self._commands):
                    task.cancel()
        self._readings.flush()
        self._journal.checkpoint()
        await self._let_go()

    async def _let_go(self) -> None:
        """Leases are given back only where the slots are proven; after a stop nothing is sent."""
        state = self._rollout.state
        stopped = state.ending is e.Ending.STOPPED
        async with asyncio.TaskGroup() as tasks:
            for name, progress in state.devices.items():
                release = progress.state in _PROVEN and not stopped
                tasks.create_task(self._hands.let_go(name, release=release))
        for request, event in self._requests.waiting():
            if isinstance(event, LabEvent):  # it is about the lab: said too late for nothing
                self._write([(event, self._entry(event))])
                self._requests.remove(request)
            elif state.ended is not None:
                # What was asked too late must not be obeyed by a later rollback.
                self._requests.remove(request)

    def _take_all(self, waiting: tuple[Event, str], tasks: asyncio.TaskGroup) -> None:
        """Take an event, and those that wait behind it: one sync for what follows from all."""
        decided: list[_Decided] = []
        requests: list[str] = []
        while True:
            event, request = waiting
            try:
                self._decide(event, decided)
            except BaseException:
                self._commit(decided, requests, tasks)
                raise
            if request:
                requests.append(request)
            if self._rollout.at_rest or self._events.empty() or len(decided) > _MOST_AT_ONCE:
                break
            waiting = self._events.get_nowait()
        self._commit(decided, requests, tasks)

    def _take(self, event: Event, tasks: asyncio.TaskGroup) -> None:
        """Decide, write down, and only then act."""
        decided: list[_Decided] = []
        self._decide(event, decided)
        self._commit(decided, [], tasks)

    def _decide(self, event: Event, decided: list[_Decided]) -> None:
        """Add what follows from an event, after the event itself unless it is only passing."""
        if isinstance(event, e.ReadingTaken):
            self._keep(event, len(decided))
        elif isinstance(event, ce.CryostatObserved):
            self._readings.add_guard(LoggedGuardReading(event.cryostat, event.reading))
        steps = self._rollout.receive(event)
        if isinstance(event, _READINGS):
            self._on_reading(self._rollout.state)
        if not isinstance(event, _PASSING):
            steps = [event, *steps]
        decided += ((step, self._entry(step)) for step in steps)

    def _commit(
        self, decided: list[_Decided], requests: list[str], tasks: asyncio.TaskGroup
    ) -> None:
        """Write decisions down, and only then act on them."""
        if decided:
            self._write(decided)
            for step, _ in decided:
                if isinstance(step, Command):
                    self._start(step, tasks)
            self._watch(tasks)
            if any(isinstance(step, _SAID) for step, _ in decided):
                self._journal.checkpoint()  # what a person said is signed at once
        for request in requests:
            self._requests.remove(request)

    def _keep(self, event: e.ReadingTaken, decided: int) -> None:
        """Log a reading, after the records that there are and those that are about to be."""
        progress = self._rollout.state.devices[event.device]
        phase, size = progress.watch.phase, self._journal.size + decided
        logged = LoggedReading(event.device, progress.attempt, phase, event.reading, size)
        self._readings.add(logged)

    def _write(self, decided: list[_Decided]) -> None:
        if any(isinstance(step, _WITH_READINGS + _WITH_GUARD_READINGS) for step, _ in decided):
            self._readings.flush()
        records = self._journal.append_many(entry for _, entry in decided)
        for (step, _), record in zip(decided, records, strict=True):
            self._on_record(step, record)

    def _entry(self, step: Step) -> Entry:
        device: str | None = getattr(step, "device", None)
        rollout = "" if isinstance(step, LabEvent) else self._rollout.state.plan.rollout
        fields = {
            name: value[:_LONGEST_TEXT] if isinstance(value, str) else value
            for name, value in fields_of(step).items()
        }
        if device and isinstance(step, _WITH_READINGS):
            fields["readings"] = self._readings.evidence(device)
        elif isinstance(step, _WITH_GUARD_READINGS):
            fields["readings"] = self._readings.guard_evidence(step.cryostat)
        if self._logs is not None:
            fields |= self._logs.attach(step)
        return Entry(step.kind, rollout, device, fields)

    def _line(self, device: str) -> asyncio.Lock:
        """One exchange at a time on each device's line."""
        return self._lines.setdefault(device, asyncio.Lock())

    def _start(self, command: Command, tasks: asyncio.TaskGroup) -> None:
        task = tasks.create_task(self._do(command), name=f"{command.kind} {command.device}")
        self._commands.add(task)
        task.add_done_callback(self._commands.discard)

    async def _do(self, command: Command) -> None:
        async with self._line(command.device):
            event = await self._hands.do(command)
        self.ask(event)

    def _watch(self, tasks: asyncio.TaskGroup) -> None:
        attention = self._rollout.attention
        devices, cryostats = attention.take_begun()
        self._watchers.watch(attention.watched, devices, tasks)
        self._guarded = attention.guarded
        for name in cryostats:
            if name not in self._looks:
                self._looks[name] = tasks.create_task(self._guard(name), name=f"guard {name}")

    async def _guard(self, name: str) -> None:
        """Look at a cryostat as often as the plan says, as long as it is wanted."""
        assert self._eyes is not None, "the plan guards cryostats"
        every_s = self._rollout.state.guards[name].contract.every_s
        while name in self._guarded:
            next_s = self._clock.monotonic() + every_s
            try:
                async with asyncio.timeout(every_s + _LATE_S):
                    reading = await self._eyes.look(name)
            except TimeoutError:
                gap = "its source did not answer in time"
                reading = GuardReading(self._clock.now().timestamp(), None, gap, None, gap)
                reading = replace(reading, lease_gap=gap)
            self.ask(ce.CryostatObserved(name, reading))
            await self._clock.sleep(max(0.0, next_s - self._clock.monotonic()))
        del self._looks[name]

    async def _poll_requests(self) -> None:
        """A request is removed only once it is in the journal."""
        seen: set[str] = set()
        plan = self._rollout.state.plan
        # Windows open and close, and signed approvals expire.
        timed = plan.policy is not None or any(stage.window for stage in plan.stages)
        while True:
            if timed:
                self.ask(e.ClockTicked(self._clock.now().timestamp()))
            for name, event in self._requests.waiting():
                if name not in seen:
                    seen.add(name)
                    self._events.put_nowait((event, name))
            await self._clock.sleep(_REQUEST_POLL_S)
