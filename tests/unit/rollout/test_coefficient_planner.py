"""The coefficients of a plan: frozen for each device, covered by its digest, none forgotten."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest

from cryofw.fleet import parse_fleet
from cryofw.release import Coefficient, CoefficientType, Firmware
from cryofw.release.coefficients import parse_coefficients
from cryofw.rollout import Plan, PlanRefused, Running, Wish, make_plan, parse_plan

TEXT = """\
schema: cryofw.fleet/v1
lab: small
board: cc40
defaults:
  heartbeat: {every: 10 s}
  reset: watchdog
  thermal: {stage: 4k, capacity: 1.5 W, headroom: 80 %, flash: 60 mW, max_rise: 150 mK}
stages: [{name: rig, targets: [rig-1], soak: 10 min}]
cryostats:
  rig-1:
    controllers:
      a: {port: "sim://a"}
      b: {port: "sim://b", coefficients: {command: [write, "${controller}"]}}
"""
OLD = Firmware("bb" * 32, "ee" * 32, "1.0.0", 2, 4096, "cc40", "dd" * 32)
NEW = replace(OLD, hash="aa" * 32, version="1.1.0")
GAIN = {"gain": {"type": "f32", "value": 2.0}}
TWO = Coefficient(CoefficientType.F32, "00000040")


def plan_of(**file: Any) -> Plan:
    document = {"schema": "cryofw.coefficients/v1", **file}
    coefficients = parse_coefficients(json.dumps(document).encode()) if file else None
    wish = Wish(NEW, "anna", "2026-11-20T23:00:00Z", "00", coefficients=coefficients)
    running = Running(OLD.hash, "1.0.0", "5a", 8192, watchdog=True)
    fleet = parse_fleet(TEXT)
    return make_plan(fleet, wish, {"a": running, "b": running}, {OLD.hash: OLD}, {})


def test_each_device_has_its_own_and_who_writes_them() -> None:
    plan = plan_of(defaults=GAIN, controllers={"b": {"gain": {"type": "f32", "value": 1.0}}})
    assert plan.devices["a"].coefficients == {"gain": TWO}
    assert plan.devices["b"].coefficients == {"gain": Coefficient(CoefficientType.F32, "0000803f")}
    assert plan.devices["a"].coefficient_command == ()
    assert plan.devices["b"].coefficient_command == ("write", "b")
    assert parse_plan(plan.canonical) == plan


def test_the_digest_covers_them() -> None:
    digests = {
        plan_of().digest,
        plan_of(defaults=GAIN).digest,
        plan_of(defaults={"gain": {"type": "f64", "value": 2.0}}).digest,
    }
    assert len(digests) == 3


def test_an_older_plan_without_them_is_read() -> None:
    fields = json.loads(plan_of().canonical)
    del fields["coefficients_digest"]
    for device in fields["devices"].values():
        del device["coefficients"], device["coefficient_command"]
    data = json.dumps(fields).encode()
    plan = parse_plan(data, digest=hashlib.sha256(data).hexdigest())
    assert plan.devices["a"].coefficients == {}


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ({"controllers": {"a": GAIN}}, "b: the release brings coefficients, but none for it"),
        ({"controllers": {"a": GAIN, "b": {}, "c": {}}}, "c: has coefficients, but is no contr"),
    ],
)
def test_a_device_that_was_forgotten_refuses_the_plan(file: dict[str, Any], says: str) -> None:
    with pytest.raises(PlanRefused) as caught:
        plan_of(**file)
    assert says in caught.value.why


def test_a_device_that_needs_none_says_so() -> None:
    plan = plan_of(controllers={"a": GAIN, "b": {}})
    assert plan.devices["b"].coefficients == {}
