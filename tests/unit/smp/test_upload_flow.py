"""The window of an upload: how it grows, falls and is acquitted."""

from __future__ import annotations

import pytest

from cryofw.smp import MessageError, PlaceLost, UploadFlow, UploadPacket, UploadPlan, UploadStalled
from cryofw.smp.upload_flow import EAGER_CALM, MOST_STALLS, PROVEN_CALM, SHORTEST_CALM

PLAN = UploadPlan.of(bytes(4_000_000), max_packet=380)


def begun(most: int = 4) -> UploadFlow:
    flow = UploadFlow(PLAN, most=most)
    flow.begin(PLAN.end_of_chunk(0))
    return flow


def fill(flow: UploadFlow) -> list[UploadPacket]:
    packets = []
    while packet := flow.take():
        packets.append(packet)
    return packets


def calm(flow: UploadFlow, answers: int) -> None:
    """Let so many packets be answered well, one after the other."""
    sent: list[UploadPacket] = []
    for _ in range(answers):
        sent += fill(flow)
        packet = sent.pop(0)
        flow.answered(packet.number, packet.end)
    for packet in sent:
        flow.answered(packet.number, packet.end)


def test_nothing_goes_before_the_answer_to_the_first_packet() -> None:
    flow = UploadFlow(PLAN, most=4)
    assert flow.take() is None
    assert flow.next_off is None
    flow.begin(1000)
    (packet,) = fill(flow)
    assert packet.off == 1000
    assert packet.end == PLAN.end_of_chunk(1000)


def test_the_window_grows_to_what_the_buffers_bear() -> None:
    flow = begun(most=3)
    assert flow.window == 1
    calm(flow, EAGER_CALM)
    assert flow.window == 2
    calm(flow, 100)
    assert flow.window == 3


def test_a_gap_shows_at_once_and_the_chunk_goes_again() -> None:
    flow = begun()
    calm(flow, 40)
    window = flow.window
    lost, after = fill(flow)[:2]
    flow.answered(after.number, lost.off)
    assert flow.window == window - 1
    assert flow.losses == 1
    assert flow.next_off == lost.off
    flow.answered(lost.number, lost.end)
    assert flow.next_off == lost.off, "overtaken: an answer to it tells nothing any more"


def test_what_followed_a_gap_is_one_loss() -> None:
    flow = begun()
    calm(flow, 40)
    lost, *others = fill(flow)
    assert len(others) == 3
    flow.answered(others[0].number, lost.off)
    again = flow.take()
    assert again is not None
    assert again.off == lost.off
    for other in others[1:]:
        flow.answered(other.number, lost.off)
    assert flow.losses == 1
    flow.answered(again.number, again.end)
    assert flow.next_off == again.end


def test_a_lost_answer_is_made_good_by_the_next() -> None:
    flow = begun()
    calm(flow, 40)
    sent = fill(flow)
    flow.answered(sent[1].number, sent[1].end)
    assert flow.off == sent[1].end
    assert flow.under_way == len(sent) - 2
    assert flow.next_off == sent[-1].end, "nothing is sent again"


def test_a_window_that_fails_when_tried_waits_twice_as_long_each_time() -> None:
    """The server bears 2: whatever comes third is lost."""
    flow = begun(most=3)
    tries: list[int] = []
    answered = 0
    while len(tries) < 5:
        sent = fill(flow)
        if len(sent) > 2:
            tries.append(answered)
            flow.answered(sent[0].number, sent[0].end)
            flow.answered(sent[1].number, sent[1].end)
            late = flow.take()
            assert late is not None
            flow.answered(late.number, sent[2].off)
            answered = 0
            assert flow.window == 2
        else:
            for packet in sent:
                flow.answered(packet.number, packet.end)
            answered += len(sent)
    waits = tries[1:]
    assert waits == sorted(waits)
    assert waits[-1] >= 6 * waits[0]


def test_a_loss_after_long_calm_is_the_lines_doing() -> None:
    flow = begun(most=2)
    calm(flow, PROVEN_CALM + 20)
    lost, after = fill(flow)
    flow.answered(after.number, lost.off)
    assert flow.window == 1
    calm(flow, SHORTEST_CALM)
    assert flow.window == 2


def test_a_loss_at_window_one_acquits_the_window() -> None:
    flow = begun(most=2)
    for _ in range(8):
        while flow.window == 1:
            calm(flow, 1)
        lost, after = fill(flow)
        flow.answered(after.number, lost.off)
    assert flow.window == 1
    calm(flow, SHORTEST_CALM)
    assert flow.window == 1, "it has failed often"
    assert flow.take() is not None
    flow.lost()
    calm(flow, SHORTEST_CALM)
    assert flow.window == 2


def test_after_silence_one_packet_feels_the_way() -> None:
    flow = begun()
    calm(flow, 40)
    sent = fill(flow)
    assert len(sent) == 4
    flow.lost()
    (again,) = fill(flow)
    assert again.off == sent[0].off
    flow.answered(again.number, sent[-1].end)
    assert flow.next_off == sent[-1].end, "they had all arrived"


def test_a_busy_server_gets_the_same_chunk_again() -> None:
    flow = begun()
    packet = flow.take()
    assert packet is not None
    for _ in range(MOST_STALLS * 4):
        flow.turned_away(packet.number)
        again = flow.take()
        assert again is not None
        assert again.off == packet.off
        packet = again
    with pytest.raises(UploadStalled):
        flow.turned_away(packet.number)


def test_an_end_that_the_server_did_not_reach_is_sent_again() -> None:
    flow = UploadFlow(UploadPlan.of(bytes(800), max_packet=380), most=2)
    flow.begin(500)
    packet = flow.take()
    assert packet is not None
    assert packet.end == 800
    flow.answered(packet.number, 500)
    assert flow.next_off == 500


def test_offsets_that_cannot_be() -> None:
    flow = begun()
    packet = flow.take()
    assert packet is not None
    with pytest.raises(MessageError, match="does not have"):
        flow.answered(packet.number, PLAN.size + 1)
    packet = flow.take()
    assert packet is not None
    with pytest.raises(PlaceLost):
        flow.answered(packet.number, 0)


def test_an_image_that_is_there_already() -> None:
    flow = UploadFlow(PLAN)
    flow.begin(PLAN.size, match=True)
    assert flow.done
    assert flow.match is True
    assert flow.take() is None
