"""A good fleet.yaml becomes a complete fleet: units, merging, defaults, digest."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from cryofw.fleet import (
    Count,
    Fleet,
    HeartbeatRule,
    Reach,
    ResetPath,
    Retries,
    Share,
    Window,
    load_fleet,
    parse_fleet,
)

REPOSITORY = Path(__file__).parents[3]

LAYERED = """\
schema: cryofw.fleet/v1
lab: delft
board: cc40
defaults:
  heartbeat: {every: 500 ms}
  reset: {hook: [pdu, cycle, "${cryostat}/${controller}"]}
  retries: {count: 5, backoff: 0 s}
  thermal: {stage: 4k, capacity: 1.5 W, flash: 60 mW, max_rise: 150 mK}
  calibration:
    metrics:
      snr: {unit: dB, worse: lower, margin: 0.5, reject: 1.5}
stages:
  - name: all
    targets: [cryo]
    soak: 1 h
    then: approve
    waves: [1, 50 %, 100 %]
    cryostats_at_once: 2
    on_failure: cryostat
    min_reachable: 75 %
    deadline: 1 d
    window: {cron: "0 20 * * 1-4", for: 90 min, tz: Europe/Amsterdam}
  - {name: last, targets: [rig], soak: 10 min}
cryostats:
  cryo:
    thermal: {headroom: 50 %, flash: 100 mW}
    calibration: {every: 1 min, metrics: {snr: {reject: 2}}}
    controllers:
      a: {port: /dev/ttyUSB0, hw: "00ff"}
      b:
        port: "socket://[fe80::1]:4001"
        owner: host-b
        baud: 1000000
        board: cc41
        boot_time: 1.5 s
        framing: raw
        slot_size: 480 KiB
        heartbeat: {misses_allowed: 9}
        reset: watchdog
        calibration: {metrics: {snr: {limit: -3}}}
  rig:
    reset: {hook: [relay], shared_by: [r1, r2]}
    controllers:
      r1: {port: "sim://r1"}
      r2: {port: "sim://r2"}
"""


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return parse_fleet(LAYERED)


def test_quantities_are_in_base_units(fleet: Fleet) -> None:
    thermal = fleet.cryostats["rig"].thermal
    assert (thermal.capacity_w, thermal.headroom, thermal.flash_w) == (1.5, 0.8, 0.06)
    assert thermal.max_rise_k == 0.15
    b = fleet.by_name["b"]
    assert (b.boot_time_s, b.slot_size, b.baud) == (1.5, 480 * 1024, 1_000_000)
    assert (fleet.by_name["a"].framing, b.framing) == ("auto", "raw")
    assert b.heartbeat.every_s == 0.5


def test_nearest_layer_wins_key_by_key(fleet: Fleet) -> None:
    a, b = fleet.by_name["a"], fleet.by_name["b"]
    assert fleet.cryostats["cryo"].thermal.flash_w == 0.1
    assert fleet.cryostats["cryo"].thermal.capacity_w == 1.5
    assert fleet.cryostats["cryo"].thermal.flashes_at_once == 7
    assert (a.calibration.every_s, a.calibration.metrics["snr"].reject) == (60, 2)
    assert a.calibration.metrics["snr"].limit is None
    assert b.calibration.metrics["snr"].limit == -3
    assert b.calibration.metrics["snr"].unit == "dB"
    assert a.heartbeat == HeartbeatRule(0.5, 0.5, 4)
    assert b.heartbeat == HeartbeatRule(0.5, 0.5, 9)
    assert (a.board, b.board) == ("cc40", "cc41")
    assert fleet.by_name["r1"].retries == Retries(5, 0.0)
    assert fleet.by_name["r1"].calibration.every_s == 30


def test_short_form_of_reset_replaces_a_hook(fleet: Fleet) -> None:
    """A claim about one controller's reset path never inherits half of another's."""
    assert fleet.by_name["b"].reset == ResetPath(watchdog=True)
    assert fleet.by_name["a"].reset == ResetPath(hook=("pdu", "cycle", "cryo/a"))
    assert fleet.by_name["r1"].reset == ResetPath(hook=("relay",), shared_by=("r2",))
    assert fleet.by_name["r2"].reset == ResetPath(hook=("relay",), shared_by=("r1",))


def test_reset_by_the_lines_of_the_port() -> None:
    lines = "  reset: {lines: [dtr off rts on, 100 ms, rts off]}"
    text = LAYERED.replace('  reset: {hook: [pdu, cycle, "${cryostat}/${controller}"]}', lines)
    text = text.replace("sim://", "/dev/serial/by-id/")
    reset = parse_fleet(text).by_name["a"].reset
    assert reset == ResetPath(lines=("dtr off rts on", "100 ms", "rts off"))
    assert reset.exists


def test_missing_reset_path_is_visible() -> None:
    text = LAYERED.replace('  reset: {hook: [pdu, cycle, "${cryostat}/${controller}"]}\n', "")
    assert not parse_fleet(text).by_name["a"].reset.exists


def test_stage_is_complete(fleet: Fleet) -> None:
    stage, last = fleet.stages
    assert stage.waves == (Count(1), Share(0.5), Share(1.0))
    assert stage.then_approve
    assert (stage.soak_s, stage.deadline_s, stage.min_reachable) == (3600, 86400, 0.75)
    assert (stage.cryostats_at_once, stage.on_failure) == (2, Reach.CRYOSTAT)
    assert stage.window == Window("0 20 * * 1-4", 5400, "Europe/Amsterdam")
    assert (last.waves, last.on_failure, last.deadline_s) == ((Share(1.0),), Reach.STAGE, 600)
    assert [one.name for one in fleet.stage_controllers(stage)] == ["a", "b"]


@pytest.mark.parametrize(
    ("total", "sizes"), [(1, (1, 1, 1)), (2, (1, 1, 2)), (5, (1, 3, 5)), (100, (1, 50, 100))]
)
def test_waves_round_up(fleet: Fleet, total: int, sizes: tuple[int, ...]) -> None:
    assert fleet.stages[0].wave_sizes(total) == sizes


def test_binary_fractions_add_no_controller() -> None:
    assert [Share(percent / 100).size(100) for percent in range(1, 101)] == list(range(1, 101))


def test_digest_means_what_is_in_force_not_how_it_is_written(fleet: Fleet) -> None:
    same = LAYERED.replace("every: 500 ms", "every: 0.5 s")
    same = same.replace("defaults:", "defaults:  # of everybody")
    same = same.replace("a: {port:", "a: {retries: {count: 5}, port:")
    assert parse_fleet(same, "other/path.yaml").digest == fleet.digest
    assert parse_fleet(LAYERED.replace("500 ms", "501 ms")).digest != fleet.digest
    swapped = LAYERED.replace("targets: [cryo]", "targets: [rig]", 1)
    swapped = swapped.replace("targets: [rig], soak: 10 min", "targets: [cryo], soak: 1 h")
    assert parse_fleet(swapped).digest != fleet.digest


def test_numbers_in_any_notation_are_numbers() -> None:
    fleet = parse_fleet(LAYERED.replace("margin: 0.5", "margin: 5e-1"))
    assert fleet.digest == parse_fleet(LAYERED).digest


def test_repository_fleet_is_a_simulated_lab_of_sixteen() -> None:
    fleet = load_fleet(REPOSITORY / "fleet.yaml")
    assert len(fleet.controllers) == 16
    assert fleet.is_simulated
    assert [len(fleet.stage_controllers(stage)) for stage in fleet.stages] == [1, 3, 12]
    rig, *cryostats = fleet.cryostats.values()
    assert len(rig.controllers) == 1
    assert all(len(cryostat.controllers) > 1 for cryostat in cryostats)
    assert all(one.reset.exists and one.hw for one in fleet.controllers)
    metrics = {name for one in fleet.controllers for name in one.calibration.metrics}
    assert set(fleet.simulation.metrics) == metrics


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2026-11-16T18:59:59", False),  # Monday 19:59 in Amsterdam (CET)
        ("2026-11-16T19:00:00", True),
        ("2026-11-16T20:29:59", True),
        ("2026-11-16T20:30:00", False),
        ("2026-11-20T19:30:00", False),  # Friday
        ("2026-07-13T18:00:00", True),  # Monday 20:00 in summer time (CEST)
        ("2026-07-13T19:30:00", False),
    ],
)
def test_window_follows_its_time_zone(moment: str, is_open: bool) -> None:
    window = Window("0 20 * * 1-4", 5400, "Europe/Amsterdam")
    assert window.is_open(datetime.fromisoformat(moment).replace(tzinfo=UTC)) is is_open


def test_window_knows_when_it_opens_next() -> None:
    window = Window("30 22 * * fri,SAT", 3600, "UTC")
    now = datetime(2026, 11, 16, 12, 0, tzinfo=UTC)
    opens = window.next_open(now)
    assert opens == datetime(2026, 11, 20, 22, 30, tzinfo=UTC)
    assert window.next_open(opens) == opens
    leap = Window("0 0 29 2 *", 60, "UTC").next_open(now)
    assert leap == datetime(2028, 2, 29, 0, 0, tzinfo=UTC)


def test_cron_with_both_day_fields_needs_one_of_them() -> None:
    """crontab(5): `0 0 13 * 5` is every 13th and every Friday."""
    window = Window("0 0 13 * 5", 60, "UTC")
    assert window.is_open(datetime(2026, 10, 13, 0, 0, tzinfo=UTC))  # a Tuesday
    assert window.is_open(datetime(2026, 10, 16, 0, 0, tzinfo=UTC))  # a Friday
    assert not window.is_open(datetime(2026, 10, 14, 0, 0, tzinfo=UTC))
