"""The update of one controller: the ways that go well, and the traps."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

import pytest

from cryofw.device import (
    BootChanged,
    DeviceDriver,
    DeviceSilent,
    DeviceUnreachable,
    ImageNotRunning,
    InRecovery,
    Mode,
    NoResetPath,
    NotReady,
    Observation,
    PowerHookFailed,
    RequestFailed,
    ResetIgnored,
    RetryRule,
    Target,
    Timeouts,
    UploadRejected,
    WrongDevice,
)
from cryofw.engine.virtual_time import LoopClock, run_virtual
from cryofw.smp import RequestReceived
from cryofw.transport import ByteStream
from tests.unit.device.scripted_controller import (
    APPLICATION_AFTER_S,
    Fault,
    Firmware,
    Kind,
    ScriptedController,
)

OLD, NEW, OLDER = Firmware("old"), Firmware("new"), Firmware("older")
TARGET = Target("c1-a", "/dev/c1-a", hw="5A31", board="cc40", timeouts=Timeouts(boot_s=30))
CLOCK = LoopClock(datetime(2026, 11, 20, tzinfo=UTC))
T = TypeVar("T")


def drive(
    device: ScriptedController,
    script: Callable[[DeviceDriver], Awaitable[T]],
    target: Target = TARGET,
    **more: object,
) -> T:
    async def run() -> T:
        driver = DeviceDriver(target, device, CLOCK, **more)  # type: ignore[arg-type]
        try:
            return await script(driver)
        finally:
            await driver.close()

    result = run_virtual(run())
    assert device.errors == []
    assert not device.slot_0_overwritten
    return result


def chunk(request: RequestReceived) -> bool:
    return (request.header.group, request.header.command) == (1, 1)


def state_write(request: RequestReceived) -> bool:
    header = request.header
    return (header.group, header.command, header.op) == (1, 0, 2)


async def to_test_boot(driver: DeviceDriver) -> Observation:
    await driver.upload(NEW.data, NEW.hex)
    marked = await driver.test(NEW.hex)
    assert marked.pending
    await driver.reset()
    return await driver.wait_for_boot(marked)


def test_an_update_that_goes_well() -> None:
    device = ScriptedController(OLD)
    steps: list[int] = []

    async def script(driver: DeviceDriver) -> None:
        report = await driver.check(len(NEW.data))
        assert report.problems == ()
        assert report.identity.hw == "5a31"
        assert report.identity.watchdog is True
        assert report.slot_size == 8192
        assert report.application_proven
        assert report.buffers.buf_size == 384
        uploaded = await driver.upload(NEW.data, NEW.hex, lambda done, _: steps.append(done))
        assert uploaded.checked is True
        assert uploaded.bytes_sent == uploaded.size == len(NEW.data)
        assert uploaded.resumed_at is None
        marked = await driver.test(NEW.hex)
        await driver.reset()
        seen = await driver.wait_for_boot(marked)
        assert seen.active_hash == NEW.hex
        assert seen.test_boot
        assert seen.other_hash == OLD.hex
        assert seen.boot_id == 101
        assert (seen.recovery_escapes, seen.reset_repeats) == (0, 0)
        after = await driver.confirm(NEW.hex, seen.boot_id)
        assert after.settled
        assert driver.counts.retries == 0

    drive(device, script)
    assert device.running == NEW
    assert device.confirmed
    assert steps == sorted(steps)
    assert steps[-1] == len(NEW.data)


def test_nothing_is_sent_during_the_boot_time() -> None:
    device = ScriptedController(OLD)

    async def script(driver: DeviceDriver) -> float:
        await driver.connect()
        before = await driver.observe()
        sent_at = CLOCK.monotonic()
        await driver.reset()
        await driver.heartbeat()
        await driver.wait_for_boot(before)
        return sent_at

    sent_at = drive(device, script)
    later = [at for at in device.heard_at if at > sent_at]
    assert min(later) >= sent_at + TARGET.boot_time_s
    assert not device.recovery


def test_the_wait_for_dfu_trap_is_escaped_and_told() -> None:
    device = ScriptedController(OLD)

    async def script(driver: DeviceDriver) -> Observation:
        await driver.upload(NEW.data, NEW.hex)
        marked = await driver.test(NEW.hex)
        await driver.reset()
        return await driver.wait_for_boot(marked)

    hasty = dataclasses.replace(TARGET, boot_time_s=0.4)
    seen = drive(device, script, hasty)
    assert seen.recovery_escapes >= 1
    assert seen.mode is Mode.APPLICATION


def test_recovery_that_stays_is_an_error() -> None:
    device = ScriptedController(OLD, recovery=True, deaf_to_resets=99)

    async def script(driver: DeviceDriver) -> None:
        seen = await driver.observe()
        assert seen.mode is Mode.RECOVERY
        with pytest.raises(InRecovery):
            await driver.identify()
        with pytest.raises(InRecovery):
            await driver.upload(NEW.data, NEW.hex)
        with pytest.raises(InRecovery):
            await driver.heartbeat()

    drive(device, script)


def test_an_upload_leaves_recovery_before_it_sends_anything() -> None:
    device = ScriptedController(OLD, recovery=True)
    report = drive(device, lambda driver: driver.upload(NEW.data, NEW.hex))
    assert report.checked
    assert device.other == NEW


def test_a_reset_that_got_lost_is_repeated() -> None:
    device = ScriptedController(OLD, deaf_to_resets=1)
    seen = drive(device, to_test_boot)
    assert seen.active_hash == NEW.hex
    assert seen.reset_repeats == 1


@pytest.mark.parametrize("cryo", [True, False])
def test_a_device_that_never_resets(cryo: bool) -> None:
    device = ScriptedController(OLD, deaf_to_resets=99, cryo=cryo)
    target = TARGET if cryo else dataclasses.replace(TARGET, hw=None)

    async def script(driver: DeviceDriver) -> None:
        with pytest.raises(ResetIgnored):
            await to_test_boot(driver)

    drive(device, script, target)


def test_an_upload_goes_on_where_the_device_wants() -> None:
    device = ScriptedController(OLD, faults=[Fault(Kind.SILENCE, chunk, nth=4, times=7)])
    report = drive(device, lambda driver: driver.upload(NEW.data, NEW.hex))
    assert report.restarts == 1
    assert report.resumed_at is not None
    assert report.resumed_at > 0
    assert report.retries >= 3
    assert device.other == NEW


def test_a_reset_in_the_upload_starts_it_over() -> None:
    device = ScriptedController(OLD, faults=[Fault(Kind.RESET, chunk, nth=4)])
    report = drive(device, lambda driver: driver.upload(NEW.data, NEW.hex))
    assert report.restarts >= 1
    assert report.resumed_at is None
    assert report.bytes_sent > report.size
    assert device.other == NEW


def test_the_first_packet_is_never_repeated_unseen() -> None:
    device = ScriptedController(OLD, faults=[Fault(Kind.SILENCE, chunk, nth=0)])
    drive(device, lambda driver: driver.upload(NEW.data, NEW.hex))
    keys = [(group, command) for group, command, _ in device.requests]
    first, second = [n for n, key in enumerate(keys) if key == (1, 1)][:2]
    assert (1, 0) in keys[first:second], "the state was read in between"


def test_an_image_that_is_there_is_not_sent_again() -> None:
    device = ScriptedController(OLD, other=NEW)
    report = drive(device, lambda driver: driver.upload(NEW.data, NEW.hex))
    assert report.skipped
    assert report.bytes_sent == 0
    assert (1, 1, 2) not in device.requests


def test_a_corrupt_copy_is_found_and_erased() -> None:
    device = ScriptedController(OLD)
    device.corrupt_flash = True

    async def script(driver: DeviceDriver) -> None:
        with pytest.raises(UploadRejected, match="does not hold what was sent"):
            await driver.upload(NEW.data, NEW.hex)

    drive(device, script)
    assert device.other is None, "by its hash alone it would pass for a good copy"


def test_a_file_without_its_hash_is_refused() -> None:
    device = ScriptedController(OLD)

    async def script(driver: DeviceDriver) -> None:
        with pytest.raises(UploadRejected, match="not the one that was named"):
            await driver.upload(NEW.data, OLDER.hex)

    drive(device, script)
    assert device.requests == []


def test_what_stands_in_the_way_of_an_update() -> None:
    device = ScriptedController(OLD, other=NEW, confirmed=False)

    async def script(driver: DeviceDriver) -> None:
        report = await driver.check(10_000)
        assert len(report.problems) == 2
        assert "for test" in report.problems[0]
        assert "10000 bytes" in report.problems[1]
        for call in (driver.upload(OLDER.data, OLDER.hex), driver.test(NEW.hex)):
            with pytest.raises(NotReady, match="in the middle of another update"):
                await call

    drive(device, script)
    assert not device.pending


@pytest.mark.parametrize(
    ("image", "what"), [(OLD, "runs this image already"), (OLDER, "does not hold the image")]
)
def test_test_requests_that_make_no_sense(image: Firmware, what: str) -> None:
    device = ScriptedController(OLD, other=NEW)

    async def script(driver: DeviceDriver) -> None:
        with pytest.raises(NotReady, match=what):
            await driver.test(image.hex)

    drive(device, script)
    assert not device.pending


def test_marking_twice_is_one_mark() -> None:
    device = ScriptedController(OLD, other=NEW)

    async def script(driver: DeviceDriver) -> None:
        await driver.test(NEW.hex)
        assert (await driver.test(NEW.hex)).pending

    drive(device, script)
    assert device.requests.count((1, 0, 2)) == 1


def test_a_reset_right_after_the_mark_is_the_test_boot() -> None:
    device = ScriptedController(OLD, other=NEW, faults=[Fault(Kind.RESET_AFTER, state_write)])
    seen = drive(device, lambda driver: driver.test(NEW.hex))
    assert seen.test_boot
    assert not seen.pending
    assert seen.active_hash == NEW.hex


def test_a_lost_answer_to_the_mark_is_read_back() -> None:
    device = ScriptedController(OLD, other=NEW, faults=[Fault(Kind.LOST_REPLY, state_write)])
    drive(device, lambda driver: driver.test(NEW.hex))
    assert device.pending
    assert device.requests.count((1, 0, 2)) == 1, "it is not sent again"


def test_an_error_of_the_device_is_explained() -> None:
    device = ScriptedController(OLD, other=NEW, faults=[Fault(Kind.ERROR, state_write)])

    async def script(driver: DeviceDriver) -> None:
        with pytest.raises(RequestFailed, match="refused to mark the image for test") as caught:
            await driver.test(NEW.hex)
        assert (caught.value.group, caught.value.rc) == (1, 1)
        assert "UNKNOWN" in caught.value.why

    drive(device, script)


def test_an_image_the_bootloader_refuses_is_seen() -> None:
    device = ScriptedController(OLD, invalid=(NEW,))

    async def script(driver: DeviceDriver) -> None:
        seen = await to_test_boot(driver)
        assert seen.active_hash == OLD.hex
        assert seen.other is None
        with pytest.raises(ImageNotRunning):
            await driver.confirm(NEW.hex, seen.boot_id)

    drive(device, script)
    assert device.running == OLD


def test_confirming_another_boot_is_refused() -> None:
    device = ScriptedController(OLD)

    async def script(driver: DeviceDriver) -> None:
        seen = await to_test_boot(driver)
        assert seen.boot_id is not None
        with pytest.raises(BootChanged):
            await driver.confirm(NEW.hex, seen.boot_id - 1)

    drive(device, script)
    assert not device.confirmed


def test_a_reset_after_the_confirmation_does_not_undo_it() -> None:
    device = ScriptedController(OLD)

    async def script(driver: DeviceDriver) -> None:
        seen = await to_test_boot(driver)
        device.faults = [Fault(Kind.RESET_AFTER, state_write)]
        after = await driver.confirm(NEW.hex, seen.boot_id)
        assert after.boot_id != seen.boot_id
        assert after.settled

    drive(device, script)
    assert device.running == NEW


@pytest.mark.parametrize("kind", [Kind.RESET, Kind.RESET_AFTER])
def test_a_restore_thrown_out_of_its_test_boot_is_tried_again(kind: Kind) -> None:
    device = ScriptedController(NEW, other=OLD, faults=[Fault(kind, state_write, nth=1)])
    report = drive(device, lambda driver: driver.restore(OLD.hex))
    assert report.boots == (2 if kind is Kind.RESET else 1)
    assert device.running == OLD
    assert device.confirmed


def test_a_restore_does_not_go_on_for_ever() -> None:
    device = ScriptedController(NEW, other=OLD, invalid=(OLD,))

    async def script(driver: DeviceDriver) -> None:
        with pytest.raises(ImageNotRunning):
            await driver.restore(OLD.hex, OLD.data)

    drive(device, script)
    assert device.running == NEW


def test_a_revert_after_recovery_is_no_verdict() -> None:
    device = ScriptedController(OLD)

    async def script(driver: DeviceDriver) -> None:
        seen = await to_test_boot(driver)
        device.recovery = True
        with pytest.raises(ImageNotRunning, match="no verdict") as caught:
            await driver.confirm(NEW.hex, seen.boot_id)
        assert caught.value.recovery_escapes == 1

    drive(device, script)


def heartbeat(request: RequestReceived) -> bool:
    return (request.header.group, request.header.command) == (64, 0)


def test_lost_heartbeats_do_not_bar_the_way_back() -> None:
    device = ScriptedController(OLD)

    async def script(driver: DeviceDriver) -> None:
        seen = await to_test_boot(driver)
        device.faults = [Fault(Kind.SILENCE, heartbeat, times=10_000)]
        with pytest.raises(DeviceSilent):
            await driver.heartbeat()
        with pytest.raises(BootChanged, match="nobody can tell its boot"):
            await driver.confirm(NEW.hex, seen.boot_id)
        assert (await driver.revert(OLD.hex)).settled

    drive(device, script)
    assert device.running == OLD


def test_one_lost_heartbeat_does_not_hide_the_boot() -> None:
    device = ScriptedController(OLD, faults=[Fault(Kind.SILENCE, heartbeat)])
    assert drive(device, lambda driver: driver.escape_recovery()).boot_id == 100


def test_a_confirmation_that_was_made_is_not_made_again() -> None:
    device = ScriptedController(OLD)
    drive(device, lambda driver: driver.confirm(OLD.hex, 100))
    assert (1, 0, 2) not in device.requests


def test_revert() -> None:
    device = ScriptedController(OLD)

    async def script(driver: DeviceDriver) -> None:
        await to_test_boot(driver)
        seen = await driver.revert(OLD.hex)
        assert seen.settled
        boots = device.boot_id
        assert (await driver.revert(OLD.hex)).active_hash == OLD.hex
        assert device.boot_id == boots, "it runs the old image: there is nothing to do"

    drive(device, script)
    assert device.running == OLD


def test_revert_of_an_image_that_is_only_pending() -> None:
    device = ScriptedController(OLD, other=NEW, pending=True)
    assert drive(device, lambda driver: driver.revert(OLD.hex)).settled
    assert (device.running, device.pending, device.boot_id) == (OLD, False, 102)


def test_restore_undoes_a_mark_that_nobody_booted() -> None:
    device = ScriptedController(OLD, other=NEW, pending=True)
    assert drive(device, lambda driver: driver.restore(OLD.hex)).observation.settled
    assert device.running == OLD


def test_revert_when_the_newer_image_is_confirmed() -> None:
    device = ScriptedController(NEW, other=OLD)

    async def script(driver: DeviceDriver) -> None:
        with pytest.raises(ImageNotRunning):
            await driver.revert(OLD.hex)

    drive(device, script)
    assert device.boot_id == 100, "a reset would not help"


def test_restore_from_the_other_slot() -> None:
    device = ScriptedController(NEW, other=OLD)
    report = drive(device, lambda driver: driver.restore(OLD.hex))
    assert not report.uploaded
    assert report.observation.active_hash == OLD.hex
    assert device.running == OLD
    assert device.confirmed


def test_restore_by_upload() -> None:
    device = ScriptedController(NEW, other=OLDER)

    async def script(driver: DeviceDriver) -> None:
        with pytest.raises(NotReady, match="last good image"):
            await driver.restore(OLD.hex)
        assert (await driver.restore(OLD.hex, OLD.data)).uploaded

    drive(device, script)
    assert device.running == OLD
    assert device.confirmed


@pytest.mark.parametrize("stage", ["marked", "booted", "done"])
def test_restore_goes_on_where_it_stood(stage: str) -> None:
    device = ScriptedController(NEW, other=OLD)
    if stage == "marked":
        device.pending = True
    else:
        device.running, device.other = OLD, NEW
        device.confirmed = stage == "done"
    drive(device, lambda driver: driver.restore(OLD.hex))
    assert device.running == OLD
    assert device.confirmed


class LabPower:
    """A power hook that works on the controller, or fails."""

    def __init__(self, device: ScriptedController, *, fails: bool = False) -> None:
        self.device = device
        self.fails = fails

    async def cycle(self, device: str) -> None:
        assert device == "c1-a"
        if self.fails:
            raise PowerHookFailed("The power hook failed", why="exit code 3")
        await CLOCK.sleep(5)
        self.device.reboot()
        await CLOCK.sleep(0.3)


def test_a_hanging_image_comes_back_by_a_power_cycle() -> None:
    device = ScriptedController(OLD, hanging=(NEW,))

    async def script(driver: DeviceDriver) -> None:
        await driver.upload(NEW.data, NEW.hex)
        marked = await driver.test(NEW.hex)
        await driver.reset()
        with pytest.raises(DeviceSilent, match="does not come up"):
            await driver.wait_for_boot(marked)
        await driver.power_cycle()
        seen = await driver.wait_for_boot(marked)
        assert seen.active_hash == OLD.hex
        assert seen.settled

    drive(device, script, power=LabPower(device))


def test_nothing_is_sent_while_the_power_is_cycled() -> None:
    device = ScriptedController(OLD)

    async def script(driver: DeviceDriver) -> None:
        before = await driver.observe()
        cycling = asyncio.create_task(driver.power_cycle())
        await CLOCK.sleep(0.1)
        beat = await driver.heartbeat()
        await cycling
        assert beat.boot_id == 101
        assert beat.round_trip_s < 1, "waiting for its turn is no round trip"
        assert (await driver.wait_for_boot(before)).recovery_escapes == 0

    drive(device, script, power=LabPower(device))


def test_no_power_hook_and_a_failing_one() -> None:
    device = ScriptedController(OLD)

    async def no_hook(driver: DeviceDriver) -> None:
        with pytest.raises(NoResetPath):
            await driver.power_cycle()

    async def failing(driver: DeviceDriver) -> None:
        with pytest.raises(PowerHookFailed):
            await driver.power_cycle()

    drive(device, no_hook)
    drive(device, failing, power=LabPower(device, fails=True))


def test_a_reset_in_the_silence_is_waited_for() -> None:
    """A host that comes back after a crash does not know whether it had sent a reset."""
    device = ScriptedController(OLD)

    async def script(driver: DeviceDriver) -> Observation:
        await driver.connect()
        device.reboot()
        driver.expect_boot()
        return await driver.observe()

    assert drive(device, script).mode is Mode.APPLICATION
    assert min(device.heard_at) >= TARGET.boot_time_s > APPLICATION_AFTER_S


@pytest.mark.parametrize(
    ("hw", "board", "words"),
    [
        ("beef", "", "hardware id 5a31, expected beef"),
        (None, "cc41", "board cc40, expected cc41"),
    ],
)
def test_the_wrong_device(hw: str | None, board: str, words: str) -> None:
    device = ScriptedController(OLD, other=NEW)
    target = Target("c1-b", "/dev/c1-b", hw=hw, board=board)

    async def script(driver: DeviceDriver) -> None:
        calls = (
            driver.identify(),
            driver.check(10),
            driver.test(NEW.hex),
            driver.confirm(OLD.hex),
            driver.upload(OLDER.data, OLDER.hex),
            driver.take_lease("a", "r", 1, 60),
            driver.renew_lease("a", "r", 1, 60),
            driver.reset(),
            driver.safe(),
            driver.calibrate(),
        )
        for call in calls:
            with pytest.raises(WrongDevice, match=words):
                await call

    drive(device, script, target)
    assert not [key for key in device.requests if key[2] == 2], "nothing was written"


def test_a_device_that_cannot_prove_its_hardware_id() -> None:
    device = ScriptedController(OLD, cryo=False)

    async def script(driver: DeviceDriver) -> None:
        with pytest.raises(WrongDevice, match="not told"):
            await driver.identify()

    drive(device, script)
    identity = drive(device, lambda d: d.identify(), dataclasses.replace(TARGET, hw=None))
    assert identity.board == "cc40/soc"


def test_a_cable_moved_to_another_device_is_seen() -> None:
    device = ScriptedController(OLD, other=NEW)
    unpinned = dataclasses.replace(TARGET, hw=None)

    async def script(driver: DeviceDriver) -> None:
        await driver.identify()
        device.cut()
        device.hardware_id = b"\xbe\xef"
        with pytest.raises(WrongDevice, match="another device than before"):
            await driver.test(NEW.hex)

    drive(device, script, unpinned)
    assert not device.pending


def test_a_port_that_comes_back() -> None:
    device = ScriptedController(OLD, away=3)

    async def script(driver: DeviceDriver) -> None:
        assert (await driver.identify()).hw == "5a31"
        assert driver.counts.reopens == 3

    drive(device, script)


def test_a_port_that_stays_away() -> None:
    device = ScriptedController(OLD, away=10_000)

    async def script(driver: DeviceDriver) -> None:
        with pytest.raises(DeviceUnreachable, match="No such file") as caught:
            await driver.identify()
        assert not caught.value.sent
        assert CLOCK.monotonic() < 60

    drive(device, script)


def test_opening_is_left_to_the_first_need() -> None:
    class Counting:
        opened = 0

        async def open(self, url: str, *, baud: int) -> ByteStream:
            self.opened += 1
            return await ScriptedController(OLD).open(url, baud=baud)

    opener = Counting()

    async def run() -> None:
        driver = DeviceDriver(TARGET, opener, CLOCK)
        assert opener.opened == 0
        async with driver:
            assert opener.opened == 1
            await driver.observe()
        await driver.close()

    run_virtual(run())
    assert opener.opened == 1


def test_retries_are_bounded() -> None:
    device = ScriptedController(OLD, faults=[Fault(Kind.SILENCE, lambda _: True, times=10_000)])
    target = dataclasses.replace(TARGET, retries=RetryRule(count=2))

    async def script(driver: DeviceDriver) -> None:
        with pytest.raises(DeviceSilent):
            await driver.identify()
        assert driver.counts.repeats == 2

    drive(device, script, target)
    assert len(device.requests) == 3
