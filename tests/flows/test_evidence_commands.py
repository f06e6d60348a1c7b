"""What people are told before and after: the plan's promise, and the numbers of each verdict."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.flows.invariants import Fields
    from tests.flows.small_lab import SmallLab


@pytest.fixture(scope="module")
def confirmed(small_lab_template: SmallLab, tmp_path_factory: pytest.TempPathFactory) -> Rollout:
    """A plan, its rollout to the end, and the journal."""
    directory: Path = tmp_path_factory.mktemp("evidence") / "lab"
    return Rollout(small_lab_template.copy_to(directory))


class Rollout:
    """The plan's promise and what was said when it came true."""

    def __init__(self, lab: SmallLab) -> None:
        self.lab = lab
        self.plan = lab.run("plan", "good.bin", "--evidence").expect(0).out
        (made,) = lab.run("plan", "good.bin", "--json").expect(0).json_lines
        self.foresight = made["foresight"]
        self.said = lab.run("deploy", "good.bin", "--yes").expect(75).out
        lab.run("approve", "--stage", "fleet").expect(0)
        self.said += lab.run("resume").expect(0).out

    def records(self, kind: str) -> list[Fields]:
        return [record for record in self.lab.records() if record["kind"] == kind]


def test_the_plan_promises_the_very_controls_that_judge(confirmed: Rollout) -> None:
    promised = {}
    for stage in confirmed.foresight["stages"].values():
        promised.update(stage["controls"])
    judged = {
        device: cohort["controls"]
        for cohort in confirmed.records("cohort-frozen")
        for device in cohort["devices"]
    }
    assert judged == promised
    assert set(judged) == {"rig-a", "c1-a", "c1-b", "c2-a", "c2-b"}


def test_the_plan_promises_the_time_that_it_takes(confirmed: Rollout) -> None:
    times = [datetime.fromisoformat(record["t"]) for record in confirmed.lab.records()]
    took_s = (times[-1] - times[0]).total_seconds()
    assert confirmed.foresight["duration_s"] == pytest.approx(took_s, rel=0.15)


def test_the_plan_says_odds_sight_silence_and_controls(confirmed: Rollout) -> None:
    for words in (
        "odds     1 % at most to take back a good firmware",
        "a shift of ", "sd beyond the margin", "missed heartbeats (", "waves    c1-a | c1-b",
        "against  controls of other cryostats", "devices that run the new firmware already",
        "each may err", "alarm at a bet of",
    ):  # fmt: skip
        assert words in confirmed.plan, confirmed.plan


def test_the_next_plan_speaks_in_the_metrics_unit(confirmed: Rollout) -> None:
    lab = confirmed.lab
    lab.run("plan", "drift.bin").expect(0, "finds    readout_snr 0.", " dB (reject 1.5)")
    (made,) = lab.run("plan", "drift.bin", "--json").expect(0).json_lines
    found = made["foresight"]["stages"]["fleet"]["finds"]["readout_snr"]
    assert 0.5 < found["smallest"] < 1.5
    assert (found["known"], found["blind"]) == (2, False)
    # What was promised is what the baselines then say.
    baselines = [
        record["evidence"]["metrics"]["readout_snr"]["sees"]
        for record in confirmed.records("baseline-taken")
        if record["device"].startswith("c2")
    ]
    assert min(baselines) - 0.05 <= found["smallest"] <= max(baselines) + 0.05


def test_what_passed_is_told_in_one_line_with_whom_it_was_compared(confirmed: Rollout) -> None:
    (line,) = [one for one in confirmed.said.splitlines() if "c2-a   ✓ passed" in one]
    assert "0 of 31 heartbeats missed; readout_snr " in line
    assert " dB (n=" in line
    assert "against c2-b" in line
    assert confirmed.said.count("1-unit bet") == 0


def test_one_device_is_shown_with_its_evidence(confirmed: Rollout) -> None:
    lab = confirmed.lab
    lab.run("status", "--device", "c2-a").expect(
        0, "confirmed, runs 1.1.0", "compared", "must find 1.5", "1.5 worse excluded",
        "at their own baseline", "heartbeats missed",
    )  # fmt: skip
    (told,) = lab.run("status", "--device", "c2-a", "--json").expect(0).json_lines
    kinds = [record["kind"] for record in told["records"]]
    assert kinds == ["cohort-frozen", "baseline-taken", "verdict-reached"]
    lab.run("status", "--device", "c2-x").expect(3, "did you mean", "'c2-a'")
    lab.run("audit", "show", "--device", "c2-a", "--evidence").expect(0, "fine  readout_snr  2")


def test_a_failure_tells_its_odds_once_and_its_numbers_below(small_lab: SmallLab) -> None:
    ran = small_lab.run("deploy", "drift.bin", "--yes").expect(6)
    said = ran.out + ran.err

    assert said.count("a 1-unit bet against the firmware grew to") == 1
    assert said.count("dB is beyond the margin 0.5") >= 4
    lines = ran.out.splitlines()
    (at,) = [i for i, line in enumerate(lines) if line.startswith("    regressed  readout_snr")]
    assert "✗ failed" in lines[at - 1]
    assert lines[at + 1].strip().startswith("bet ")
    whys = [
        record["why"]
        for record in small_lab.records()
        if record["kind"] in ("gate-failed", "rollout-ended")
    ]
    assert all("1-unit bet" in why for why in whys), json.dumps(whys)
    small_lab.run("audit", "show", "--kind", "gate-failed").expect(0, "beyond the margin 0.5")
