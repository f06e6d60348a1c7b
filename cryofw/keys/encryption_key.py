"""The public half of the devices' encryption key: it seals images for them."""

from __future__ import annotations

import os
from hashlib import sha256
from typing import TYPE_CHECKING, Final, TypeAlias

from cryofw.image import AesBits, Algorithm, KeyWrap, Seal, Tlv
from cryofw.image.encryption import apply_keystream
from cryofw.image.publishedkeys import PUBLISHED_KEYS
from cryofw.keys.ecies import derived_keys, kind_of, oaep, tag_of
from cryofw.keys.errors import KeyFileError, KeyRefused
from cryofw.keys.key_file import read_public_pem

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519

    _Public: TypeAlias = ec.EllipticCurvePublicKey | x25519.X25519PublicKey | rsa.RSAPublicKey

_FITTING: Final = {
    Algorithm.ECDSA_P256: KeyWrap.ECIES_P256,
    Algorithm.ED25519: KeyWrap.ECIES_X25519,
    Algorithm.RSA_2048: KeyWrap.RSA_OAEP,
    Algorithm.RSA_3072: KeyWrap.RSA_OAEP,
}


class EncryptionKey:
    """The public half of the devices' key; see `load_encryption_key`."""

    def __init__(self, public: _Public, wrap: KeyWrap, fingerprint: bytes) -> None:
        self.wrap = wrap
        self.fingerprint = fingerprint
        self._public = public

    def require_fit(self, algorithm: Algorithm) -> None:
        """Refuse a pair that no bootloader is built for, as imgtool does.

        Raises:
            KeyRefused: MCUboot has one kind of key for signing and encryption.
        """
        if _FITTING[algorithm] is not self.wrap:
            raise KeyRefused(
                f"a {algorithm} signature and {self.wrap} encryption do not go together",
                why="a bootloader is built with one kind of cryptography",
                hint=f"with {algorithm} the devices have a key for {_FITTING[algorithm]}",
            )

    def seal(self, bits: AesBits) -> Seal:
        """Make a content key for one image, and wrap it for the devices."""
        content_key = os.urandom(bits.size)
        return Seal(content_key, Tlv(self.wrap.tlv_type, self._wrapped(content_key)))

    def _wrapped(self, content_key: bytes) -> bytes:
        from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519

        public = self._public
        if isinstance(public, rsa.RSAPublicKey):
            return public.encrypt(content_key, oaep())
        if isinstance(public, ec.EllipticCurvePublicKey):
            own = ec.generate_private_key(ec.SECP256R1())
            shared, shown = own.exchange(ec.ECDH(), public), _point(own.public_key())
        else:
            ours = x25519.X25519PrivateKey.generate()
            shared, shown = ours.exchange(public), ours.public_key().public_bytes_raw()
        key, tag_key = derived_keys(self.wrap, shared, len(content_key))
        encrypted = apply_keystream(key, content_key)
        return shown + tag_of(self.wrap, tag_key, encrypted) + encrypted


def load_encryption_key(path: Path) -> EncryptionKey:
    """Read the public half: ECDSA P-256, X25519 or RSA-2048, in PEM.

    Raises:
        KeyFileError: it is missing, private, or of another kind.
        KeyRefused: one of MCUboot's published development keys, whose private half everybody has.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    pem = read_public_pem(path)
    try:
        public = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{path} is no public key in PEM", why=str(error)) from error
    kind = kind_of(public)
    if kind is None:
        raise KeyFileError(
            f"cannot encrypt with the key {path}",
            why=f"it is a {type(public).__name__.removesuffix('PublicKey')} key",
            hint="MCUboot's devices have an ECDSA P-256, X25519 or RSA-2048 key for it",
        )
    wrap, encoded = kind
    fingerprint = sha256(encoded).digest()
    if fingerprint in PUBLISHED_KEYS:
        raise KeyRefused(
            f"{path} is a published development key of MCUboot",
            why=f"anyone can decrypt with {PUBLISHED_KEYS[fingerprint]}",
            hint="build the bootloader with a key of your own",
        )
    return EncryptionKey(public, wrap, fingerprint)  # type: ignore[arg-type]  # _kind looked


def _point(public: ec.EllipticCurvePublicKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
