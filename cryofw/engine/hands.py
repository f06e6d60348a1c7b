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
from cryofw.engine.rescue import bring_back, find_device, run_trial
from cryofw.errors import CryofwError
from cryofw.health import Heartbeat, HeartbeatMissed, MetricSample
from cryofw.rollout import DeviceState
from cryofw.rollout import commands as c
from cryofw.rollout import events as e

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from cryofw.clock import Clock
    from cryofw.device import DeviceDriver
    from cryofw.release import ImageStore
    from cryofw.rollout import Plan, PlannedDevice

_NO_ANSWER = (DeviceSilent, DeviceUnreachable)


class DeviceHands:
    """Hands on the devices of one plan.

    Args:
        plan: what is rolled out.
        drivers: device name to its driver.
        store: the images, verified each time they are loaded.
        clock: the time of readings.
        owner: who holds the leases.
        token: fencing token of this run; newer runs have larger ones.
        resumed: devices that an earlier process may have reset a moment ago.
        on_trial: devices in a test boot whose lease an earlier process held.
        on_progress: called with device, bytes the device has, and bytes in all.
    """

    def __init__(
        self,
        plan: Plan,
        drivers: Mapping[str, DeviceDriver],
        store: ImageStore,
        clock: Clock,
        *,
        owner: str,
        token: int,
        resumed: frozenset[str] = frozenset(),
        on_trial: frozenset[str] = frozenset(),
        on_progress: Callable[[str, int, int], None] = lambda _device, _sent, _total: None,
    ) -> None:
        self._plan = plan
        self._drivers = drivers
        self._store = store
        self._clock = clock
        self._owner = owner
        self._token = token
        self._resumed = set(resumed)
        self._lease_wanted = set(on_trial)
        self._on_progress = on_progress
        self._leased_at_s: dict[str, float] = {}
        self._tokens: dict[str, int] = {}

    async def do(self, command: c.Command) -> e.Event:
        """See `Hands.do`."""
        name = command.device
        planned, driver = self._plan.devices[name], self._drivers[name]
        if name in self._resumed:
            self._resumed.discard(name)
            driver.expect_boot()
        match command:
            case c.CheckDevice():
                return await self._check(planned, driver)
            case c.UploadImage():
                return await self._upload(command, planned, driver)
            case c.TestImage():
                async with self._lease(planned, driver):
                    return await run_trial(command, planned, driver, self._now_s)
            case c.ConfirmImage():
                return await self._confirm(command, driver)
            case c.RollBackDevice():
                return await self._roll_back(command, planned, driver)
            case _:
                msg = f"no hands for {command}"
                raise AssertionError(msg)

    async def heartbeat(self, device: str) -> Heartbeat | HeartbeatMissed:
        """See `Hands.heartbeat`."""
        planned, driver = self._plan.devices[device], self._drivers[device]
        before = driver.counts.retries
        try:
            if device in self._lease_wanted:
                await self._take_lease(planned, driver)
            await self._renew_if_due(planned, driver)
            beat = await driver.heartbeat()
        except InRecovery:
            return Heartbeat(self._now_s(), "", recovery=True)
        except CryofwError as error:
            return HeartbeatMissed(self._now_s(), error.what, driver.counts.retries - before)
        return Heartbeat(
            self._now_s(),
            beat.active_hash or "",
            beat.boot_id,
            beat.up_ms,
            beat.reset_cause,
            retries=driver.counts.retries - before,
        )

    async def metrics(self, device: str) -> MetricSample:
        """See `Hands.metrics`."""
        names = [metric.name for metric in self._plan.devices[device].evidence.metrics]
        try:
            reading = await self._drivers[device].metrics(names)
        except CryofwError:
            return MetricSample(self._now_s())
        missing = dict.fromkeys(reading.not_numbers, math.nan)
        return MetricSample(self._now_s(), {**reading.values, **missing}, reading.t_ms)

    async def let_go(self, device: str, state: DeviceState) -> None:
        """See `Hands.let_go`."""
        driver = self._drivers[device]
        if state not in (DeviceState.WATCHED, DeviceState.HELD):
            await self._release(device)
        await driver.close()

    async def _release(self, device: str) -> None:
        """Nothing depends on the lease any more; one that cannot be released runs out."""
        if self._leased_at_s.pop(device, None) is not None:
            token = self._tokens[device]
            with contextlib.suppress(CryofwError):
                await self._drivers[device].release_lease(self._owner, self._plan.rollout, token)

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
        if running == self._plan.release.hash and seen.settled:
            return e.DeviceSkipped(name, running)
        problems = list(report.problems)
        lease = report.lease
        if lease is not None and lease.alive and lease.rollout != self._plan.rollout:
            problems.append(f"{lease.owner} holds its lease for rollout {lease.rollout}")
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
        name = planned.name
        data = self._store.load(command.hash)
        try:
            async with self._lease(planned, driver):
                report = await driver.upload(
                    data, command.hash, lambda sent, total: self._on_progress(name, sent, total)
                )
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
        )

    async def _confirm(self, command: c.ConfirmImage, driver: DeviceDriver) -> e.Event:
        name = command.device
        try:
            seen = await driver.confirm(command.hash, command.boot)
        except CryofwError as error:
            return e.ConfirmRefused(name, str(error))
        await self._release(name)
        return e.ImageConfirmed(name, command.hash, seen.boot_id)

    async def _roll_back(
        self, command: c.RollBackDevice, planned: PlannedDevice, driver: DeviceDriver
    ) -> e.Event:
        data = None
        if planned.last_good is not None:
            data = self._store.load(planned.last_good.hash)
        try:
            await find_device(driver)
            async with self._lease(planned, driver):
                how = await bring_back(command.hash, driver, data)
        except CryofwError as error:
            hint = error.hint or f"read `cryofw audit show --device {planned.name}`"
            return e.DeviceStuck(planned.name, f"it could not be rolled back: {error}", hint)
        return e.DeviceRolledBack(planned.name, command.hash, how)

    @contextlib.asynccontextmanager
    async def _lease(self, planned: PlannedDevice, driver: DeviceDriver) -> AsyncIterator[None]:
        """Hold the device's lease, and renew it as long as the work in it takes."""
        await self._take_lease(planned, driver)
        keeper = asyncio.create_task(self._keep(planned, driver))
        try:
            yield
        finally:
            keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeper

    async def _take_lease(self, planned: PlannedDevice, driver: DeviceDriver) -> None:
        held = await driver.read_lease()
        self._lease_wanted.discard(planned.name)
        if held is None:
            return  # no group 64: such a device is driven by the one host that owns its port
        # Other journals may have shown it larger tokens; they are over, or `take_lease` refuses.
        token = self._tokens[planned.name] = max(self._token, held.token + 1)
        ttl_s = int(planned.lease_ttl_s)
        await driver.take_lease(self._owner, self._plan.rollout, token, ttl_s)
        self._leased_at_s[planned.name] = self._clock.monotonic()

    async def _keep(self, planned: PlannedDevice, driver: DeviceDriver) -> None:
        while True:
            await self._clock.sleep(planned.lease_ttl_s / 6)
            # While it boots it cannot answer; the work itself finds out what is wrong.
            with contextlib.suppress(CryofwError):
                await self._renew_if_due(planned, driver)

    async def _renew_if_due(self, planned: PlannedDevice, driver: DeviceDriver) -> None:
        """Renew after a third of the time to live, so that two renewals may be lost."""
        leased_at_s = self._leased_at_s.get(planned.name)
        if leased_at_s is None:
            return
        now_s = self._clock.monotonic()
        if now_s - leased_at_s < planned.lease_ttl_s / 3:
            return
        ttl_s = int(planned.lease_ttl_s)
        token = self._tokens[planned.name]
        await driver.renew_lease(self._owner, self._plan.rollout, token, ttl_s)
        self._leased_at_s[planned.name] = now_s

    def _now_s(self) -> float:
        return self._clock.now().timestamp()
