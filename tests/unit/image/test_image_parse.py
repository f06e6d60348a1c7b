from __future__ import annotations

import struct

import pytest

import cryofw.image
from cryofw.image import Header, HeaderFlag, ImageError, Tlv, Version, parse_image
from cryofw.image.tlv import AREA_LIMIT, encode_area, type_name

BODY = b"firmware"


def image(rest: bytes, *, header_size: int = 32, protected_size: int = 0) -> bytes:
    sizes = (header_size, protected_size, len(BODY))
    return struct.pack("<IIHHIIBBHII", 0x96F3B83D, 0, *sizes, 0, 1, 2, 3, 4, 0) + BODY + rest


def area(magic: int, content: bytes, *, total: int | None = None) -> bytes:
    return struct.pack("<HH", magic, 4 + len(content) if total is None else total) + content


EMPTY = area(0x6907, b"")
COUNTER = struct.pack("<HHI", 0x50, 4, 7)


def test_reads_an_image_of_empty_areas() -> None:
    parsed = parse_image(image(area(0x6908, b"") + EMPTY, protected_size=4))
    assert (parsed.version, parsed.body, parsed.tlvs) == (Version(1, 2, 3, 4), BODY, ())
    assert (parsed.hash, parsed.key_hash, parsed.padding) == (b"", b"", b"")


def test_what_follows_the_image_is_padding() -> None:
    parsed = parse_image(image(EMPTY + b"more"))
    assert (parsed.size, parsed.padding) == (32 + len(BODY) + 4, b"more")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "0 bytes are less"),
        (image(EMPTY)[:31], "31 bytes are less"),
        (image(EMPTY)[:32], "cut off"),
        (b"\0" + image(EMPTY)[1:], "it begins with"),
        (image(EMPTY, header_size=31), "header size is wrong"),
        (image(b""), "cut off"),
        (image(EMPTY[:3]), "cut off"),
        (image(area(0x6907, b"", total=3)), "size of a TLV area"),
        (image(area(0x6907, b"", total=5)), "size of a TLV area"),
        (image(area(0x6906, b"")), "no TLV area"),
        (image(area(0x6907, b"\1\0\0")), "3 bytes left"),
        (image(area(0x6907, struct.pack("<HH", 1, 1))), "longer than its area"),
        (image(EMPTY, protected_size=4), "protected TLV area is missing"),
        (image(area(0x6908, COUNTER) + EMPTY), "header says 0 bytes, the area itself 12"),
        (image(area(0x6908, COUNTER) + EMPTY, protected_size=11), "11 bytes, the area itself 12"),
        (image(area(0x6908, COUNTER) + EMPTY, protected_size=16), "16 bytes, the area itself 12"),
        (image(area(0x6908, COUNTER), protected_size=12), "cut off"),
        (image(area(0x6908, COUNTER) * 2, protected_size=12), "no TLV area"),
    ],
)
def test_refuses(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        parse_image(data)


def test_a_tlv_fits_16_bits() -> None:
    assert len(Tlv(0xFFFF, bytes(AREA_LIMIT)).value) == AREA_LIMIT
    for kind, value in ((0x1_0000, b""), (-1, b""), (0xA0, bytes(AREA_LIMIT + 1))):
        with pytest.raises(ImageError, match="16 bits"):
            Tlv(kind, value)


def test_an_area_fits_16_bits() -> None:
    largest = Tlv(0xA0, bytes(AREA_LIMIT - 8))
    assert len(encode_area(0x6908, [largest])) == AREA_LIMIT
    with pytest.raises(ImageError, match="65536 bytes"):
        encode_area(0x6908, [Tlv(0xA0, bytes(AREA_LIMIT - 7))])


def test_a_header_fits_its_fields() -> None:
    with pytest.raises(ImageError, match="does not fit"):
        Header(1 << 32, 32, 0, 8, 0, Version(1)).encode()


def test_names_of_flags_and_types() -> None:
    assert HeaderFlag.names(0x130) == ("NON_BOOTABLE", "RAM_LOAD", "ROM_FIXED")
    assert HeaderFlag.names(0x8000_0002) == ("0x80000002",)
    assert [type_name(kind) for kind in (0x10, 0xCFA0, 0x01A0, 0x99, 0xFFFF)] == [
        *("SHA256", "BOARD", "vendor 0x01a0", "unknown 0x0099", "unknown 0xffff")
    ]


def test_every_public_name_is_there() -> None:
    for name in cryofw.image.__all__:
        assert getattr(cryofw.image, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        cryofw.image.nothing  # type: ignore[attr-defined]  # noqa: B018  # that is the test
