"""Keys of the journal: which one signs its checkpoints, and whose signatures count."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from cryofw.cli.keychoice import passphrase_source, pin_source
from cryofw.errors import CryofwError, Interrupted, UsageError
from cryofw.keys import (
    KeyRefused,
    KeyringError,
    Purpose,
    environment_passphrase,
    environment_pin,
    read_public_key,
)

if TYPE_CHECKING:
    from cryofw.audit import LogTrust
    from cryofw.engine.home import Home
    from cryofw.image import PublicKey
    from cryofw.keys import Keyring, Signer

JOURNAL_KEY = "CRYOFW_JOURNAL_KEY"

key_option = click.option(
    "--key",
    "keys",
    multiple=True,
    metavar="KEY",
    help="A journal key to trust: a name in the keyring, a public PEM file, or a verifier key "
    "(NAME+ID+KEY). May be repeated. [default: all journal keys of the keyring]",
)
witness_key_option = click.option(
    "--witness-key",
    "witness_keys",
    multiple=True,
    metavar="KEY",
    help="A witness to trust, likewise. [default: all witness keys of the keyring]",
)
quorum_option = click.option(
    "--witnesses",
    "quorum",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="How many different witnesses must have cosigned.",
)


class KeyringSigner:
    """A key of the keyring that is opened when it first signs, once; a `NoteSigner`.

    Args:
        ring, name, purpose: which key.
        asks: whether a person at the terminal may be asked for its passphrase or PIN.
    """

    def __init__(self, ring: Keyring, name: str, purpose: Purpose, *, asks: bool = True) -> None:
        self.name = name
        self._asks = asks
        self.public_key = ring.public_key(name, purpose)
        self._ring = ring
        self._purpose = purpose
        self._signer: Signer | None = None
        self._error: CryofwError | None = None

    @property
    def is_file(self) -> bool:
        """Whether its private half is a file of this computer."""
        return self._ring.entries[self.name].uri.startswith("file:")

    def open(self) -> Signer:
        """Open the private half, asking for a passphrase or PIN at most once.

        Raises:
            KeyringError, KeyFileError, KeyRefused, KeyServiceUnreachable: as `Keyring.signer`.
        """
        if self._error is not None:
            raise self._error
        if self._signer is None:
            passphrase = passphrase_source(None) if self._asks else environment_passphrase()
            pin = pin_source() if self._asks else environment_pin()
            try:
                self._signer = self._ring.signer(self.name, self._purpose, passphrase, pin)
            except Interrupted:
                raise
            except CryofwError as error:
                self._error = error
                raise
        return self._signer

    def sign(self, message: bytes) -> bytes:
        """See `NoteSigner`; raises as `open`."""
        return self.open().sign(message)


def sign_at_once(home: Home) -> None:
    """Let what a person is about to say stand under a signature as soon as it is written.

    Nobody is asked for anything, and no token or key service is waited for: an approval, and the
    emergency stop above all, must not depend on a key. What is not signed so, the next checkpoint
    covers; that it is not is said.
    """
    context = click.get_current_context(silent=True)
    given = context.params.get("keyring") if context else None
    keyring = given or Path(os.environ.get("CRYOFW_KEYRING") or "keys.yaml")
    try:
        signer = journal_signer(keyring, asks=False)
        if signer is None:
            return
        if not signer.is_file:
            raise KeyRefused(
                f"the key {signer.name!r} is not a file, and is not waited for",
                hint="`cryofw audit checkpoint` signs with it",
            )
        signer.open()
        home.signer = signer
    except CryofwError as error:
        click.echo(f"the journal is not signed yet: {error}", err=True)


def journal_signer(keyring: Path, *, asks: bool = True) -> KeyringSigner | None:
    """The key that signs checkpoints: the keyring's only journal key, or CRYOFW_JOURNAL_KEY.

    None if there is no keyring, or no journal key in it: then checkpoints are not signed.

    Args:
        keyring: the file.
        asks: whether a person may be asked for what opens the key.

    Raises:
        KeyringError: the keyring has mistakes, or several journal keys.
    """
    if not keyring.exists():
        return None
    from cryofw.keys import load_keyring

    ring = load_keyring(keyring)
    name = os.environ.get(JOURNAL_KEY, "")
    names = [e.name for e in ring.entries.values() if e.purpose is Purpose.JOURNAL]
    if not name and len(names) > 1:
        raise KeyringError(
            f"{keyring} has {len(names)} journal keys, so the one that signs must be named",
            why=", ".join(names),
            hint=f"set {JOURNAL_KEY}",
        )
    if not name and not names:
        return None
    return KeyringSigner(ring, name or names[0], Purpose.JOURNAL, asks=asks)


def named_signer(keyring: Path, name: str | None, purpose: Purpose) -> KeyringSigner:
    """A key of the keyring by name, or its only one of the purpose.

    Raises:
        KeyringError, KeyRefused: as `Keyring.choose` and `Keyring.public_key`.
    """
    from cryofw.keys import load_keyring

    ring = load_keyring(keyring)
    return KeyringSigner(ring, name or ring.choose(purpose).name, purpose)


def log_trust(
    keys: tuple[str, ...], witness_keys: tuple[str, ...], quorum: int, keyring: Path
) -> LogTrust:
    """Whose signatures under a journal count.

    Raises:
        KeyringError, KeyFileError, VerifierKeyInvalid, ImageError: a key that cannot be read.
        KeyRefused: a key of the keyring that is for another purpose.
        UsageError: more witnesses are asked for than are known.
    """
    from cryofw.audit import LogTrust

    trust = LogTrust(
        _public_keys(keys, keyring, Purpose.JOURNAL),
        _public_keys(witness_keys, keyring, Purpose.WITNESS),
        quorum,
    )
    if quorum > len(trust.witnesses):
        raise UsageError(
            f"{quorum} witnesses are asked for, and {len(trust.witnesses)} are known",
            hint="--witness-key, or a key with `purpose: witness` in the keyring",
        )
    return trust


def _public_keys(keys: tuple[str, ...], keyring: Path, purpose: Purpose) -> dict[str, PublicKey]:
    """Named keys, or all of a purpose; a keyring that nobody named may be missing."""
    found: dict[str, PublicKey] = {}
    names = []
    for key in keys:
        if "+" in key:
            from cryofw.journal import parse_verifier_key

            name, public = parse_verifier_key(key)
            found[name] = public
        elif "/" in key or key.endswith(".pem"):
            found[key] = read_public_key(Path(key))
        else:
            names.append(key)
    if names or (not keys and has_keyring(keyring)):
        from cryofw.keys import load_keyring

        ring = load_keyring(keyring)
        names = names or [e.name for e in ring.entries.values() if e.purpose is purpose]
        found |= {name: ring.public_key(name, purpose) for name in names}
    return found


def has_keyring(keyring: Path) -> bool:
    """Whether a keyring is to be read: it exists, or somebody named it."""
    context = click.get_current_context(silent=True)
    source = context.get_parameter_source("keyring") if context else None
    return keyring.exists() or source not in (None, ParameterSource.DEFAULT)
