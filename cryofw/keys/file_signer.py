"""A private key in a PEM file; needs cryptography and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.image import PublicKey
from cryofw.keys.errors import KeyFileError
from cryofw.keys.key_file import read_secret_file

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

    from cryofw.keys.key_file import PrivateKey
    from cryofw.keys.passphrase import PassphraseSource
    from cryofw.keys.purpose import Purpose


class FileSigner:
    """Signs with a key that was read from a file; see `load_file_signer`."""

    def __init__(
        self, name: str, purpose: Purpose, public_key: PublicKey, private_key: PrivateKey
    ) -> None:
        self.name = name
        self.purpose = purpose
        self.public_key = public_key
        self._private_key = private_key

    def __repr__(self) -> str:
        return f"FileSigner({self.name!r}, {self.purpose!r}, {self.public_key.algorithm!r})"

    def sign(self, message: bytes) -> bytes:
        """Sign as `Signer.sign` says; the same message gives the same signature, except for RSA."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding

        key = self._private_key
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return key.sign(message)
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return key.sign(message, _ecdsa())
        pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
        return key.sign(message, pss, hashes.SHA256())


def load_file_signer(
    path: Path, name: str, purpose: Purpose, passphrase: PassphraseSource
) -> FileSigner:
    """Read a PEM private key; the passphrase is asked for only when the file is encrypted.

    Raises:
        KeyFileError: no such file, no private key in it, or no passphrase that opens it.
        KeyRefused: others than the owner can read the file.
        ImageError: a kind of key that MCUboot does not know.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = _parse(read_secret_file(path, "private key"), path, name, passphrase)
    public_pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return FileSigner(name, purpose, PublicKey.from_pem(public_pem), key)


def _parse(data: bytes, path: Path, name: str, passphrase: PassphraseSource) -> PrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    key = parse_private_key(data, path, name, passphrase)
    if not isinstance(
        key, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
    ):
        raise KeyFileError(
            f"cannot sign with the private key {path}",
            why="it is neither ECDSA P-256, Ed25519 nor RSA",
        )
    return key


def parse_private_key(
    data: bytes, path: Path, name: str, passphrase: PassphraseSource
) -> PrivateKeyTypes:
    """Read a private key of any kind in PEM, from the content of `path`.

    Raises:
        KeyFileError: no private key in it, or no passphrase that opens it.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    secret = _passphrase_for(path, name, passphrase) if _is_encrypted(data) else None
    try:
        return load_pem_private_key(data, secret)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if secret is not None:
            raise KeyFileError(
                f"cannot open the private key {path}",
                why="the passphrase is wrong, or the file is damaged",
            ) from error
        raise _no_private_key(path) from error


def _is_encrypted(data: bytes) -> bool:
    return b"BEGIN ENCRYPTED PRIVATE KEY" in data or b"Proc-Type: 4,ENCRYPTED" in data


def _passphrase_for(path: Path, name: str, passphrase: PassphraseSource) -> bytes:
    secret = passphrase(name)
    if secret is None:
        raise KeyFileError(
            f"the private key {path} is encrypted and no passphrase was given",
            hint="set CRYOFW_PASSPHRASE, use --passphrase-file, or run at a terminal",
        )
    return secret


def _no_private_key(path: Path) -> KeyFileError:
    return KeyFileError(
        f"{path} holds no usable private key",
        why="expected a PEM private key (PKCS#8, SEC 1 or PKCS#1)",
        hint="`cryofw keys generate` makes one",
    )


def _ecdsa() -> ECDSA:
    """Return ECDSA with SHA-256 and, where OpenSSL has it, the nonce of RFC 6979.

    A nonce without chance makes signing reproducible: the same image signed twice is the same
    file, and a weak generator cannot leak the key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.hashes import SHA256

    try:
        return ECDSA(SHA256(), deterministic_signing=True)
    except UnsupportedAlgorithm:
        return ECDSA(SHA256())
