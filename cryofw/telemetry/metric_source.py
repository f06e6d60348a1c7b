"""Metrics of a controller that something else than the controller measures."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from cryofw.fleet import FromCommand, FromPrometheus
from cryofw.telemetry.reading import Freshness, MetricReadings, Observed, lab_reading
from cryofw.telemetry.source import run_command

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.clock import Clock
    from cryofw.fleet import Controller
    from cryofw.telemetry.port import SimulatedReadings
    from cryofw.telemetry.source import SourceReader


def external_metrics(controller: Controller) -> Mapping[str, FromPrometheus | FromCommand]:
    """The metrics of `controller` that do not come from itself, with their sources."""
    return {
        name: metric.source
        for name, metric in controller.calibration.metrics.items()
        if isinstance(metric.source, FromPrometheus | FromCommand)
    }


class MetricReader:
    """The `MetricSource` of fleet.yaml.

    A sample that was read before is no second sample: asking Prometheus more often than it asks
    the exporter gives the same number again, with the same time.

    Args:
        reader: the real sources; None in virtual time, where the lab answers for all of them.
        clock: whose time readings carry.
        lab: the simulated lab; used in virtual time only.
    """

    def __init__(
        self, reader: SourceReader | None, clock: Clock, lab: SimulatedReadings | None
    ) -> None:
        self._reader = reader
        self._clock = clock
        self._lab = lab
        self._seen: dict[tuple[str, str], float] = {}

    async def sample(
        self, controller: str, sources: Mapping[str, FromPrometheus | FromCommand]
    ) -> MetricReadings:
        """See `MetricSource.sample`."""
        now_s = self._clock.now().timestamp()
        if self._reader is None:
            values = self._lab.metrics(controller) if self._lab and sources else {}
            simulated = {name: lab_reading(values.get(name), now_s) for name in sources}
            return MetricReadings(now_s, simulated)
        runs = _SharedRuns()
        readings = await asyncio.gather(
            *(self._reader.number(source, name, run=runs) for name, source in sources.items())
        )
        metrics = {
            name: self._once(controller, name, reading)
            for name, reading in zip(sources, readings, strict=True)
        }
        return MetricReadings(now_s, metrics)

    def _once(self, controller: str, name: str, reading: Observed[float]) -> Observed[float]:
        if reading.freshness is not Freshness.FRESH or reading.stamp_s is None:
            return reading
        key = controller, name
        if reading.stamp_s <= self._seen.get(key, float("-inf")):
            why = "the same sample as before: its source measures less often than we ask"
            return replace(reading, freshness=Freshness.REPEATED, why=why)
        self._seen[key] = reading.stamp_s
        return reading


class _SharedRuns:
    """Runs each command once, however many metrics it measures."""

    def __init__(self) -> None:
        self._tasks: dict[tuple[str, ...], asyncio.Task[object]] = {}

    async def __call__(self, source: FromCommand) -> object:
        if source.run not in self._tasks:
            self._tasks[source.run] = asyncio.ensure_future(run_command(source))
        return await self._tasks[source.run]
