"""Every request of a whole update meets every fault: it ends right, or with a clear error."""

import dataclasses
from datetime import UTC, datetime

import pytest

from cryofw.device import DeviceDriver, Target, Timeouts
from cryofw.engine.virtual_time import LoopClock, run_virtual
from cryofw.errors import CryofwError
from tests.unit.device.scripted_controller import Fault, Firmware, Kind, ScriptedController

OLD, NEW = Firmware("old"), Firmware("new")
PINNED = Target("c1-a", "/dev/c1-a", hw="5A31", board="cc40", timeouts=Timeouts(boot_s=30))
UNPINNED = dataclasses.replace(PINNED, hw=None)
CLOCK = LoopClock(datetime(2026, 11, 20, tzinfo=UTC))
HEALED = [kind for kind in Kind if kind not in (Kind.ERROR, Kind.RESET, Kind.RESET_AFTER)]


async def update(driver: DeviceDriver) -> None:
    """The client sequence, to the confirmation."""
    report = await driver.check(len(NEW.data))
    assert not report.problems
    await driver.upload(NEW.data, NEW.hex)
    marked = await driver.test(NEW.hex)
    seen = marked
    if not marked.test_boot:
        await driver.reset()
        seen = await driver.wait_for_boot(marked)
    await driver.confirm(NEW.hex, seen.boot_id)


def run_update(device: ScriptedController) -> tuple[CryofwError | None, DeviceDriver]:
    async def run() -> tuple[CryofwError | None, DeviceDriver]:
        driver = DeviceDriver(PINNED if device.cryo else UNPINNED, device, CLOCK)
        try:
            await update(driver)
        except CryofwError as error:
            return error, driver
        finally:
            await driver.close()
        return None, driver

    outcome = run_virtual(run())
    assert device.errors == []
    return outcome


def controller(flavour: str) -> ScriptedController:
    if flavour == "cryo":
        return ScriptedController(OLD)
    return ScriptedController(OLD, cryo=False, image_check=False, frugal=flavour == "frugal")


def requests_of_an_update(flavour: str) -> int:
    device = controller(flavour)
    error, driver = run_update(device)
    assert error is None
    assert driver.counts.retries == 0
    assert device.running == NEW
    assert device.confirmed
    return len(device.requests)


def any_request(_: object) -> bool:
    return True


def check_what_is_left(device: ScriptedController, error: CryofwError | None) -> None:
    """Success is true, a failure is explained, and no way back was lost."""
    assert not device.slot_0_overwritten
    if error is None:
        assert device.running == NEW
        assert device.confirmed
        return
    assert error.what
    assert error.why
    assert error.hint
    # Only a confirmation that was carried out, and then could not be read back, leaves this.
    confirmed_by_us = device.requests.count((1, 0, 2)) >= 2
    assert device.running == OLD or not device.confirmed or confirmed_by_us


@pytest.mark.parametrize("flavour", ["cryo", "plain", "frugal"])
@pytest.mark.parametrize("kind", list(Kind))
def test_every_request_meets_the_fault(flavour: str, kind: Kind) -> None:
    failures = 0
    for nth in range(requests_of_an_update(flavour)):
        device = controller(flavour)
        device.faults = [Fault(kind, any_request, nth)]
        error, driver = run_update(device)
        check_what_is_left(device, error)
        if kind in HEALED:
            assert error is None, f"request {nth}: {error}"
        failures += error is not None
        if kind in (Kind.LINE_LOST, Kind.LINE_LOST_BEFORE):
            assert driver.counts.reopens == 1
        if kind is Kind.CORRUPT:
            assert driver.counts.damaged_frames == 1
    if kind is Kind.ERROR:
        assert failures, "an error code is not healed everywhere"


@pytest.mark.parametrize("kind", HEALED)
def test_two_faults_in_a_row(kind: Kind) -> None:
    for nth in range(requests_of_an_update("cryo")):
        device = controller("cryo")
        device.faults = [Fault(kind, any_request, nth, times=2)]
        error, _ = run_update(device)
        check_what_is_left(device, error)
        assert error is None, f"request {nth}: {error}"


@pytest.mark.parametrize("kind", [Kind.SILENCE, Kind.LOST_REPLY, Kind.LINE_LOST, Kind.RESET])
def test_a_fault_that_stays_ends_with_a_clear_error(kind: Kind) -> None:
    for nth in range(requests_of_an_update("cryo")):
        device = controller("cryo")
        device.faults = [Fault(kind, any_request, nth, times=10_000)]
        error, _ = run_update(device)
        check_what_is_left(device, error)
        assert error is not None
