"""The private half of the devices' encryption key: it opens encrypted images."""

from __future__ import annotations

import hmac
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from cryofw.image import ImageRejected, KeyWrap
from cryofw.image.encryption import apply_keystream
from cryofw.keys.ecies import PUBLIC_SIZES, derived_keys, hash_of, kind_of, oaep, tag_of
from cryofw.keys.errors import KeyFileError
from cryofw.keys.file_signer import parse_private_key
from cryofw.keys.key_file import read_secret_file
from cryofw.keys.passphrase import environment_passphrase

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519

    from cryofw.keys.passphrase import PassphraseSource

    _Private: TypeAlias = ec.EllipticCurvePrivateKey | x25519.X25519PrivateKey | rsa.RSAPrivateKey

DECRYPTION_VARIABLE: Final = "CRYOFW_DECRYPTION_KEY"
_X25519_PRIME: Final = 2**255 - 19


class DecryptionKey:
    """The private half, as the devices have it; see `load_decryption_key`."""

    def __init__(self, private: _Private, wraps: frozenset[KeyWrap]) -> None:
        self._private = private
        self._wraps = wraps

    def __repr__(self) -> str:
        return f"DecryptionKey({', '.join(sorted(self._wraps))})"

    @property
    def pem(self) -> str:
        """The key without encryption, for a bootloader to be built with."""
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            NoEncryption,
            PrivateFormat,
        )

        how = Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        return self._private.private_bytes(*how).decode()

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
            return private.decrypt(wrapped, oaep())
        size, tag_size = PUBLIC_SIZES[wrap], hash_of(wrap).digest_size
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
        key, tag_key = derived_keys(wrap, shared, len(encrypted))
        if not hmac.compare_digest(tag, tag_of(wrap, tag_key, encrypted)):
            raise ValueError("its tag does not fit")
        return apply_keystream(key, encrypted)


class HostDecryptionKey:
    """The devices' key that this host has, if any: CRYOFW_DECRYPTION_KEY names its file.

    It is host configuration, as the files of TLS are: which image is encrypted is known only when
    one is read, and every command that reads one has to be able to check it.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        self._loaded: DecryptionKey | None = None

    def content_key(self, wrap: KeyWrap, wrapped: bytes) -> bytes:
        """See `ContentKeyOpener.content_key`.

        Raises:
            ImageRejected: also when there is no key.
            KeyFileError, KeyRefused: as `load_decryption_key`.
        """
        key = self.load()
        if key is None:
            raise ImageRejected(
                "the image is encrypted, and this host has no key that opens it",
                why=f"its signature covers the plain firmware; {DECRYPTION_VARIABLE} names no key",
                hint=f"set {DECRYPTION_VARIABLE} to the file of the devices' private key",
            )
        return key.content_key(wrap, wrapped)

    def load(self) -> DecryptionKey | None:
        """Read the key; None when this host has none.

        Raises:
            KeyFileError, KeyRefused: as `load_decryption_key`.
        """
        named = self._environ.get(DECRYPTION_VARIABLE)
        if self._loaded is None and named:
            self._loaded = load_decryption_key(Path(named), environment_passphrase(self._environ))
        return self._loaded


def load_decryption_key(path: Path, passphrase: PassphraseSource) -> DecryptionKey:
    """Read the devices' private key in PEM; the passphrase is asked for if it is encrypted.

    Raises:
        KeyFileError: no such file, no key of these kinds in it, or no passphrase that opens it.
        KeyRefused: others than the owner can read the file.
    """
    private = parse_private_key(
        read_secret_file(path, "decryption key"), path, path.stem, passphrase
    )
    kind = kind_of(private.public_key())
    if kind is None:
        raise KeyFileError(
            f"cannot decrypt with the key {path}",
            why="it is neither ECDSA P-256, X25519 nor RSA-2048",
        )
    wraps = {kind[0]}
    if kind[0] is KeyWrap.ECIES_X25519:
        wraps.add(KeyWrap.ECIES_X25519_SHA512)
    return DecryptionKey(private, frozenset(wraps))  # type: ignore[arg-type]  # _kind looked


def _not_ours(why: str) -> ImageRejected:
    return ImageRejected(
        "the image does not open with this decryption key",
        why=why,
        hint="it is encrypted for other devices, or was changed on the way",
    )
