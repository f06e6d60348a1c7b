from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from cryofw.image import Algorithm, ImageError, ImageRejected, PublicKey

Keys = Mapping[Algorithm, tuple[PublicKey, Callable[[bytes], bytes]]]
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.mark.parametrize("algorithm", Algorithm)
def test_pem_round_trip(image_keys: Keys, algorithm: Algorithm) -> None:
    key, sign = image_keys[algorithm]
    again = PublicKey.from_pem(key.pem)
    assert again == key
    assert again.algorithm is algorithm
    again.verify(sign(b"message"), b"message")


@pytest.mark.parametrize("algorithm", Algorithm)
def test_refuses_signatures_that_are_not_of_the_message(
    image_keys: Keys, algorithm: Algorithm
) -> None:
    key, sign = image_keys[algorithm]
    signature = sign(b"message")
    for wrong in (
        *(bytes(len(signature)), b"", signature[:-1], signature + b"\0", b"\0" + signature),
        sign(b"messagf"),
        signature[:-1] + bytes([signature[-1] ^ 1]),
    ):
        with pytest.raises(ImageRejected):
            key.verify(wrong, b"message")


def integer(value: int, pad: int = 0) -> bytes:
    size = pad + max(1, -(-value.bit_length() // 8))
    digits = value.to_bytes(size, "big")
    if digits[0] & 0x80:
        digits = b"\0" + digits
    return bytes([2, len(digits)]) + digits


def sequence(*items: bytes) -> bytes:
    content = b"".join(items)
    return bytes([0x30, len(content)]) + content


@pytest.mark.parametrize(
    ("signature", "reason"),
    [
        (bytes(70), "sequence"),
        (sequence(integer(0), integer(0)), "r is out of range"),
        (sequence(integer(1), integer(0)), "s is out of range"),
        (sequence(integer(ORDER), integer(1)), "r is out of range"),
        (sequence(integer(1), integer(ORDER)), "s is out of range"),
        (sequence(integer(5, pad=1), integer(1)), "shortest"),
        (sequence(integer(1), b"\x02\x01\x80"), "negative"),
        (sequence(integer(1), integer(1), b"\0"), "1 bytes follow"),
        (sequence(integer(1), integer(1)) + b"\0\0", "sequence"),
        (sequence(integer(1)), "s is not a DER integer"),
        (sequence(integer(1), b"\x02\x09\x01"), "length"),
        (sequence(integer(1), b"\x02\x00"), "length"),
        (b"\x30\x81\x06" + integer(1) + integer(1), "sequence"),
    ],
)
def test_refuses_a_lax_ecdsa_encoding(image_keys: Keys, signature: bytes, reason: str) -> None:
    with pytest.raises(ImageRejected, match=reason):
        image_keys[Algorithm.ECDSA_P256][0].verify(signature, b"message")


def public_pem(key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey | x25519.X25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_refuses_keys_that_images_cannot_use() -> None:
    wrong = {
        "curve secp384r1": public_pem(ec.generate_private_key(ec.SECP384R1()).public_key()),
        "1024 bits": public_pem(rsa.generate_private_key(65537, 1024).public_key()),
        "exponent is 3": public_pem(rsa.generate_private_key(3, 2048).public_key()),
        "X25519": public_pem(x25519.X25519PrivateKey.generate().public_key()),
        "not a public key in PEM": b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    }
    for reason, pem in wrong.items():
        with pytest.raises(ImageError, match=reason):
            PublicKey.from_pem(pem)
    with pytest.raises(ImageError):
        PublicKey.from_pem(b"")


def test_refuses_a_private_key_where_a_public_one_belongs() -> None:
    pem = ed25519.Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    with pytest.raises(ImageError, match="private key") as caught:
        PublicKey.from_pem(pem)
    assert pem.splitlines()[1].decode() not in str(caught.value)


def test_a_digest_has_32_bytes(image_keys: Keys) -> None:
    key, sign = image_keys[Algorithm.RSA_2048]
    with pytest.raises(ImageRejected, match="31 bytes"):
        key.verify_digest(sign(b"message"), bytes(31))


def test_refuses_a_file_of_two_keys(image_keys: Keys) -> None:
    with pytest.raises(ImageError, match="not one public key"):
        PublicKey.from_pem(b"".join(key.pem for key, _ in image_keys.values()))


@pytest.mark.parametrize(
    "point",
    [
        *(bytes(32), b"\x01" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f"),
        bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
        bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"),
    ],
)
def test_refuses_an_ed25519_key_that_anybody_can_sign_with(point: bytes) -> None:
    key = ed25519.Ed25519PublicKey.from_public_bytes(point)
    signature = b"\x01" + bytes(63)  # the neutral point, and S = 0: no secret in it
    assert any(accepts(key, signature, bytes([number])) for number in range(200))
    with pytest.raises(ImageError, match="worthless"):
        PublicKey.from_pem(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def accepts(key: ed25519.Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def test_a_key_must_be_what_it_says(image_keys: Keys) -> None:
    edwards = image_keys[Algorithm.ED25519][0]
    for key in (
        PublicKey(Algorithm.ECDSA_P256, edwards.encoded),
        PublicKey(Algorithm.RSA_3072, image_keys[Algorithm.RSA_2048][0].encoded),
        PublicKey(Algorithm.ED25519, b"no key"),
    ):
        with pytest.raises(ImageError):
            key.verify(bytes([1]) * 64, bytes(32))
