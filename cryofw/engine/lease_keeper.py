"""The leases that a run holds: taken before a device is changed, renewed as long as it matters."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, TypeAlias

from cryofw.device import InRecovery
from cryofw.errors import CryofwError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from cryofw.clock import Clock
    from cryofw.device import DeviceDriver
    from cryofw.rollout import Plan


_TRIES = 3

Find: TypeAlias = "Callable[[], Awaitable[object]]"
"""Sees the application of the device at hand; raises if it cannot be found."""


class LeaseKeeper:
    """The leases of one run on the devices of one plan.

    A device without group 64 has no lease; it is driven by the one host that owns its port.

    Args:
        plan: whose devices, under which rollout and for how long.
        drivers: device name to its driver.
        clock: when a renewal is due.
        owner: who holds the leases.
        token: fencing token of this run; newer runs have larger ones.
        on_trial: devices in a test boot whose lease an earlier process held.
    """

    def __init__(
        self,
        plan: Plan,
        drivers: Mapping[str, DeviceDriver],
        clock: Clock,
        *,
        owner: str,
        token: int,
        on_trial: frozenset[str] = frozenset(),
    ) -> None:
        self._plan = plan
        self._drivers = drivers
        self._clock = clock
        self._owner = owner
        self._token = token
        self._wanted = set(on_trial)
        self._held_since_s: dict[str, float] = {}
        self._tokens: dict[str, int] = {}

    @contextlib.asynccontextmanager
    async def hold(self, device: str, find: Find) -> AsyncIterator[None]:
        """Find the device, take its lease, and renew it as long as the work inside takes.

        Raises:
            LeaseRefused: another living owner holds it.
            InRecovery: it came up in serial recovery again and again.
            What `find` raises when the application cannot be found.
        """
        for tries_left in reversed(range(_TRIES)):
            await find()
            try:
                await self._take(device)
                break
            except InRecovery:  # it booted after it was found
                if not tries_left:
                    raise
        keeper = asyncio.create_task(self._keep_on(device))
        try:
            yield
        finally:
            keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeper

    async def keep(self, device: str) -> None:
        """Beside a heartbeat: renew a lease that is due; take over an earlier process's.

        Raises:
            LeaseRefused: someone else has it now.
            DeviceSilent, DeviceUnreachable: no answer.
        """
        if device in self._wanted:
            await self._take(device)
        await self._renew_if_due(device)

    async def release(self, device: str) -> None:
        """Nothing depends on the lease any more; one that cannot be released runs out."""
        if self._held_since_s.pop(device, None) is not None:
            token = self._tokens[device]
            with contextlib.suppress(CryofwError):
                await self._drivers[device].release_lease(self._owner, self._plan.rollout, token)

    async def _take(self, device: str) -> None:
        driver = self._drivers[device]
        held = await driver.read_lease()
        self._wanted.discard(device)
        if held is None:
            return
        # Other journals may have shown it larger tokens: nobody goes on under one that is over.
        # A living lease under a larger one is a newer run's, and taking it is refused.
        own = max(self._token, self._tokens.get(device, 0))
        token = own if held.alive else max(own, held.token + 1)
        self._tokens[device] = token
        await driver.take_lease(self._owner, self._plan.rollout, token, self._ttl_s(device))
        self._held_since_s[device] = self._clock.monotonic()

    async def _keep_on(self, device: str) -> None:
        while True:
            await self._clock.sleep(self._ttl_s(device) / 6)
            # While it boots it cannot answer; the work itself finds out what is wrong.
            with contextlib.suppress(CryofwError):
                await self._renew_if_due(device)

    async def _renew_if_due(self, device: str) -> None:
        """Renew after a third of the time to live, so that two renewals may be lost."""
        since_s = self._held_since_s.get(device)
        now_s = self._clock.monotonic()
        if since_s is None or now_s - since_s < self._ttl_s(device) / 3:
            return
        token = self._tokens[device]
        await self._drivers[device].renew_lease(
            self._owner, self._plan.rollout, token, self._ttl_s(device)
        )
        self._held_since_s[device] = now_s

    def _ttl_s(self, device: str) -> int:
        return int(self._plan.devices[device].lease_ttl_s)
