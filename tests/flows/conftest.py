"""One small lab, laid out once and copied for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.flows.small_lab import SmallLab

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session")
def small_lab_template(tmp_path_factory: pytest.TempPathFactory) -> SmallLab:
    """The lab as delivered: every device runs 1.0.0."""
    return SmallLab.lay_out(tmp_path_factory.mktemp("small-lab") / "lab")


@pytest.fixture
def small_lab(small_lab_template: SmallLab, tmp_path: Path) -> SmallLab:
    """A lab of one's own."""
    return small_lab_template.copy_to(tmp_path / "lab")


@pytest.fixture
def another_lab(small_lab_template: SmallLab, tmp_path: Path) -> Callable[[str], SmallLab]:
    """As many labs as wanted, by name."""
    return lambda name: small_lab_template.copy_to(tmp_path / name)
