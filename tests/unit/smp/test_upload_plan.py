from __future__ import annotations

from hashlib import sha256

import pytest

from cryofw.smp import MessageError, UploadPlan

DATA = bytes(i * 7 & 0xFF for i in range(70_000))


def wire_size(plan: UploadPlan, off: int) -> int:
    return len(plan.chunk_at(off).encode(seq=0))


def test_the_first_packet_says_what_comes() -> None:
    plan = UploadPlan.of(DATA, max_packet=380, image=2, upgrade=True)
    body = dict(plan.chunk_at(0).body)
    data = body.pop("data")
    assert body == {
        "image": 2,
        "len": len(DATA),
        "off": 0,
        "sha": sha256(DATA).digest(),
        "upgrade": True,
    }
    assert isinstance(data, bytes)
    assert DATA.startswith(data)
    assert "upgrade" not in UploadPlan.of(DATA, max_packet=380).chunk_at(0).body
    assert set(plan.chunk_at(5).body) == {"off", "data"}


@pytest.mark.parametrize("max_packet", [380, 252, 1020, 4092])
def test_packets_fill_the_buffer_exactly(max_packet: int) -> None:
    plan = UploadPlan.of(DATA, max_packet=max_packet)
    for off in (0, 1, 23, 24, 255, 256, 3000, 65_000):
        assert wire_size(plan, off) == max_packet


def test_no_packet_is_ever_too_large() -> None:
    for max_packet in range(90, 700):
        plan = UploadPlan.of(DATA, max_packet=max_packet, upgrade=max_packet % 2 == 0)
        for off in (0, 1, 24, 300, 66_000):
            # one or two bytes stay free where a longer chunk would need a longer head
            assert max_packet - 2 <= wire_size(plan, off) <= max_packet


def test_the_chunks_are_the_file_in_order() -> None:
    plan = UploadPlan.of(DATA, max_packet=380)
    off, parts = 0, []
    while off < plan.size:
        request = plan.chunk_at(off)
        parts.append(request.body["data"])
        off = plan.end_of_chunk(off)
    assert b"".join(part for part in parts if isinstance(part, bytes)) == DATA


def test_the_server_s_offset_is_obeyed() -> None:
    plan = UploadPlan.of(DATA, max_packet=380)
    assert plan.chunk_at(12_345).body["off"] == 12_345
    assert plan.chunk_at(12_345) == plan.chunk_at(12_345)
    for off in (-1, len(DATA), len(DATA) + 1):
        with pytest.raises(MessageError, match="does not have"):
            plan.chunk_at(off)


def test_aligned_chunks() -> None:
    plan = UploadPlan.of(DATA[:5001], max_packet=380, alignment=32)
    ends = []
    off = 0
    while off < plan.size:
        off = plan.end_of_chunk(off)
        ends.append(off)
    assert ends[-1] == 5001
    assert [end % 32 for end in ends[:-1]] == [0] * (len(ends) - 1)


@pytest.mark.parametrize(
    ("max_packet", "alignment"),
    [(92, 1), (99, 1), (268, 1), (380, 1), (380, 32), (1020, 1), (1024, 32), (4092, 1)],
)
def test_the_short_way_of_encoding_gives_the_same_bytes(max_packet: int, alignment: int) -> None:
    plan = UploadPlan.of(DATA, max_packet=max_packet, alignment=alignment)
    for off in (1, 23, 24, 255, 256, 3000, 65_535, 65_536, 69_000, 69_977, 69_999):
        for seq, version in ((0, 2), (255, 1)):
            message = plan.encode_chunk(off, seq=seq, version=version)
            assert message == plan.chunk_at(off).encode(seq=seq, version=version)
    with pytest.raises(MessageError, match="does not have"):
        plan.encode_chunk(len(DATA), seq=0)


@pytest.mark.parametrize(
    ("data", "max_packet", "alignment", "why"),
    [
        (b"", 380, 1, "nothing to upload"),
        (DATA, 60, 1, "too small"),
        (DATA, 380, 512, "too small"),
        (DATA, 0, 1, "too small"),
        (DATA, -4, 1, "too small"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(
    data: bytes, max_packet: int, alignment: int, why: str
) -> None:
    with pytest.raises(MessageError, match=why):
        UploadPlan.of(data, max_packet=max_packet, alignment=alignment)
