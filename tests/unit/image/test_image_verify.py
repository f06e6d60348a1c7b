"""Each test is one way to slip an image past a verifier; none may work."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any

import pytest

from cryofw.image import (
    Algorithm,
    ImageOptions,
    ImageRejected,
    Payload,
    PublicKey,
    TrailerLayout,
    Version,
    attach,
    build_image,
    verify_image,
)

Sign = Callable[[bytes], bytes]
Keys = Mapping[Algorithm, tuple[PublicKey, Sign]]
Record = tuple[int, bytes]
BODY = b"firmware" * 4
SIGNATURE_TYPES = {"ecdsa-p256": 0x22, "ed25519": 0x24, "rsa-2048": 0x20, "rsa-3072": 0x23}
HASH, KEYHASH = 0x10, 0x01


def area(magic: int, records: Sequence[Record]) -> bytes:
    content = b"".join(struct.pack("<HH", kind, len(value)) + value for kind, value in records)
    return struct.pack("<HH", magic, 4 + len(content)) + content


class Forge:
    """Writes images by hand, as an attacker or a careless tool would, and signs them for real."""

    def __init__(self, algorithm: Algorithm, key: PublicKey, sign: Sign) -> None:
        self.algorithm, self.key, self.sign = algorithm, key, sign

    def region(self, protected: Sequence[Record] | bytes = (), **fields: int) -> bytes:
        if not isinstance(protected, bytes):
            protected = area(0x6908, protected) if protected else b""
        header = {
            "magic": 0x96F3B83D,
            "load_addr": 0,
            "header_size": 32,
            "protected_size": len(protected),
            "body_size": len(BODY),
            "flags": 0,
            **dict.fromkeys(("major", "minor", "revision", "build", "reserved"), 0),
            **fields,
        }
        return struct.pack("<IIHHIIBBHII", *header.values()) + BODY + protected

    def records(self, region: bytes) -> list[Record]:
        digest = sha256(region).digest()
        message = digest if self.algorithm is Algorithm.ED25519 else region
        return [
            (HASH, digest),
            (KEYHASH, self.key.key_hash),
            (SIGNATURE_TYPES[self.algorithm], self.sign(message)),
        ]

    def image(self, protected: Sequence[Record] | bytes = (), **fields: int) -> bytes:
        region = self.region(protected, **fields)
        return region + area(0x6907, self.records(region))

    def refused(self, data: bytes, **options: Any) -> str:
        with pytest.raises(ImageRejected) as caught:
            verify_image(data, [self.key], **options)
        return str(caught.value)


@pytest.fixture(params=Algorithm)
def forge(request: pytest.FixtureRequest, image_keys: Keys) -> Forge:
    algorithm: Algorithm = request.param
    return Forge(algorithm, *image_keys[algorithm])


@pytest.fixture
def quick(image_keys: Keys) -> Forge:
    return Forge(Algorithm.ED25519, *image_keys[Algorithm.ED25519])


def padded(keys: Keys, **changes: Any) -> bytes:
    key, sign = keys[Algorithm.ED25519]
    fields = {"version": Version(1), "pad_header": True, "slot_size": 2048, "pad": True}
    unsigned = build_image(Payload(BODY), ImageOptions(**{**fields, **changes}))
    return attach(unsigned, key, sign(unsigned.to_sign(key.algorithm)))


def test_accepts_what_is_in_order(forge: Forge) -> None:
    protected = [(0x50, struct.pack("<I", 7)), (0x40, bytes(12)), (0x40, bytes(12)), (0xA0, b"v")]
    verified = verify_image(forge.image(protected), [forge.key])
    assert verified.key is forge.key
    assert verified.image.security_counter == 7
    assert (verified.padded, verified.confirmed) == (False, False)


def test_finds_the_signer_among_all_keys(forge: Forge, image_keys: Keys) -> None:
    keys = [key for key, _ in image_keys.values()]
    assert verify_image(forge.image(), keys).key == forge.key


def test_no_key_verifies_nothing(forge: Forge) -> None:
    with pytest.raises(ImageRejected, match="without a key"):
        verify_image(forge.image(), [])


def test_every_bit_counts(forge: Forge) -> None:
    data = forge.image([(0x50, struct.pack("<I", 7))])
    for position in range(len(data)):
        for bit in range(8) if forge.algorithm is Algorithm.ED25519 else (position % 8,):
            flipped = bytearray(data)
            flipped[position] ^= 1 << bit
            forge.refused(bytes(flipped))


def test_every_length_but_the_right_one_is_refused(forge: Forge) -> None:
    data = forge.image()
    for length in range(len(data)):
        forge.refused(data[:length])
    for extra in (b"\0", b"\xff", b"\xff" * 16, data):
        forge.refused(data + extra)
        forge.refused(extra + data)


def test_a_key_that_is_not_trusted(quick: Forge, image_keys: Keys) -> None:
    with pytest.raises(ImageRejected, match="not trusted"):
        verify_image(quick.image(), [image_keys[Algorithm.ECDSA_P256][0]])


def test_keyhash_of_a_trusted_key_that_did_not_sign(quick: Forge, image_keys: Keys) -> None:
    other = image_keys[Algorithm.RSA_2048][0]
    region = quick.region()
    records = quick.records(region)
    records[1] = (KEYHASH, other.key_hash)
    with pytest.raises(ImageRejected, match="another kind than its key"):
        verify_image(region + area(0x6907, records), [quick.key, other])


@pytest.mark.parametrize("size", [2048, 3072])
def test_rsa_signature_of_the_other_size(image_keys: Keys, size: int) -> None:
    mine, theirs = Algorithm(f"rsa-{size}"), Algorithm(f"rsa-{5120 - size}")
    key, _ = image_keys[mine]
    forge = Forge(theirs, key, image_keys[theirs][1])
    assert "another kind than its key" in forge.refused(forge.image())
    forge.algorithm = mine
    assert "bytes instead of" in forge.refused(forge.image())


def test_zero_signature(forge: Forge) -> None:
    region = forge.region()
    records = forge.records(region)
    kind, signature = records[2]
    records[2] = (kind, bytes(len(signature)))
    assert "malformed" in forge.refused(region + area(0x6907, records))


def test_signature_with_bytes_behind_it(forge: Forge) -> None:
    region = forge.region()
    records = forge.records(region)
    kind, signature = records[2]
    records[2] = (kind, signature + b"\0")
    assert "malformed" in forge.refused(region + area(0x6907, records))


def test_hash_that_is_not_of_the_content(forge: Forge) -> None:
    region = forge.region()
    records = forge.records(region)
    records[0] = (HASH, bytes(32))
    assert "damaged" in forge.refused(region + area(0x6907, records))


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ((0x50, struct.pack("<I", 99)), "CVE-2024-32883"),
        ((0x40, bytes(12)), "CVE-2024-32883"),
        ((0x60, b"\xa0"), "CVE-2024-32883"),
        ((0x74, bytes(16)), "CVE-2024-32883"),
        ((0x75, bytes(16)), "CVE-2024-32883"),
        ((0x00A0, b"vendor"), "CVE-2024-32883"),
        ((0xCFA0, b"other-board"), "CVE-2024-32883"),
        ((0x70, bytes(4)), "unknown"),
        ((0x25, b"\x01"), "SIG_PURE"),
        ((0x02, b"key"), "PUBKEY"),
        ((0x12, bytes(64)), "other than SHA-256"),
        ((0x31, bytes(24)), "encrypted"),
        ((0x3E, bytes(24)), "encrypted"),
        ((0x99, b""), "unknown"),
        ((0xFFFF, b""), "unknown"),
    ],
)
@pytest.mark.parametrize("position", [0, 2, 3])
def test_injected_unprotected_record(
    quick: Forge, record: Record, reason: str, position: int
) -> None:
    region = quick.region()
    records = quick.records(region)
    records.insert(position, record)
    assert reason in quick.refused(region + area(0x6907, records))


@pytest.mark.parametrize("position", [0, 1, 2])
def test_doubled_record(quick: Forge, position: int) -> None:
    region = quick.region()
    records = quick.records(region)
    records.insert(position, records[position])
    assert "twice" in quick.refused(region + area(0x6907, records))


def test_two_signatures_by_two_trusted_keys(quick: Forge, image_keys: Keys) -> None:
    region = quick.region()
    second = Forge(Algorithm.ECDSA_P256, *image_keys[Algorithm.ECDSA_P256])
    records = [*quick.records(region), second.records(region)[2]]
    with pytest.raises(ImageRejected, match="two signatures"):
        verify_image(region + area(0x6907, records), [quick.key, second.key])


@pytest.mark.parametrize("order", [(1, 0, 2), (2, 1, 0), (0, 2, 1)])
def test_records_in_another_order(quick: Forge, order: tuple[int, int, int]) -> None:
    region = quick.region()
    records = quick.records(region)
    data = region + area(0x6907, [records[index] for index in order])
    assert "not as they must be" in quick.refused(data)


@pytest.mark.parametrize("kept", [(), (0,), (0, 1)])
def test_unsigned_image(quick: Forge, kept: tuple[int, ...]) -> None:
    region = quick.region()
    records = quick.records(region)
    data = region + area(0x6907, [records[index] for index in kept])
    assert "not signed" in quick.refused(data)


def test_pure_signature(quick: Forge) -> None:
    region = quick.region()
    records = [(0x25, b"\x01"), *quick.records(region)[1:2], (0x24, quick.sign(region))]
    assert "SIG_PURE" in quick.refused(region + area(0x6907, records))


def test_pure_signature_without_its_mark(quick: Forge) -> None:
    region = quick.region()
    records = quick.records(region)
    records[2] = (0x24, quick.sign(region))
    assert "does not verify" in quick.refused(region + area(0x6907, records))


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (0x4, "encrypted"),
        (0x8, "encrypted"),
        (0x200, "compressed"),
        (0x400, "compressed"),
        (0x800, "compressed"),
        (0x2, "unknown flags"),
        (0x8000_0000, "unknown flags"),
    ],
)
def test_flags_that_are_not_supported(quick: Forge, flags: int, reason: str) -> None:
    assert reason in quick.refused(quick.image(flags=flags))


def test_an_image_that_never_boots_says_so(quick: Forge) -> None:
    assert not verify_image(quick.image(flags=0x10), [quick.key]).image.bootable


def test_reserved_header_field(quick: Forge) -> None:
    assert "reserved" in quick.refused(quick.image(reserved=1))


@pytest.mark.parametrize(
    ("protected", "reason"),
    [
        ([(0x50, bytes(4)), (0x50, bytes(4))], "twice"),
        ([(0xA0, b"1"), (0xA0, b"2")], "twice"),
        ([(0x50, bytes(5))], "wrong size"),
        ([(0x40, bytes(11))], "wrong size"),
        ([(0x74, bytes(15))], "wrong size"),
        ([(0xCFA0, b"\xff")], "not UTF-8"),
        ([(0x01, bytes(32))], "protected area"),
        ([(0x10, bytes(32))], "protected area"),
        ([(0x24, bytes(64))], "protected area"),
        ([(0x25, b"\x01")], "protected area"),
        ([(0x70, bytes(4))], "is not compressed"),
        ([(0x77, b"")], "protected area"),
    ],
)
def test_protected_records_that_are_signed_but_wrong(
    quick: Forge, protected: list[Record], reason: str
) -> None:
    assert reason in quick.refused(quick.image(protected))


@pytest.mark.parametrize(
    "fields",
    [
        {"protected_size": 0},
        {"protected_size": 11},
        {"protected_size": 13},
        {"protected_size": 0xFFFF},
        {"body_size": len(BODY) - 1},
        {"body_size": len(BODY) + 1},
        {"body_size": 0xFFFF_FFFF},
        {"body_size": 0xFFFF_FFE0},
        {"header_size": 0},
        {"header_size": 31},
        {"header_size": 0xFFFF},
        {"magic": 0x96F3B83C},
    ],
)
def test_sizes_that_do_not_agree(quick: Forge, fields: dict[str, int]) -> None:
    quick.refused(quick.image([(0x50, bytes(4))], **fields))


def test_protected_size_without_an_area(quick: Forge) -> None:
    assert "missing" in quick.refused(quick.image(protected_size=12))


@pytest.mark.parametrize("total", [0, 3, 5, 0xFFFF])
def test_area_size_that_is_wrong(quick: Forge, total: int) -> None:
    region = quick.region()
    data = bytearray(region + area(0x6907, quick.records(region)))
    struct.pack_into("<H", data, len(region) + 2, total)
    quick.refused(bytes(data))


def test_record_that_runs_out_of_the_protected_area(quick: Forge) -> None:
    protected = struct.pack("<HHHH", 0x6908, 8, 0xA0, 200)
    assert "longer than its area" in quick.refused(quick.image(protected))


def test_published_key_as_the_trusted_key(quick: Forge) -> None:
    class PublishedKey(PublicKey):
        key_hash = bytes.fromhex(  # MCUboot's root-ec-p256
            "e30466f6b8470c1f29070b17f1e2d3e94d445e3f608087fdc711e4382bb538b6"
        )

    published = PublishedKey(quick.key.algorithm, quick.key.encoded)
    for keys in ([published], [quick.key, published]):
        with pytest.raises(ImageRejected, match="root-ec-p256"):
            verify_image(quick.image(), keys)


@pytest.mark.parametrize(
    ("name", "key_hash"),
    [
        ("root-ec-p256", "e30466f6b8470c1f29070b17f1e2d3e94d445e3f608087fdc711e4382bb538b6"),
        ("root-rsa-2048", "fc5701dc6135e1323847bdc40f04d2e5bee5833b23c29f93593d00018cfa9994"),
        ("root-rsa-3072", "449793fb65cd7698753d5b3f35fab15f1e3a45111ff24e1d46741de5ae12d59e"),
        ("root-ed25519", "c1907fa4eac7fae3840a78902b6f0710b037e9968e5c6274a12a28790c7d4e3c"),
    ],
)
def test_image_that_names_a_published_key(quick: Forge, name: str, key_hash: str) -> None:
    region = quick.region()
    records = quick.records(region)
    records[1] = (KEYHASH, bytes.fromhex(key_hash))
    assert name in quick.refused(region + area(0x6907, records))


def test_padded_file_needs_its_slot_size(image_keys: Keys, quick: Forge) -> None:
    data = padded(image_keys)
    assert "slot whose size is not known" in quick.refused(data)
    assert "another slot size" in quick.refused(data, slot_size=4096)
    verified = verify_image(data, [quick.key], slot_size=2048)
    assert (verified.padded, verified.confirmed) == (True, False)
    verified = verify_image(padded(image_keys, confirm=True), [quick.key], slot_size=2048)
    assert (verified.padded, verified.confirmed) == (True, True)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"confirm": True},
        {"erased_value": 0},
        {"slot_size": 16384, "trailer": TrailerLayout(align=32), "confirm": True},
    ],
)
def test_every_byte_of_padding_counts(
    image_keys: Keys, quick: Forge, changes: dict[str, Any]
) -> None:
    data = padded(image_keys, **changes)
    known = {"slot_size": len(data), "erased_value": changes.get("erased_value", 0xFF)}
    image = verify_image(data, [quick.key], **known).image
    positions = [*range(image.size, image.size + 4), *range(len(data) - 140, len(data))]
    for position in positions:
        for bit in range(8):
            flipped = bytearray(data)
            flipped[position] ^= 1 << bit
            quick.refused(bytes(flipped), **known)
        quick.refused(data[:position] + data[position + 1 :], **known)
        quick.refused(data[:position] + b"\xff" + data[position:], **known)


def test_padding_of_the_other_erased_value(image_keys: Keys, quick: Forge) -> None:
    data = padded(image_keys, erased_value=0)
    assert "not erased flash" in quick.refused(data, slot_size=2048)


def test_padding_without_room_for_a_trailer(quick: Forge) -> None:
    data = quick.image() + bytes.fromhex("77c295f360d2ef7f3552500f2cb67980")
    assert "no trailer" in quick.refused(data, slot_size=len(data))


def test_padding_that_is_just_the_smallest_trailer(image_keys: Keys, quick: Forge) -> None:
    overwrite_only = TrailerLayout(overwrite_only=True)
    size = len(padded(image_keys, pad=False)) + overwrite_only.size
    data = padded(image_keys, slot_size=size, trailer=overwrite_only)
    assert verify_image(data, [quick.key], slot_size=size).padded


def test_confirmed_on_flash_that_erases_to_zero(image_keys: Keys, quick: Forge) -> None:
    data = bytearray(padded(image_keys, erased_value=0))
    data[-24] = 1
    assert "not erased flash" in quick.refused(bytes(data), slot_size=2048, erased_value=0)


def test_slot_that_is_too_small(quick: Forge) -> None:
    data = quick.image()
    assert not verify_image(data, [quick.key], slot_size=len(data) + 32).padded
    assert "does not fit" in quick.refused(data, slot_size=len(data) + 31)
