"""From fleet.yaml and answers to a plan, or to every reason why not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cryofw.fleet import Fleet, Recalibration, parse_fleet
from cryofw.health import Method
from cryofw.release import Firmware
from cryofw.rollout import Plan, PlanRefused, Running, Wish, make_plan, parse_plan

TEXT = """\
schema: cryofw.fleet/v1
lab: small
board: cc40
defaults:
  heartbeat: {every: 10 s}
  reset: watchdog
  thermal: {stage: 4k, capacity: 1.5 W, headroom: 80 %, flash: 60 mW, max_rise: 150 mK}
  calibration:
    every: 10 s
    metrics:
      snr: {unit: dB, worse: lower, margin: 0.5, reject: 1.5, limit: 20}
stages:
  - {name: rig, targets: [rig-1], soak: 10 min}
  - {name: fleet, targets: [cryo-1], soak: 10 min, waves: [1, 50 %, 100 %]}
cryostats:
  rig-1: {controllers: {r: {port: "sim://r"}}}
  cryo-1:
    controllers: {a: {port: "sim://a"}, b: {port: "sim://b"}, c: {port: "sim://c"}, d: {port: "sim://d"}}
  spare: {controllers: {s: {port: "sim://s"}}}
simulation: {metrics: {snr: {nominal: 25, noise: 0.1}}}
"""
OLD = Firmware("bb" * 32, "ee" * 32, "1.0.0", 2, 4096, "cc40", "dd" * 32)
NEW = replace(OLD, hash="aa" * 32, version="1.1.0")
RUNNING = Running(OLD.hash, "1.0.0", "5a", 8192, watchdog=True)


def a_fleet(*changes: tuple[str, str]) -> Fleet:
    text = TEXT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return parse_fleet(text, "fleet.yaml")


def plan_of(
    fleet: Fleet,
    release: Firmware = NEW,
    answer: Running = RUNNING,
    known: tuple[Firmware, ...] = (OLD,),
    **overrides: tuple[str, ...],
) -> Plan:
    accepted = {kind.replace("_", "-"): names for kind, names in overrides.items()}
    wish = Wish(release, "anna", "2026-11-20T23:00:00Z", "00", accepted)
    answers = {c.name: answer for c in fleet.controllers}
    return make_plan(fleet, wish, answers, {f.hash: f for f in known}, {})


def test_a_plan_survives_its_bytes_and_names_who_is_left_out() -> None:
    plan = plan_of(a_fleet())
    assert parse_plan(plan.canonical) == plan
    assert parse_plan(plan.canonical).digest == plan.digest
    assert plan.stage("fleet").waves == (("a",), ("b",), ("c", "d"))
    assert plan.excluded == {"s": "no stage has spare among its targets"}


@pytest.mark.parametrize(
    ("changes", "settings", "says"),
    [
        ((), {"known": ()}, "no way back: no verified file"),
        ((), {"release": replace(NEW, security_counter=3)}, "no way back after confirm"),
        ((), {"release": replace(NEW, security_counter=1)}, "below the running 2"),
        ((), {"release": replace(NEW, version="0.9.0")}, "older than the running 1.0.0"),
        ((), {"release": replace(NEW, board="cc41")}, "for board cc41"),
        ((), {"release": replace(NEW, size=9000)}, "do not fit the slot of 8192"),
        ((), {"answer": replace(RUNNING, watchdog=False)}, "the device has none"),
        ((), {"answer": Running(why="r is rig-b", refused=True)}, "r is rig-b"),
        ((), {"answer": Running(why="no port")}, "none of its devices answers"),
    ],
)
def test_every_reason_refuses(
    changes: tuple[tuple[str, str], ...], settings: dict[str, object], says: str
) -> None:
    with pytest.raises(PlanRefused) as caught:
        plan_of(a_fleet(*changes), **settings)  # type: ignore[arg-type]  # rows of a table
    assert says in caught.value.why


def test_a_risk_is_accepted_by_name_only() -> None:
    names = ("r", "a", "b", "c")
    with pytest.raises(PlanRefused) as caught:
        plan_of(a_fleet(), known=(), no_way_back=names)
    assert [reason[:2] for reason in caught.value.reasons] == ["d:"]
    plan = plan_of(a_fleet(), known=(), no_way_back=(*names, "d"))
    assert not plan.devices["d"].way_back


def test_evidence_is_taken_over_from_the_fleet() -> None:
    fleet = a_fleet(
        ("limit: 20", "limit: 20, golden: 24"),
        ("    every: 10 s", "    settle: 1 min\n    hold: 2 h\n    every: 10 s"),
    )
    evidence = plan_of(fleet).devices["a"].evidence
    assert evidence.metrics[0].limit == 22.5  # tighter than 20: golden less reject
    assert (evidence.settle_s, evidence.deadline_s) == (60, 7200)


def test_the_plan_keeps_test_and_recalibration() -> None:
    wish = "    test: t-mixture\n    recalibrate: {device: true, timeout: 20 min}\n    every: 10 s"
    device = plan_of(a_fleet(("    every: 10 s", wish))).devices["a"]
    assert device.evidence.method is Method.T_MIXTURE
    assert device.recalibration == Recalibration(device=True, timeout_s=1200)
    plain = plan_of(a_fleet()).devices["a"]
    assert plain.evidence.method is Method.RANKS
    assert not plain.recalibration.is_asked


def test_a_plan_names_its_authority_by_the_whole_path() -> None:
    server = "telemetry: {prometheus: {url: 'https://p.lab', ca: lab-ca.pem}}\ndefaults:"
    plan = plan_of(a_fleet(("defaults:", server)))
    assert plan.prometheus is not None
    assert plan.prometheus.ca == str(Path.cwd() / "lab-ca.pem")
