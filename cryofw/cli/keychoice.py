"""Which key a command means by `--key`: a name of the keyring, or a PEM file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cryofw.errors import Interrupted, UsageError
from cryofw.keys import (
    PassphraseSource,
    Purpose,
    Signer,
    environment_passphrase,
    environment_pin,
    file_passphrase,
    first_of,
    load_file_signer,
    read_public_key,
)

if TYPE_CHECKING:
    from cryofw.image import ContentKeyOpener, PublicKey


def prompted_passphrase(name: str) -> bytes | None:
    """Ask the person at the terminal; None where there is none."""
    if not sys.stdin.isatty():
        return None
    try:
        text: str = click.prompt(f"Passphrase of the key {name}", hide_input=True, err=True)
    except click.Abort as error:
        raise Interrupted("no passphrase was entered") from error
    return text.encode()


def passphrase_source(file: Path | None) -> PassphraseSource:
    """File, if one is given; else the environment, then the person at the terminal."""
    if file is not None:
        return file_passphrase(file)
    return first_of(environment_passphrase(), prompted_passphrase)


def prompted_pin(name: str) -> bytes | None:
    """Ask the person at the terminal for a token's PIN; None where there is none."""
    if not sys.stdin.isatty():
        return None
    try:
        text: str = click.prompt(f"PIN of the token of key {name}", hide_input=True, err=True)
    except click.Abort as error:
        raise Interrupted("no PIN was entered") from error
    return text.encode()


def pin_source() -> PassphraseSource:
    """The environment, then the person at the terminal; a pin-source in the URI comes first."""
    return first_of(environment_pin(), prompted_pin)


def open_image_signer(key: str | None, keyring: Path, passphrase: PassphraseSource) -> Signer:
    """Open the key that signs an image.

    Args:
        key: name in the keyring, path of a PEM file, or None for the keyring's only image key.
        keyring: path of the keyring; not read for a PEM file.
        passphrase: asked only for an encrypted key.

    Raises:
        KeyringError, KeyFileError, KeyRefused, KeyServiceUnreachable: as `Keyring.signer` says.
    """
    _refuse_uri(key)
    if key is not None and _is_path(key):
        path = Path(key)
        return load_file_signer(path, path.stem, Purpose.IMAGE, passphrase)
    from cryofw.keys import load_keyring

    ring = load_keyring(keyring)
    name = ring.choose(Purpose.IMAGE).name if key is None else key
    return ring.signer(name, Purpose.IMAGE, passphrase, pin_source())


def image_public_key(key: str | None, keyring: Path) -> PublicKey:
    """Return the public half of the key that signs an image elsewhere.

    Args:
        key: name in the keyring, path of a public PEM file, or None for the only image key.
        keyring: path of the keyring; not read for a PEM file.

    Raises:
        KeyringError, KeyFileError, ImageError: a key that cannot be read.
        KeyRefused: a named key that is not for images.
    """
    _refuse_uri(key)
    if key is not None and _is_path(key):
        return read_public_key(Path(key))
    from cryofw.keys import load_keyring

    ring = load_keyring(keyring)
    name = ring.choose(Purpose.IMAGE).name if key is None else key
    return ring.public_key(name, Purpose.IMAGE)


def trusted_image_keys(keys: tuple[str, ...], keyring: Path) -> dict[str, PublicKey]:
    """Return the public keys that images are checked against, by name.

    Args:
        keys: names in the keyring or paths of public PEM files; none means all image keys.
        keyring: path of the keyring; not read when every key is a file.

    Raises:
        KeyringError, KeyFileError, ImageError: a key that cannot be read.
        KeyRefused: a named key that is not for images.
    """
    trusted = {key: read_public_key(Path(key)) for key in keys if _is_path(key)}
    names = [key for key in keys if not _is_path(key)]
    if names or not keys:
        from cryofw.keys import load_keyring

        ring = load_keyring(keyring)
        names = names or [e.name for e in ring.entries.values() if e.purpose is Purpose.IMAGE]
        trusted |= {name: ring.public_key(name, Purpose.IMAGE) for name in names}
    return trusted


def content_key_opener(path: Path | None) -> ContentKeyOpener | None:
    """Read the devices' private key that `--decryption-key` names; None without one.

    Raises:
        KeyFileError, KeyRefused: a file that cannot be used, or that others can read.
    """
    if path is None:
        return None
    from cryofw.keys import load_decryption_key

    return load_decryption_key(path, passphrase_source(None))


def _refuse_uri(key: str | None) -> None:
    """A URI is no name; what it stands for, its public half above all, is in a keyring.

    Raises:
        UsageError: it is one.
    """
    scheme, colon, _ = (key or "").partition(":")
    if colon and scheme.isalnum() and not Path(key or "").exists():
        raise UsageError(
            f"--key takes a name or a PEM file, not the URI {key}",
            hint="enter it with `cryofw keys add NAME --uri URI`, and give its name here"
            if scheme == "pkcs11"
            else "enter it into the keyring, and give its name here",
        )


def _is_path(key: str) -> bool:
    return "/" in key or key.endswith(".pem")


def new_passphrase(name: str, file: Path | None) -> bytes:
    """Return the passphrase for a new key: file, environment, or typed twice.

    Raises:
        UsageError: there is none and nobody at the terminal to ask.
        KeyFileError, KeyRefused: the passphrase file cannot be used.
    """
    given = (file_passphrase(file) if file is not None else environment_passphrase())(name)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise UsageError(
            f"no passphrase for the new key {name!r}",
            hint="set CRYOFW_PASSPHRASE, use --passphrase-file, or say --no-passphrase",
        )
    try:
        text: str = click.prompt(
            f"New passphrase for the key {name}",
            hide_input=True,
            confirmation_prompt=True,
            err=True,
        )
    except click.Abort as error:
        raise Interrupted("no passphrase was entered") from error
    return text.encode()
