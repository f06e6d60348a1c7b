"""The host's ends of all lines of a lab: who listens to which device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.simulator.port import SimulatedPort
from cryofw.transport import PortUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryofw.simulator.controller import SimulatedController


class LabLines:
    """One listener at most per device, as on a serial port.

    Args:
        now_s: the lab's clock.
        on_traffic: called before bytes go to a device.
    """

    def __init__(self, now_s: Callable[[], float], on_traffic: Callable[[], None]) -> None:
        self._now_s = now_s
        self._on_traffic = on_traffic
        self._ports: dict[str, SimulatedPort] = {}
        self._listeners: dict[str, Callable[[bytes], None]] = {}
        self._unplugged: Callable[[str, float], None] | None = None
        self._sessions = 0

    def open_port(self, name: str, controller: SimulatedController, baud: int) -> SimulatedPort:
        """Open the line of a device as a byte stream.

        Raises:
            PortUnavailable: someone has it, or the cable is out.
        """
        if name in self._listeners:
            raise PortUnavailable(f"sim://{name} is in use", why="this program has it open")
        if controller.line.is_unplugged:
            raise PortUnavailable(f"cannot open sim://{name}", why="the cable is out")
        port = SimulatedPort(name, on_close=self._close_port)
        port.connect(self.attach(name, controller, port.deliver, baud))
        self._ports[name] = port
        return port

    def attach(
        self,
        name: str,
        controller: SimulatedController,
        listener: Callable[[bytes], None],
        baud: int,
    ) -> Callable[[bytes], None]:
        """Connect a listener; return what takes bytes for the device.

        Each attachment is a link of its own, also between processes (see `lease`).
        """
        if controller.spec.paced:
            controller.line.set_baud(baud)
        self._listeners[name] = listener
        self._sessions += 1
        session = int(self._now_s() * 1000) * 1000 + self._sessions

        def receive(data: bytes) -> None:
            self._on_traffic()
            controller.receive(data, session)

        return receive

    def detach(self, name: str) -> None:
        """Disconnect the listener of a device."""
        self._listeners.pop(name, None)

    def deliver(self, name: str, data: bytes) -> None:
        """Give bytes of a device to its listener; without one they are lost."""
        listener = self._listeners.get(name)
        if listener is not None:
            listener(data)

    def watch_unplugging(self, callback: Callable[[str, float], None]) -> None:
        """Tell whoever carries the lines elsewhere that a cable was pulled, and for how long."""
        self._unplugged = callback

    def unplug(self, name: str, for_s: float) -> None:
        """Break the line of a device; it can be opened again after `for_s` seconds."""
        port = self._ports.get(name)
        if port is not None:
            port.lose("the cable was pulled")
            self._close_port(name)
        if self._unplugged is not None:
            self._unplugged(name, for_s)

    def close(self) -> None:
        """Break all lines: the lab ends."""
        for port in self._ports.values():
            port.lose("the lab was closed")
        self._ports.clear()
        self._listeners.clear()

    def _close_port(self, name: str) -> None:
        self._ports.pop(name, None)
        self.detach(name)
