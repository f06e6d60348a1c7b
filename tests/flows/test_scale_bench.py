"""The rollouts of the scale benchmark, of a fleet that is small."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.scale import measure

if TYPE_CHECKING:
    from pathlib import Path


def test_a_canary_fails_a_good_release_goes_through_and_the_fleet_is_taken_back(
    tmp_path: Path,
) -> None:
    costs = {cost.part: cost for cost in measure(8, tmp_path, per_cryostat=2)}
    assert costs["failed"].hours > 2
    assert costs["good"].hours > 6
    assert costs["back"].records > costs["good"].records > costs["failed"].records
    assert costs["good"].readings > 8 * 120
