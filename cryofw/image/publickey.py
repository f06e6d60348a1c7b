"""Public keys as MCUboot knows them: algorithm, encoding, hash, and checking a signature."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Final, TypeAlias, assert_never

from cryofw.image.errors import ImageError, ImageRejected
from cryofw.image.publishedkeys import PUBLISHED_KEYS
from cryofw.image.signature import check_ecdsa_signature, check_fixed_signature
from cryofw.image.tlv import TlvType

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    _Loaded: TypeAlias = EllipticCurvePublicKey | Ed25519PublicKey | RSAPublicKey

_RSA_EXPONENT: Final = 65537
_SALT_SIZE: Final = 32
_SMALL_ORDER_POINTS: Final = {
    bytes(32),
    b"\x01" + bytes(31),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    *(bytes([low]) + b"\xff" * 30 + b"\x7f" for low in (0xEC, 0xED, 0xEE)),
}


class Algorithm(StrEnum):
    """How an image is signed; each one over SHA-256 of the hashed region."""

    ECDSA_P256 = "ecdsa-p256"
    ED25519 = "ed25519"
    RSA_2048 = "rsa-2048"
    RSA_3072 = "rsa-3072"

    @property
    def signature_type(self) -> TlvType:
        """The TLV that holds its signature."""
        match self:
            case Algorithm.ECDSA_P256:
                return TlvType.ECDSA_SIG
            case Algorithm.ED25519:
                return TlvType.ED25519
            case Algorithm.RSA_2048:
                return TlvType.RSA2048
            case Algorithm.RSA_3072:
                return TlvType.RSA3072
            case _:
                assert_never(self)


@dataclass(frozen=True)
class PublicKey:
    """A public key; `encoded` is what MCUboot hashes for KEYHASH.

    That is DER: SubjectPublicKeyInfo for ecdsa-p256 and ed25519, PKCS#1 for RSA.
    """

    algorithm: Algorithm
    encoded: bytes

    @classmethod
    def from_pem(cls, pem: bytes) -> PublicKey:
        """Read a public key in PEM.

        Raises:
            ImageError: not one public key, a private one, or one that no image may be signed with.
        """
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        if b"PRIVATE KEY-----" in pem:
            raise ImageError(
                "this is a private key where a public one belongs",
                hint="give the .pub.pem file that lies beside it",
            )
        if pem.count(b"-----BEGIN ") != 1:
            raise ImageError("this is not one public key in PEM")
        try:
            key = load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise ImageError("this is not a public key in PEM", why=str(error)) from error
        return cls(*_described(key))

    @cached_property
    def key_hash(self) -> bytes:
        """SHA-256 of `encoded`: the KEYHASH of images signed with the key (32 bytes)."""
        return sha256(self.encoded).digest()

    @property
    def published_name(self) -> str | None:
        """The name of MCUboot's published development key that this is; else None."""
        return PUBLISHED_KEYS.get(self.key_hash)

    @property
    def pem(self) -> bytes:
        """The key as SubjectPublicKeyInfo in PEM.

        Raises:
            ImageError: `encoded` is not a key of `algorithm`.
        """
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return self._loaded.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def verify(self, signature: bytes, message: bytes) -> None:
        """Check a signature over `message`: what `to_sign` gives for the algorithm.

        Raises:
            ImageRejected: the signature is malformed or not of this key over this message.
            ImageError: `encoded` is not a key of `algorithm`.
        """
        if self.algorithm is Algorithm.ED25519:
            self.verify_digest(signature, message)
        else:
            self.verify_digest(signature, sha256(message).digest())

    def verify_digest(self, signature: bytes, digest: bytes) -> None:
        """Check an image's signature, given SHA-256 of its hashed region.

        Raises:
            ImageRejected: the signature is malformed or not of this key over this digest.
            ImageError: `encoded` is not a key of `algorithm`.
        """
        from cryptography.exceptions import InvalidSignature

        key = self._loaded
        try:
            _verify(key, signature, digest)
        except InvalidSignature as error:
            raise ImageRejected(
                "the signature does not verify",
                why=f"{self.algorithm} key {self.key_hash.hex()[:16]} did not make it",
            ) from error

    @cached_property
    def _loaded(self) -> _Loaded:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.serialization import load_der_public_key

        try:
            key = load_der_public_key(self.encoded)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise ImageError("this is not an encoded public key", why=str(error)) from error
        algorithm, encoded = _described(key)
        if (algorithm, encoded) != (self.algorithm, self.encoded):
            raise ImageError(
                f"this is not an {self.algorithm} key", why=f"it is {algorithm}, or encoded twice"
            )
        return key  # type: ignore[return-value]  # _described raised on any other type


def _described(key: object) -> tuple[Algorithm, bytes]:
    """Algorithm and MCUboot's encoding of a loaded key."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if isinstance(key, ec.EllipticCurvePublicKey):
        if not isinstance(key.curve, ec.SECP256R1):
            raise ImageError("images cannot be signed with this key", why=f"curve {key.curve.name}")
        return Algorithm.ECDSA_P256, key.public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
    if isinstance(key, ed25519.Ed25519PublicKey):
        _refuse_small_order(key.public_bytes_raw())
        return Algorithm.ED25519, key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if isinstance(key, rsa.RSAPublicKey):
        return _rsa_algorithm(key), key.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    raise ImageError(
        "images cannot be signed with this kind of key", why=f"it is a {type(key).__name__}"
    )


def _refuse_small_order(point: bytes) -> None:
    """Refuse the few points for which anybody can write a signature that verifies."""
    if point[:-1] + bytes([point[-1] & 0x7F]) in _SMALL_ORDER_POINTS:
        raise ImageError(
            "this is a worthless Ed25519 key", why="its point has a small order: no secret needed"
        )


def _rsa_algorithm(key: RSAPublicKey) -> Algorithm:
    algorithm = {2048: Algorithm.RSA_2048, 3072: Algorithm.RSA_3072}.get(key.key_size)
    if algorithm is None:
        raise ImageError(
            "images cannot be signed with this RSA key",
            why=f"it has {key.key_size} bits; MCUboot takes 2048 or 3072",
        )
    exponent = key.public_numbers().e
    if exponent != _RSA_EXPONENT:
        raise ImageError(
            "images cannot be signed with this RSA key",
            why=f"its exponent is {exponent} instead of {_RSA_EXPONENT}",
        )
    return algorithm


def _verify(key: _Loaded, signature: bytes, digest: bytes) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
    from cryptography.hazmat.primitives.hashes import SHA256

    if isinstance(key, ed25519.Ed25519PublicKey):
        check_fixed_signature(signature, 64)
        key.verify(signature, digest)
        return
    if len(digest) != sha256().digest_size:
        raise ImageRejected("a digest has the wrong size", why=f"{len(digest)} bytes")
    if isinstance(key, ec.EllipticCurvePublicKey):
        check_ecdsa_signature(signature)
        key.verify(signature, digest, ec.ECDSA(Prehashed(SHA256())))
    else:
        from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS

        check_fixed_signature(signature, key.key_size // 8)
        pss = PSS(mgf=MGF1(SHA256()), salt_length=_SALT_SIZE)
        key.verify(signature, digest, pss, Prehashed(SHA256()))
