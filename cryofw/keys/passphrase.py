"""Where the passphrase of a private key comes from; it is never printed and never logged."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from cryofw.keys.errors import KeyFileError
from cryofw.keys.key_file import read_secret_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PassphraseSource: TypeAlias = Callable[[str], bytes | None]
"""Given a key's name, returns its passphrase, or None when this source has none.

It is called only when the key turns out to be encrypted.
"""


def environment_passphrase(environ: Mapping[str, str] | None = None) -> PassphraseSource:
    """Read CRYOFW_PASSPHRASE_<NAME>, else CRYOFW_PASSPHRASE; an empty variable counts as unset."""
    variables = os.environ if environ is None else environ

    def source(name: str) -> bytes | None:
        own = "CRYOFW_PASSPHRASE_" + re.sub(r"[^A-Z0-9]", "_", name.upper())
        text = variables.get(own) or variables.get("CRYOFW_PASSPHRASE")
        return text.encode() if text else None

    return source


def file_passphrase(path: Path) -> PassphraseSource:
    """Read the first line of a file that only its owner may read.

    The source raises:
        KeyFileError: the file is missing or its first line is empty.
        KeyRefused: others may read it.
    """

    def source(name: str) -> bytes | None:
        lines = read_secret_file(path, "passphrase file").splitlines()
        if not lines or not lines[0]:
            raise KeyFileError(
                f"the passphrase file {path} has no passphrase",
                why=f"its first line is empty, and the key {name!r} is encrypted",
            )
        return lines[0]

    return source


def first_of(*sources: PassphraseSource) -> PassphraseSource:
    """Ask the sources in turn until one has a passphrase."""

    def source(name: str) -> bytes | None:
        for each in sources:
            passphrase = each(name)
            if passphrase is not None:
                return passphrase
        return None

    return source


def no_passphrase(_name: str) -> bytes | None:
    """Have no passphrase: an encrypted key is then an error."""
    return None
