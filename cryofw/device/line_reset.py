"""Resetting a device by the DTR and RTS of its own port."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.device.errors import DeviceUnreachable, PowerHookFailed
from cryofw.transport import NoControlLines, StreamLost, parse_line_steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryofw.device.line import DeviceLine


class LineReset:
    """A `PowerHook` that plays a sequence on DTR and RTS; the supply itself stays.

    Args:
        line: the device's port; opened if need be.
        steps: as fleet.yaml has them (see `transport.line_sequence`).
        clock: waits between the steps.
    """

    def __init__(self, line: DeviceLine, steps: Sequence[str]) -> None:
        self._line = line
        self._words = tuple(steps)
        self._steps = parse_line_steps(steps)

    async def cycle(self, device: str) -> None:
        """See `PowerHook.cycle`."""
        try:
            await self._line.play(self._steps)
        except (DeviceUnreachable, NoControlLines, StreamLost) as error:
            raise PowerHookFailed(
                f"the reset lines of {device} did not work",
                why=f"{', '.join(self._words)}: {error}",
                hint=error.hint or f"cycle the power of {device} by hand.",
            ) from error
