"""Readings, the lease, and the power hook."""

import dataclasses
import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest

from cryofw.device import (
    CalibrationFailed,
    DeviceDriver,
    DeviceSilent,
    DeviceUnreachable,
    HeartbeatSource,
    LeaseRefused,
    RequestFailed,
    Target,
    Timeouts,
)
from cryofw.engine.virtual_time import LoopClock, run_virtual
from cryofw.smp import Group, RequestReceived
from cryofw.smp.messages import CryoCommand
from tests.unit.device.scripted_controller import Fault, Firmware, Kind, Lease, ScriptedController

OLD = Firmware("old")
TARGET = Target("c1-a", "/dev/c1-a")
CLOCK = LoopClock(datetime(2026, 11, 20, tzinfo=UTC))


def drive(
    device: ScriptedController,
    script: Callable[[DeviceDriver], Awaitable[None]],
    target: Target = TARGET,
) -> None:
    async def run() -> None:
        async with DeviceDriver(target, device, CLOCK) as driver:
            await script(driver)

    run_virtual(run())
    assert device.errors == []


def cryo_write(command: CryoCommand) -> Callable[[RequestReceived], bool]:
    return lambda request: (
        (request.header.group, request.header.command, request.header.op)
        == (
            Group.CRYO,
            command,
            2,
        )
    )


def any_request(_: object) -> bool:
    return True


def test_heartbeat() -> None:
    async def script(driver: DeviceDriver) -> None:
        await CLOCK.sleep(3)
        beat = await driver.heartbeat()
        assert beat.source is HeartbeatSource.CRYO
        assert beat.active_hash == OLD.hex
        assert (beat.seq, beat.up_ms, beat.boot_id) == (1, 3000, 100)

    drive(ScriptedController(OLD), script)


def test_heartbeat_of_a_plain_device() -> None:
    async def script(driver: DeviceDriver) -> None:
        beat = await driver.heartbeat()
        assert beat.source is HeartbeatSource.ECHO
        assert beat.active_hash == OLD.hex
        assert beat.boot_id is None

    drive(ScriptedController(OLD, cryo=False), script)


@pytest.mark.parametrize("kind", [Kind.SILENCE, Kind.LOST_REPLY, Kind.CORRUPT, Kind.LATE_REPLY])
def test_a_missed_heartbeat_is_not_asked_for_again(kind: Kind) -> None:
    device = ScriptedController(OLD, faults=[Fault(kind, any_request)])

    async def script(driver: DeviceDriver) -> None:
        with pytest.raises(DeviceSilent):
            await driver.heartbeat()
        assert len(device.requests) == 1
        assert (await driver.heartbeat()).seq is not None

    drive(device, script)


def test_a_heartbeat_does_not_wait_for_a_port_that_is_away() -> None:
    device = ScriptedController(OLD)

    async def script(driver: DeviceDriver) -> None:
        device.cut()
        device.away = 1
        with pytest.raises(DeviceUnreachable):
            await driver.heartbeat()
        started = CLOCK.monotonic()
        with pytest.raises(DeviceUnreachable):
            await driver.heartbeat()
        assert CLOCK.monotonic() == started
        assert (await driver.heartbeat()).boot_id == 100

    drive(device, script)


def test_metrics_part_values_from_what_is_missing_or_no_number() -> None:
    device = ScriptedController(
        OLD, metrics={"snr": 24.5, "enob": math.nan, "jitter": math.inf, "odd": "text"}
    )

    async def script(driver: DeviceDriver) -> None:
        reading = await driver.metrics(["snr", "enob", "gone"])
        assert reading.values == {"snr": 24.5}
        assert reading.missing == ("gone",)
        assert set(reading.not_numbers) == {"enob", "jitter", "odd"}
        assert reading.fresh

    drive(device, script)


def test_an_old_reading_is_not_fresh() -> None:
    device = ScriptedController(OLD, metrics_t_ms=5000)

    async def script(driver: DeviceDriver) -> None:
        assert (await driver.metrics()).fresh
        assert not (await driver.metrics()).fresh
        device.metrics_t_ms = 6000
        assert (await driver.metrics()).fresh

    drive(device, script)


def test_metrics_of_a_plain_device_are_refused() -> None:
    async def script(driver: DeviceDriver) -> None:
        with pytest.raises(RequestFailed, match="does not know"):
            await driver.metrics()

    drive(ScriptedController(OLD, cryo=False), script)


@pytest.mark.parametrize("kind", [None, Kind.LOST_REPLY, Kind.SILENCE, Kind.LINE_LOST])
def test_calibration_starts_once(kind: Kind | None) -> None:
    device = ScriptedController(OLD)
    if kind is not None:
        device.faults = [Fault(kind, cryo_write(CryoCommand.CALIBRATE))]

    async def script(driver: DeviceDriver) -> None:
        reading = await driver.calibrate()
        assert reading.run_id == 1
        assert reading.values == {"adc_enob": 11.2}
        assert reading.duration_s >= 20
        assert (await driver.calibrate(1)).run_id == 1, "a resume waits for the same run"
        assert (await driver.calibrate()).run_id == 2

    drive(device, script)


def test_a_calibration_that_does_not_end() -> None:
    impatient = dataclasses.replace(TARGET, timeouts=Timeouts(calibration_s=10))

    async def script(driver: DeviceDriver) -> None:
        with pytest.raises(CalibrationFailed, match="not done after 10 s"):
            await driver.calibrate()
        with pytest.raises(CalibrationFailed, match="not done after 15 s"):
            await driver.calibrate(timeout_s=15)

    drive(ScriptedController(OLD), script, impatient)


def test_a_calibration_that_the_device_forgets() -> None:
    device = ScriptedController(OLD)

    async def script(driver: DeviceDriver) -> None:
        device._later(5, lambda: setattr(device, "calibration", (0, 0.0)))
        with pytest.raises(CalibrationFailed, match="booted"):
            await driver.calibrate()

    drive(device, script)


def test_safe_is_read_back() -> None:
    device = ScriptedController(OLD)
    drive(device, lambda driver: driver.safe())
    assert device.safe


def test_lease_taken_renewed_released() -> None:
    device = ScriptedController(OLD)

    async def script(driver: DeviceDriver) -> None:
        taken = await driver.take_lease("anna@lab", "r-1", 7, 60)
        assert taken is not None
        assert taken.held_by("anna@lab", "r-1", 7)
        await CLOCK.sleep(50)
        renewed = await driver.renew_lease("anna@lab", "r-1", 7, 60)
        assert renewed.left_s > 50
        assert await driver.take_lease("anna@lab", "r-1", 7, 60)
        await driver.release_lease("anna@lab", "r-1", 7)
        state = await driver.read_lease()
        assert state is not None
        assert not state.alive

    drive(device, script)


@pytest.mark.parametrize(
    ("lease", "token", "words"),
    [
        (Lease("bob@lab", "r-0", 3, 1e9), 9, "bob@lab"),
        (Lease("anna@lab", "r-0", 3, 1e9), 9, "rollout r-0"),
        (Lease("anna@lab", "r-1", 9, 0.0), 8, "newer run"),
    ],
)
def test_lease_refused(lease: Lease, token: int, words: str) -> None:
    device = ScriptedController(OLD, lease=lease)

    async def script(driver: DeviceDriver) -> None:
        with pytest.raises(LeaseRefused, match=words):
            await driver.take_lease("anna@lab", "r-1", token, 60)
        await driver.release_lease("anna@lab", "r-1", token)

    drive(device, script)
    assert device.lease == lease, "somebody else's lease is left alone"


def test_a_lease_that_ran_out_is_free() -> None:
    device = ScriptedController(OLD, lease=Lease("bob@lab", "r-0", 3, 10.0))

    async def script(driver: DeviceDriver) -> None:
        await CLOCK.sleep(11)
        assert await driver.take_lease("anna@lab", "r-1", 4, 60)

    drive(device, script)


def test_a_lease_lost_to_a_newer_run_is_told_at_the_renewal() -> None:
    device = ScriptedController(OLD)

    async def script(driver: DeviceDriver) -> None:
        await driver.take_lease("anna@lab", "r-1", 7, 60)
        device.lease = Lease("anna@lab", "r-1", 8, 1e9)
        with pytest.raises(LeaseRefused, match="newer run"):
            await driver.renew_lease("anna@lab", "r-1", 7, 60)

    drive(device, script)


@pytest.mark.parametrize("kind", [Kind.LOST_REPLY, Kind.SILENCE, Kind.TWICE, Kind.LINE_LOST])
def test_the_lease_over_a_bad_line(kind: Kind) -> None:
    device = ScriptedController(OLD, faults=[Fault(kind, cryo_write(CryoCommand.LEASE))])

    async def script(driver: DeviceDriver) -> None:
        assert await driver.take_lease("anna@lab", "r-1", 7, 60)

    drive(device, script)


def test_a_plain_device_has_no_lease() -> None:
    async def script(driver: DeviceDriver) -> None:
        assert await driver.take_lease("anna@lab", "r-1", 7, 60) is None
        assert await driver.read_lease() is None
        await driver.release_lease("anna@lab", "r-1", 7)

    drive(ScriptedController(OLD, cryo=False), script)
