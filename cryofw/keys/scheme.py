"""Key URIs: `file:` and `pkcs11:` are ours; others are securesystemslib's signers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from cryofw.keys.errors import KeyringError
from cryofw.keys.file_signer import load_file_signer
from cryofw.keys.key_file import public_half
from cryofw.keys.pkcs11_uri import parse_pkcs11_uri, shown

if TYPE_CHECKING:
    from cryofw.image import PublicKey
    from cryofw.keys.passphrase import PassphraseSource
    from cryofw.keys.purpose import Purpose
    from cryofw.keys.signer import Signer

_URI = re.compile(r"([a-z][a-z0-9+.-]*):(.+)")
_LIBRARY_SCHEMES = frozenset({"awskms", "azurekms", "file2", "gcpkms", "hsm", "hv", "tkey"})
"""Schemes that securesystemslib is known to have: to accept them costs no import of it."""


def check_uri(uri: str) -> None:
    """Check the form of a key URI and that something can open its scheme.

    Raises:
        KeyringError: not a URI, an unknown scheme, a file on another host, or a pkcs11: URI
            that is not as RFC 7512 says.
    """
    scheme, rest = _split(uri)
    if scheme == "file":
        _file_path(rest)
    elif scheme == "pkcs11":
        parse_pkcs11_uri(uri)
    elif scheme not in _LIBRARY_SCHEMES:
        from cryofw.keys.library_signer import library_schemes

        if scheme not in library_schemes():
            known = ", ".join(sorted({"file", "pkcs11", *_LIBRARY_SCHEMES}))
            raise KeyringError(
                f"unknown scheme {scheme!r} in the URI {shown(uri)!r}; known: {known}"
            )


def public_path(uri: str, public: str | None, directory: Path) -> Path:
    """Return where the public half lies: as the entry says, else beside a `file:` key.

    Raises:
        KeyringError: a key that is no file needs to say it.
    """
    scheme, rest = _split(uri)
    if public is not None:
        return directory / public
    if scheme != "file":
        raise KeyringError(
            f"a {scheme}: key needs `public:`, the path of its public key in PEM",
            hint="`cryofw keys add` reads it from a token" if scheme == "pkcs11" else "",
        )
    return public_half(directory / _file_path(rest))


def open_signer(
    uri: str,
    directory: Path,
    name: str,
    purpose: Purpose,
    public_key: PublicKey,
    passphrase: PassphraseSource,
    pin: PassphraseSource | None = None,
) -> Signer:
    """Open the private key behind a URI.

    `passphrase` opens an encrypted file, `pin` a token (without it, the environment does).

    Raises:
        KeyringError: a URI that nothing can open.
        KeyFileError, KeyRefused, KeyServiceUnreachable: as `Keyring.signer` says.
    """
    scheme, rest = _split(uri)
    if scheme == "file":
        return load_file_signer(directory / _file_path(rest), name, purpose, passphrase)
    if scheme == "pkcs11":
        from cryofw.keys.token_signer import open_token_signer

        return open_token_signer(uri, directory, name, purpose, public_key, pin)

    from cryofw.keys.library_signer import open_library_signer

    return open_library_signer(uri, name, purpose, public_key, passphrase)


def _split(uri: str) -> tuple[str, str]:
    match = _URI.fullmatch(uri)
    if match is None:
        raise KeyringError(f"{shown(uri)!r} is no key URI, such as file:keys/image.pem")
    return match[1], match[2]


def _file_path(rest: str) -> Path:
    """The path of a `file:` URI, taken literally: relative, absolute, or behind `//`."""
    if rest.startswith("//"):
        if not rest.startswith("///"):
            raise KeyringError(f"file:{rest} names a host; write file:///path or file:path")
        rest = rest[2:]
    path = Path(rest)
    if not path.name or path.name == "..":
        raise KeyringError(f"file:{rest} names no file")
    return path
