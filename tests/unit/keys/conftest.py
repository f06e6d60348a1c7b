from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cryofw.image import Algorithm
from cryofw.keys import generate_key

WriteKeyring = Callable[[str], Path]


@pytest.fixture
def ring_directory(tmp_path: Path) -> Path:
    """A folder with keys a (ECDSA), b and c (Ed25519), and no keyring yet."""
    for name, algorithm in (
        ("a", Algorithm.ECDSA_P256),
        ("b", Algorithm.ED25519),
        ("c", Algorithm.ED25519),
    ):
        generate_key(tmp_path / "keys" / f"{name}.pem", algorithm, None)
    return tmp_path


@pytest.fixture
def write_keyring(ring_directory: Path) -> WriteKeyring:
    """Write the lines below `keys:` of a keyring and return its path."""

    def write(lines: str) -> Path:
        path = ring_directory / "keys.yaml"
        path.write_text("schema: cryofw.keys/v1\nkeys:\n" + lines)
        return path

    return write
