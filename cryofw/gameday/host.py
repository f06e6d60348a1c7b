"""A deploying process of a game: it may die, and then nothing of it has any effect."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from cryofw.engine.site import SCHEME, LabClock
from cryofw.journal import JOURNAL_NAME, HostDied, MemoryStorage

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from datetime import datetime
    from typing import Any

    from cryofw.journal import MemoryDisk
    from cryofw.simulator import SimulatedLab, SimulatedPort
    from cryofw.transport import ByteStream

T = TypeVar("T")


class HostClock(LabClock):
    """The clock of one host, which somebody or something may set wrong."""

    def __init__(self, lab: SimulatedLab) -> None:
        super().__init__(lab)
        self.wrong_by_s = 0.0

    def now(self) -> datetime:
        """What this host takes for the time."""
        return super().now() + timedelta(seconds=self.wrong_by_s)


class _HostStorage(MemoryStorage):
    """The disk as one process sees it."""

    def __init__(
        self, disk: MemoryDisk, on_written: Callable[[], None], on_death: Callable[[], None]
    ) -> None:
        super().__init__(disk)
        self._on_written = on_written
        self._on_death = on_death

    def append(self, name: str, data: bytes) -> None:
        """Append; whoever watches sees the journal and the chips at this moment."""
        super().append(name, data)
        if name == JOURNAL_NAME:
            self._on_written()

    def die(self, *, holder: str = "the next process") -> MemoryStorage:
        """End; so does everything else of the host."""
        following = super().die(holder=holder)
        self._on_death()
        return following


class Host:
    """One process on one disk.

    Args:
        lab: the devices; an `Opener` for `sim://`.
        disk: its state directory, which outlives it.
        on_written: called after each record that is on disk.

    Attributes:
        storage: the disk's handle of this process; `die_at` and `fail_at` are its faults.
        sent: writes to lines so far.
        dead: it died.
        route: tells which device really hangs on the port of one.
        direct: its lines take bytes without waiting, as those of a descriptor do.
    """

    def __init__(
        self,
        lab: SimulatedLab,
        disk: MemoryDisk,
        clock: HostClock,
        on_written: Callable[[], None] = lambda: None,
    ) -> None:
        self.lab = lab
        self.clock = clock
        self.storage: MemoryStorage = _HostStorage(disk, on_written, self._fall)
        self.sent = 0
        self.dead = False
        self.route: Callable[[str], str] = lambda name: name
        self.direct = True
        self._die_at_send = -1
        self._too_late = False
        self._lines: list[_Line] = []
        self._main: asyncio.Task[Any] | None = None

    async def run(self, use: Coroutine[Any, Any, T]) -> T | None:
        """Run a use case to its end; None if the host died meanwhile.

        Raises:
            What the use case raises, while the host lives.
        """
        main = asyncio.get_running_loop().create_task(use)
        main.add_done_callback(_retrieve)
        self._main = main
        await asyncio.wait({main})
        return None if self.dead else main.result()

    def die(self) -> None:
        """End without warning."""
        if not self.dead:
            self.storage.die()

    def die_at_send(self, send: int, *, too_late: bool = False) -> None:
        """End at the `send`-th write to a line from now on; `too_late`: it still arrives."""
        self._die_at_send, self._too_late = self.sent + send, too_late

    def close(self) -> None:
        """The process is over: the kernel closes what it had open."""
        for line in self._lines:
            line.end()
        self._lines.clear()

    def _fall(self) -> None:
        self.dead = True
        self.close()
        if self._main is not None:
            self._main.cancel()

    async def open(self, url: str, *, baud: int) -> ByteStream:
        """See `Opener.open`."""
        if self.dead:
            raise HostDied("a dead host opens nothing")
        name = url.removeprefix(SCHEME)
        kind = _DirectLine if self.direct else _Line
        line = kind(self, await self.lab.open(SCHEME + self.route(name), baud=baud))
        self._lines.append(line)
        return line

    def forget(self, line: _Line) -> None:
        """A line was closed."""
        if line in self._lines:
            self._lines.remove(line)

    async def send(self, line: SimulatedPort, data: bytes) -> None:
        """Write to a line, unless the host is dead or dies here."""
        with self._sending():
            await line.write(data)

    def send_now(self, line: SimulatedPort, data: bytes) -> int:
        """As `send`, without waiting."""
        with self._sending():
            return line.write_now(data)

    @contextmanager
    def _sending(self) -> Iterator[None]:
        if self.dead:
            raise HostDied("a dead host sends nothing")
        dies = self.sent == self._die_at_send
        self.sent += 1
        if dies and not self._too_late:
            self._die_in("before it sent")
        try:
            yield
        finally:
            if dies and not self.dead:
                self._die_in("right after it sent")

    def _die_in(self, where: str) -> None:
        self.die()
        raise HostDied(f"power lost {where}")


def _retrieve(task: asyncio.Task[object]) -> None:
    """What a dead process failed with is of no interest to the loop."""
    if not task.cancelled():
        task.exception()


class _Line:
    """A line that ends with its host."""

    def __init__(self, host: Host, line: SimulatedPort) -> None:
        self._host = host
        self._line = line

    async def read(self, max_bytes: int = 65536) -> bytes:
        return await self._line.read(max_bytes)

    async def write(self, data: bytes) -> None:
        await self._host.send(self._line, data)

    async def close(self) -> None:
        if not self._host.dead:
            self._host.forget(self)
            await self._line.close()

    def end(self) -> None:
        """Give the port back without waiting, as the kernel does."""
        self._line.hang_up()


class _DirectLine(_Line):
    """A line that takes bytes without waiting."""

    def write_now(self, data: bytes) -> int:
        return self._host.send_now(self._line, data)
