"""A new key pair and its entry in the keyring: both, or neither."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from cryofw.cli.file import write_file
from cryofw.errors import CryofwError, UsageError
from cryofw.image import Algorithm
from cryofw.keys import (
    Purpose,
    create_file,
    generate_key,
    parse_keyring,
    public_half,
    read_public_key,
    token_public_key,
    with_entry,
)

if TYPE_CHECKING:
    from cryofw.image import PublicKey
    from cryofw.keys import KeyEntry

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def default_algorithm(purpose: Purpose) -> Algorithm:
    """ECDSA P-256 for images, which every MCUboot port verifies; Ed25519 for the rest."""
    return Algorithm.ECDSA_P256 if purpose is Purpose.IMAGE else Algorithm.ED25519


def check_name(name: str) -> None:
    """Refuse a name that cannot be a file's, before anybody is asked for a passphrase.

    Raises:
        UsageError: it has other characters than letters, digits, dots, dashes, underscores.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a key",
            why="it takes 1 to 64 letters, digits, dots, dashes and underscores",
        )


def add_key(
    keyring: Path, name: str, purpose: Purpose, algorithm: Algorithm, passphrase: bytes | None
) -> KeyEntry:
    """Make a key pair in `keys/` beside the keyring and enter it; the keyring may be missing.

    Raises:
        UsageError: as `check_name`.
        KeyringError: the keyring has mistakes, or has the name already.
        KeyFileError: a key file exists already or cannot be written.
    """
    check_name(name)
    target = keyring.resolve()
    text = target.read_text("utf-8") if target.exists() else None
    path = Path("keys", f"{name}.pem")
    changed = with_entry(keyring, text, name, f"file:{path}", purpose, algorithm)
    generate_key(target.parent / path, algorithm, passphrase)
    try:
        ring = parse_keyring(changed.encode(), target)
        write_file(target, changed.encode(), force=text is not None)
    except CryofwError:
        for half in (target.parent / path, public_half(target.parent / path)):
            half.unlink(missing_ok=True)
        raise
    return ring.entry(name)


def add_token_key(keyring: Path, name: str, purpose: Purpose, uri: str) -> KeyEntry:
    """Enter a key that lies in a token; its public half is read there and kept in `keys/`.

    Raises:
        UsageError: as `check_name`.
        KeyringError: the keyring has mistakes or the name already, or the URI names no one key.
        KeyFileError: the file of the public half exists already or cannot be written.
        KeyServiceUnreachable: the token does not answer.
    """
    check_name(name)
    public = token_public_key(uri, keyring.resolve().parent)
    return _enter(keyring, name, purpose, uri, public)


def add_public_key(keyring: Path, name: str, purpose: Purpose, public: Path) -> KeyEntry:
    """Enter the public half of a key that somebody else holds; it is kept in `keys/`.

    Raises:
        UsageError: as `check_name`.
        KeyringError: the keyring has mistakes, or has the name already.
        KeyFileError: the file is no public key, or another one is kept under this name.
    """
    check_name(name)
    return _enter(keyring, name, purpose, f"file:keys/{name}.pem", read_public_key(public))


def _enter(keyring: Path, name: str, purpose: Purpose, uri: str, public: PublicKey) -> KeyEntry:
    """Both the file of the public half and the entry, or neither."""
    target = keyring.resolve()
    text = target.read_text("utf-8") if target.exists() else None
    path = Path("keys", f"{name}.pub.pem")
    where = None if uri.startswith("file:") else str(path)
    changed = with_entry(keyring, text, name, uri, purpose, public.algorithm, where)
    kept = target.parent / path
    here = kept.is_file() and read_public_key(kept).pem == public.pem
    if not here:
        create_file(kept, public.pem, 0o644)
    try:
        ring = parse_keyring(changed.encode(), target)
        write_file(target, changed.encode(), force=text is not None)
    except CryofwError:
        if not here:
            kept.unlink(missing_ok=True)
        raise
    return ring.entry(name)
