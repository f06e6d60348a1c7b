"""The port of the engine to whatever acts on devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from cryofw.health import Heartbeat, HeartbeatMissed, MetricSample
    from cryofw.rollout import Command, Event


class Hands(Protocol):
    """Does what the rollout decides. Never raises for what a device does: that is an event."""

    async def do(self, command: Command) -> Event:
        """Carry out one command, looking at the device first; the outcome as an event."""

    async def heartbeat(self, device: str) -> Heartbeat | HeartbeatMissed:
        """One heartbeat, renewing the device's lease when it is due."""

    async def metrics(self, device: str) -> MetricSample:
        """One sample of the metrics that the device measures; without values if it gives none."""

    async def lab_metrics(self, device: str) -> MetricSample | None:
        """The same of what the lab measures of it; None if that is nothing.

        It does not touch the device, and may take as long as a sample lasts.
        """

    async def let_go(self, device: str, *, release: bool) -> None:
        """Close the line; before that give back the lease, if it is to be released."""
