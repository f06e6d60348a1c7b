"""The upload flow against a model of a server, over a line that drops, repeats and delays."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from cryofw.smp import (
    Header,
    MessageError,
    PlaceLost,
    UploadFlow,
    UploadPacket,
    UploadPlan,
    UploadStalled,
    decode_body,
)

MAX_PACKET = 128


class Fate(Enum):
    """What becomes of a packet and the answer to it."""

    GOOD = "good"
    REQUEST_LOST = "request lost"
    ANSWER_LOST = "answer lost"
    REQUEST_TWICE = "request twice"
    ANSWER_TWICE = "answer twice"
    ANSWER_LATE = "answer late"
    SWAPPED = "request overtaken by the next"
    CUT = "taken in part"
    NO_BUFFER = "refused for the moment"
    RESET = "reset"


CALM = st.just(Fate.GOOD)
ROUGH = st.sampled_from([fate for fate in Fate if fate is not Fate.RESET])
WILD = st.sampled_from(Fate)


@dataclass
class Server:
    """Takes chunks in order; keeps `room` packets at most that it has not answered."""

    size: int
    room: int
    received: bytearray
    queue: deque[tuple[int, int, bytes, Fate]] = field(default_factory=deque)
    longest: int = 0

    def take(self, packet: UploadPacket, message: bytes, fate: Fate) -> None:
        self.longest = max(self.longest, len(message))
        body = decode_body(message[8:])
        off, data = body["off"], body["data"]
        assert isinstance(off, int)
        assert isinstance(data, bytes)
        assert message[:8] == Header(2, 2, 0, len(message) - 8, 1, packet.number % 256, 1).encode()
        if fate is Fate.REQUEST_LOST or len(self.queue) >= self.room:
            return
        self.queue.append((packet.number, off, data, fate))
        if fate is Fate.REQUEST_TWICE:
            self.queue.append((packet.number, off, data, Fate.GOOD))
        if fate is Fate.SWAPPED and len(self.queue) > 1:
            self.queue[-1], self.queue[-2] = self.queue[-2], self.queue[-1]

    def answer(self) -> list[tuple[int, int | None, bool]]:
        """Work on one packet; (number, off or None for no buffer, late) of each answer."""
        number, off, data, fate = self.queue.popleft()
        if fate is Fate.NO_BUFFER:
            return [(number, None, False)]
        if fate is Fate.RESET:
            self.received.clear()
            self.queue.clear()
            return []
        if off == len(self.received) and self.received:
            taken = data[: len(data) // 2] if fate is Fate.CUT and len(data) > 1 else data
            self.received += taken
        answer: tuple[int, int | None, bool]
        answer = (number, len(self.received), fate is Fate.ANSWER_LATE)
        if fate is Fate.ANSWER_LOST:
            return []
        return [answer] * (2 if fate is Fate.ANSWER_TWICE else 1)


def run(
    data: bytes, fates: list[Fate], *, most: int, room: int, start: int
) -> tuple[UploadFlow, Server]:
    """Carry an upload to its end; what is not said in `fates` goes well."""
    plan = UploadPlan.of(data, max_packet=MAX_PACKET)
    flow = UploadFlow(plan, most=most)
    start = min(start, plan.end_of_chunk(0)) or plan.end_of_chunk(0)
    server = Server(len(data), room, bytearray(data[:start]))
    late: list[tuple[int, int]] = []
    script = iter(fates)
    flow.begin(start)
    steps = 0
    while not flow.done:
        steps += 1
        assert steps < 100 * len(data), "it never ends"
        while (packet := flow.take()) is not None:
            assert flow.under_way <= flow.window <= flow.most == most
            message = plan.encode_chunk(packet.off, seq=packet.number % 256)
            server.take(packet, message, next(script, Fate.GOOD))
        if not server.queue:
            assert flow.under_way, "nothing is under way and nothing goes"
            flow.lost()
            for number, off in late:
                flow.answered(number, off)
            late.clear()
            continue
        for number, told, is_late in server.answer():
            if told is None:
                flow.turned_away(number)
            elif is_late:
                late.append((number, told))
            else:
                flow.answered(number, told, True if told == len(data) else None)
    return flow, server


@given(
    data=st.binary(min_size=1, max_size=3000),
    fates=st.lists(ROUGH, max_size=60),
    most=st.integers(1, 6),
    room=st.integers(1, 6),
    start=st.integers(0, 200),
)
def test_it_ends_with_the_right_bytes_or_a_clear_error(
    data: bytes, fates: list[Fate], most: int, room: int, start: int
) -> None:
    try:
        flow, server = run(data, fates, most=most, room=room, start=start)
    except UploadStalled:
        event("stalled")
        assert len(fates) >= 8, "a few faults do not stop it"
        return
    assert bytes(server.received) == data
    assert server.longest <= MAX_PACKET
    assert flow.off == len(data)
    assert flow.take() is None


@given(
    data=st.binary(min_size=600, max_size=3000),
    fates=st.lists(WILD, max_size=40),
    most=st.integers(1, 6),
)
def test_a_reset_is_told_and_never_uploaded_over(data: bytes, fates: list[Fate], most: int) -> None:
    try:
        _, server = run(data, fates, most=most, room=9, start=0)
    except PlaceLost:
        event("place lost")
        return
    except UploadStalled:
        return
    assert bytes(server.received) == data


@given(
    answers=st.lists(st.tuples(st.integers(0, 9), st.integers(-5, 5000)), max_size=300),
    most=st.integers(1, 6),
)
def test_whatever_a_server_says_it_goes_on_or_stops(
    answers: list[tuple[int, int]], most: int
) -> None:
    plan = UploadPlan.of(bytes(4000), max_packet=MAX_PACKET)
    flow = UploadFlow(plan, most=most)
    flow.begin(40)
    numbers = [0]
    try:
        for back, off in answers:
            while (packet := flow.take()) is not None:
                numbers.append(packet.number)
                assert flow.under_way <= most
            flow.answered(numbers[-1 - min(back, len(numbers) - 1)], off)
            assert flow.done or flow.under_way or flow.next_off is not None
    except (MessageError, PlaceLost, UploadStalled) as error:
        event(type(error).__name__)


def test_a_server_that_never_takes_a_chunk_is_given_up() -> None:
    flow = UploadFlow(UploadPlan.of(bytes(4000), max_packet=MAX_PACKET))
    flow.begin(40)
    for _ in range(8):
        packet = flow.take()
        assert packet is not None
        flow.answered(packet.number, 40)
    packet = flow.take()
    assert packet is not None
    with pytest.raises(UploadStalled, match="byte 40 again"):
        flow.answered(packet.number, 40)
