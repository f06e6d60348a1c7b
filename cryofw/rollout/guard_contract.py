"""What a plan freezes about the guards of a cryostat: where they read, and what they let through.

Rules of the field behind it: admit flashes by the heat they bring, freeze rather than flash on a
warm-up (a rollback is a heat load too), flash only while the fridge is base-stable, tell stale
readings from healthy ones, and leave a cryostat to the experiment that holds its lease.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PlannedSource:
    """Where a guard or a metric of the lab reads; `kind`: prometheus, command or simulated.

    Attributes:
        query: PromQL, for prometheus.
        run: argv, for a command.
        stale_s: an older reading does not count.
        timeout_s: after which the command is ended.
    """

    kind: str
    query: str = ""
    run: tuple[str, ...] = ()
    stale_s: float = 60.0
    timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class TemperatureContract:
    """The interlock on the stage that the controllers sit on.

    Attributes:
        max_rise_k: kelvin above the base at which the cryostat freezes.
        limit_k: absolute temperature at which it freezes; None: no such limit.
        hard_limit_k: above it not even a reset that reverts is sent; None: while the cryostat is
            frozen, none is.
        slope_k_per_s: an absolute rate of change above which it freezes; None: no such limit.
        over_s: time over which the slope is measured, and for which all must be calm to thaw.
    """

    source: PlannedSource
    max_rise_k: float
    limit_k: float | None = None
    hard_limit_k: float | None = None
    slope_k_per_s: float | None = None
    over_s: float = 120.0


@dataclass(frozen=True, slots=True)
class FridgeContract:
    """Only a state in `base_stable` lets a flash through; `label` as in fleet.yaml."""

    source: PlannedSource
    base_stable: tuple[str, ...]
    label: str = ""


@dataclass(frozen=True, slots=True)
class CryostatContract:
    """The guards of one cryostat; None means: no such guard.

    Attributes:
        budget_w: heat that cryofw may bring into the stage.
        flash_w: heat of one controller that flashes.
        every_s: planned seconds between two readings.
        experiment: where the experiments' lease on the cryostat is read.
        hold_patience_s: a wave waits so long for a held-out cryostat, then the rollout pauses.
        freeze_patience_s: as long for a frozen one.
    """

    budget_w: float
    flash_w: float
    every_s: float = 10.0
    temperature: TemperatureContract | None = None
    fridge: FridgeContract | None = None
    experiment: PlannedSource | None = None
    hold_patience_s: float = 1800.0
    freeze_patience_s: float = 21600.0
