"""The flow of one upload: which chunk goes next, and how many may be under way.

A serial line keeps the order of what it carries, and the server answers each chunk with the byte
it wants next. So an answer settles every packet that was sent before its own, a wrong offset
shows a loss at once and without a time-out, and whatever the server says is obeyed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryofw.errors import Refused
from cryofw.smp.body import MessageError

if TYPE_CHECKING:
    from cryofw.smp.upload import UploadPlan

EAGER_CALM: Final = 1
"""Answers without a loss after which a larger window is tried, as long as none was ever lost."""
SHORTEST_CALM: Final = 4
"""The same after a loss."""
LONGEST_CALM: Final = 1024
PROVEN_CALM: Final = 32
"""A window that so many answers came through did not cause the loss after them."""
MOST_STALLS: Final = 8
"""Answers without progress, for each packet under way, after which the server will never take it.
"""


class UploadStalled(Refused):
    """The server asks for the same byte again and again."""


class PlaceLost(Refused):
    """The server has forgotten the upload (it was reset): it has to begin again."""


@dataclass(slots=True)
class UploadPacket:
    """A chunk under way: bytes `off` to `end` of the file; `number` counts the packets sent."""

    number: int
    off: int
    end: int


class UploadFlow:
    """Sends the chunks of a plan through a window; no IO, no clock.

    The window begins at 1, grows by one after some calm and falls by one at a loss. A window that
    lost soon after it was tried is too large for the server: it is tried again only after twice
    the calm. A loss at window 1 acquits it, for that is the line's doing: on a noisy line a larger
    window is even better, since it shows a loss without a time-out.

    Args:
        plan: what goes, in packets that the server's buffer takes.
        most: packets that the server's buffers may bear at once; never more are under way.
    """

    def __init__(self, plan: UploadPlan, *, most: int = 1) -> None:
        self.plan = plan
        self.most = max(1, most)
        self.window = 1
        self.off = 0
        self.match: bool | None = None
        self.done = False
        self.losses = 0
        self._size = plan.size
        self._begun = False
        self._next = 0
        self._reached = 0
        self._numbers = 0
        self._under_way: dict[int, UploadPacket] = {}
        self._fruitless = 0
        self._calm = 0
        self._calm_wanted = EAGER_CALM

    @property
    def under_way(self) -> int:
        """Packets without an answer."""
        return len(self._under_way)

    @property
    def newest(self) -> int:
        """The number of the packet that was sent last; 0: none yet."""
        return self._numbers

    @property
    def grows_fast(self) -> bool:
        """Whether the window grows with every answer, for nothing was lost so far."""
        return self.window < self.most and not self.losses

    @property
    def all_sent(self) -> bool:
        """Whether the end of the file is under way."""
        return self._next >= self._size

    @property
    def may_send(self) -> bool:
        """Whether `take` has a packet."""
        return len(self._under_way) < self.window and self.next_off is not None

    @property
    def next_off(self) -> int | None:
        """Where the packet begins that would go next; None: there is none now."""
        if self._next >= self._size:
            if self.done or self._under_way:
                return None
            # All were sent and answered, but the server has not got to the end.
            self._next = self.off
        return None if self.done or not self._begun else self._next

    def begin(self, off: int, match: bool | None = None) -> None:
        """Go on from `off`, the answer to the first packet, which goes alone and elsewhere.

        Alone because the server erases then or resumes at another place, and because it must never
        be repeated unseen: what answers the next one may be a bootloader. Begins again after a
        lost place too; what was learned about the window stays known.

        Raises:
            MessageError: `off` is not inside the file.
            PlaceLost: `off` is 0: not even the first packet was taken.
        """
        self._under_way.clear()
        self._fruitless = self._calm = 0
        self.window = 1
        self._begun = True
        self._reached = 0
        self._next = self.off = off
        self._told(off, match)

    def take(self) -> UploadPacket | None:
        """Return the packet to send now, None if there is none or the window is full."""
        off = self.next_off
        if off is None or len(self._under_way) >= self.window:
            return None
        self._numbers += 1
        packet = UploadPacket(self._numbers, off, self.plan.end_of_chunk(off))
        self._next = packet.end
        self._under_way[packet.number] = packet
        return packet

    def answered(self, number: int, off: int, match: bool | None = None) -> None:
        """Take the answer to packet `number`: the server wants `off` next.

        An answer to a packet that is not under way any more (late, twice, overtaken) tells nothing
        new and is ignored.

        Raises:
            MessageError: `off` is not inside the file.
            PlaceLost: the server has forgotten the upload.
            UploadStalled: no progress for too long.
        """
        packet = self._under_way.pop(number, None)
        if packet is None:
            return
        overtook = self._settle_before(number)
        advanced = off > self._reached
        self._told(off, match)
        if self.done:
            return
        if off == packet.end:
            # After a needless repetition the server is ahead of us.
            self._next = max(self._next, off)
            if overtook:
                self._fall()
            else:
                self._grow()
            return
        if not advanced:
            self._count_stall()
        if off != self._next and not self._is_under_way(off):
            self._next = off
            self._fall()

    def turned_away(self, number: int) -> None:
        """Packet `number` was answered with a passing refusal: no buffer was free.

        Raises:
            UploadStalled: as `answered`.
        """
        packet = self._under_way.pop(number, None)
        if packet is None:
            return
        self._settle_before(number)
        self._count_stall()
        self._next = min(self._next, packet.off)
        self._fall()

    def lost(self) -> None:
        """Nothing came in time: give up all that is under way, and feel the way with one packet.

        A silence is more than a gap: the server may be rebooting.
        """
        self._under_way.clear()
        self._next = self.off
        self._fall()
        if self.window > 1:
            self.window, self._calm = 1, 0

    def _told(self, off: int, match: bool | None) -> None:
        if not 0 <= off <= self._size:
            raise MessageError(
                "the device asks for a byte that the image does not have",
                why=f"off {off} of {self._size} bytes",
            )
        if off == 0:
            raise PlaceLost("the device has forgotten the upload", why="it was reset")
        self.off = off
        if off > self._reached:
            self._reached = off
            self._fruitless = 0
        if off == self._size:
            self.done, self.match = True, match

    def _settle_before(self, number: int) -> bool:
        """Forget what was sent before packet `number`; True if there was something."""
        oldest = next(iter(self._under_way), number)
        if oldest > number:
            return False
        before = [sent for sent in self._under_way if sent < number]
        for sent in before:
            del self._under_way[sent]
        return bool(before)

    def _is_under_way(self, off: int) -> bool:
        return any(packet.off == off for packet in self._under_way.values())

    def _count_stall(self) -> None:
        self._fruitless += 1
        if self._fruitless > MOST_STALLS * self.most:
            raise UploadStalled(
                "the device does not take the image",
                why=f"it asks for byte {self.off} again and again",
            )

    def _grow(self) -> None:
        self._calm += 1
        if self._calm >= self._calm_wanted and self.window < self.most:
            self.window += 1
            self._calm = 0

    def _fall(self) -> None:
        self.losses += 1
        if self.window == 1:
            self._calm_wanted = SHORTEST_CALM
            return
        if self._calm < PROVEN_CALM:
            doubled = max(2 * self._calm_wanted, SHORTEST_CALM)
            self._calm_wanted = min(doubled, LONGEST_CALM)
        else:
            self._calm_wanted = SHORTEST_CALM
        self.window -= 1
        self._calm = 0
