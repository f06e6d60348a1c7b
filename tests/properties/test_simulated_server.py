"""Whatever comes over the line, a simulated device answers or is silent, and never breaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cbor2
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cryofw.simulator import (
    ControllerSpec,
    FlashTiming,
    MemoryStorage,
    Mode,
    Ports,
    ServerProfile,
    SimulatedController,
)
from cryofw.simulator.ram import Ram
from cryofw.smp import HEADER_SIZE, Frame, FrameDecoder, Header, Message, Op, encode_frame

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGE = (
    0x96F3B83D.to_bytes(4, "little")
    + bytes(4)
    + b"\x20\x00\x00\x00\x40\x00\x00\x00"
    + bytes(16 + 64)
    + b"\x07\x69\x28\x00\x10\x00\x20\x00"
    + bytes(32)
)


class NoTimer:
    def cancel(self) -> None:
        """Time stands still in these tests."""


def device(mode: Mode, received: list[bytes]) -> SimulatedController:
    def call_later(_delay: float, _callback: Callable[[], None], /) -> NoTimer:
        return NoTimer()

    ports = Ports(
        now_s=lambda: 1000.0,
        call_later=call_later,
        send=received.append,
        validator=lambda _: True,
        save=_assert_kept,
    )
    storage = MemoryStorage(2 * 65536)
    storage.write(0, IMAGE)
    profile = ServerProfile(stats={"s": ("t",)}, tasks={1: 1})
    spec = ControllerSpec(
        "c1-a", slot_size=65536, profile=profile, paced=False, timing=FlashTiming(0.0, 0.0)
    )
    controller = SimulatedController(spec, storage, ports, ram=Ram(mode=mode))
    controller.resume()
    return controller


def _assert_kept(ram: Ram) -> None:
    assert Ram.from_json(ram.to_json()) == ram


KEYS = (
    "d off data len sha image upgrade hash confirm slot name names id owner rollout token ttl "
    "format query"
)
keys = st.sampled_from(KEYS.split())
values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 2000),
    st.integers(0, 2**64 - 1),
    st.floats(),
    st.binary(max_size=200),
    st.just(IMAGE[:100]),
    st.text(max_size=20),
    st.lists(st.text(max_size=5), max_size=3),
)
bodies = st.one_of(
    st.dictionaries(keys, values, max_size=6).map(cbor2.dumps),
    st.builds(
        lambda off, data, length: cbor2.dumps({"off": off, "data": data, "len": length}),
        st.sampled_from([0, 0, 3, 5, 144, 300]),
        st.sampled_from([IMAGE, IMAGE[:3], b"", b"12345", bytes(100)]),
        st.sampled_from([0, 3, 5, 5, 144, 300, 65536, 70000]),
    ),
    st.binary(max_size=60),
)
messages = st.builds(
    lambda op, version, group, command, seq, body, extra: (
        bytes([version << 3 | op, 0])
        + max(0, len(body) + extra).to_bytes(2, "big")
        + group.to_bytes(2, "big")
        + bytes([seq, command])
        + body
    ),
    st.sampled_from([0, 2, 0, 2, 0, 2, 1, 3, 7]),
    st.integers(0, 3),
    st.sampled_from([0, 1, 1, 2, 63, 64, 64, 65535]),
    st.integers(0, 9),
    st.integers(0, 255),
    bodies,
    st.sampled_from([0, 0, 0, 0, -2, 5]),
)
uploads = bodies.map(
    lambda body: b"\x0a\x00" + len(body).to_bytes(2, "big") + b"\x00\x01\x00\x01" + body
)
packets = st.one_of(uploads, messages).map(encode_frame)
wires = st.lists(st.one_of(packets, packets, st.binary(max_size=80)), max_size=12)


def upload_packet(**body: object) -> bytes:
    payload = cbor2.dumps(body)
    return encode_frame(b"\x0a\x00\x00" + bytes([len(payload)]) + b"\x00\x01\x00\x01" + payload)


@settings(max_examples=400, deadline=None)
@example(
    Mode.RECOVERY,
    [upload_packet(off=0, len=5, data=b"12345"), upload_packet(off=5, data=b"")],
)
@given(st.sampled_from([Mode.APPLICATION, Mode.RECOVERY]), wires)
def test_any_bytes(mode: Mode, wire: list[bytes]) -> None:
    received: list[bytes] = []
    controller = device(mode, received)
    for data in wire:
        controller.receive(data)
    for event in FrameDecoder().feed(b"".join(received)):
        assert isinstance(event, Frame)
        answer = Message.decode(event.message)
        assert answer.header.op in (Op.READ_RSP, Op.WRITE_RSP)
        assert answer.header.length == len(answer.payload)
        assert answer.body is not None


@settings(max_examples=100, deadline=None)
@given(messages)
def test_a_sound_request_is_answered_once(message: bytes) -> None:
    received: list[bytes] = []
    header = Header.decode(message)
    device(Mode.APPLICATION, received).receive(encode_frame(message))
    if header.length == len(message) - HEADER_SIZE and len(message) <= 380:
        (frame,) = FrameDecoder().feed(b"".join(received))
        assert isinstance(frame, Frame)
        assert Header.decode(frame.message).seq == header.seq
