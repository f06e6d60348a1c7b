"""An asyncio event loop whose clock jumps to the next timer.

On a fleet whose ports are all simulated, hours of soak pass in seconds and every run is the same
run: time advances only when nothing is left to do, and then exactly to the next timer. Virtual
mode has no threads, executors, sockets or processes; asking for one is an error, not a surprise.
"""

from __future__ import annotations

import asyncio
import selectors
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, Unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from concurrent.futures import Executor

    from _typeshed import FileDescriptorLike

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class VirtualDeadlock(RuntimeError):
    """Every task waits and no timer is set: in virtual time nothing would ever happen again."""


class _TimerSelector(selectors.BaseSelector):
    """A selector that, asked to wait, moves the clock instead."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.turns = 0
        self.at_turn: dict[int, Callable[[], None]] = {}
        self._keys: dict[FileDescriptorLike, selectors.SelectorKey] = {}

    def register(
        self, fileobj: FileDescriptorLike, events: int, data: Any = None
    ) -> selectors.SelectorKey:
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        key = selectors.SelectorKey(fileobj, fd, events, data)
        self._keys[fileobj] = key
        return key

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            msg = "every task waits and no timer is set"
            raise VirtualDeadlock(msg)
        self.turns += 1
        if self.turns in self.at_turn:
            self.at_turn.pop(self.turns)()
        elif timeout > 0:
            self.now_s += timeout
        return []

    def get_map(self) -> Mapping[FileDescriptorLike, selectors.SelectorKey]:
        return self._keys


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Event loop in virtual time, starting at `start_s` seconds."""

    def __init__(self, start_s: float = 0.0) -> None:
        self._timers = _TimerSelector()
        self._timers.now_s = start_s
        super().__init__(self._timers)

    def time(self) -> float:
        """Virtual seconds."""
        return self._timers.now_s

    def call_after_turns(self, turns: int, callback: Callable[[], None]) -> None:
        """Call between two turns of the loop, each of which runs what is ready: at any await."""
        self._timers.at_turn[self._timers.turns + max(1, turns)] = callback

    def run_in_executor(
        self,
        executor: Executor | None,  # noqa: ARG002 - the signature is asyncio's
        func: Callable[[Unpack[Ts]], T],
        *args: *Ts,  # noqa: ARG002 - the signature is asyncio's
    ) -> asyncio.Future[T]:
        """Refuse: a thread would see real time and make runs differ."""
        msg = f"virtual time has no executors, so it cannot run {func!r}"
        raise RuntimeError(msg)


class LoopClock:
    """Clock on a running loop's time, so that virtual loops give virtual time.

    Args:
        epoch: wall time at loop time 0, timezone-aware UTC.
    """

    def __init__(self, epoch: datetime) -> None:
        self._epoch = epoch

    def now(self) -> datetime:
        """Wall time that advances with the loop's clock."""
        return self._epoch + timedelta(seconds=asyncio.get_running_loop().time())

    def monotonic(self) -> float:
        """The loop's time in seconds."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Sleep on the loop's clock."""
        await asyncio.sleep(seconds)


class SystemClock:
    """The computer's clock."""

    def now(self) -> datetime:
        """UTC now."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """The running loop's monotonic time in seconds."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Sleep in real time."""
        await asyncio.sleep(seconds)


class StoppedClock:
    """A clock that stands at one moment: nothing waits on it."""

    def __init__(self, moment: datetime) -> None:
        self._moment = moment

    def now(self) -> datetime:
        """Always the same moment."""
        return self._moment

    def monotonic(self) -> float:
        """Always 0."""
        return 0.0

    async def sleep(self, seconds: float) -> None:
        """Refuse: it would never end."""
        msg = f"a stopped clock cannot sleep {seconds} s"
        raise RuntimeError(msg)


def run_virtual(main: Coroutine[Any, Any, T], *, start_s: float = 0.0) -> T:
    """Run `main` to its end in virtual time that begins at `start_s`."""
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(start_s)) as runner:
        return runner.run(main)
