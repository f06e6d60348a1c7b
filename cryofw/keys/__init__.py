"""Keys: a keyring names them, a signer signs with one, and each serves a single purpose.

A key in a file needs cryptography only. Keys in tokens come through python-pkcs11, those of
services through securesystemslib, YAML through PyYAML; each is imported when a keyring asks for it.

Names are imported from their module when they are first used, so that signing with a file does
not pay for the keyring's reader.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryofw.keys.addition import with_entry
    from cryofw.keys.decryption_key import DecryptionKey, HostDecryptionKey, load_decryption_key
    from cryofw.keys.encryption_key import EncryptionKey, load_encryption_key
    from cryofw.keys.errors import (
        Finding,
        KeyFileError,
        KeyRefused,
        KeyringError,
        KeyServiceUnreachable,
        PinRefused,
        TokenLocked,
        TokenMissing,
    )
    from cryofw.keys.file_signer import FileSigner, load_file_signer
    from cryofw.keys.key_file import (
        create_file,
        generate_key,
        public_half,
        read_public_key,
        read_secret_file,
    )
    from cryofw.keys.keyring import KeyEntry, Keyring, load_keyring, parse_keyring
    from cryofw.keys.passphrase import (
        PassphraseSource,
        environment_passphrase,
        file_passphrase,
        first_of,
        no_passphrase,
    )
    from cryofw.keys.pin import environment_pin
    from cryofw.keys.purpose import Purpose
    from cryofw.keys.regular_file import FileRefused, read_regular, read_trusted
    from cryofw.keys.signer import Signer
    from cryofw.keys.token import close_tokens
    from cryofw.keys.token_signer import token_public_key

__all__ = [
    "DecryptionKey",
    "EncryptionKey",
    "FileRefused",
    "FileSigner",
    "Finding",
    "HostDecryptionKey",
    "KeyEntry",
    "KeyFileError",
    "KeyRefused",
    "KeyServiceUnreachable",
    "Keyring",
    "KeyringError",
    "PassphraseSource",
    "PinRefused",
    "Purpose",
    "Signer",
    "TokenLocked",
    "TokenMissing",
    "close_tokens",
    "create_file",
    "environment_passphrase",
    "environment_pin",
    "file_passphrase",
    "first_of",
    "generate_key",
    "load_decryption_key",
    "load_encryption_key",
    "load_file_signer",
    "load_keyring",
    "no_passphrase",
    "parse_keyring",
    "public_half",
    "read_public_key",
    "read_regular",
    "read_secret_file",
    "read_trusted",
    "token_public_key",
    "with_entry",
]

_MODULES = {
    "DecryptionKey": "decryption_key",
    "EncryptionKey": "encryption_key",
    "FileRefused": "regular_file",
    "FileSigner": "file_signer",
    "Finding": "errors",
    "HostDecryptionKey": "decryption_key",
    "KeyEntry": "keyring",
    "KeyFileError": "errors",
    "KeyRefused": "errors",
    "KeyServiceUnreachable": "errors",
    "Keyring": "keyring",
    "KeyringError": "errors",
    "PassphraseSource": "passphrase",
    "PinRefused": "errors",
    "Purpose": "purpose",
    "Signer": "signer",
    "TokenLocked": "errors",
    "TokenMissing": "errors",
    "close_tokens": "token",
    "create_file": "key_file",
    "environment_passphrase": "passphrase",
    "environment_pin": "pin",
    "file_passphrase": "passphrase",
    "first_of": "passphrase",
    "generate_key": "key_file",
    "load_decryption_key": "decryption_key",
    "load_encryption_key": "encryption_key",
    "load_file_signer": "file_signer",
    "load_keyring": "keyring",
    "no_passphrase": "passphrase",
    "parse_keyring": "keyring",
    "public_half": "key_file",
    "read_public_key": "key_file",
    "read_regular": "regular_file",
    "read_secret_file": "key_file",
    "read_trusted": "regular_file",
    "token_public_key": "token_signer",
    "with_entry": "addition",
}


def __getattr__(name: str) -> object:
    """Import a public name (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
