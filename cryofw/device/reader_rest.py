"""How long the answers to an upload may lie unread: one wake-up for several."""

from __future__ import annotations

from typing import Final

FEWEST_UNDER_WAY: Final = 3
SHORTEST_REST_S: Final = 0.002
"""The event loop's timers have a millisecond."""
LONGEST_REST_BYTES: Final = 3072
"""What the line may bring meanwhile: a driver keeps 4 KiB."""
KEPT_PACKETS: Final = 1.5
"""So many shall fill the line when the rest is over, besides those that a long way holds."""
_MORE_KEPT: Final = 0.5
# The way was measured without a device that writes its flash.
_WAY_MARGIN: Final = 1.2
_BITS_PER_BYTE: Final = 10
# Such a part of the time that its bytes take on the line is too soon for an answer.
_TOO_SOON: Final = 0.9


class ReaderRest:
    """Finds out how long a line stays busy with what is under way; no IO, no clock.

    A process that sleeps finds its code out of the processor's caches: most of what an answer
    costs is the waking. While enough packets are under way, no answer is urgent.

    It believes the bit rate only as far as answers bear it out. One that comes sooner than its
    packet could have passed shows another kind of line (USB, a network): no rest there. A rest in
    which even the newest packet was answered was too long: the next ones are shorter.

    Args:
        packet_s: seconds that a packet takes on the line.
        transit_s: round trip of a bit, on top of the line's own time.
        baud: bits per second.
    """

    __slots__ = ("_allowed", "_kept", "_longest_s", "_newest", "_packet_s")

    def __init__(self, *, packet_s: float, transit_s: float, baud: int) -> None:
        self._packet_s = packet_s
        self._kept = KEPT_PACKETS + _WAY_MARGIN * transit_s / packet_s
        self._longest_s = LONGEST_REST_BYTES * _BITS_PER_BYTE / baud
        self._allowed = True
        self._newest = 0

    def heard(self, number: int, took_s: float) -> None:
        """Packet `number` was answered after `took_s`."""
        if took_s < _TOO_SOON * self._packet_s:
            self._allowed = False
        if number == self._newest:
            self._kept += _MORE_KEPT

    def begin(self, under_way: int, newest: int) -> float:
        """Return how many seconds to rest now; 0: not at all.

        Args:
            under_way: packets without an answer.
            newest: the number of the last one.
        """
        self._newest = 0
        if not self._allowed or under_way < FEWEST_UNDER_WAY:
            return 0.0
        rest_s = min((under_way - self._kept) * self._packet_s, self._longest_s)
        if rest_s < SHORTEST_REST_S:
            return 0.0
        self._newest = newest
        return rest_s

    def end(self) -> None:
        """What came in the last rest was told, and there is no other."""
        self._newest = 0
