"""Keys that encrypt images for devices: the public half seals, the private half opens.

ECIES as MCUboot has it (docs/encrypted_images.md): an ephemeral key, HKDF without salt over the
shared secret, info "MCUBoot_ECIES_v1"; the first part of it encrypts the content key with AES-CTR,
the rest is the key of an HMAC over what came out. RSA is OAEP with SHA-256.
"""

from __future__ import annotations

import hmac
import os
from hashlib import sha256
from typing import TYPE_CHECKING, Final, TypeAlias, assert_never

from cryofw.image import AesBits, Algorithm, ImageRejected, KeyWrap, Seal, Tlv
from cryofw.image.encryption import apply_keystream
from cryofw.image.publishedkeys import PUBLISHED_KEYS
from cryofw.keys.errors import KeyFileError, KeyRefused
from cryofw.keys.file_signer import parse_private_key
from cryofw.keys.key_file import read_public_pem, read_secret_file

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
    from cryptography.hazmat.primitives.asymmetric.padding import OAEP
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

    from cryofw.keys.passphrase import PassphraseSource

    _Public: TypeAlias = ec.EllipticCurvePublicKey | x25519.X25519PublicKey | rsa.RSAPublicKey
    _Private: TypeAlias = ec.EllipticCurvePrivateKey | x25519.X25519PrivateKey | rsa.RSAPrivateKey

_INFO: Final = b"MCUBoot_ECIES_v1"
_X25519_PRIME: Final = 2**255 - 19
_PUBLIC_SIZES: Final = {
    KeyWrap.ECIES_P256: 65,
    KeyWrap.ECIES_X25519: 32,
    KeyWrap.ECIES_X25519_SHA512: 32,
}
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
            return public.encrypt(content_key, _oaep())
        if isinstance(public, ec.EllipticCurvePublicKey):
            own = ec.generate_private_key(ec.SECP256R1())
            shared, shown = own.exchange(ec.ECDH(), public), _point(own.public_key())
        else:
            ours = x25519.X25519PrivateKey.generate()
            shared, shown = ours.exchange(public), ours.public_key().public_bytes_raw()
        key, tag_key = _derived(self.wrap, shared, len(content_key))
        encrypted = apply_keystream(key, content_key)
        return shown + _tag(self.wrap, tag_key, encrypted) + encrypted


class DecryptionKey:
    """The private half, as the devices have it; see `load_decryption_key`."""

    def __init__(self, private: _Private, wraps: frozenset[KeyWrap]) -> None:
        self._private = private
        self._wraps = wraps

    def __repr__(self) -> str:
        return f"DecryptionKey({', '.join(sorted(self._wraps))})"

    def content_key(self, wrap: KeyWrap, wrapped: bytes) -> bytes:
        """See `ContentKeyOpener.content_key`."""
        if wrap not in self._wraps:
            raise _not_ours(f"it is wrapped by {wrap}, this key opens {', '.join(self._wraps)}")
        try:
            return self._unwrapped(wrap, wrapped)
        except ValueError as error:
            raise _not_ours(str(error) or "its record is damaged") from error

    def _unwrapped(self, wrap: KeyWrap, wrapped: bytes) -> bytes:
        from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519

        private = self._private
        if isinstance(private, rsa.RSAPrivateKey):
            return private.decrypt(wrapped, _oaep())
        size, tag_size = _PUBLIC_SIZES[wrap], _hash(wrap).digest_size
        shown, tag = wrapped[:size], wrapped[size : size + tag_size]
        encrypted = wrapped[size + tag_size :]
        if isinstance(private, ec.EllipticCurvePrivateKey):
            theirs = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), shown)
            shared = private.exchange(ec.ECDH(), theirs)
        else:
            # X25519 ignores the highest bit, so a flipped one would go unnoticed.
            if int.from_bytes(shown, "little") >= _X25519_PRIME:
                raise ValueError("its public key is not in its one canonical form")
            shared = private.exchange(x25519.X25519PublicKey.from_public_bytes(shown))
        key, tag_key = _derived(wrap, shared, len(encrypted))
        if not hmac.compare_digest(tag, _tag(wrap, tag_key, encrypted)):
            raise ValueError("its tag does not fit")
        return apply_keystream(key, encrypted)


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
    kind = _kind(public)
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


def load_decryption_key(path: Path, passphrase: PassphraseSource) -> DecryptionKey:
    """Read the devices' private key in PEM; the passphrase is asked for if it is encrypted.

    Raises:
        KeyFileError: no such file, no key of these kinds in it, or no passphrase that opens it.
        KeyRefused: others than the owner can read the file.
    """
    private = parse_private_key(
        read_secret_file(path, "decryption key"), path, path.stem, passphrase
    )
    kind = _kind(private.public_key())
    if kind is None:
        raise KeyFileError(
            f"cannot decrypt with the key {path}",
            why="it is neither ECDSA P-256, X25519 nor RSA-2048",
        )
    wraps = {kind[0]}
    if kind[0] is KeyWrap.ECIES_X25519:
        wraps.add(KeyWrap.ECIES_X25519_SHA512)
    return DecryptionKey(private, frozenset(wraps))  # type: ignore[arg-type]  # _kind looked


def _kind(public: object) -> tuple[KeyWrap, bytes] | None:
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


def _derived(wrap: KeyWrap, shared: bytes, key_size: int) -> tuple[bytes, bytes]:
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    chosen = _hash(wrap)
    size = key_size + chosen.digest_size
    material = HKDF(algorithm=chosen, length=size, salt=None, info=_INFO).derive(shared)
    return material[:key_size], material[key_size:]


def _tag(wrap: KeyWrap, key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, _hash(wrap).name)


def _hash(wrap: KeyWrap) -> HashAlgorithm:
    from cryptography.hazmat.primitives.hashes import SHA256, SHA512

    match wrap:
        case KeyWrap.ECIES_X25519_SHA512:
            return SHA512()
        case KeyWrap.ECIES_P256 | KeyWrap.ECIES_X25519 | KeyWrap.RSA_OAEP:
            return SHA256()
        case _:
            assert_never(wrap)


def _oaep() -> OAEP:
    from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
    from cryptography.hazmat.primitives.hashes import SHA256

    return OAEP(mgf=MGF1(SHA256()), algorithm=SHA256(), label=None)


def _point(public: ec.EllipticCurvePublicKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _not_ours(why: str) -> ImageRejected:
    return ImageRejected(
        "the image does not open with this decryption key",
        why=why,
        hint="it is encrypted for other devices, or was changed on the way",
    )
