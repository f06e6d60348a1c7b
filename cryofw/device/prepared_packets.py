"""The next packets of an upload, encoded before they may go."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryofw.device.session import Session
    from cryofw.smp import UploadPlan

AHEAD: Final = 8
"""Packets that are encoded in one go: after a sleep the first one costs as much as the others."""


class PreparedPackets:
    """Encodes the chunks of a plan for one session, some at a time."""

    __slots__ = ("_plan", "_ready", "_session")

    def __init__(self, plan: UploadPlan, session: Session) -> None:
        self._plan = plan
        self._session = session
        self._ready: deque[tuple[int, int, bytes]] = deque()

    def ensure(self, off: int) -> None:
        """Have the packet at `off` ready; what was prepared for elsewhere is dropped.

        Raises:
            MessageError: `off` is not inside the file.
        """
        if self._ready and self._ready[0][0] == off:
            return
        self._ready.clear()
        self._session.drop_prepared()
        for _ in range(AHEAD):
            seq, wire = self._session.prepare(self._encoder(off))
            self._ready.append((off, seq, wire))
            off = self._plan.end_of_chunk(off)
            if off == self._plan.size:
                return

    def take(self) -> tuple[int, bytes]:
        """Return sequence number and bytes of the packet that `ensure` named."""
        _, seq, wire = self._ready.popleft()
        return seq, wire

    def _encoder(self, off: int) -> Callable[[int], bytes]:
        return lambda seq: self._plan.encode_chunk(off, seq=seq)
