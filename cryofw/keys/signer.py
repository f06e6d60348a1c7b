"""The Signer protocol: everything the other rooms know about a private key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from cryofw.image import PublicKey
    from cryofw.keys.purpose import Purpose


class Signer(Protocol):
    """A private key that signs for one purpose, wherever it lives."""

    @property
    def name(self) -> str:
        """The key's name in the keyring."""

    @property
    def purpose(self) -> Purpose:
        """What it may sign."""

    @property
    def public_key(self) -> PublicKey:
        """The half that verifies."""

    def sign(self, message: bytes) -> bytes:
        """Return a signature over `message`.

        ECDSA: SHA-256, DER. RSA: PSS with SHA-256, MGF1 and a salt of 32 bytes. Ed25519: the
        message itself. These are MCUboot's formats.

        Raises:
            KeyServiceUnreachable: the token or key service did not sign.
        """
