from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

import pytest

from cryofw.image import (
    Algorithm,
    Dependency,
    HeaderFlag,
    ImageError,
    ImageOptions,
    ImageRejected,
    Payload,
    PublicKey,
    Tlv,
    TrailerLayout,
    Version,
    attach,
    build_image,
    parse_image,
)

Keys = Mapping[Algorithm, tuple[PublicKey, Callable[[bytes], bytes]]]
FIRMWARE = bytes(range(1, 201))
V1 = Version(1, 2, 3, 4)


def options(**changes: Any) -> ImageOptions:
    return ImageOptions(**{"version": V1, "pad_header": True, **changes})


def signed(keys: Keys, algorithm: Algorithm = Algorithm.ED25519, **changes: Any) -> bytes:
    key, sign = keys[algorithm]
    unsigned = build_image(Payload(FIRMWARE), options(**changes))
    return attach(unsigned, key, sign(unsigned.to_sign(algorithm)))


def test_header_is_laid_out_as_mcuboot_reads_it(image_keys: Keys) -> None:
    data = signed(image_keys, header_size=64, security_counter=7, load_addr=0x2000_0000)
    assert struct.unpack("<IIHHIIBBHII", data[:32]) == (
        *(0x96F3B83D, 0x2000_0000, 64, 12, len(FIRMWARE), HeaderFlag.RAM_LOAD, 1, 2, 3, 4, 0),
    )
    assert data[32:64] == b"\xff" * 32
    assert data[64:264] == FIRMWARE
    assert data[264:276] == struct.pack("<HHHHI", 0x6908, 12, 0x50, 4, 7)


def test_fields_are_read_back(image_keys: Keys) -> None:
    needed = (Dependency(1, Version(2, 0, 0, 7)), Dependency(0, Version(1)))
    image = parse_image(
        signed(
            image_keys,
            security_counter="auto",
            dependencies=needed,
            board="cc40",
            vendor_tlvs=(Tlv(0x01A0, b"lot 7"),),
            rom_fixed=0x0800_0000,
        )
    )
    assert image.version == V1
    assert image.security_counter == 0x0102_0003
    assert image.dependencies == needed
    assert image.board == "cc40"
    assert image.protected[-1] == Tlv(0x01A0, b"lot 7")
    assert (image.flags, image.load_addr) == (HeaderFlag.ROM_FIXED, 0x0800_0000)
    assert image.body == FIRMWARE
    assert image.bootable


def test_an_image_without_protected_records_has_no_protected_area(image_keys: Keys) -> None:
    image = parse_image(signed(image_keys))
    assert image.header.protected_size == 0
    assert image.protected == ()
    assert (image.security_counter, image.board, image.dependencies) == (None, None, ())


def test_hash_covers_header_body_and_protected_records(image_keys: Keys) -> None:
    data = signed(image_keys, security_counter=1)
    image = parse_image(data)
    assert image.hash == sha256(data[: 32 + len(FIRMWARE) + 12]).digest() == image.digest
    assert image.key_hash == sha256(image_keys[Algorithm.ED25519][0].encoded).digest()


def test_each_algorithm_signs_what_mcuboot_checks(image_keys: Keys) -> None:
    unsigned = build_image(Payload(FIRMWARE), options())
    assert unsigned.to_sign(Algorithm.ED25519) == sha256(unsigned.region).digest()
    for algorithm in set(Algorithm) - {Algorithm.ED25519}:
        assert unsigned.to_sign(algorithm) is unsigned.region


def test_room_for_the_header_may_be_in_the_firmware_already() -> None:
    unsigned = build_image(Payload(bytes(64) + FIRMWARE), ImageOptions(version=V1, header_size=64))
    assert unsigned.region[32:] == bytes(32) + FIRMWARE


def test_padding_ends_with_the_trailer(image_keys: Keys) -> None:
    data = signed(image_keys, slot_size=4096, pad=True)
    image = parse_image(data)
    assert len(data) == 4096
    assert data[-16:] == bytes.fromhex("77c295f360d2ef7f3552500f2cb67980")
    assert set(data[image.size : -16]) == {0xFF}
    confirmed = signed(image_keys, slot_size=4096, confirm=True)
    assert confirmed[-24] == 1
    assert confirmed[-23:] == data[-23:]


def test_wide_alignment_has_another_magic(image_keys: Keys) -> None:
    data = signed(image_keys, slot_size=32768, confirm=True, trailer=TrailerLayout(align=32))
    assert data[-16:] == bytes.fromhex("20002de15d29410b8d77679c110f1f8a")
    assert data[-64] == 1


@pytest.mark.parametrize(
    ("layout", "size"),
    [
        (TrailerLayout(), 128 * 3 + 32 + 16),
        (TrailerLayout(align=8), 128 * 3 * 8 + 32 + 16),
        (TrailerLayout(align=32), 128 * 3 * 32 + 128 + 32),
        (TrailerLayout(align=4, max_align=16, max_sectors=10), 10 * 3 * 4 + 64 + 16),
        (TrailerLayout(overwrite_only=True), 16 + 16),
    ],
)
def test_trailer_size(layout: TrailerLayout, size: int) -> None:
    assert layout.size == size


def test_an_image_may_fill_its_slot_to_the_last_byte(image_keys: Keys) -> None:
    size = len(signed(image_keys)) + TrailerLayout().size
    data = signed(image_keys, slot_size=size)
    assert len(data) == parse_image(data).size == size - TrailerLayout().size
    with pytest.raises(ImageError, match="1 more than the slot's"):
        signed(image_keys, slot_size=size - 1)


@pytest.mark.parametrize(
    ("payload", "changes", "reason"),
    [
        (b"", {}, "no firmware"),
        (bytes(32), {"pad_header": False}, "no firmware"),
        (FIRMWARE, {"pad_header": False}, "no room for the image header"),
        (bytes(4096), {"slot_size": 4096}, "does not fit its slot"),
        (FIRMWARE, {"vendor_tlvs": (Tlv(0xA0, bytes(65000)), Tlv(0xA1, bytes(600)))}, "too large"),
    ],
)
def test_refuses_to_build(payload: bytes, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        build_image(Payload(payload), options(**changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"header_size": 31}, "header size"),
        ({"header_size": 65536}, "header size"),
        ({"load_addr": 1, "rom_fixed": 1}, "not both"),
        ({"load_addr": 1 << 32}, "32 bits"),
        ({"load_addr": -1}, "32 bits"),
        ({"security_counter": 1 << 32}, "32 bits"),
        ({"security_counter": -1}, "32 bits"),
        ({"slot_size": 0}, "zero"),
        ({"slot_size": -4096}, "32 bits"),
        ({"pad": True}, "needs the slot size"),
        ({"confirm": True}, "needs the slot size"),
        ({"erased_value": 7}, "erased flash"),
        ({"board": ""}, "board name"),
        ({"board": "ä" * 33}, "board name"),
        ({"vendor_tlvs": (Tlv(0x50, b""),)}, "vendor"),
        ({"vendor_tlvs": (Tlv(0xFFFF, b""),)}, "vendor"),
        ({"vendor_tlvs": (Tlv(0xCFA0, b""),)}, "vendor"),
        ({"vendor_tlvs": (Tlv(0xA0, b"1"), Tlv(0xA0, b"2"))}, "twice"),
        ({"confirm": True, "slot_size": 4096, "erased_value": 0}, "flipped bit"),
    ],
)
def test_refuses_options(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        options(**changes)


def test_overwrite_only_cannot_be_confirmed() -> None:
    with pytest.raises(ImageError, match="overwrite-only"):
        options(confirm=True, slot_size=4096, trailer=TrailerLayout(overwrite_only=True))


@pytest.mark.parametrize(
    "layout", [{"align": 3}, {"align": 64}, {"max_align": 4}, {"max_sectors": 0}]
)
def test_refuses_a_trailer_that_mcuboot_does_not_have(layout: dict[str, int]) -> None:
    with pytest.raises(ImageError):
        TrailerLayout(**layout)  # type: ignore[arg-type]  # the parametrized keys are fields


def test_attach_proves_the_signature_first(image_keys: Keys) -> None:
    key, sign = image_keys[Algorithm.ECDSA_P256]
    unsigned = build_image(Payload(FIRMWARE), options())
    other = build_image(Payload(FIRMWARE), options(version=Version(9)))
    with pytest.raises(ImageRejected, match="does not verify"):
        attach(unsigned, key, sign(other.to_sign(Algorithm.ECDSA_P256)))


def test_attach_refuses_a_published_key(image_keys: Keys) -> None:
    class PublishedKey(PublicKey):
        key_hash = bytes.fromhex(  # MCUboot's root-ed25519
            "c1907fa4eac7fae3840a78902b6f0710b037e9968e5c6274a12a28790c7d4e3c"
        )

    key, sign = image_keys[Algorithm.ED25519]
    unsigned = build_image(Payload(FIRMWARE), options())
    with pytest.raises(ImageRejected, match="published"):
        attach(unsigned, PublishedKey(key.algorithm, key.encoded), sign(unsigned.hash))


def test_importing_the_room_is_cheap() -> None:
    heavy = ("cryptography", "pydantic", "yaml", "cbor2", "click", "asyncio", "rich")
    code = (
        "import sys, cryofw.image as room; [getattr(room, name) for name in room.__all__]; "
        f"print(*[name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
