"""Who hears what becomes of the packets that it posts on a session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from cryofw.smp import Response
    from cryofw.transport import StreamLost


class Burst(Protocol):
    """Who sends packet after packet without a task for each: its answers come by callback.

    What is posted in them goes out in one write, after all that came was told.
    """

    def acknowledged(self, seq: int, off: int) -> None:
        """The usual answer to an upload packet: the device wants byte `off` next."""

    def answered(self, answer: Response) -> None:
        """Another answer to a packet that was posted and not forgotten."""

    def damaged(self) -> None:
        """A damaged frame came, most likely the answer to the oldest packet."""

    def settled(self) -> None:
        """All that has come was told, and what was posted meanwhile has been written."""

    def broken(self, error: StreamLost) -> None:
        """The line broke: no answer will come."""
