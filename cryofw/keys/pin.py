"""Where a token's PIN comes from; it is never printed, never logged, and tried once.

A wrong PIN counts: after a few the token locks itself. So a PIN has sources of its own: what was
meant as the passphrase of a file is never sent to a token.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from cryofw.keys.errors import KeyFileError, KeyringError
from cryofw.keys.key_file import read_secret_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.keys.passphrase import PassphraseSource


def environment_pin(environ: Mapping[str, str] | None = None) -> PassphraseSource:
    """Read CRYOFW_PIN_<NAME>, else CRYOFW_PIN; an empty variable counts as unset."""
    variables = os.environ if environ is None else environ

    def source(name: str) -> bytes | None:
        own = "CRYOFW_PIN_" + re.sub(r"[^A-Z0-9]", "_", name.upper())
        text = variables.get(own) or variables.get("CRYOFW_PIN")
        return text.encode() if text else None

    return source


def read_pin_source(pin_source: str, directory: Path) -> bytes:
    """Read the PIN in the file that a URI's pin-source names: its first line.

    Args:
        pin_source: a path, or `file:` with one; a relative path starts at `directory`.
        directory: of the keyring.

    Raises:
        KeyringError: it names another host.
        KeyFileError: the file is missing or its first line is empty.
        KeyRefused: others may read it.
    """
    path_text = pin_source.removeprefix("file:")
    if path_text.startswith("//"):
        if not path_text.startswith("///"):
            raise KeyringError(f"pin-source {pin_source!r} names a host; write file:///path")
        path_text = path_text[2:]
    path = directory / Path(path_text)
    lines = read_secret_file(path, "PIN file").splitlines()
    if not lines or not lines[0]:
        raise KeyFileError(f"the PIN file {path} has no PIN", why="its first line is empty")
    return lines[0]
