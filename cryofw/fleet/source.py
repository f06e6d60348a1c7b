"""Where readings come from, guards and error budgets, as the rooms above use them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

STALE_S = 60.0
COMMAND_TIMEOUT_S = 10.0
CALIBRATION_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class FromDevice:
    """Read from the controller itself, over SMP group 64."""

    kind: str = "device"


@dataclass(frozen=True)
class FromPrometheus:
    """The one series that `query` gives; a sample older than `stale_s` counts as none."""

    query: str
    stale_s: float = STALE_S
    kind: str = "prometheus"


@dataclass(frozen=True)
class FromCommand:
    """The JSON that a command prints; ended after `timeout_s`."""

    run: tuple[str, ...]
    stale_s: float = STALE_S
    timeout_s: float = COMMAND_TIMEOUT_S
    kind: str = "command"


@dataclass(frozen=True)
class FromSimulation:
    """What the simulated lab behind `sim://` ports says."""

    kind: str = "simulated"


Source: TypeAlias = FromDevice | FromPrometheus | FromCommand | FromSimulation


@dataclass(frozen=True)
class TemperatureGuard:
    """Interlock on the temperature of the stage; None means: no such limit.

    `slope_k_per_s` is an absolute rate of change, measured over `over_s`.
    """

    source: Source
    limit_k: float | None = None
    hard_limit_k: float | None = None
    slope_k_per_s: float | None = None
    over_s: float = 120.0
    every_s: float = 10.0


@dataclass(frozen=True)
class FridgeGuard:
    """Gate on the state of the fridge: only a state in `base_stable` lets through.

    `label` names the label that holds the state in a state set; None: the value is the state.
    """

    source: Source
    base_stable: tuple[str, ...]
    label: str | None = None


@dataclass(frozen=True)
class ExperimentGuard:
    """Gate on the lease that an experiment holds on the cryostat."""

    source: Source


@dataclass(frozen=True)
class Guards:
    """The guards of one cryostat; None: no such guard."""

    temperature: TemperatureGuard | None = None
    fridge: FridgeGuard | None = None
    experiment: ExperimentGuard | None = None


@dataclass(frozen=True)
class Prometheus:
    """The server to ask. `token_env` names an environment variable, never the token itself."""

    url: str
    token_env: str | None = None
    ca: str | None = None
    timeout_s: float = 10.0
    stale_s: float = STALE_S


@dataclass(frozen=True)
class ErrorBudget:
    """Kept while the value of `query` is at least, or at most, a bound; one of them is None."""

    name: str
    query: str
    at_least: float | None = None
    at_most: float | None = None

    def keeps(self, value: float) -> bool:
        """Whether `value` is within the budget; NaN never is."""
        if self.at_least is not None:
            return value >= self.at_least
        return self.at_most is not None and value <= self.at_most


class CalibrationTest(StrEnum):
    """Which always-valid test judges calibration."""

    RANK = "rank"
    T_MIXTURE = "t-mixture"


@dataclass(frozen=True)
class Recalibration:
    """What calibrates a controller before it is judged; neither device nor command: nothing.

    One that takes longer than `timeout_s` has failed.
    """

    device: bool = False
    command: tuple[str, ...] | None = None
    timeout_s: float = CALIBRATION_TIMEOUT_S

    @property
    def is_asked(self) -> bool:
        """Whether anything calibrates it."""
        return self.device or self.command is not None
