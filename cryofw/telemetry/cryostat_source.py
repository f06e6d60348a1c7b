"""What the guards of a cryostat read."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from cryofw.fleet import FromCommand, FromPrometheus
from cryofw.telemetry.reading import CryostatReading, Freshness, Observed, lab_reading

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cryofw.clock import Clock
    from cryofw.fleet import Cryostat, Source
    from cryofw.telemetry.port import SimulatedReadings
    from cryofw.telemetry.source import SourceReader

T = TypeVar("T")


class GuardReader:
    """The `CryostatSource` of fleet.yaml.

    Args:
        reader: the real sources; None in virtual time, where the lab answers for all of them.
        clock: whose time readings carry.
        lab: answers for `source: simulated`; None: such a reading is missing.
    """

    def __init__(
        self, reader: SourceReader | None, clock: Clock, lab: SimulatedReadings | None
    ) -> None:
        self._reader = reader
        self._clock = clock
        self._lab = lab

    async def read(self, cryostat: Cryostat) -> CryostatReading:
        """See `CryostatSource.read`."""
        guards, name = cryostat.guards, cryostat.name
        label = guards.fridge.label if guards.fridge else None
        began_s = self._clock.now().timestamp()
        temperature, fridge, experiment = await asyncio.gather(
            self._read(
                guards.temperature.source if guards.temperature else None,
                lambda reader, source: reader.number(source),
                lambda lab: lab.temperature_k(name),
            ),
            self._read(
                guards.fridge.source if guards.fridge else None,
                lambda reader, source: reader.state(source, label),
                lambda lab: lab.fridge_state(name),
            ),
            self._read(
                guards.experiment.source if guards.experiment else None,
                lambda reader, source: reader.lease(source),
                lambda lab: lab.experiment(name),
            ),
        )
        if temperature is not None and temperature.fresh is not None and temperature.fresh <= 0:
            # What a sensor reads whose cable broke.
            why = f"{temperature.fresh:g} K is no temperature"
            temperature = replace(temperature, freshness=Freshness.INVALID, why=why)
        return CryostatReading(began_s, name, temperature, fridge, experiment)

    async def _read(
        self,
        source: Source | None,
        ask: Callable[[SourceReader, FromPrometheus | FromCommand], Awaitable[Observed[T]]],
        look: Callable[[SimulatedReadings], T | None],
    ) -> Observed[T] | None:
        if source is None:
            return None
        if self._reader is not None and isinstance(source, FromPrometheus | FromCommand):
            return await ask(self._reader, source)
        value = None if self._lab is None else look(self._lab)
        return lab_reading(value, self._clock.now().timestamp())
