"""Every scenario that comes with cryofw, on a small fleet of real ports, as a game day plays it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cryofw.cli.main import run
from cryofw.fleet import parse_fleet
from cryofw.gameday.gameday import play_scenario
from cryofw.gameday.scenario import parse_scenario, scenario_names, shipped_scenario

if TYPE_CHECKING:
    from pathlib import Path

FLEET = """\
schema: cryofw.fleet/v1
lab: small
board: cc40
telemetry: {prometheus: {url: "https://prometheus.invalid"}}
error_budget:
  - {name: heartbeats, query: 'avg(up)', at_least: 0.999}
defaults:
  heartbeat: {every: 30 s, misses_allowed: 4}
  reset: {hook: [/nowhere/pdu, "${controller}"]}
  slot_size: 64 KiB
  thermal: {stage: mxc, capacity: 60 uW, headroom: 100 %, flash: 20 uW, max_rise: 5 mK}
  guards:
    temperature: {source: prometheus, query: 'k{cryostat="${cryostat}"}', limit: 60 mK}
    fridge: {source: command, run: [/nowhere/fridge], base_stable: [cold]}
  calibration:
    false_rollback: 0.01
    every: 60 s
    baseline_samples: 30
    min_samples: 12
    recalibrate: {command: [/nowhere/calibrate, "${controller}"]}
    metrics:
      gain: {unit: dB, worse: lower, margin: 0.2, reject: 1, source: command, run: [/nowhere/gain]}
stages:
  - name: rig
    targets: [rig-1]
    soak: 150 min
    window: {cron: "0 20 * * 1-4", for: 6 h, tz: Europe/Amsterdam}
  - {name: canary, targets: [cryo-1], soak: 30 min, waves: [1, 100 %]}
cryostats:
  rig-1: {controllers: {rig-a: {port: /dev/nowhere0}}}
  cryo-1:
    controllers:
      c1-a: {port: /dev/nowhere1, hw: "5a11"}
      c1-b: {port: "tls://nowhere.invalid:4001", owner: somebody.invalid}
"""
ENDS = {
    "bad-key": "rolled-back",
    "cable-fatigue": "confirmed",
    "calibration-regression": "rolled-back",
    "gateway-gone": "stuck",
    "host-killed": "confirmed",
    "hung-canary": "rolled-back",
    "warm-up": "confirmed",
}


def test_every_scenario_is_played_here() -> None:
    assert set(ENDS) == set(scenario_names())


@pytest.mark.parametrize("name", sorted(ENDS))
def test_scenarios_end_as_their_files_say(name: str) -> None:
    outcome = play_scenario(shipped_scenario(name), parse_fleet(FLEET, "fleet.yaml"))

    assert (outcome.broken, outcome.unmet) == ("", ())
    assert outcome.ended == ENDS[name]
    assert "maintenance windows are open" in outcome.set_aside
    if ENDS[name] == "rolled-back":
        assert outcome.detected_s is not None
        assert outcome.back_s is not None


LATE = b"""\
schema: cryofw.scenario/v1
name: late
title: a hang that comes after the rollout
release: {hang_after: 10 h}
expect: {ended: [rolled-back]}
"""


def test_what_comes_after_the_rollout_was_not_rehearsed() -> None:
    outcome = play_scenario(parse_scenario(LATE, "late.yaml"), parse_fleet(FLEET, "fleet.yaml"))

    assert not outcome.good
    assert "before its moment came" in outcome.unmet[0]


def test_the_same_seed_is_the_same_run_and_another_is_not() -> None:
    scenario, fleet = shipped_scenario("bad-key"), parse_fleet(FLEET, "fleet.yaml")

    first, again, other = (play_scenario(scenario, fleet, seed) for seed in (1, 1, 2))

    assert first == again
    assert first.digest != other.digest


def test_game_day_tells_what_was_seen_and_exits_with_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(FLEET)
    asked = ["sim", "gameday", "bad-key", "--fleet", str(path), "--seeds", "2", "--jobs", "1"]

    assert run(asked) == 0
    out = capsys.readouterr().out
    assert "2 rolled-back" in out
    assert "0 of 3" in out
    assert "2 rehearsals ended as they must" in out
    assert max(map(len, out.splitlines()[:3])) <= 80


def test_game_day_that_ends_otherwise_names_the_command_that_tells_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet, late = tmp_path / "fleet.yaml", tmp_path / "late.yaml"
    fleet.write_text(FLEET)
    late.write_bytes(LATE.replace(b"hang_after: 10 h", b"key: nobody"))

    code = run(["sim", "gameday", str(late), "--fleet", str(fleet), "--json"])

    [outcome] = json.loads(capsys.readouterr().out)
    assert code == 5
    assert outcome["ended"] == "not-begun"
    assert not outcome["good"]
    assert outcome["replay"].startswith("cryofw sim gameday ")
    assert str(late) in outcome["replay"]


def test_a_firmware_that_stays_though_it_must_not_is_an_invariant_that_broke(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet, late = tmp_path / "fleet.yaml", tmp_path / "late.yaml"
    fleet.write_text(FLEET)
    late.write_bytes(LATE.replace(b"hang_after: 10 h", b"never: true, hang_after: 10 h"))

    assert run(["sim", "gameday", str(late), "--fleet", str(fleet)]) == 4
    assert "invariant 3" in capsys.readouterr().out


def test_a_name_that_nobody_knows_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sim", "gameday", "bad-kee"]) == 2
    assert "did you mean 'bad-key'?" in capsys.readouterr().err


def test_the_list_names_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sim", "gameday", "--list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ENDS)
