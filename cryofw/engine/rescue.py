"""The two passages in which a device may be gone: its test boot, and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from cryofw.device import DeviceSilent, DeviceUnreachable, NoResetPath, NotReady, Observation
from cryofw.errors import CryofwError
from cryofw.rollout import events as e

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cryofw.device import DeviceDriver
    from cryofw.rollout import PlannedDevice, TestImage

Cycle: TypeAlias = "Callable[[], Awaitable[None]]"
"""Cycles the power of the device at hand; raises as `DeviceDriver.power_cycle`."""

_NO_ANSWER = (DeviceSilent, DeviceUnreachable)


async def find_device(driver: DeviceDriver, cycle: Cycle) -> Observation:
    """See the application, using `cycle` on a device that does not answer.

    Raises:
        DeviceSilent, DeviceUnreachable: it does not answer, also after its power was cycled.
        NoResetPath: it does not answer and nothing can cycle its power.
        PowerHookFailed: the hook did not work.
    """
    try:
        return await driver.escape_recovery()
    except _NO_ANSWER as silence:
        try:
            await cycle()
        except NoResetPath:
            raise silence from None
    return await driver.escape_recovery()


async def run_trial(
    command: TestImage,
    in_slot: str,
    planned: PlannedDevice,
    driver: DeviceDriver,
    cycle: Cycle,
    now_s: Callable[[], float],
) -> e.Event:
    """Mark for test, reset, and say what came up; safe to repeat after a crash.

    `in_slot` is the hash that the other slot shows before the boot.
    """
    name = planned.name
    try:
        before = await find_device(driver, cycle)
        if _on_trial(before, command, planned):
            return e.TestBooted(name, command.hash, now_s(), before.boot_id)
        before = await driver.test(in_slot, command.hash)
        if _on_trial(before, command, planned):  # it was reset right after the mark
            return e.TestBooted(name, command.hash, now_s(), before.boot_id)
        await driver.reset()
    except CryofwError as error:
        return e.DeviceStuck(name, f"the test request failed: {error}", error.hint)
    try:
        seen = await driver.wait_for_boot(before)
    except CryofwError as error:
        return await _after_silence(command, planned, driver, cycle, now_s, error)
    if _on_trial(seen, command, planned):
        return e.TestBooted(name, command.hash, now_s(), seen.boot_id)
    return _came_up_otherwise(planned, seen, "the new image did not come up")


def _on_trial(seen: Observation, command: TestImage, planned: PlannedDevice) -> bool:
    """The new image runs, not confirmed; a bootloader that overwrites has confirmed it."""
    settled = planned.connection.overwrites and seen.settled
    return seen.active_hash == command.hash and (seen.test_boot or settled)


async def _after_silence(
    command: TestImage,
    planned: PlannedDevice,
    driver: DeviceDriver,
    cycle: Cycle,
    now_s: Callable[[], float],
    error: CryofwError,
) -> e.Event:
    """It hangs: only a power cycle brings the last good image back."""
    try:
        seen = await find_device(driver, cycle)
    except CryofwError as silence:
        hint = silence.hint or f"cycle the power of {planned.name}: that reverts it"
        if planned.connection.overwrites:
            hint = f"nothing reverts it: `cryofw recover {planned.name}`, over serial recovery"
        return e.DeviceStuck(planned.name, f"silent since the test boot: {silence}", hint)
    if _on_trial(seen, command, planned):
        # The power cycle let it swap only now: the heartbeats will judge it.
        return e.TestBooted(planned.name, command.hash, now_s(), seen.boot_id)
    return _came_up_otherwise(planned, seen, f"{error.what}; its power was cycled")


def _came_up_otherwise(planned: PlannedDevice, seen: Observation, why: str) -> e.Event:
    name, running = planned.name, seen.active_hash or ""
    if running != planned.running_hash or not seen.settled:
        hint = f"look at it with `cryofw inventory --read {name}`"
        return e.DeviceStuck(name, f"{why}; it runs {running[:12] or 'nothing known'}", hint)
    # If the old image lay in slot 0 before our reset, the new one had come and gone by itself.
    host_fault = seen.recovery_escapes > 0 and seen.caught_hash != planned.running_hash
    if host_fault:
        why = "our reset out of serial recovery reverted it"
    return e.DeviceReverted(name, running, f"{why}; the last good image runs again", host_fault)


async def bring_back(old_hash: str, driver: DeviceDriver, data: bytes | None) -> str:
    """Make `old_hash` run, confirmed, by whichever way the slots leave open.

    Returns:
        how, in words.

    Raises:
        CryofwError: the device is not back; as `DeviceDriver.revert` and `restore`.
    """
    seen = await driver.escape_recovery()
    if seen.active_hash == old_hash and seen.settled:
        return "it ran already"
    overwrites = driver.target.overwrites
    if seen.active_hash == old_hash and seen.pending and not overwrites:
        await driver.revert(old_hash)
        return "the mark was undone: it booted for test and was reverted"
    if seen.active_hash == old_hash and not seen.pending:
        await driver.confirm(old_hash)
        return "its test boot was confirmed"
    if seen.test_boot:
        await driver.revert(old_hash)
        return "reset in its test boot, so the bootloader reverted"
    marked = seen.slot_holding(old_hash)
    ours = marked is not None and marked.pending  # a run before this one died after its mark
    marked_to_go = overwrites and seen.active_hash == old_hash
    if seen.pending and not ours and not marked_to_go:
        raise NotReady(
            f"{driver.target.name} has an image pending that nobody asked for",
            why="the next reset would swap it in",
            hint="look at it with `cryofw inventory --read`",
        )
    report = await driver.restore(old_hash, data)
    return "uploaded and confirmed" if report.uploaded else "swapped back and confirmed"
