"""An asyncio event loop whose clock jumps to the next timer.

On a fleet whose ports are all simulated, hours of soak pass in seconds and every run is the same
run: time advances only when nothing is left to do, and then exactly to the next timer. Virtual
mode has no threads, executors, sockets or processes; asking for one is an error, not a surprise.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
import itertools
import selectors
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, Unpack

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Coroutine, Iterator, Mapping
    from concurrent.futures import Executor
    from contextvars import Context

    from _typeshed import FileDescriptorLike

_RESOLUTION_S = 1e-9  # timers so close to now are due, as in every asyncio loop
_MANY = 1000
_COLLECT_AFTER = (200_000, 50, 50)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class VirtualDeadlock(RuntimeError):
    """Every task waits and no timer is set: in virtual time nothing would ever happen again."""


class _TimerSelector(selectors.BaseSelector):
    """A selector that, asked to wait, moves the clock to the next timer instead.

    It keeps the timers too. Those of one moment are due in the order in which they were set: the
    heap of asyncio gives them in an order that depends on what else is in it.
    """

    def __init__(self) -> None:
        self.now_s = 0.0
        self.turns = 0
        self.at_turn: dict[int, Callable[[], None]] = {}
        self.due: Callable[[asyncio.Handle], None] = lambda _handle: None
        self._keys: dict[FileDescriptorLike, selectors.SelectorKey] = {}
        self._heap: list[tuple[float, int, _Timer]] = []
        self._count = itertools.count()
        self._cancelled = 0

    def set_timer(self, when_s: float, handle: _Timer) -> None:
        """Let `handle` be due at `when_s`."""
        heapq.heappush(self._heap, (when_s, next(self._count), handle))

    def forget_timer(self) -> None:
        """One more timer was cancelled; they are thrown out when they are the most."""
        self._cancelled += 1
        if self._cancelled > max(_MANY, len(self._heap) // 2):
            self._heap = [timer for timer in self._heap if not timer[2].cancelled()]
            heapq.heapify(self._heap)
            self._cancelled = 0

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
        self._drop_cancelled()
        if timeout is None and not self._heap:
            msg = "every task waits and no timer is set"
            raise VirtualDeadlock(msg)
        self.turns += 1
        if self.turns in self.at_turn:
            self.at_turn.pop(self.turns)()
        elif timeout is None:
            self.now_s = max(self.now_s, self._heap[0][0])
        heap, until_s = self._heap, self.now_s + _RESOLUTION_S
        while heap and heap[0][0] < until_s:
            handle = heapq.heappop(heap)[2]
            if handle.cancelled():
                self._cancelled -= 1
            else:
                handle.is_set = False
                self.due(handle)
        return []

    def _drop_cancelled(self) -> None:
        while self._heap and self._heap[0][2].cancelled():
            heapq.heappop(self._heap)
            self._cancelled -= 1

    def get_map(self) -> Mapping[FileDescriptorLike, selectors.SelectorKey]:
        return self._keys


class _Timer(asyncio.TimerHandle):
    """A timer that tells its loop, and nobody else, that it was cancelled."""

    __slots__ = ("_home", "is_set")

    def __init__(
        self,
        when_s: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: VirtualTimeLoop,
        context: Context | None,
    ) -> None:
        super().__init__(when_s, callback, args, loop, context)
        self._home = loop
        self.is_set = True

    def cancel(self) -> None:
        if self.is_set:  # it is often cancelled once it is over, too
            self.is_set = False
            self._home.forget_timer()
        super().cancel()


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Event loop in virtual time, starting at `start_s` seconds."""

    def __init__(self, start_s: float = 0.0) -> None:
        self._timers = _TimerSelector()
        self._timers.now_s = start_s
        super().__init__(self._timers)
        self._timers.due = self._ready.append

    _ready: deque[asyncio.Handle]  # asyncio's own: what runs in this turn

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """As `BaseEventLoop.call_at`; timers of one moment come in the order they were set in."""
        timer = _Timer(when, callback, args, self, context)
        self._timers.set_timer(when, timer)
        return timer

    def forget_timer(self) -> None:
        """A timer was cancelled."""
        self._timers.forget_timer()

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


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Look for reference cycles seldom: thousands of exchanges are under way at one moment.

    Each of them outlives the first collections, as if it were here to stay; a seventh of the time
    went into looking at them, and next to nothing of an exchange is a cycle.
    """
    before = gc.get_threshold()
    gc.set_threshold(*_COLLECT_AFTER)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def run_virtual(main: Coroutine[Any, Any, T], *, start_s: float = 0.0) -> T:
    """Run `main` to its end in virtual time that begins at `start_s`."""
    with (
        _rare_collections(),
        asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(start_s)) as runner,
    ):
        return runner.run(main)
