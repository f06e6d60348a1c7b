from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.release.publisher import Publisher, make_keyring

if TYPE_CHECKING:
    from pathlib import Path

    from cryofw.keys import Keyring


@pytest.fixture(scope="session")
def keyring(tmp_path_factory: pytest.TempPathFactory) -> Keyring:
    """Keys of a release manager, made for this run."""
    return make_keyring(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def publisher(keyring: Keyring, tmp_path: Path) -> Publisher:
    """A published repository in memory, with one product and no release yet."""
    made = Publisher(keyring, tmp_path)
    made.init()
    return made
