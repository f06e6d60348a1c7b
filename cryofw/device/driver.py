"""Everything that is done to one controller, through one object."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.device.boot import BootWatcher
from cryofw.device.check import CheckReport
from cryofw.device.examination import Examiner
from cryofw.device.lease import LeaseState, Tenancy
from cryofw.device.line_reset import LineReset
from cryofw.device.link import Link
from cryofw.device.power import CommandPowerHook, PowerHook
from cryofw.device.serial_recovery import SerialRecovery
from cryofw.device.settings import Settings
from cryofw.device.trial import RestoreReport, Trial
from cryofw.device.upload import Upload, UploadReport
from cryofw.device.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from cryofw.clock import Clock
    from cryofw.device.identity import Identity
    from cryofw.device.link_record import DeviceLogLine, LinkCounts
    from cryofw.device.observation import Observation
    from cryofw.device.reading import CalibrationReading, HeartbeatReading, MetricsReading
    from cryofw.device.target import Target
    from cryofw.transport import Opener


class DeviceDriver:
    """Drives one controller: reads it, updates it, watches it, brings it back.

    Nothing is believed that was not read back, and no change is sent twice unseen. All calls may
    raise `DeviceUnreachable` (port or line) and `DeviceSilent` (no answer), and `MessageError`
    for an answer that cannot be read; the docstrings name what comes on top. Calls may overlap
    (heartbeats beside an upload): they take turns on the line.

    Args:
        target: which controller.
        opener: opens its port.
        clock: all waiting goes through it.
        power: cycles its power; if left out the target's `power_hook` command, or else its
            `reset_lines`.
    """

    def __init__(
        self, target: Target, opener: Opener, clock: Clock, *, power: PowerHook | None = None
    ) -> None:
        if power is None and target.power_hook:
            power = CommandPowerHook(target.power_hook, timeout_s=target.timeouts.hook_s)
        self.target = target
        self._clock = clock
        self._link = Link(target, opener, clock)
        if power is None and target.reset_lines:
            power = LineReset(self._link.line, target.reset_lines)
        self._examiner = Examiner(target, self._link)
        self._boot = BootWatcher(target, self._link, self._examiner, clock, power)
        self._trial = Trial(target, self._link, self._examiner, self._boot)
        self._watch = Watch(target, self._link, self._examiner, clock)
        self._settings = Settings(target, self._link, self._examiner, self._boot)
        self._tenancy = Tenancy(target, self._link, self._examiner)
        self._examiner.on_proven(self._tenancy.reassert)
        self._power = power

    async def connect(self) -> None:
        """Open the port; nothing is sent. Other calls open it when they need it."""
        await self._link.open()

    async def close(self) -> None:
        """Give the port back; may be called twice."""
        await self._link.close()

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def counts(self) -> LinkCounts:
        """What the line has cost so far: repeated requests, reopened ports, damaged answers."""
        return self._link.counts

    @property
    def log_lines(self) -> tuple[DeviceLogLine, ...]:
        """The last lines that the device printed between SMP frames."""
        return self._link.log_lines

    async def observe(self) -> Observation:
        """Read mode, slots and boot. See `Examiner.observe`."""
        return await self._examiner.observe()

    async def identify(self) -> Identity:
        """Ask who it is; refuse what is not the target. See `Examiner.identify`."""
        return await self._examiner.identify()

    async def check(self, image_size: int) -> CheckReport:
        """Read all that it can tell about an update with an image of `image_size` bytes.

        What stands in the way of it is in the report's `problems`; only another device, or one
        that cannot be identified, raises.

        Raises:
            WrongDevice, InRecovery: as `identify`.
        """
        identity = await self._examiner.identify()
        observation = await self._examiner.observe_itself()
        slots = [slot for slot in await self._examiner.slots() if slot.image == 0]
        return CheckReport(
            identity=identity,
            observation=observation,
            image_size=image_size,
            slot_size=min((slot.size for slot in slots if slot.size), default=None),
            max_image_size=min(
                (slot.max_image_size for slot in slots if slot.max_image_size), default=None
            ),
            buffers=await self._examiner.buffers(),
            bootloader=await self._examiner.bootloader(),
            lease=await self._tenancy.read(),
            primary_size=next((slot.size for slot in slots if slot.slot == 0 and slot.size), None),
        )

    async def upload(
        self,
        data: bytes,
        image_hash: str,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> UploadReport:
        """Bring `data` into the other slot; see `Upload.run`.

        Args:
            data: the signed image, the whole file.
            image_hash: its TLV hash in hex.
            on_progress: called with (bytes the device has, bytes in all).
        """
        upload = Upload(
            self.target,
            self._link,
            self._examiner,
            self._boot,
            self._clock,
            data,
            image_hash,
            on_progress,
        )
        return await upload.run()

    async def test(self, image_hash: str, running_hash: str = "") -> Observation:
        """Mark the image in the other slot for one test boot; see `Trial.test`."""
        return await self._trial.test(image_hash, running_hash)

    async def reset(self) -> None:
        """Ask for a reset; then nothing is sent for the boot time. See `BootWatcher.reset`."""
        await self._boot.reset()

    def expect_boot(self) -> None:
        """Send nothing until the boot time has passed: the device may be booting.

        For a host that comes back after a crash and does not know whether it had sent a reset.
        """
        self._boot.expect_boot()

    async def power_cycle(self) -> None:
        """Run the power hook. See `BootWatcher.power_cycle`."""
        await self._boot.power_cycle()

    async def wait_for_boot(self, before: Observation) -> Observation:
        """Wait, silent for the boot time, for the application. See `BootWatcher.wait_for_boot`."""
        return await self._boot.wait_for_boot(before)

    async def escape_recovery(self) -> Observation:
        """Reset the device out of serial recovery if it is there. See `BootWatcher.application`."""
        return await self._boot.application()

    async def confirm(self, expected_hash: str, boot_id: int | None = None) -> Observation:
        """Confirm what runs, if it is this image in this boot. See `Trial.confirm`."""
        return await self._trial.confirm(expected_hash, boot_id)

    async def revert(self, old_hash: str) -> Observation:
        """Reset it out of a test boot, and see the old image run. See `Trial.revert`."""
        return await self._trial.revert(old_hash)

    async def restore(self, last_good_hash: str, data: bytes | None = None) -> RestoreReport:
        """Bring back the last good image after a newer one was confirmed; see `Trial.restore`.

        Args:
            last_good_hash: its TLV hash in hex.
            data: its file, for when the device does not hold it any more.
        """
        upload: Callable[[], Awaitable[object]] | None = None
        if data is not None:
            image = data

            async def send() -> UploadReport:
                return await self.upload(image, last_good_hash)

            upload = send
        return await self._trial.restore(last_good_hash, upload)

    def serial_recovery(self) -> SerialRecovery:
        """Begin an attempt to bring it back through its bootloader; see `SerialRecovery`."""
        return SerialRecovery(
            self.target,
            self._link,
            self._examiner,
            self._boot,
            self._watch,
            self._clock,
            self._power,
        )

    async def heartbeat(self) -> HeartbeatReading:
        """Ask once for a sign of life. See `Watch.heartbeat`."""
        return await self._watch.heartbeat()

    async def metrics(self, names: Sequence[str] = ()) -> MetricsReading:
        """Read the named metrics, or all. See `Watch.metrics`."""
        return await self._watch.metrics(names)

    async def calibrate(
        self, run_id: int | None = None, *, timeout_s: float | None = None
    ) -> CalibrationReading:
        """Start a calibration run and wait for its end. See `Watch.calibrate`."""
        return await self._watch.calibrate(run_id, timeout_s=timeout_s)

    async def safe(self) -> None:
        """Put the front end into its safe state and see that it is. See `Watch.safe`."""
        await self._watch.safe()

    async def read_settings(self, names: Iterable[str]) -> dict[str, bytes | None]:
        """Read settings by name; None: the firmware does not know it. See `Settings.read`."""
        return await self._settings.read(names)

    async def apply_settings(
        self, values: Mapping[str, bytes], running_hash: str, boot_id: int | None = None
    ) -> None:
        """Let settings take effect until the next reset. See `Settings.apply`."""
        await self._settings.apply(values, running_hash, boot_id)

    async def save_settings(self, values: Mapping[str, bytes], running_hash: str) -> None:
        """Let settings take effect and stay. See `Settings.save`."""
        await self._settings.save(values, running_hash)

    async def restore_settings(self, values: Mapping[str, bytes | None], running_hash: str) -> None:
        """Bring back settings as they were read before. See `Settings.restore`."""
        await self._settings.restore(values, running_hash)

    async def read_lease(self) -> LeaseState | None:
        """Read who holds the lease; None without group 64."""
        return await self._tenancy.read()

    async def take_lease(
        self, owner: str, rollout: str, token: int, ttl_s: int
    ) -> LeaseState | None:
        """Take the lease if it is free or ours; None without group 64. See `Tenancy.take`."""
        await self._examiner.require_same_device()
        return await self._tenancy.take(owner, rollout, token, ttl_s)

    async def renew_lease(self, owner: str, rollout: str, token: int, ttl_s: int) -> LeaseState:
        """Write our lease again. See `Tenancy.renew`."""
        return await self._tenancy.renew(owner, rollout, token, ttl_s)

    async def release_lease(self, owner: str, rollout: str, token: int) -> None:
        """Give our lease back. See `Tenancy.release`."""
        await self._tenancy.release(owner, rollout, token)
