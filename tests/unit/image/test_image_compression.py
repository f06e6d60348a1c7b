"""Compressed images: what verifies, what is refused, and that bombs do not go off."""

from __future__ import annotations

import lzma
from collections.abc import Callable, Mapping
from hashlib import sha256

import pytest

from cryofw.image import (
    AesBits,
    Algorithm,
    Compression,
    Dependency,
    ImageError,
    ImageOptions,
    ImageRejected,
    Payload,
    PublicKey,
    Tlv,
    TlvType,
    Version,
    attach,
    build_image,
    compress,
    compression_of,
    decompressed,
    inspect_image,
    parse_image,
    unpacked_hash,
    unpacked_size,
    verify_image,
)
from cryofw.image import tlv as tlvs
from cryofw.image.compression import LARGEST_BODY, compressed_body
from cryofw.image.header import Header, HeaderFlag

Sign = Callable[[bytes], bytes]
Keys = Mapping[Algorithm, tuple[PublicKey, Sign]]

FIRMWARE = bytes(range(1, 240)) * 40
LZMA2_FLAGS = Compression.LZMA2.flags


@pytest.fixture(scope="module", params=list(Algorithm), ids=str)
def any_key(request: pytest.FixtureRequest, image_keys: Keys) -> tuple[PublicKey, Sign]:
    return image_keys[request.param]


@pytest.fixture(scope="module")
def key(image_keys: Keys) -> tuple[PublicKey, Sign]:
    return image_keys[Algorithm.ED25519]


def options(**more: object) -> ImageOptions:
    shape: dict[str, object] = {
        "version": Version(1, 2),
        "header_size": 64,
        "pad_header": True,
        "board": "cc40",
        "compression": Compression.LZMA2,
    }
    return ImageOptions(**(shape | more))  # type: ignore[arg-type]  # a table of keywords


def make(key: tuple[PublicKey, Sign], shape: ImageOptions) -> tuple[bytes, bytes]:
    """The plain image and the compressed one, signed."""
    public, sign = key
    plain = build_image(Payload(FIRMWARE, None), shape)
    signature = sign(plain.to_sign(public.algorithm))
    packed = compress(plain, public, signature)
    return (
        attach(plain, public, signature),
        attach(packed, public, sign(packed.to_sign(public.algorithm))),
    )


def forged(
    key: tuple[PublicKey, Sign],
    body: bytes,
    *,
    size: int | None = None,
    flags: int = LZMA2_FLAGS,
    records: list[Tlv] | None = None,
) -> bytes:
    """A compressed image of any body, rightly signed, with a plain image that fits."""
    public, sign = key
    plain, _ = make(key, options(board=None))
    inside = parse_image(plain)
    if records is None:
        claimed = len(FIRMWARE) if size is None else size
        records = [
            Tlv(TlvType.DECOMP_SIZE, claimed.to_bytes(4, "little")),
            Tlv(TlvType.DECOMP_SHA, inside.hash),
            Tlv(TlvType.DECOMP_SIGNATURE, inside.tlvs[2].value),
        ]
    area = tlvs.encode_area(tlvs.PROTECTED_MAGIC, records) if records else b""
    header = Header(0, 64, len(area), len(body), flags, Version(1, 2)).encode()
    region = header + b"\xff" * 32 + body + area
    digest = sha256(region).digest()
    signature = sign(digest if public.algorithm is Algorithm.ED25519 else region)
    tail = [
        Tlv(TlvType.SHA256, digest),
        Tlv(TlvType.KEYHASH, public.key_hash),
        Tlv(public.algorithm.signature_type, signature),
    ]
    return region + tlvs.encode_area(tlvs.MAGIC, tail)


@pytest.mark.parametrize("kind", list(Compression))
def test_it_verifies_and_unpacks_to_the_plain_image(
    any_key: tuple[PublicKey, Sign], kind: Compression
) -> None:
    shape = options(compression=kind, security_counter=7, dependencies=(Dependency(1, Version(2)),))
    plain, packed = make(any_key, shape)
    verified = verify_image(packed, [any_key[0]])
    assert verified.plain is not None
    assert verified.plain.data == plain
    assert verified.compression is kind
    assert verified.running_hash == parse_image(plain).hash != verified.image.hash
    assert len(packed) < len(plain)
    assert verified.image.security_counter == 7
    assert verify_image(plain, [any_key[0]]).running_hash == verified.running_hash


def test_the_plain_image_of_nothing_protected_has_no_protected_area(
    key: tuple[PublicKey, Sign],
) -> None:
    plain, packed = make(key, options(board=None))
    assert decompressed(parse_image(packed)).data == plain
    assert parse_image(plain).header.protected_size == 0


def test_room_for_the_header_is_erased_flash_as_the_bootloader_hashes_it(
    key: tuple[PublicKey, Sign],
) -> None:
    public, sign = key
    shape = options(pad_header=False)
    plain = build_image(Payload(bytes(64) + FIRMWARE, None), shape)
    assert plain.region[32:64] == b"\xff" * 32
    packed = compress(plain, public, sign(plain.to_sign(public.algorithm)))
    data = attach(packed, public, sign(packed.to_sign(public.algorithm)))
    assert verify_image(data, [public]).running_hash == plain.hash


def test_claims_are_told_without_unpacking(key: tuple[PublicKey, Sign]) -> None:
    plain, packed = make(key, options())
    image = parse_image(packed)
    assert (unpacked_size(image), unpacked_hash(image)) == (len(FIRMWARE), parse_image(plain).hash)
    assert (unpacked_size(parse_image(plain)), unpacked_hash(parse_image(plain))) == (0, b"")
    report = inspect_image(packed)
    assert (report.compression, report.unpacked_size) == ("lzma2", len(FIRMWARE))
    assert report.running_hash == parse_image(plain).hash.hex()
    assert not report.findings


def test_a_plain_image_is_no_compressed_one(key: tuple[PublicKey, Sign]) -> None:
    plain, _ = make(key, options())
    assert compression_of(parse_image(plain)) is None
    with pytest.raises(ImageRejected, match="not compressed"):
        decompressed(parse_image(plain))


def test_a_bootloader_with_the_filter_takes_both() -> None:
    lzma2, thumb = Compression.LZMA2, Compression.LZMA2_ARM_THUMB
    taken = {(one, by) for one in Compression for by in (*Compression, None) if one.is_taken_by(by)}
    assert taken == {(lzma2, lzma2), (lzma2, thumb), (thumb, thumb)}


def test_a_bomb_is_refused_before_it_fills_memory(key: tuple[PublicKey, Sign]) -> None:
    bomb = compressed_body(bytes(8 * 1024 * 1024), Compression.LZMA2)
    assert len(bomb) < 4096
    with pytest.raises(ImageRejected, match="size it claims") as refusal:
        verify_image(forged(key, bomb), [key[0]])
    assert "more" in str(refusal.value.why)


@pytest.mark.parametrize("size", [0, LARGEST_BODY + 1, 0xFFFF_FFFF])
def test_an_impossible_size_is_refused_unseen(key: tuple[PublicKey, Sign], size: int) -> None:
    body = compressed_body(FIRMWARE, Compression.LZMA2)
    with pytest.raises(ImageRejected, match="impossible size"):
        verify_image(forged(key, body, size=size), [key[0]])


def stream_with(head: bytes) -> bytes:
    return head + compressed_body(FIRMWARE, Compression.LZMA2)[2:]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "no stream"),
        (b"\x0af", "no stream"),
        (stream_with(b"\x0bf"), "more memory"),
        (stream_with(b"\xfff"), "more memory"),
        (stream_with(bytes((0x0A, (2 * 5 + 4) * 9 + 1))), "more memory"),
        (b"\x0af" + b"\x03" * 40, "does not unpack"),
        (compressed_body(FIRMWARE, Compression.LZMA2)[:-1], "does not end"),
        (compressed_body(FIRMWARE, Compression.LZMA2) + b"\0", "does not end"),
        (compressed_body(FIRMWARE[:-1], Compression.LZMA2), "size it claims"),
        (compressed_body(FIRMWARE + b"x", Compression.LZMA2), "size it claims"),
        (compressed_body(b"x" + FIRMWARE[1:], Compression.LZMA2), "inside the compressed"),
        (compressed_body(FIRMWARE, Compression.LZMA2)[:200], "size it claims"),
    ],
)
def test_a_stream_that_is_not_the_image_is_refused(
    key: tuple[PublicKey, Sign], body: bytes, words: str
) -> None:
    with pytest.raises(ImageRejected, match=words):
        verify_image(forged(key, body), [key[0]])


def test_a_dictionary_larger_than_it_says_is_refused(key: tuple[PublicKey, Sign]) -> None:
    """The stream looks back further than the memory that its header asks for."""
    far = bytes(range(256)) * 64
    firmware = far + lzma.compress(FIRMWARE * 9)[:100] * 400 + far
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": 1 << 20, "lc": 3, "lp": 1}]
    stream = lzma.compress(firmware, format=lzma.FORMAT_RAW, filters=filters)
    with pytest.raises(ImageRejected, match="does not unpack"):
        verify_image(forged(key, b"\x00f" + stream, size=len(firmware)), [key[0]])


SIZE = Tlv(TlvType.DECOMP_SIZE, len(FIRMWARE).to_bytes(4, "little"))
HASH = Tlv(TlvType.DECOMP_SHA, bytes(32))
SIGNATURE = Tlv(TlvType.DECOMP_SIGNATURE, bytes(64))


@pytest.mark.parametrize(
    "records",
    [
        [],
        [SIZE, HASH],
        [HASH, SIGNATURE],
        [SIZE, HASH, SIGNATURE, Tlv(TlvType.COMP_DEC_SIZE, bytes(4))],
        [SIZE, HASH, SIGNATURE, SIZE],
    ],
)
def test_other_records_are_refused(key: tuple[PublicKey, Sign], records: list[Tlv]) -> None:
    body = compressed_body(FIRMWARE, Compression.LZMA2)
    with pytest.raises(ImageRejected, match="records of the compressed image"):
        verify_image(forged(key, body, records=records), [key[0]])


@pytest.mark.parametrize(
    "flags",
    [
        HeaderFlag.COMPRESSED_LZMA1,
        HeaderFlag.COMPRESSED_ARM_THUMB,
        HeaderFlag.COMPRESSED_LZMA1 | HeaderFlag.COMPRESSED_LZMA2,
    ],
)
def test_other_flags_are_refused(key: tuple[PublicKey, Sign], flags: int) -> None:
    body = compressed_body(FIRMWARE, Compression.LZMA2)
    with pytest.raises(ImageRejected, match="not supported"):
        verify_image(forged(key, body, flags=flags), [key[0]])


def test_records_without_the_flag_are_refused(key: tuple[PublicKey, Sign]) -> None:
    with pytest.raises(ImageRejected, match="is not compressed"):
        verify_image(forged(key, FIRMWARE, flags=0), [key[0]])


def test_compressed_and_encrypted_is_refused(key: tuple[PublicKey, Sign]) -> None:
    body = compressed_body(FIRMWARE, Compression.LZMA2)
    flags = LZMA2_FLAGS | HeaderFlag.ENCRYPTED_AES128
    with pytest.raises(ImageRejected, match="compressed and encrypted"):
        verify_image(forged(key, body, flags=flags), [key[0]])


def test_the_plain_image_has_to_fit_the_slot_too(key: tuple[PublicKey, Sign]) -> None:
    plain, packed = make(key, options())
    with pytest.raises(ImageRejected, match="does not fit"):
        verify_image(packed, [key[0]], slot_size=len(plain))
    verify_image(packed, [key[0]], slot_size=len(plain) + 64)


def test_the_inner_signature_has_to_hold(image_keys: Keys, key: tuple[PublicKey, Sign]) -> None:
    """Rightly signed outside, a hash that fits inside, and no signature over it."""
    plain = parse_image(make(key, options(board=None))[0])
    records = [SIZE, Tlv(TlvType.DECOMP_SHA, plain.hash), SIGNATURE]
    body = compressed_body(FIRMWARE, Compression.LZMA2)
    with pytest.raises(ImageRejected, match="signature"):
        verify_image(forged(key, body, records=records), [key[0]])
    public, sign = image_keys[Algorithm.ED25519]
    shape = options()
    with pytest.raises(ImageRejected, match="signature"):
        compress(build_image(Payload(FIRMWARE, None), shape), public, sign(b"another"))


def test_no_byte_of_a_compressed_image_can_change(key: tuple[PublicKey, Sign]) -> None:
    _, packed = make(key, options())
    for place in range(0, len(packed), 7):
        changed = bytearray(packed)
        changed[place] ^= 1
        with pytest.raises(ImageRejected):
            verify_image(bytes(changed), [key[0]])


def test_firmware_that_does_not_get_smaller_is_told(key: tuple[PublicKey, Sign]) -> None:
    public, sign = key
    noise = b"".join(sha256(bytes([n])).digest() for n in range(64))
    plain = build_image(Payload(noise, None), options())
    with pytest.raises(ImageError, match="smaller"):
        compress(plain, public, sign(plain.to_sign(public.algorithm)))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"encrypt": AesBits.AES_128}, "encrypted"),
        ({"pad": True, "slot_size": 0x10000}, "programmer"),
        ({"load_addr": 0x2000_0000}, "RAM"),
    ],
)
def test_options_that_make_no_compressed_image(more: dict[str, object], words: str) -> None:
    with pytest.raises(ImageError, match=words):
        options(**more)


def test_compression_that_nobody_asked_for(key: tuple[PublicKey, Sign]) -> None:
    public, sign = key
    plain = build_image(Payload(FIRMWARE, None), options(compression=None))
    with pytest.raises(ImageError, match="no compression"):
        compress(plain, public, sign(plain.to_sign(public.algorithm)))
