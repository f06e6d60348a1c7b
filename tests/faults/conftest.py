"""One lab with its repository, laid out once and copied for each attack."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.attacked_lab import AttackedLab
from tests.faults.guarded_lab import GuardedLab
from tests.faults.recorded_lab import RecordedLab

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def attacked_lab_template(tmp_path_factory: pytest.TempPathFactory) -> AttackedLab:
    """The lab before any attack."""
    return AttackedLab.lay_out(tmp_path_factory.mktemp("attacked") / "all")


@pytest.fixture
def attacked(attacked_lab_template: AttackedLab, tmp_path: Path) -> AttackedLab:
    """A lab of one attack's own."""
    return attacked_lab_template.copy_to(tmp_path / "all")


@pytest.fixture(scope="session")
def guarded_lab_template(tmp_path_factory: pytest.TempPathFactory) -> GuardedLab:
    """The lab that waits for approvals, before any attack."""
    return GuardedLab.lay_out(tmp_path_factory.mktemp("guarded") / "all")


@pytest.fixture
def guarded(guarded_lab_template: GuardedLab, tmp_path: Path) -> GuardedLab:
    """A lab of one attack's own."""
    return guarded_lab_template.copy_to(tmp_path / "all")


@pytest.fixture(scope="session")
def recorded_lab_template(tmp_path_factory: pytest.TempPathFactory) -> RecordedLab:
    """The lab with a signed journal in mid-rollout, before any attack."""
    return RecordedLab.lay_out(tmp_path_factory.mktemp("recorded") / "all")


@pytest.fixture
def recorded(recorded_lab_template: RecordedLab, tmp_path: Path) -> RecordedLab:
    """A lab of one attack's own."""
    return recorded_lab_template.copy_to(tmp_path / "all")
