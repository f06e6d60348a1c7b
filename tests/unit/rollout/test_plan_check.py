"""Risks that stand in a plan without the name of who takes them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cryofw.rollout.plan_check import untold_risks
from cryofw.rollout.planner import DOWNGRADE, NO_RESET_PATH, NO_WAY_BACK
from tests.unit.rollout.perfect_lab import LAST_GOOD, a_plan

if TYPE_CHECKING:
    from cryofw.rollout import Plan


def with_device(**changes: Any) -> Plan:
    plan = a_plan()
    connection = changes.pop("connection", {})
    device = replace(plan.devices["b1"], **changes)
    device = replace(device, connection=replace(device.connection, **connection))
    return replace(plan, devices={**plan.devices, "b1": device})


def test_a_plan_without_risks_tells_none() -> None:
    assert untold_risks(a_plan()) == []
    assert untold_risks(with_device(running_hash="", last_good=None)) == []  # it did not answer
    lines = {"watchdog": False, "reset_lines": ("dtr on", "dtr off")}
    assert untold_risks(with_device(connection=lines)) == []


@pytest.mark.parametrize(
    ("changes", "risk", "words"),
    [
        ({"last_good": None}, NO_WAY_BACK, "no way back"),
        ({"last_good": replace(LAST_GOOD, security_counter=1)}, NO_WAY_BACK, "no way back"),
        ({"connection": {"overwrites": True}}, NO_WAY_BACK, "no way back"),
        ({"connection": {"watchdog": False}}, NO_RESET_PATH, "no reset path"),
        ({"last_good": replace(LAST_GOOD, version="2.0.0")}, DOWNGRADE, "older than"),
    ],
)
def test_a_risk_is_accepted_by_name(changes: dict[str, Any], risk: str, words: str) -> None:
    plan = with_device(**changes)
    (told,) = untold_risks(plan)
    assert told.startswith("b1: ")
    assert words in told
    assert untold_risks(replace(plan, overrides={risk: ("a1",)})) == [told]
    assert untold_risks(replace(plan, overrides={risk: ("b1",)})) == []
    assert untold_risks(replace(plan, overrides={risk: ("*",)})) == []
