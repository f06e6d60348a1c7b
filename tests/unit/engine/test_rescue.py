"""The test boot and the way back, step by step, with a driver that answers as told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from unittest.mock import AsyncMock

import pytest

from cryofw.device import (
    DeviceDriver,
    DeviceSilent,
    Mode,
    NoResetPath,
    NotReady,
    Observation,
    SlotState,
    Target,
)
from cryofw.engine.rescue import bring_back, find_device, run_trial
from cryofw.health import EvidenceContract
from cryofw.release import Firmware
from cryofw.rollout import Connection, Event, PlannedDevice, TestImage
from cryofw.rollout import events as e

if TYPE_CHECKING:
    from pytest_mock import MockerFixture

NEW, OLD = "aa" * 32, "bb" * 32
COMMAND = TestImage("c1", NEW, OLD)
PLANNED = PlannedDevice(
    "c1", "cryo-1", "rig", Connection("sim://c1", 115200, True, (), (), 5, 2, 3, 1, ""),
    "", "cc40", OLD, "1.0.0", Firmware(OLD, "ee", "1.0.0", None, 9, "cc40", "dd"), True, 60,
    EvidenceContract(60, 60, 10, 2, 30, 0, 0),
)  # fmt: skip
SILENT = DeviceSilent("c1 does not answer")


def seen(active: str, *, confirmed: bool = True, other: str = "", **more: Any) -> Observation:
    slots = [SlotState(0, 0, active, "1.0.0", bootable=True, confirmed=confirmed, active=True)]
    if other:
        slots.append(SlotState(0, 1, other, "1.1.0", bootable=True))
    return Observation(Mode.APPLICATION, tuple(slots), boot_id=7, **more)


BEFORE = seen(OLD, other=NEW)
ON_TRIAL = seen(NEW, confirmed=False, other=OLD)


@pytest.fixture
def driver(mocker: MockerFixture) -> Any:
    """A driver without a device behind it."""
    made = mocker.create_autospec(DeviceDriver, instance=True)
    made.escape_recovery.return_value = BEFORE
    made.test.return_value = BEFORE
    made.wait_for_boot.return_value = ON_TRIAL
    made.target = Target("c1", "sim://c1")
    return made


def trial(driver: Any, cycle: AsyncMock | None = None) -> Event:
    cycle = cycle or AsyncMock(side_effect=NoResetPath("no hook"))
    return asyncio.run(run_trial(COMMAND, NEW, PLANNED, driver, cycle, lambda: 100.0))


def test_a_good_image_comes_up_for_test(driver: Any) -> None:
    assert trial(driver) == e.TestBooted("c1", NEW, 100.0, 7)
    assert [call[0] for call in driver.method_calls] == [
        "escape_recovery", "test", "reset", "wait_for_boot",
    ]  # fmt: skip


def test_after_a_crash_a_test_boot_is_found_not_repeated(driver: Any) -> None:
    driver.escape_recovery.return_value = ON_TRIAL
    assert trial(driver) == e.TestBooted("c1", NEW, 100.0, 7)
    driver.test.assert_not_called()
    driver.reset.assert_not_called()


@pytest.mark.parametrize(
    ("escapes", "caught", "host_fault"),
    [(0, None, False), (1, OLD, False), (1, NEW, True), (1, None, True)],
)
def test_a_revert_is_the_hosts_fault_only_if_our_reset_caused_it(
    driver: Any, escapes: int, caught: str | None, host_fault: bool
) -> None:
    driver.wait_for_boot.return_value = seen(OLD, recovery_escapes=escapes, caught_hash=caught)
    event = trial(driver)
    assert isinstance(event, e.DeviceReverted)
    assert event.host_fault is host_fault


def test_a_hang_without_a_hook_is_stuck_with_the_next_step(driver: Any) -> None:
    driver.wait_for_boot.side_effect = SILENT
    driver.escape_recovery.side_effect = [BEFORE, SILENT]
    event = trial(driver)
    assert isinstance(event, e.DeviceStuck)
    assert "cycle the power of c1" in event.hint


def test_a_hang_with_a_hook_is_reverted_by_the_power_cycle(driver: Any) -> None:
    driver.wait_for_boot.side_effect = SILENT
    driver.escape_recovery.side_effect = [BEFORE, SILENT, seen(OLD)]
    cycle = AsyncMock()
    event = trial(driver, cycle)
    assert isinstance(event, e.DeviceReverted)
    assert not event.host_fault
    assert "power was cycled" in event.why
    cycle.assert_awaited_once()


def test_an_unknown_image_after_the_boot_is_stuck(driver: Any) -> None:
    driver.wait_for_boot.return_value = seen("cc" * 32)
    event = trial(driver)
    assert isinstance(event, e.DeviceStuck)
    assert "cccc" in event.why


def test_find_device_says_why_it_was_silent_when_nothing_can_cycle_it(driver: Any) -> None:
    driver.escape_recovery.side_effect = SILENT
    cycle = AsyncMock(side_effect=NoResetPath("no hook"))
    with pytest.raises(DeviceSilent):
        asyncio.run(find_device(driver, cycle))


@pytest.mark.parametrize(
    ("state", "called", "how"),
    [
        (seen(OLD), None, "it ran already"),
        (seen(OLD, confirmed=False), "confirm", "its test boot was confirmed"),
        (ON_TRIAL, "revert", "reset in its test boot, so the bootloader reverted"),
    ],
)
def test_the_way_back_follows_from_the_slots(
    driver: Any, state: Observation, called: str | None, how: str
) -> None:
    driver.escape_recovery.return_value = state
    assert asyncio.run(bring_back(OLD, driver, b"image")) == how
    changes = {"confirm", "revert", "restore"} & {call[0] for call in driver.method_calls}
    assert changes == ({called} if called else set())


@pytest.mark.parametrize(("uploaded", "how"), [(True, "uploaded"), (False, "swapped back")])
def test_after_the_confirm_the_last_good_image_is_restored(
    driver: Any, uploaded: bool, how: str
) -> None:
    driver.escape_recovery.return_value = seen(NEW, other=OLD)
    driver.restore.return_value.uploaded = uploaded
    assert asyncio.run(bring_back(OLD, driver, b"image")).startswith(how)
    driver.restore.assert_awaited_once_with(OLD, b"image")


def test_an_image_pending_that_nobody_asked_for_is_not_touched(driver: Any) -> None:
    slots = (
        SlotState(0, 0, NEW, "1.1.0", confirmed=True, active=True),
        SlotState(0, 1, "cc" * 32, "9.9.9", pending=True),
    )
    driver.escape_recovery.return_value = Observation(Mode.APPLICATION, slots)
    with pytest.raises(NotReady, match="pending"):
        asyncio.run(bring_back(OLD, driver, None))
