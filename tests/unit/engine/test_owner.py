"""A port that fleet.yaml gives to another host is not driven from here."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cryofw.engine.deployment import require_owner
from cryofw.errors import Refused
from cryofw.fleet import Reach
from cryofw.health import EvidenceContract
from cryofw.release import Firmware
from cryofw.rollout import Connection, Plan, PlannedDevice, PlannedStage

RELEASE = Firmware("aa" * 32, "cc" * 32, "1.1.0", None, 9, "cc40", "dd" * 32)
CONNECTION = Connection("rfc2217://t:1", 115200, True, (), (), 5, 2, 3, 1, "host-b12.lab")
DEVICE = PlannedDevice(
    "c1", "cryo-1", "rig", CONNECTION, "", "cc40", "bb" * 32, "1.0.0", RELEASE, True, 60,
    EvidenceContract(60, 60, 10, 2, 30, 0, 0),
)  # fmt: skip
PLAN = Plan(
    "lab", "f" * 64, RELEASE, (PlannedStage("rig", (("c1",),), Reach.STAGE, 0.5, False),),
    {"c1": DEVICE}, {"cryo-1": 1}, "anna", "2026-01-01", "00",
)  # fmt: skip


def test_the_owner_may() -> None:
    require_owner(PLAN, {"host-b12", "host-b12.lab"})


def test_another_host_may_not() -> None:
    with pytest.raises(Refused, match="c1 belong to another host") as caught:
        require_owner(PLAN, {"laptop"})
    assert "host-b12.lab" in caught.value.why


def test_a_device_without_an_owner_is_anybodys() -> None:
    free = replace(DEVICE, connection=replace(CONNECTION, owner=""))
    require_owner(replace(PLAN, devices={"c1": free}), {"laptop"})
