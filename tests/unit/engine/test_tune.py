"""Tuning: proposals come from the data, are read back by the strict loader, and pass."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import pytest

from cryofw.engine.backtest import Backtester, RecordingTooShort
from cryofw.engine.tune import Tuning, fragment, merged, parse_merged, tune
from cryofw.fleet import FleetError, parse_fleet
from cryofw.fleet.document import read_document
from cryofw.health.backtest_summary import held_share
from tests.unit.engine.small_recording import FLEET, record

if TYPE_CHECKING:
    from cryofw.telemetry import Recording


@pytest.fixture(scope="module")
def day() -> Recording:
    return record(24)


@pytest.fixture(scope="module")
def tuning(day: Recording) -> Tuning:
    return tune(FLEET, "fleet.yaml", day)


def test_what_sees_reject_already_is_left_as_it_is(tuning: Tuning) -> None:
    proposal = tuning.proposal

    assert tuning.passes
    assert {n: (c.now, c.proposed) for n, c in proposal.margins.items()} == {
        "snr": (0.5, 0.5),
        "jitter": (0.5, 0.5),
    }
    assert [c.proposed for c in proposal.rejects.values()] == [1.5, 2.0]
    assert [c.proposed for c in proposal.soaks.values()] == [600, 600]
    assert tuning.overridden == ()
    assert tuning.after[1].interval[0] <= 0.05


def test_too_few_samples_are_made_more_and_the_result_passes(day: Recording) -> None:
    short = FLEET.replace("baseline_samples: 60", "baseline_samples: 20").replace(
        "soak: 10 min", "soak: 200 s"
    )
    tuning = tune(short, "fleet.yaml", day)
    before = held_share(Backtester(parse_fleet(short), day).healthy())

    assert tuning.before is not None
    assert tuning.before[1].count / tuning.before[1].total > 0.2
    assert before.count > 0
    assert tuning.passes
    assert tuning.proposal.baseline_samples.proposed > 20
    assert tuning.after[1].count / tuning.after[1].total < 0.2


def test_a_margin_that_healthy_devices_cross_is_raised() -> None:
    steps = random.Random(4)
    heights: dict[tuple[str, float], float] = {}

    def wander(device: str, metric: str, t_s: float) -> float:
        """Each controller goes its own way, in steps of half an hour."""
        if metric == "jitter":
            return 0.0
        key = device, t_s // 1800
        if key not in heights:
            heights[key] = steps.gauss(0, 0.5)
        return heights[key]

    tuning = tune(FLEET, "fleet.yaml", record(18, change=wander))
    margins, rejects = tuning.proposal.margins, tuning.proposal.rejects

    assert margins["snr"].proposed > 0.7
    assert "healthy devices wander by" in margins["snr"].why
    assert margins["jitter"].proposed == 0.5
    assert rejects["snr"].proposed > margins["snr"].proposed


def test_the_piece_is_read_back_by_the_strict_loader(tuning: Tuning) -> None:
    piece = fragment(tuning.proposal)
    fleet = parse_merged(FLEET, "fleet.yaml", piece)

    for controller in fleet.controllers:
        calibration = controller.calibration
        assert calibration.baseline_samples == tuning.proposal.baseline_samples.proposed
        for name, metric in calibration.metrics.items():
            assert metric.margin == tuning.proposal.margins[name].proposed
            assert metric.reject == tuning.proposal.rejects[name].proposed
    soaks = {stage.name: stage.soak_s for stage in fleet.stages}
    assert soaks == {name: soak.proposed for name, soak in tuning.proposal.soaks.items()}


def test_a_piece_that_is_no_fleet_yaml_is_refused_by_that_loader() -> None:
    piece = {"defaults": {"calibration": {"metrics": {"snr": {"margin": 9.0}}}}}
    with pytest.raises(FleetError, match="must be larger than its `margin`"):
        parse_merged(FLEET, "fleet.yaml", piece)


def test_merging_keeps_what_the_piece_does_not_name() -> None:
    document = read_document(FLEET, "fleet.yaml").value
    assert merged(document, {}) == document
    assert parse_merged(FLEET, "fleet.yaml", {}).digest == parse_fleet(FLEET).digest
    piece = {"stages": [{"name": "cryo", "soak": "1 h"}]}
    assert [s.soak_s for s in parse_merged(FLEET, "f", piece).stages] == [600, 3600]


def test_a_cryostat_with_settings_of_its_own_is_named(day: Recording) -> None:
    own = FLEET.replace("  cryo:\n", "  cryo:\n    calibration: {metrics: {snr: {margin: 0.7}}}\n")
    assert tune(own, "fleet.yaml", day).overridden == ("c-a", "c-b", "c-c")


def test_a_short_recording_is_refused() -> None:
    with pytest.raises(RecordingTooShort):
        tune(FLEET, "fleet.yaml", record(2))


def test_numbers_are_rounded_up_to_two_digits() -> None:
    from cryofw.health.tuning import round_up

    assert [round_up(v) for v in (0.981, 0.12, 1.5, 123.0, 0.0)] == [0.99, 0.12, 1.5, 130, 0.0]
    assert all(round_up(v) >= v for v in (math.pi, 1e-9, 7.77e5))
