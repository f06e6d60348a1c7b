"""The adapter on securesystemslib's signers: hardware tokens and key services.

Imported only when a keyring's URI asks for it: the library takes longer to import than a file
key takes to sign.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.exceptions import UnsupportedLibraryError
from securesystemslib.signer import (  # type: ignore[attr-defined]  # its API, without __all__
    SIGNER_FOR_URI_SCHEME,
    Signer,
    SSlibKey,
)

from cryofw.image import Algorithm, PublicKey
from cryofw.keys.errors import KeyFileError, KeyringError, KeyServiceUnreachable

if TYPE_CHECKING:
    from cryofw.keys.passphrase import PassphraseSource
    from cryofw.keys.purpose import Purpose

_SCHEMES = {
    Algorithm.ECDSA_P256: "ecdsa-sha2-nistp256",
    Algorithm.ED25519: "ed25519",
    Algorithm.RSA_2048: "rsassa-pss-sha256",
    Algorithm.RSA_3072: "rsassa-pss-sha256",
}
"""securesystemslib's names; its PSS salt is as long as the digest, as MCUboot's is."""


_EXTRAS = {"azurekms": "azurekms", "awskms": "awskms", "gcpkms": "gcpkms", "hsm": "hsm"}
_EXTRAS |= {"hv": "vault", "tkey": "tkey"}
"""Scheme -> the extra of securesystemslib that brings what its signer needs."""


class LibrarySigner:
    """Signs with one of securesystemslib's signers; see `open_library_signer`."""

    def __init__(self, name: str, purpose: Purpose, public_key: PublicKey, signer: Signer) -> None:
        self.name = name
        self.purpose = purpose
        self.public_key = public_key
        self._signer = signer

    def sign(self, message: bytes) -> bytes:
        """Sign as `Signer.sign` says, and check the answer: a service may hold another key.

        Raises:
            KeyServiceUnreachable: the token or service did not sign.
            ImageRejected: what it made is no signature of this key.
        """
        try:
            signature = bytes.fromhex(self._signer.sign(message).signature)
        except Exception as error:
            # Each service raises exceptions of its own libraries; none says more than its text.
            raise KeyServiceUnreachable(
                f"the key {self.name!r} did not sign", why=f"{type(error).__name__}: {error}"
            ) from error
        self.public_key.verify(signature, message)
        return signature


def library_schemes() -> frozenset[str]:
    """Return the URI schemes that securesystemslib can open, registered ones included."""
    return frozenset(SIGNER_FOR_URI_SCHEME)


def open_library_signer(
    uri: str,
    name: str,
    purpose: Purpose,
    public_key: PublicKey,
    passphrase: PassphraseSource,
) -> LibrarySigner:
    """Open a token or service key; a PIN that it asks for comes from `passphrase`.

    Raises:
        KeyringError: the URI, the key behind it, or a missing library.
        KeyFileError: it wants a PIN and none was given.
        KeyServiceUnreachable: anything else that the token or service says.
    """

    def secret(_prompt: str) -> str:
        given = passphrase(name)
        if given is None:
            raise KeyFileError(
                f"the key {name!r} needs a PIN and none was given",
                hint="set CRYOFW_PASSPHRASE, use --passphrase-file, or run at a terminal",
            )
        return given.decode()

    loaded = load_pem_public_key(public_key.pem)
    key = SSlibKey.from_crypto(loaded, scheme=_SCHEMES[public_key.algorithm])
    try:
        signer = Signer.from_priv_key_uri(uri, key, secret)
    except KeyFileError:
        raise
    except (UnsupportedLibraryError, ImportError) as error:
        extra = _EXTRAS.get(uri.partition(":")[0])
        raise KeyringError(
            f"the key {name!r} needs a library that is not installed",
            why=str(error),
            hint=f"pip install 'securesystemslib[{extra}]'" if extra else "",
        ) from error
    except (ValueError, TypeError, OSError) as error:
        raise KeyringError(f"cannot open the key {name!r} at {uri}", why=str(error)) from error
    except Exception as error:
        raise KeyServiceUnreachable(
            f"the key {name!r} at {uri} does not answer", why=f"{type(error).__name__}: {error}"
        ) from error
    return LibrarySigner(name, purpose, public_key, signer)
