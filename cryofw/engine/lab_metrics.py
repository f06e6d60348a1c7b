"""What the lab measures of a device, as its plan says: Prometheus, commands, a simulated lab."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cryofw.engine.cryostat_eyes import source_of
from cryofw.fleet import FromCommand, FromPrometheus
from cryofw.health import MetricSample

if TYPE_CHECKING:
    from cryofw.clock import Clock
    from cryofw.rollout import Plan
    from cryofw.telemetry import MetricReadings, MetricSource

_SHARE_OF_PERIOD = 0.8
"""Part of the sampling period that a sample waits for slow sources."""

_GIVE_UP_S = 120.0
"""A source that is silent for so long is asked anew."""

_LONGEST_GAP = 200


class LabMetrics:
    """Asks the lab's sources, each device's on their own; a slow one holds up nobody else.

    Args:
        plan: names the sources of each device.
        source: reads them.
        clock: the time of samples.
    """

    def __init__(self, plan: Plan, source: MetricSource, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._periods_s = {n: d.evidence.sample_every_s for n, d in plan.devices.items()}
        self._sources = {
            device: {
                metric: one
                for metric, planned in contract.sources.items()
                if isinstance(one := source_of(planned), FromPrometheus | FromCommand)
            }
            for device, contract in plan.devices.items()
        }
        self._asked: dict[str, asyncio.Task[MetricReadings]] = {}

    async def sample(self, device: str) -> MetricSample:
        """What the lab says of `device`; without values where it says nothing in time.

        An answer that comes later comes with a later sample: each value has its own time.
        """
        sources, patience_s = self._sources[device], _SHARE_OF_PERIOD * self._periods_s[device]
        if not sources:
            return MetricSample(self._now_s())
        task = self._asked.get(device)
        if task is None:
            task = asyncio.ensure_future(self._ask(device))
            self._asked[device] = task
        done, _ = await asyncio.wait({task}, timeout=patience_s)
        if not done:
            why = f"unavailable: no answer within {patience_s:g} s"
            return MetricSample(self._now_s(), gaps=dict.fromkeys(sources, why))
        del self._asked[device]
        try:
            sample = task.result().sample
        except TimeoutError:
            why = f"unavailable: no answer within {_GIVE_UP_S:g} s"
            return MetricSample(self._now_s(), gaps=dict.fromkeys(sources, why))
        gaps = {name: why[:_LONGEST_GAP] for name, why in sample.gaps.items()}
        return MetricSample(sample.t_s, lab=sample.lab, gaps=gaps)

    async def close(self) -> None:
        """Give up what is asked."""
        asked = [*self._asked.values()]
        self._asked.clear()
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)

    async def _ask(self, device: str) -> MetricReadings:
        async with asyncio.timeout(_GIVE_UP_S):
            return await self._source.sample(device, self._sources[device])

    def _now_s(self) -> float:
        return self._clock.now().timestamp()
