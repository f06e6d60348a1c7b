"""What can be wrong with keys: the keyring, a key file, or what a key is asked to do."""

from __future__ import annotations

from typing import NamedTuple

from cryofw.errors import BadInput, Refused, Unreachable


class Finding(NamedTuple):
    """One mistake in a keyring; line and column count from 1."""

    line: int
    column: int
    message: str


class KeyringError(BadInput):
    """A keyring that cannot be used: its syntax, an entry, or a file that an entry names.

    Args:
        findings: each mistake with its place, where the keyring itself is wrong.
    """

    def __init__(
        self, what: str, *, why: str = "", hint: str = "", findings: tuple[Finding, ...] = ()
    ) -> None:
        super().__init__(what, why=why, hint=hint)
        self.findings = findings


class KeyFileError(BadInput):
    """A key file that is missing, damaged, of another kind, or locked by another passphrase."""


class KeyRefused(Refused):
    """A key that must not be used so: another purpose, or a private key others can read."""


class KeyServiceUnreachable(Unreachable):
    """A token or key service that did not sign."""


class PinRefused(KeyRefused):
    """The token refused the PIN; it was tried once, because tokens count."""


class TokenLocked(KeyRefused):
    """The token's PIN is locked, or one wrong try away from it: a person has to see to it."""


class TokenMissing(KeyServiceUnreachable):
    """The token is not there."""
