"""Encrypted images: what verifies, what is refused, and that no byte is left out."""

from __future__ import annotations

import hmac
import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from cryofw.image import (
    AesBits,
    Algorithm,
    Body,
    ImageError,
    ImageOptions,
    ImageRejected,
    KeyWrap,
    Payload,
    PublicKey,
    Seal,
    Tlv,
    TrailerLayout,
    Version,
    attach,
    build_image,
    decrypted,
    inspect_image,
    parse_image,
    verify_image,
)
from cryofw.image.encryption import apply_keystream, encryption_of
from cryofw.image.header import HeaderFlag

Sign = Callable[[bytes], bytes]
Keys = Mapping[Algorithm, tuple[PublicKey, Sign]]

FIRMWARE = b"secret sauce" * 33
KEY = bytes(range(16))


class Opener:
    """Knows the content key, and what record belongs to it."""

    def __init__(self, record: bytes, key: bytes = KEY) -> None:
        self.record, self.key = record, key

    def content_key(self, wrap: KeyWrap, wrapped: bytes) -> bytes:
        if wrapped != self.record:
            raise ImageRejected("the image does not open with this decryption key")
        return self.key


RECORD = bytes(range(200, 200 - 113, -1))
OPENER = Opener(RECORD)
SEAL = Seal(KEY, Tlv(KeyWrap.ECIES_P256.tlv_type, RECORD))


@pytest.fixture(scope="module")
def signing(image_keys: Keys) -> tuple[PublicKey, Sign]:
    return image_keys[Algorithm.ED25519]


def make(
    signing: tuple[PublicKey, Sign],
    *,
    clear: bool = False,
    seal: Seal | None = SEAL,
    bits: AesBits | None = AesBits.AES_128,
    slot_size: int | None = None,
    security_counter: int | None = 7,
) -> bytes:
    public, sign = signing
    options = ImageOptions(
        version=Version(1, 2),
        header_size=48,
        pad_header=True,
        security_counter=security_counter,
        slot_size=slot_size,
        encrypt=bits,
    )
    unsigned = build_image(Payload(FIRMWARE), options)
    signature = sign(unsigned.to_sign(public.algorithm))
    return attach(unsigned, public, signature, seal, clear=clear)


def test_only_the_body_is_encrypted_and_the_hash_is_that_of_the_plain_image(
    signing: tuple[PublicKey, Sign],
) -> None:
    secret, clear = parse_image(make(signing)), parse_image(make(signing, clear=True))

    assert secret.header == clear.header
    assert secret.header.flags == HeaderFlag.ENCRYPTED_AES128
    assert (secret.protected, secret.tlvs) == (clear.protected, clear.tlvs)
    assert clear.hash == clear.digest
    assert clear.body == FIRMWARE + bytes(-len(FIRMWARE) % 16)
    cipher = Cipher(algorithms.AES(KEY), modes.CTR(bytes(16))).encryptor()
    assert secret.body == cipher.update(clear.body)
    assert FIRMWARE[:12] not in secret.data
    assert decrypted(secret, OPENER).data == clear.data


def test_it_verifies_with_the_devices_key_only(signing: tuple[PublicKey, Sign]) -> None:
    data = make(signing)

    assert verify_image(data, [signing[0]], opener=OPENER).body is Body.ENCRYPTED
    with pytest.raises(ImageRejected, match="nothing here can open it") as caught:
        verify_image(data, [signing[0]])
    assert "--decryption-key" in caught.value.hint
    with pytest.raises(ImageRejected, match="does not open"):
        verify_image(data, [signing[0]], opener=Opener(b"another"))


def test_a_clear_one_needs_no_key_and_says_so(signing: tuple[PublicKey, Sign]) -> None:
    assert verify_image(make(signing, clear=True), [signing[0]]).body is Body.CLEAR
    plain = make(signing, seal=None, bits=None)
    assert verify_image(plain, [signing[0]], opener=OPENER).body is Body.PLAIN


def test_every_flipped_bit_is_found(signing: tuple[PublicKey, Sign]) -> None:
    data = make(signing)
    for position in range(len(data)):
        for bit in (0, 7):
            bad = bytearray(data)
            bad[position] ^= 1 << bit
            with pytest.raises(ImageRejected):
                verify_image(bytes(bad), [signing[0]], opener=OPENER)


def test_every_truncation_is_found(signing: tuple[PublicKey, Sign]) -> None:
    data = make(signing)
    for size in range(len(data)):
        with pytest.raises(ImageRejected):
            verify_image(data[:size], [signing[0]], opener=OPENER)


def forged(
    signing: tuple[PublicKey, Sign], *, flags: int, records: list[tuple[int, bytes]], first: bool
) -> bytes:
    """A plain image, rightly signed, with encryption flags and records of an attacker's choice."""
    public, sign = signing
    body = bytes(32)
    region = struct.pack("<IIHHIIBBHII", 0x96F3B83D, 0, 32, 0, 32, flags, 1, 0, 0, 0, 0) + body
    digest = sha256(region).digest()
    own = [(0x10, digest), (0x01, public.key_hash), (0x24, sign(digest))]
    every = [*records, *own] if first else [*own, *records]
    content = b"".join(struct.pack("<HH", kind, len(value)) + value for kind, value in every)
    return region + struct.pack("<HH", 0x6907, 4 + len(content)) + content


@pytest.mark.parametrize(
    ("flags", "records", "first", "part"),
    [
        (0, [(0x32, bytes(113))], False, "is not encrypted"),
        (4, [], False, "not with one key"),
        (4, [(0x32, bytes(113)), (0x33, bytes(80))], False, "not with one key"),
        (4, [(0x32, bytes(113)), (0x32, bytes(113))], False, "not with one key"),
        (12, [(0x32, bytes(113))], False, "two lengths of key"),
        (4, [(0x32, bytes(112))], False, "wrong size"),
        (4, [(0x32, bytes(129))], False, "wrong size"),
        (8, [(0x32, bytes(113))], False, "wrong size"),
        (8, [(0x33, bytes(80))], False, "wrong size"),
        (4, [(0x34, bytes(80))], False, "wrong size"),
        (4, [(0x30, bytes(255))], False, "wrong size"),
        (4, [(0x31, bytes(24))], False, "ENC_KW is not supported"),
        (4, [(0x35, bytes(80))], False, "is not supported"),
        (4, [(0x32, bytes(113))], True, "not as they must be"),
    ],
)
def test_flags_and_records_that_do_not_fit_are_refused(
    signing: tuple[PublicKey, Sign],
    flags: int,
    records: list[tuple[int, bytes]],
    first: bool,
    part: str,
) -> None:
    data = forged(signing, flags=flags, records=records, first=first)

    with pytest.raises(ImageRejected, match=part):
        verify_image(data, [signing[0]], opener=OPENER)
    assert any(part in finding for finding in inspect_image(data).findings)


def test_a_content_key_of_another_length_is_refused(signing: tuple[PublicKey, Sign]) -> None:
    with pytest.raises(ImageRejected, match="wrong length"):
        verify_image(make(signing), [signing[0]], opener=Opener(RECORD, bytes(32)))


def test_a_seal_belongs_to_an_encrypted_image_and_only_to_one(
    signing: tuple[PublicKey, Sign],
) -> None:
    with pytest.raises(ImageError, match="has a seal"):
        make(signing, seal=None)
    with pytest.raises(ImageError, match="has a seal"):
        make(signing, bits=None)


@pytest.mark.parametrize("bits", AesBits)
@pytest.mark.parametrize(
    ("trailer", "more"),
    [
        (TrailerLayout(), {AesBits.AES_128: 32, AesBits.AES_256: 64}),
        (TrailerLayout(align=32), {AesBits.AES_128: 64, AesBits.AES_256: 64}),
        (TrailerLayout(overwrite_only=True), {AesBits.AES_128: 0, AesBits.AES_256: 0}),
    ],
)
def test_the_trailer_has_room_for_the_keys_of_both_slots(
    bits: AesBits, trailer: TrailerLayout, more: Mapping[AesBits, int]
) -> None:
    plain = ImageOptions(version=Version(1), trailer=trailer)

    assert plain.trailer_size == trailer.size
    assert replace(plain, encrypt=bits).trailer_size == trailer.size + more[bits]


@pytest.mark.parametrize("size", [0, 8, 24, 33])
def test_a_content_key_has_16_or_32_bytes(size: int) -> None:
    with pytest.raises(ImageError, match="16 or 32"):
        apply_keystream(bytes(size), b"body")


def test_inspect_tells_what_it_is_and_opens_it_with_the_key(
    signing: tuple[PublicKey, Sign],
) -> None:
    secret, clear = make(signing), make(signing, clear=True)

    shut, opened = inspect_image(secret), inspect_image(secret, OPENER)
    assert (shut.encryption, shut.body, shut.hash_matches) == (
        "aes-128, ecies-p256",
        "encrypted",
        None,
    )
    assert shut.findings == ()
    assert opened.hash_matches is True
    assert (inspect_image(clear).body, inspect_image(clear).hash_matches) == ("clear", True)
    bad = bytearray(secret)
    bad[60] ^= 1
    damaged = inspect_image(bytes(bad), OPENER)
    assert damaged.hash_matches is False
    assert any("damaged" in finding for finding in damaged.findings)


def test_an_image_without_encryption_cannot_be_decrypted(signing: tuple[PublicKey, Sign]) -> None:
    plain = parse_image(make(signing, seal=None, bits=None))

    assert encryption_of(plain) is None
    with pytest.raises(ImageRejected, match="not encrypted"):
        decrypted(plain, OPENER)


def test_our_ctr_is_that_of_the_books() -> None:
    """NIST SP 800-38A has another first counter; this is the definition itself, block by block."""
    blocks = b""
    ecb = Cipher(algorithms.AES(KEY), modes.ECB()).encryptor()  # it is the definition
    for counter in range(3):
        blocks += ecb.update(counter.to_bytes(16))
    plain = bytes(range(40))

    result = apply_keystream(KEY, plain)

    assert hmac.compare_digest(result, bytes(a ^ b for a, b in zip(plain, blocks, strict=False)))
