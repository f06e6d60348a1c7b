"""Resets, and waiting for what comes up after one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cryofw.device.errors import (
    DeviceSilent,
    DeviceUnreachable,
    InRecovery,
    NoResetPath,
    RequestFailed,
    ResetIgnored,
)
from cryofw.device.examination import require_application
from cryofw.device.observation import Mode, Observation
from cryofw.device.rejection import rejection
from cryofw.smp import MessageError, messages

if TYPE_CHECKING:
    from cryofw.clock import Clock
    from cryofw.device.examination import Examiner
    from cryofw.device.link import Link
    from cryofw.device.power import PowerHook
    from cryofw.device.target import Target

MOST_ESCAPES = 3
MOST_RESETS = 3


class BootWatcher:
    """Resets one device and sees it come up."""

    def __init__(
        self,
        target: Target,
        link: Link,
        examiner: Examiner,
        clock: Clock,
        power: PowerHook | None,
    ) -> None:
        self._target = target
        self._link = link
        self._examiner = examiner
        self._clock = clock
        self._power = power
        self._boot_expected = False

    def expect_boot(self) -> None:
        """Send nothing until the boot time has passed: the device boots, or may be booting."""
        self._boot_expected = True
        self._link.keep_quiet(self._target.boot_time_s)

    async def reset(self, *, patience: float = 1.0) -> None:
        """Ask for a reset, once; then nothing is sent until the boot time has passed.

        A lost answer is no error: whether the device has booted shows in `wait_for_boot`.

        Args:
            patience: how many boot times to keep quiet.

        Raises:
            DeviceUnreachable: the port could not be opened; nothing was sent.
            WrongDevice: another device answers; nothing was sent.
            RequestFailed: the device refused.
        """
        try:
            connection = await self._examiner.require_same_device()
        except InRecovery:
            # Nobody can be identified in recovery, and a reset is the way out of it.
            connection = self._link.connection
        try:
            answer = await self._link.request(
                messages.reset(),
                attempts=1,
                quiet_after_s=patience * self._target.boot_time_s,
                connection=connection,
            )
        except DeviceSilent:
            self._boot_expected = True
            return
        except DeviceUnreachable as error:
            if not error.sent:
                raise
            self._boot_expected = True
            return
        if answer.error is not None:
            raise rejection(self._target.name, "reset", answer.error)
        self._boot_expected = True

    async def power_cycle(self) -> None:
        """Run the power hook; then nothing is sent until the boot time has passed.

        Raises:
            NoResetPath: there is no hook.
            PowerHookFailed: it did not work.
        """
        if self._power is None:
            raise NoResetPath(
                f"{self._target.name} has no power hook",
                why="fleet.yaml names none, so a hung firmware can only be reset by hand",
                hint=f"cycle its power by hand, and name `reset: {{hook: [...]}}` for "
                f"{self._target.name}.",
            )
        # The device boots while the hook still runs: a heartbeat then would catch its bootloader.
        async with self._link.silence():
            try:
                await self._power.cycle(self._target.name)
            finally:
                self.expect_boot()

    async def wait_for_boot(self, before: Observation) -> Observation:
        """Keep silent for the boot time, then look until the application answers.

        A device that proves to be still in the boot of `before` is reset again; one that sits in
        serial recovery is reset out of it, and the observation counts both.

        Args:
            before: what was observed before the reset or power cycle.

        Raises:
            DeviceSilent: no application within the boot time and `boot_s`: it hangs.
            DeviceUnreachable: the port did not come back.
            InRecovery: recovery holds it after `MOST_ESCAPES` resets.
            ResetIgnored: it did not reset after `MOST_RESETS` requests.
        """
        if not self._boot_expected:
            self.expect_boot()
        self._boot_expected = False
        repeats = escapes = 0
        caught: str | None = None
        while True:
            seen = await self.application()
            escapes += seen.recovery_escapes
            caught = caught or seen.caught_hash
            if not _same_boot(before, seen):
                return replace(
                    seen, recovery_escapes=escapes, caught_hash=caught, reset_repeats=repeats
                )
            repeats += 1
            if repeats >= MOST_RESETS:
                raise ResetIgnored(
                    f"{self._target.name} does not reset",
                    why=f"it is still in the boot it was in before {repeats} resets",
                    hint="cycle its power.",
                )
            await self.reset()

    async def application(self) -> Observation:
        """Look until the application answers, resetting the device out of recovery if need be.

        Raises:
            DeviceSilent, DeviceUnreachable, InRecovery: as `wait_for_boot`.
            WrongDevice: another device answers.
        """
        escapes = 0
        caught: str | None = None
        while True:
            seen = await self._first_sight()
            if seen.mode is Mode.APPLICATION:
                return replace(seen, recovery_escapes=escapes, caught_hash=caught)
            caught = caught or seen.active_hash
            if escapes >= MOST_ESCAPES:
                require_application(seen, self._target.name)
            escapes += 1
            # It was caught by a byte that came too early: wait longer each time.
            await self.reset(patience=2.0**escapes)

    async def _first_sight(self) -> Observation:
        deadline = self._clock.monotonic() + self._link.quiet_left_s + self._target.timeouts.boot_s
        while True:
            try:
                return await self._examiner.observe_itself(attempts=1)
            except (DeviceSilent, DeviceUnreachable, RequestFailed, MessageError) as error:
                if self._clock.monotonic() + self._target.timeouts.poll_s > deadline:
                    raise self._gave_up(error) from error
            await self._clock.sleep(self._target.timeouts.poll_s)

    def _gave_up(
        self, error: DeviceSilent | DeviceUnreachable | RequestFailed | MessageError
    ) -> DeviceSilent | DeviceUnreachable | RequestFailed | MessageError:
        if not isinstance(error, DeviceSilent):
            return error
        return DeviceSilent(
            f"{self._target.name} does not come up",
            why=f"no answer for {self._target.timeouts.boot_s:g} s after its boot time "
            f"of {self._target.boot_time_s:g} s",
            hint="its firmware hangs, or its bootloader finds no image. A watchdog or a power "
            "cycle reverts an image that was not confirmed.",
        )


def _same_boot(before: Observation, seen: Observation) -> bool:
    """Tell whether `seen` is provably of the same boot as `before`.

    The boot id tells. Without one, a reset shows in the slots if an image was pending or in test
    boot, for any reset changes those; otherwise nobody can tell, and it does not matter.
    """
    if before.boot_id is not None and seen.boot_id is not None:
        return before.boot_id == seen.boot_id
    return (before.pending or before.test_boot) and before.slots == seen.slots
