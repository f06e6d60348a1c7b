from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cryofw.cli.main import run


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the person who runs the tests has set must not change them."""
    for name in ("CRYOFW_PASSPHRASE", "CRYOFW_KEYRING", "CRYOFW_STATE", "CRYOFW_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def lab_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab as `cryofw init` lays it out."""
    directory = tmp_path_factory.mktemp("template") / "lab"
    assert run(["init", str(directory)]) == 0
    return directory


@pytest.fixture
def lab(lab_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the lab of this test's own, as the working directory."""
    directory = Path(shutil.copytree(lab_template, tmp_path / "lab"))
    monkeypatch.chdir(directory)
    return directory
