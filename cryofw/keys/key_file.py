"""PEM key files: created so that only their owner can read them, refused when others can."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeAlias, assert_never

from cryofw.image import Algorithm, PublicKey
from cryofw.keys.errors import KeyFileError, KeyRefused
from cryofw.keys.regular_file import read_regular, read_trusted

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    PrivateKey: TypeAlias = EllipticCurvePrivateKey | Ed25519PrivateKey | RSAPrivateKey

_LARGEST_KEY_FILE = 64 * 1024


def public_half(path: Path) -> Path:
    """Return where the public half of a private key lies: `keys/a.pem` -> `keys/a.pub.pem`."""
    return path.with_name(path.name.removesuffix(".pem") + ".pub.pem")


def generate_key(path: Path, algorithm: Algorithm, passphrase: bytes | None) -> PublicKey:
    """Create a private key (PKCS#8 PEM, mode 0600) and its public half beside it (0644).

    Args:
        path: of the private key; neither file may exist.
        algorithm: the kind of key.
        passphrase: encrypts the private key; None leaves it in clear text.

    Raises:
        KeyFileError: a file exists already or cannot be written; nothing is left behind.
    """
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    key = _new_private_key(algorithm)
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    private_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    public_pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    create_file(path, private_pem, 0o600)
    try:
        create_file(public_half(path), public_pem, 0o644)
    except KeyFileError:
        path.unlink(missing_ok=True)
        raise
    return PublicKey.from_pem(public_pem)


def create_file(path: Path, data: bytes, mode: int) -> None:
    """Create a file that must not exist, not even as a dangling symbolic link.

    Raises:
        KeyFileError: it exists, or cannot be written; no part of it is left.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, flags, mode)
    except FileExistsError as error:
        raise KeyFileError(
            f"{path} exists already",
            why="a key is never overwritten: what it signed could not be signed again",
            hint="choose another name, or move the old key away first",
        ) from error
    except OSError as error:
        raise KeyFileError(f"cannot create {path}", why=error.strerror or str(error)) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)  # the umask may have taken bits of the public half
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise KeyFileError(f"cannot write {path}", why=error.strerror or str(error)) from error


def read_secret_file(path: Path, kind: str) -> bytes:
    """Read a file that only its owner may read.

    Args:
        path: of the file.
        kind: what it is, for the message, such as "private key".

    Raises:
        KeyFileError: it is missing, or larger than any key.
        FileRefused: it is no regular file.
        KeyRefused: its mode lets group or others read or write it.
    """

    def require_secret(mode: int) -> None:
        if mode & 0o077:
            raise KeyRefused(
                f"the {kind} {path} is open to others",
                why=f"its mode is {mode:04o}, expected 0600",
                hint=f"run `chmod 600 {path}`; if others may have read it, replace it",
            )

    try:
        return _read_limited(
            read_regular(path, kind, _LARGEST_KEY_FILE, require_secret), path, kind
        )
    except OSError as error:
        raise _unreadable(path, kind, error) from error


def read_public_key(path: Path) -> PublicKey:
    """Read a PEM public key.

    Raises:
        KeyFileError: it is missing, or holds a private key.
        FileRefused: it is no regular file, or others may write to it.
        ImageError: it is not the PEM of a public key that MCUboot knows.
    """
    return PublicKey.from_pem(read_public_pem(path))


def read_public_pem(path: Path) -> bytes:
    """Read the file of a public key, of whatever kind.

    Raises:
        KeyFileError: it is missing, or holds a private key.
        FileRefused: it is no regular file, or others may write to it.
    """
    try:
        data = read_trusted(path, "public key", _LARGEST_KEY_FILE)
        _read_limited(data, path, "public key")
    except FileNotFoundError as error:
        raise KeyFileError(
            f"the public key {path} is missing",
            hint=f"`openssl pkey -in PRIVATE.pem -pubout -out {path}` makes it",
        ) from error
    except OSError as error:
        raise _unreadable(path, "public key", error) from error
    if b"PRIVATE KEY-----" in data:
        raise KeyFileError(
            f"{path} holds a private key where a public one is expected",
            hint=f"point to its public half, such as {public_half(path)}",
        )
    return data


def _read_limited(data: bytes, path: Path, kind: str) -> bytes:
    if len(data) > _LARGEST_KEY_FILE:
        raise KeyFileError(f"{path} is no {kind}", why=f"it is larger than {_LARGEST_KEY_FILE} B")
    return data


def _unreadable(path: Path, kind: str, error: OSError) -> KeyFileError:
    return KeyFileError(f"cannot read the {kind} {path}", why=error.strerror or str(error))


def _new_private_key(algorithm: Algorithm) -> PrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    match algorithm:
        case Algorithm.ECDSA_P256:
            return ec.generate_private_key(ec.SECP256R1())
        case Algorithm.ED25519:
            return ed25519.Ed25519PrivateKey.generate()
        case Algorithm.RSA_2048:
            return rsa.generate_private_key(65537, 2048)
        case Algorithm.RSA_3072:
            return rsa.generate_private_key(65537, 3072)
        case _:
            assert_never(algorithm)
