"""Keys of the keyring as python-tuf wants them: any `Signer` of keys/ signs release metadata."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from securesystemslib.signer import (  # type: ignore[attr-defined]  # its API, without __all__
    Key,
    Signature,
    Signer,
    SSlibKey,
)

from cryofw.errors import CryofwError, Interrupted
from cryofw.image import Algorithm
from cryofw.keys import Purpose
from cryofw.release.metadata import Root, Targets
from cryofw.release.role import ROOT, TARGETS, TOP_LEVEL

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from cryofw.image import PublicKey
    from cryofw.keys import KeyEntry, Keyring, PassphraseSource
    from cryofw.keys import Signer as OwnSigner
    from cryofw.release.metadata import Signed

NAME_FIELD = "x-cryofw-name"
"""What people call a key; it stands beside the key, and nothing is decided by it."""

_SCHEMES = {
    Algorithm.ECDSA_P256: "ecdsa-sha2-nistp256",
    Algorithm.ED25519: "ed25519",
    Algorithm.RSA_2048: "rsassa-pss-sha256",
    Algorithm.RSA_3072: "rsassa-pss-sha256",
}


def metadata_key(public_key: PublicKey, name: str) -> SSlibKey:
    """The key as metadata holds it; its id is made of its material, so it cannot have two."""
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    loaded = load_pem_public_key(public_key.pem)
    key = SSlibKey.from_crypto(loaded, scheme=_SCHEMES[public_key.algorithm])
    key.unrecognized_fields[NAME_FIELD] = name
    return key


def key_name(key: Key) -> str:
    """What people call a key, or the beginning of its id."""
    return str(key.unrecognized_fields.get(NAME_FIELD) or key.keyid[:12])


def keys_of_role(role: str, roles: Mapping[str, Signed]) -> tuple[tuple[str, ...], int]:
    """Names of the keys that may sign a role, and how many must.

    Args:
        role: whose.
        roles: the metadata of each role; root speaks for four of them, targets for products.
    """
    delegator = roles[ROOT] if role in TOP_LEVEL else roles[TARGETS]
    assert isinstance(delegator, Root | Targets)
    given = delegator.get_delegated_role(role)
    names = sorted(key_name(delegator.get_key(keyid)) for keyid in given.keyids)
    return tuple(names), given.threshold


class ReleaseSigner(Signer):
    """One of our signers behind securesystemslib's interface."""

    def __init__(self, signer: OwnSigner) -> None:
        self._signer = signer
        self._key = metadata_key(signer.public_key, signer.name)

    @property
    def public_key(self) -> Key:
        """The key as metadata holds it."""
        return self._key

    @classmethod
    def from_priv_key_uri(
        cls,
        priv_key_uri: str,
        public_key: Key,
        secrets_handler: Callable[[str], str] | None = None,
    ) -> ReleaseSigner:
        """Not that way: a keyring opens keys, because it knows what each one is for."""
        raise NotImplementedError

    def sign(self, payload: bytes) -> Signature:
        """Sign the canonical bytes of metadata."""
        return Signature(self._key.keyid, self._signer.sign(payload).hex())


@dataclass
class SignerPool:
    """The release keys of a keyring by key id; a private half is opened when it is needed.

    Args:
        keyring: names the keys.
        passphrase: asked only for an encrypted key.
        only: names of the keys that may sign; empty: all of them.
        pin: asked for a token's PIN; without it, the environment is.
    """

    keyring: Keyring
    passphrase: PassphraseSource
    only: Collection[str] = ()
    pin: PassphraseSource | None = None
    missed: dict[str, str] = field(default_factory=dict, init=False)
    _entries: dict[str, KeyEntry] = field(default_factory=dict, init=False)
    _opened: dict[str, ReleaseSigner | None] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        for name in self.only:
            self.keyring.public_key(name, Purpose.RELEASE)
        for entry in self.keyring.entries.values():
            if entry.purpose is Purpose.RELEASE and (not self.only or entry.name in self.only):
                self._entries[metadata_key(entry.public_key, entry.name).keyid] = entry

    def key(self, name: str) -> SSlibKey:
        """The public half of a key, for metadata.

        Raises:
            KeyringError: the keyring has none of that name.
            KeyRefused: it is not for releases.
        """
        return metadata_key(self.keyring.public_key(name, Purpose.RELEASE), name)

    def open(self, keyid: str) -> ReleaseSigner | None:
        """The signer of a key id; None if its private half is not at hand: `missed` says why.

        Raises:
            Interrupted: the person who was asked for a passphrase wants no more of it.
        """
        entry = self._entries.get(keyid)
        if entry is None:
            return None
        if keyid not in self._opened:
            try:
                own = self.keyring.signer(entry.name, Purpose.RELEASE, self.passphrase, self.pin)
                self._opened[keyid] = ReleaseSigner(own)
            except Interrupted:
                raise
            except CryofwError as error:
                # A holder may be elsewhere with their key; whether that matters the threshold says.
                self.missed[entry.name] = str(error)
                self._opened[keyid] = None
        return self._opened[keyid]
