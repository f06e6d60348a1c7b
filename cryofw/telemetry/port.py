"""The ports of this room: what the engine reads from, whatever is behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.fleet import Cryostat, FromCommand, FromPrometheus
    from cryofw.telemetry.reading import (
        BudgetReading,
        CryostatReading,
        ExperimentLease,
        MetricReadings,
    )


class MetricSource(Protocol):
    """Reads the metrics of a controller that do not come from the controller itself."""

    async def sample(
        self, controller: str, sources: Mapping[str, FromPrometheus | FromCommand]
    ) -> MetricReadings:
        """Its metrics now, by name and source; a source that fails shows in the readings.

        Never raises.
        """


class CryostatSource(Protocol):
    """Reads what the guards of a cryostat need."""

    async def read(self, cryostat: Cryostat) -> CryostatReading:
        """Its state now. Never raises: a source that fails shows in the reading."""


class BudgetSource(Protocol):
    """Reads the error budgets of the fleet."""

    async def read(self) -> tuple[BudgetReading, ...]:
        """All of them, in the file's order. Never raises."""


class SimulatedReadings(Protocol):
    """What stands for all sources in virtual time: the simulated lab.

    None means that the lab has no such reading: it counts as missing.
    """

    def temperature_k(self, cryostat: str) -> float | None:
        """Temperature of the stage that the controllers of `cryostat` sit on."""

    def fridge_state(self, cryostat: str) -> str | None:
        """State of the fridge, in the words of `base_stable`."""

    def experiment(self, cryostat: str) -> ExperimentLease | None:
        """The lease on `cryostat`; a free one where nobody holds it."""

    def metrics(self, controller: str) -> Mapping[str, float]:
        """Metrics that other sources would measure, by the names of fleet.yaml."""

    def error_budget(self, name: str) -> float | None:
        """Value of the error budget `name`."""
