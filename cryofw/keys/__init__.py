"""Keys: a keyring names them, a signer signs with one, and each serves a single purpose.

A key in a file needs cryptography only. Keys in tokens and services come through
securesystemslib, YAML through PyYAML; both are imported when a keyring asks for them.
"""

from cryofw.keys.addition import with_entry
from cryofw.keys.errors import (
    Finding,
    KeyFileError,
    KeyRefused,
    KeyringError,
    KeyServiceUnreachable,
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
from cryofw.keys.purpose import Purpose
from cryofw.keys.signer import Signer

__all__ = [
    "FileSigner",
    "Finding",
    "KeyEntry",
    "KeyFileError",
    "KeyRefused",
    "KeyServiceUnreachable",
    "Keyring",
    "KeyringError",
    "PassphraseSource",
    "Purpose",
    "Signer",
    "create_file",
    "environment_passphrase",
    "file_passphrase",
    "first_of",
    "generate_key",
    "load_file_signer",
    "load_keyring",
    "no_passphrase",
    "parse_keyring",
    "public_half",
    "read_public_key",
    "read_secret_file",
    "with_entry",
]
