"""How long answers may lie: only where the line stays busy meanwhile."""

from __future__ import annotations

import pytest

from cryofw.device.reader_rest import LONGEST_REST_BYTES, ReaderRest

PACKET_S = 0.005
BAUD = 1_000_000


def rest_of(transit_s: float = 0.0, baud: int = BAUD, packet_s: float = PACKET_S) -> ReaderRest:
    return ReaderRest(packet_s=packet_s, transit_s=transit_s, baud=baud)


@pytest.mark.parametrize(
    ("under_way", "transit_s", "packets"),
    [(1, 0.0, 0), (2, 0.0, 0), (3, 0.0, 1.5), (4, 0.0, 2.5), (8, 0.02, 1.7), (4, 0.02, 0)],
)
def test_some_packets_still_fill_the_line_afterwards(
    under_way: int, transit_s: float, packets: float
) -> None:
    assert rest_of(transit_s).begin(under_way, 9) == pytest.approx(packets * PACKET_S)


def test_a_driver_can_keep_what_comes_meanwhile() -> None:
    rest_s = rest_of(baud=9600, packet_s=1.5).begin(30, 40)
    assert rest_s * 9600 / 10 == pytest.approx(LONGEST_REST_BYTES)


def test_a_rest_shorter_than_a_timer_is_none() -> None:
    assert rest_of(packet_s=0.0005).begin(4, 9) == 0


def test_a_line_that_is_faster_than_its_rate_gets_no_rest() -> None:
    rest = rest_of()
    rest.heard(1, 0.004)
    assert rest.begin(4, 9) == 0


def test_a_rest_in_which_the_line_ran_dry_makes_the_next_ones_shorter() -> None:
    rest = rest_of()
    lengths = []
    for newest in (4, 8, 12, 16):
        lengths.append(rest.begin(4, newest))
        rest.heard(newest, 1.0)
    assert lengths == pytest.approx([2.5 * PACKET_S, 2 * PACKET_S, 1.5 * PACKET_S, PACKET_S])


def test_the_newest_packet_may_be_answered_when_the_rest_is_over() -> None:
    rest = rest_of()
    rest.begin(4, 7)
    rest.end()
    rest.heard(7, 1.0)
    assert rest.begin(4, 11) == pytest.approx(2.5 * PACKET_S)
