"""The parts of MCUboot's key wrapping that both halves of a key need.

ECIES as MCUboot has it (docs/encrypted_images.md): an ephemeral key, HKDF without salt over the
shared secret, info "MCUBoot_ECIES_v1"; the first part of it encrypts the content key with AES-CTR,
the rest is the key of an HMAC over what came out. RSA is OAEP with SHA-256.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final, assert_never

from cryofw.image import KeyWrap

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.padding import OAEP
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

_INFO: Final = b"MCUBoot_ECIES_v1"
PUBLIC_SIZES: Final = {
    KeyWrap.ECIES_P256: 65,
    KeyWrap.ECIES_X25519: 32,
    KeyWrap.ECIES_X25519_SHA512: 32,
}
"""Bytes of the ephemeral public key at the front of a record."""


def kind_of(public: object) -> tuple[KeyWrap, bytes] | None:
    """How a public key wraps, and its encoding as MCUboot hashes it; None for other keys."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if isinstance(public, rsa.RSAPublicKey):
        if public.key_size != 2048:
            return None
        return KeyWrap.RSA_OAEP, public.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    if isinstance(public, ec.EllipticCurvePublicKey):
        if not isinstance(public.curve, ec.SECP256R1):
            return None
        wrap = KeyWrap.ECIES_P256
    elif isinstance(public, x25519.X25519PublicKey):
        wrap = KeyWrap.ECIES_X25519
    else:
        return None
    return wrap, public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def derived_keys(wrap: KeyWrap, shared: bytes, key_size: int) -> tuple[bytes, bytes]:
    """Return the key of the content key and the key of its tag."""
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    chosen = hash_of(wrap)
    size = key_size + chosen.digest_size
    material = HKDF(algorithm=chosen, length=size, salt=None, info=_INFO).derive(shared)
    return material[:key_size], material[key_size:]


def tag_of(wrap: KeyWrap, key: bytes, data: bytes) -> bytes:
    """Return the HMAC of a wrapped content key."""
    return hmac.digest(key, data, hash_of(wrap).name)


def hash_of(wrap: KeyWrap) -> HashAlgorithm:
    """Return the hash of HKDF, HMAC or OAEP."""
    from cryptography.hazmat.primitives.hashes import SHA256, SHA512

    match wrap:
        case KeyWrap.ECIES_X25519_SHA512:
            return SHA512()
        case KeyWrap.ECIES_P256 | KeyWrap.ECIES_X25519 | KeyWrap.RSA_OAEP:
            return SHA256()
        case _:
            assert_never(wrap)


def oaep() -> OAEP:
    """Return the padding of RSA."""
    from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
    from cryptography.hazmat.primitives.hashes import SHA256

    return OAEP(mgf=MGF1(SHA256()), algorithm=SHA256(), label=None)
