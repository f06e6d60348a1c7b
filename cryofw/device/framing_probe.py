"""Finding out how a silent device lays its messages on the line: framed, or bare.

Console framing is tried first, for it disturbs nobody: a raw server reads `06` as an operation
that does not exist, or a length that no buffer has, and drops it. Bare bytes are tried only on a
port that was never heard, with a question that changes nothing and that holds no letter and no
newline: a shell reads backspace, control-A, control-F and bytes that are no text. Half a line is
left behind in a console, so the next framed request begins with a newline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.smp import RESYNC_S, Framing, messages
from cryofw.transport import StreamLost

if TYPE_CHECKING:
    from cryofw.clock import Clock
    from cryofw.device.line import DeviceLine
    from cryofw.device.session import Session
    from cryofw.device.target import Target

PROBE_EVERY_S = 15.0


class FramingProbe:
    """Tries the other framing when nothing answers to the present one."""

    def __init__(self, target: Target, line: DeviceLine, clock: Clock) -> None:
        self._target = target
        self._line = line
        self._clock = clock
        self._next_at = float("-inf")

    @property
    def _may_try(self) -> bool:
        if self._target.framing is not None or self._clock.monotonic() < self._next_at:
            return False
        # What once came framed, or as a log line, is a console for good. What answered bare may
        # have rebooted into a bootloader that does not.
        return not self._line.console_heard

    async def finds_other(self, session: Session) -> bool:
        """Ask in the other framing; True if that is how the device speaks, from now on.

        Nothing else may be under way.
        """
        if not self._may_try:
            return False
        self._next_at = self._clock.monotonic() + PROBE_EVERY_S
        present = self._line.framing
        other = Framing.RAW if present is Framing.CONSOLE else Framing.CONSOLE
        try:
            # A raw server has dropped by then what it took for half a message.
            await self._clock.sleep(RESYNC_S)
            self._line.speak(session, other)
            await session.exchange(
                messages.read_parameters(), timeout_s=self._target.timeouts.request_s
            )
        except (TimeoutError, StreamLost):
            self._line.speak(session, present)
            return False
        return True
