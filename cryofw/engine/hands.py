"""What acts on devices: each command looks first, acts, reads back, and reports an event."""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import TYPE_CHECKING

from cryofw.device import (
    DeviceSilent,
    DeviceUnreachable,
    InRecovery,
    LeaseRefused,
    WrongDevice,
)
from cryofw.engine.coefficient_hands import CoefficientHands
from cryofw.engine.rescue import Cycle, bring_back, find_device, run_trial
from cryofw.errors import CryofwError, VerificationFailed
from cryofw.health import Heartbeat, HeartbeatMissed, MetricSample
from cryofw.rollout import commands as c
from cryofw.rollout import cryostat_events as ce
from cryofw.rollout import events as e

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryofw.clock import Clock
    from cryofw.device import DeviceDriver, DeviceLogLine
    from cryofw.engine.calibration_command import CalibrationCommand
    from cryofw.engine.coefficient_command import CoefficientCommand
    from cryofw.engine.lab_metrics import LabMetrics
    from cryofw.engine.lease_keeper import Find, LeaseKeeper
    from cryofw.release import ImageStore
    from cryofw.rollout import Plan, PlannedDevice

_NO_ANSWER = (DeviceSilent, DeviceUnreachable)


def wrong_serial(answered: str, adopted: str) -> list[str]:
    """Why a device is not the one that was adopted, by its serial number; nothing if it is."""
    if not adopted or answered == adopted:
        return []
    return [f"its serial number is {answered or 'not told'}, it was adopted with {adopted}"]


class _FrozenMeanwhile(Exception):  # never leaves this module
    """The cryostat froze between two packets of an upload."""


class DeviceHands:
    """Hands on the devices of one plan.

    Args:
        plan: what is rolled out.
        drivers: device name to its driver.
        store: the images, verified each time they are loaded.
        clock: the time of readings; once they have begun its `now` is asked no more, for somebody
            may set it.
        leases: who may write to the devices.
        note: puts an event into the journal before it returns.
        resumed: devices that an earlier process may have reset a moment ago.
        lab: what measures beside the devices; None if no plan names a source.
        calibrations: what calibrates devices beside themselves, by their names.
        coefficients: what writes their coefficients in place of SMP, by their names.
        latest_t_s: time of the last reading of an earlier process; these come after it.
        frozen: why a cryostat is frozen now; empty while it is not.
        on_progress: called with device, bytes the device has, and bytes in all.
    """

    def __init__(
        self,
        plan: Plan,
        drivers: Mapping[str, DeviceDriver],
        store: ImageStore,
        clock: Clock,
        *,
        leases: LeaseKeeper,
        note: Callable[[e.Event], None],
        lab: LabMetrics | None = None,
        calibrations: Mapping[str, CalibrationCommand] | None = None,
        coefficients: Mapping[str, CoefficientCommand] | None = None,
        resumed: frozenset[str] = frozenset(),
        latest_t_s: float = -math.inf,
        frozen: Callable[[str], str] = lambda _cryostat: "",
        on_progress: Callable[[str, int, int], None] = lambda _device, _sent, _total: None,
    ) -> None:
        self._plan = plan
        self._drivers = drivers
        self._store = store
        self._clock = clock
        self._latest_t_s = latest_t_s
        self._epoch_s: float | None = None
        self._leases = leases
        self._note = note
        self._lab = lab
        self._calibrations = calibrations or {}
        self._coefficients = CoefficientHands(leases, coefficients or {}, self._now_s)
        self._resumed = set(resumed)
        self._frozen = frozen
        self._on_progress = on_progress

    async def do(self, command: c.Command) -> e.Event:
        """See `Hands.do`."""
        name = command.device
        planned, driver = self._plan.devices[name], self._driver(name)
        match command:
            case c.CheckDevice():
                return await self._check(planned, driver)
            case c.UploadImage():
                return await self._upload(command, planned, driver)
            case c.TestImage():
                return await self._test(command, planned, driver)
            case c.ConfirmImage():
                return await self._confirm(command, driver)
            case c.RollBackDevice():
                return await self._roll_back(command, planned, driver)
            case c.SafeDevice():
                return await self._make_safe(name, driver)
            case c.CalibrateDevice():
                return await self._calibrate(command, planned, driver)
            case (
                c.ReadCoefficients()
                | c.ApplyCoefficients()
                | c.SaveCoefficients()
                | c.RestoreCoefficients()
            ):
                return await self._coefficients.do(command, driver, self._finder(planned))
            case _:
                msg = f"no hands for {command}"
                raise AssertionError(msg)

    async def heartbeat(self, device: str) -> Heartbeat | HeartbeatMissed:
        """See `Hands.heartbeat`."""
        driver = self._driver(device)
        before = driver.counts.retries
        planned = self._plan.devices[device]
        # A port that is gone may take long to come back; the beat is missed long before.
        patience_s = max(
            planned.evidence.heartbeat_every_s, 2 * planned.connection.request_timeout_s
        )
        try:
            async with asyncio.timeout(patience_s):
                # First the beat: recovery answers it in its way, and knows no lease.
                beat = await driver.heartbeat()
                await self._leases.keep(device)
        except TimeoutError:
            why = f"no answer within {patience_s:g} s"
            return HeartbeatMissed(self._now_s(), why, driver.counts.retries - before)
        except InRecovery:
            return Heartbeat(self._now_s(), "", recovery=True)
        except CryofwError as error:
            return HeartbeatMissed(self._now_s(), error.what, driver.counts.retries - before)
        if not beat.active_hash:
            why = "it does not tell which image it runs"
            return HeartbeatMissed(self._now_s(), why, driver.counts.retries - before)
        return Heartbeat(
            self._now_s(),
            beat.active_hash,
            beat.boot_id,
            beat.up_ms,
            beat.reset_cause,
            retries=driver.counts.retries - before,
        )

    async def metrics(self, device: str) -> MetricSample:
        """See `Hands.metrics`."""
        planned = self._plan.devices[device]
        names = [m.name for m in planned.evidence.metrics if m.name not in planned.sources]
        if not names:
            return MetricSample(self._now_s())
        try:
            reading = await self._driver(device).metrics(names)
        except CryofwError as error:
            gaps = dict.fromkeys(names, f"unavailable: {error.what}")
            return MetricSample(self._now_s(), gaps=gaps)
        broken = dict.fromkeys(reading.not_numbers, math.nan)
        gaps = dict.fromkeys(names, "stale: the device's own time stands still")
        if reading.fresh:
            gaps = dict.fromkeys(reading.missing, "missing: the device has no such metric")
            gaps |= dict.fromkeys(broken, "invalid: the device gives no number")
        return MetricSample(self._now_s(), {**reading.values, **broken}, reading.t_ms, gaps=gaps)

    async def lab_metrics(self, device: str) -> MetricSample | None:
        """See `Hands.lab_metrics`."""
        if self._lab is None or not self._plan.devices[device].sources:
            return None
        return await self._lab.sample(device)

    async def let_go(self, device: str, *, release: bool) -> None:
        """See `Hands.let_go`."""
        if release:
            await self._leases.release(device)
        await self._drivers[device].close()

    def log_lines(self, device: str) -> tuple[DeviceLogLine, ...]:
        """The last lines that a device printed."""
        return self._drivers[device].log_lines

    def _driver(self, device: str) -> DeviceDriver:
        """Its driver; at first it keeps quiet towards a device that may be booting."""
        driver = self._drivers[device]
        if device in self._resumed:
            self._resumed.discard(device)
            driver.expect_boot()
        return driver

    async def _check(self, planned: PlannedDevice, driver: DeviceDriver) -> e.Event:
        name = planned.name
        try:
            report = await driver.check(self._plan.release.size)
        except _NO_ANSWER as error:
            return e.DeviceUnreachable(name, str(error), hint=error.hint)
        except CryofwError as error:
            return e.DeviceRefused(name, str(error), error.hint)
        seen = report.observation
        running = seen.active_hash or ""
        if not running:
            return e.DeviceRefused(name, "it does not tell which image it runs", "see its log")
        if another := wrong_serial(report.identity.serial_number, planned.serial):
            hint = f"was it replaced? `cryofw adopt {name} --replace --why TEXT`"
            return e.DeviceRefused(name, another[0], hint)
        skipped = running == self._plan.release.hash and seen.settled
        torn = await self._coefficients.problem(planned, driver, running if skipped else "")
        if skipped and not torn:
            return e.DeviceSkipped(name, running)
        problems = [*report.problems, *filter(None, [torn])]
        lease = report.lease
        if lease is not None and lease.alive and lease.rollout != self._plan.rollout:
            problems.append(f"{lease.owner} holds its lease for rollout {lease.rollout}")
        if report.overwrites is not None and report.overwrites != planned.connection.overwrites:
            does = "overwrites" if report.overwrites else "swaps"
            problems.append(f"its bootloader {does}, the plan was made for one that does not")
        if running != planned.running_hash:
            problems.append(f"it runs {running[:12]}, the plan was made for another image")
        if problems:
            return e.DeviceRefused(name, "; ".join(problems), "see to it, then make a new plan")
        version = seen.active.version if seen.active else ""
        identity = report.identity
        return e.DeviceChecked(name, running, version, identity.hw, identity.board, seen.boot_id)

    async def _upload(
        self, command: c.UploadImage, planned: PlannedDevice, driver: DeviceDriver
    ) -> e.Event:
        name, in_slot = planned.name, self._plan.release.slot_hash

        def progress(sent: int, total: int) -> None:
            self._on_progress(name, sent, total)
            if sent < total and self._frozen(planned.cryostat):
                raise _FrozenMeanwhile

        try:
            data = self._store.load(in_slot)
            async with self._leases.hold(name, driver.escape_recovery):
                report = await driver.upload(data, in_slot, progress)
        except _FrozenMeanwhile:
            return ce.UploadInterrupted(name, self._frozen(planned.cryostat))
        except _NO_ANSWER as error:
            return e.DeviceUnreachable(name, str(error), sent=True, hint=error.hint)
        except (WrongDevice, LeaseRefused) as error:
            return e.DeviceRefused(name, str(error), error.hint)
        except CryofwError as error:
            return e.UploadFailed(name, str(error))
        return e.ImageUploaded(
            name,
            command.hash,
            report.bytes_sent,
            report.resumed_at or 0,
            report.retries,
            round(report.duration_s, 3),
            self._plan.release.uploaded_hash,
        )

    async def _test(
        self, command: c.TestImage, planned: PlannedDevice, driver: DeviceDriver
    ) -> e.Event:
        try:
            async with self._leases.hold(planned.name, self._finder(planned)):
                cycle = self._cycle(planned)
                in_slot = self._plan.release.slot_hash
                return await run_trial(command, in_slot, planned, driver, cycle, self._now_s)
        except CryofwError as error:
            return e.DeviceStuck(planned.name, f"the test request failed: {error}", error.hint)

    async def _confirm(self, command: c.ConfirmImage, driver: DeviceDriver) -> e.Event:
        name = command.device
        try:
            seen = await driver.confirm(command.hash, command.boot)
        except CryofwError as error:
            return e.ConfirmRefused(name, str(error))
        await self._leases.release(name)
        return e.ImageConfirmed(name, command.hash, seen.boot_id)

    async def _roll_back(
        self, command: c.RollBackDevice, planned: PlannedDevice, driver: DeviceDriver
    ) -> e.Event:
        data = None
        if planned.last_good is not None:
            # Without the file the other slot may still hold the image.
            with contextlib.suppress(VerificationFailed):
                data = self._store.load_way_back(planned.last_good.hash)
        try:
            async with self._leases.hold(planned.name, self._finder(planned)):
                how = await bring_back(command.hash, driver, data)
                await self._coefficients.bring_back(driver, command.coefficients, command.hash)
        except CryofwError as error:
            hint = error.hint or f"read `cryofw audit show --device {planned.name}`"
            return e.DeviceStuck(planned.name, f"it could not be rolled back: {error}", hint)
        how += ", with its old coefficients" if command.coefficients else ""
        return e.DeviceRolledBack(planned.name, command.hash, how)

    async def _make_safe(self, name: str, driver: DeviceDriver) -> e.Event:
        try:
            await driver.safe()
        except CryofwError as error:
            return ce.DeviceNotSafe(name, str(error))
        return ce.DeviceMadeSafe(name)

    async def _calibrate(
        self, command: c.CalibrateDevice, planned: PlannedDevice, driver: DeviceDriver
    ) -> e.Event:
        name, how = planned.name, planned.recalibration
        try:
            async with self._leases.hold(name, driver.observe):
                if how.device or command.asleep:
                    await driver.calibrate(timeout_s=how.timeout_s)
                if name in self._calibrations:
                    await self._calibrations[name].calibrate()
        except CryofwError as error:
            return ce.CalibrationFailed(name, str(error))
        return ce.DeviceCalibrated(name, self._now_s())

    def _finder(self, planned: PlannedDevice) -> Find:
        """Finds one device, cycling its power if it is silent."""

        async def find() -> None:
            await find_device(self._drivers[planned.name], self._cycle(planned))

        return find

    def _cycle(self, planned: PlannedDevice) -> Cycle:
        """The power cycle of one device, written down before it happens."""

        async def cycle() -> None:
            siblings = planned.connection.shared_by
            if planned.connection.restarts_from_outside:
                self._note(e.PowerCycleRequested(planned.name, siblings))
            try:
                await self._drivers[planned.name].power_cycle()
            finally:
                for sibling in siblings:
                    if sibling in self._drivers:
                        self._drivers[sibling].expect_boot()
                if planned.connection.restarts_from_outside:
                    self._note(e.PowerCycled(planned.name, siblings))

        return cycle

    def _now_s(self) -> float:
        """Seconds since 1970 as the clock had it at first, plus the time that has passed since."""
        if self._epoch_s is None:
            begun_s = max(self._clock.now().timestamp(), self._latest_t_s)
            self._epoch_s = begun_s - self._clock.monotonic()
        return round(self._epoch_s + self._clock.monotonic(), 6)
