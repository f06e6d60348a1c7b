"""A lab on ptys, in real time: what a real lab looks like to any program on this host.

`DIR/NAME` is a symbolic link to the pty of each device, `DIR/control` a socket that takes orders
(`control`): power cycles above all, since a real lab has a command for them too.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
from typing import TYPE_CHECKING

from cryofw.errors import Refused
from cryofw.simulator.control import SOCKET_NAME, obey
from cryofw.transport import PtyPort, StreamLost

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cryofw.simulator.lab import SimulatedLab

_LONGEST_ORDER = 4096


class ServedDevice:
    """One device on a pty; the port disappears while its cable is out."""

    def __init__(self, lab: SimulatedLab, name: str, link: Path, baud: int) -> None:
        self._lab = lab
        self._name = name
        self._link = link
        self._baud = baud
        self._outbox: asyncio.Queue[bytes] = asyncio.Queue()
        self._gone = asyncio.Event()
        self._absent_s = 0.0

    def unplug(self, for_s: float) -> None:
        """Let the port disappear for a time."""
        self._absent_s = for_s
        self._gone.set()

    async def run(self, ready: Callable[[], None]) -> None:
        """Carry bytes until cancelled; `ready` is called when the port is first there."""
        while True:
            port = PtyPort(self._link)
            send = self._lab.lines.attach(
                self._name, self._lab.controller(self._name), self._outbox.put_nowait, self._baud
            )
            self._gone.clear()
            ready()
            pumps = [
                asyncio.ensure_future(self._carry_in(port, send)),
                asyncio.ensure_future(self._carry_out(port)),
                asyncio.ensure_future(self._gone.wait()),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
                self._lab.lines.detach(self._name)
                await port.close()
            await asyncio.sleep(self._absent_s)

    async def _carry_in(self, port: PtyPort, send: Callable[[bytes], None]) -> None:
        with contextlib.suppress(StreamLost):
            while data := await port.read():
                send(data)

    async def _carry_out(self, port: PtyPort) -> None:
        with contextlib.suppress(StreamLost):
            while True:
                await port.write(await self._outbox.get())


async def serve(
    lab: SimulatedLab,
    directory: Path,
    *,
    baud: int = 115200,
    on_ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve a running lab until cancelled; `on_ready` is called when every port is there.

    Args:
        lab: already started on the running (real-time) event loop.
        directory: gets one link per device and the control socket; made if absent.
        baud: how fast the lines are; a pty itself has no bit rate. 0 is as fast as it goes.

    Raises:
        Refused: the directory cannot be used, or another lab is served there.
    """
    control = directory / SOCKET_NAME
    _make_directory(directory)
    if await _is_served(control):
        raise Refused("a simulated lab is served there already", why=str(control))
    control.unlink(missing_ok=True)
    try:
        server = await asyncio.start_unix_server(
            functools.partial(_take_order, lab), control, limit=_LONGEST_ORDER
        )
    except OSError as error:
        raise _unusable(directory, error) from error
    waiting = set(lab.names)

    def ready(name: str) -> None:
        if name in waiting:
            waiting.remove(name)
            if not waiting:
                on_ready()

    devices = {name: ServedDevice(lab, name, directory / name, baud) for name in lab.names}
    lab.lines.watch_unplugging(lambda name, for_s: devices[name].unplug(for_s))
    try:
        async with server, asyncio.TaskGroup() as tasks:
            for name, device in devices.items():
                tasks.create_task(device.run(functools.partial(ready, name)))
    finally:
        control.unlink(missing_ok=True)


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(directory, error) from error


def _unusable(directory: Path, error: OSError) -> Refused:
    return Refused("the simulated lab cannot be served there", why=f"{directory}: {error.strerror}")


async def _is_served(control: Path) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(control)
    except OSError:
        return False
    writer.close()
    return True


async def _take_order(
    lab: SimulatedLab, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    with contextlib.suppress(OSError, ValueError):
        order = await reader.readline()
        writer.write(json.dumps(obey(lab, order.decode("utf-8", "replace"))).encode() + b"\n")
        await writer.drain()
    writer.close()
