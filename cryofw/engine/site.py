"""The devices' side of a run: in which time they live and how their lines are opened.

A site whose ports are all `sim://` runs in virtual time; any real port makes it real time.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from cryofw.device import DeviceDriver, RetryRule, Target, Timeouts
from cryofw.engine.virtual_time import SystemClock, run_virtual
from cryofw.errors import CryofwError
from cryofw.smp import Framing
from cryofw.transport import (
    LockedOpener,
    PortLock,
    PortOpener,
    SchemeOpener,
    default_lock_directory,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator
    from pathlib import Path
    from types import FrameType

    from cryofw.clock import Clock
    from cryofw.device import PowerHook
    from cryofw.rollout import Connection
    from cryofw.simulator import SimulatedLab
    from cryofw.transport import Opener

T = TypeVar("T")

SIMULATED_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""Wall time of a simulated lab's clock at 0: fixed, so that a seed reproduces a journal."""

SCHEME = "sim://"


class LabClock:
    """The clock of a simulated lab: virtual, and never behind what an earlier process saw."""

    def __init__(self, lab: SimulatedLab) -> None:
        self._lab = lab

    def now(self) -> datetime:
        """The lab's time as a date."""
        return SIMULATED_EPOCH + timedelta(seconds=self._lab.now_s())

    def monotonic(self) -> float:
        """The loop's time in seconds."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Sleep on the loop's clock."""
        await asyncio.sleep(seconds)


class _LabPower:
    """The power hook of a simulated device: the lab's own switch."""

    def __init__(self, lab: SimulatedLab, port: str) -> None:
        self._lab = lab
        self._name = port.removeprefix(SCHEME)

    async def cycle(self, device: str) -> None:  # noqa: ARG002  # the port says which
        """See `PowerHook.cycle`."""
        self._lab.power_cycle(self._name)


@dataclass(frozen=True)
class Site:
    """Everything a use case needs to reach devices."""

    clock: Clock
    opener: Opener
    lab: SimulatedLab | None

    def driver(self, name: str, connection: Connection, *, hw: str, board: str) -> DeviceDriver:
        """A driver for one device."""
        target = Target(
            name=name,
            port=connection.port,
            baud=connection.baud,
            hw=hw or None,
            board=board,
            power_hook=connection.power_hook or None,
            reset_lines=connection.reset_lines,
            watchdog=connection.watchdog,
            boot_time_s=connection.boot_time_s,
            framing=None if connection.framing == "auto" else Framing(connection.framing),
            timeouts=Timeouts(
                request_s=connection.request_timeout_s, boot_s=connection.boot_limit_s
            ),
            retries=RetryRule(connection.retries, connection.backoff_s),
            overwrites=connection.overwrites,
        )
        power: PowerHook | None = None
        if self.lab is not None and connection.port.startswith(SCHEME) and target.power_hook:
            power = _LabPower(self.lab, connection.port)
        return DeviceDriver(target, self.opener, self.clock, power=power)


def is_simulated(ports: Iterable[str]) -> bool:
    """Whether virtual time may run: every port is `sim://`."""
    return all(port.startswith(SCHEME) for port in ports)


def run_on_site(
    state: Path,
    ports: Iterable[str],
    use: Callable[[Site], Awaitable[T]],
    on_interrupt: Callable[[], bool] = lambda: False,
) -> T:
    """Open the site of `ports`, run `use` on it to its end, and close it.

    Args:
        state: the state directory, where the simulated lab lies.
        ports: all ports that will be used; they are locked for this process.
        use: the use case.
        on_interrupt: called on Ctrl-C; False means: stop now.

    Raises:
        PortLocked: another process drives one of the devices.
        KeyboardInterrupt: Ctrl-C, and `on_interrupt` said to stop.
        What `use` raises.
    """
    ports = tuple(ports)

    async def main() -> T:
        with ExitStack() as stack:
            return await use(_open_site(state, ports, stack))

    with _interrupts(on_interrupt):
        if is_simulated(ports):
            return run_virtual(main())
        return asyncio.run(main())


def _open_site(state: Path, ports: tuple[str, ...], stack: ExitStack) -> Site:
    directory = default_lock_directory()
    locks = {
        port: stack.enter_context(PortLock(port, directory))
        for port in ports
        if not port.startswith(SCHEME)
    }
    real = LockedOpener(PortOpener(), locks)
    if not any(port.startswith(SCHEME) for port in ports):
        return Site(SystemClock(), real, None)
    from cryofw.simulator import SimulatedLab

    lab = SimulatedLab.load(state / "sim")
    lab.start()
    stack.callback(lab.close)
    clock: Clock = LabClock(lab) if is_simulated(ports) else SystemClock()
    return Site(clock, SchemeOpener({"sim": lab}, real), lab)


@contextmanager
def _interrupts(on_interrupt: Callable[[], bool]) -> Iterator[None]:
    """Ctrl-C asks first; only in the main thread, where signals can be had."""

    def handler(_signal: int, _frame: FrameType | None) -> None:
        if not on_interrupt():
            raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGINT, handler)
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def unwrap(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one error a task group failed with: the first of ours, else the first."""
    leaves = list(_leaves(group))
    return next((error for error in leaves if isinstance(error, CryofwError)), leaves[0])


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
