"""A fleet as the rooms above use it: frozen, complete, in base units (s, W, K, bytes)."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from cryofw.fleet.source import CalibrationTest, FromDevice, Guards, Recalibration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.fleet.source import ErrorBudget, Prometheus, Source
    from cryofw.fleet.window import Window
    from cryofw.image import Compression


class Reach(StrEnum):
    """How far a failure reaches: everything in it is rolled back."""

    DEVICE = "device"
    CRYOSTAT = "cryostat"
    STAGE = "stage"
    ROLLOUT = "rollout"


@dataclass(frozen=True)
class Count:
    """So many controllers of a cryostat."""

    count: int

    def size(self, total: int) -> int:
        """Controllers meant, out of `total`."""
        return min(self.count, total)

    def __str__(self) -> str:
        return str(self.count)


@dataclass(frozen=True)
class Share:
    """A fraction (above 0, at most 1) of the controllers of a cryostat."""

    fraction: float

    def size(self, total: int) -> int:
        """Controllers meant, out of `total`, rounded up."""
        # 0.07 * 100 is 7.000000000000001 in binary: a billionth is not one more controller.
        return min(total, math.ceil(self.fraction * total - 1e-9))

    def __str__(self) -> str:
        return f"{self.fraction * 100:g} %"


Wave: TypeAlias = Count | Share
EVERYTHING = Share(1.0)


@dataclass(frozen=True)
class HeartbeatRule:
    """A heartbeat is expected every `every_s`, answered within `timeout_s`."""

    every_s: float = 2.0
    timeout_s: float = 2.0
    misses_allowed: int = 4


@dataclass(frozen=True)
class ResetPath:
    """How a hung controller is restarted; none of the three means: not at all.

    `shared_by` names the other controllers that the hook restarts too, `lines` are steps on DTR
    and RTS of its own port.
    """

    watchdog: bool = False
    hook: tuple[str, ...] | None = None
    shared_by: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()

    @property
    def exists(self) -> bool:
        """Whether a hung controller can be restarted at all."""
        return self.watchdog or self.from_outside

    @property
    def from_outside(self) -> bool:
        """Whether something else than the controller itself restarts it."""
        return self.hook is not None or bool(self.lines)


@dataclass(frozen=True)
class Thermal:
    """Heat budget of the temperature stage that the controllers of a cryostat sit on."""

    stage: str
    capacity_w: float
    headroom: float
    flash_w: float
    max_rise_k: float

    @property
    def flashes_at_once(self) -> int:
        """Controllers that may flash together within the budget, other loads aside."""
        return int(self.capacity_w * self.headroom / self.flash_w + 1e-9)


@dataclass(frozen=True)
class Metric:
    """One calibration figure; `margin`, `reject`, `limit` and `golden` are in `unit`.

    `worse` is "lower" or "higher". Worse by `margin` is still as good; worse by `reject` must be
    found; `limit` is absolute; `golden` is a baseline that does not move with the releases.
    """

    unit: str
    worse: str
    margin: float
    reject: float
    limit: float | None = None
    golden: float | None = None
    source: Source = field(default_factory=FromDevice)


@dataclass(frozen=True)
class CalibrationContract:
    """The evidence an update must give; `false_rollback` is one budget for the whole rollout.

    For `settle_s` after the boot nothing is judged. A held controller is rolled back after
    `hold_s`; None: after its stage's deadline.
    """

    false_rollback: float = 0.01
    every_s: float = 30.0
    min_samples: int = 20
    baseline_samples: int = 20
    metrics: Mapping[str, Metric] = field(default_factory=dict, hash=False)
    test: CalibrationTest = CalibrationTest.RANK
    settle_s: float = 0.0
    recalibration: Recalibration = field(default_factory=Recalibration)
    hold_s: float | None = None


@dataclass(frozen=True)
class Retries:
    """A request without an answer is repeated `count` times, first after `backoff_s`."""

    count: int = 3
    backoff_s: float = 1.0


@dataclass(frozen=True)
class BootloaderSetting:
    """What fleet.yaml says of a bootloader.

    Attributes:
        overwrites: it copies over the running image, without a test boot; None: not said.
        compressed: what it unpacks; None: nothing.
    """

    overwrites: bool | None = None
    compressed: Compression | None = None


@dataclass(frozen=True)
class Controller:
    """One controller. `hw` is its hardware id as lower-case hex; `port` a device path or URL.

    `coefficient_command` writes its calibration coefficients; None: its SMP settings group.
    """

    name: str
    cryostat: str
    port: str
    baud: int = 115_200
    hw: str | None = None
    board: str = ""
    heartbeat: HeartbeatRule = HeartbeatRule()
    reset: ResetPath = ResetPath()
    calibration: CalibrationContract = CalibrationContract()
    retries: Retries = Retries()
    owner: str | None = None
    slot_size: int | None = None
    framing: str = "auto"
    boot_time_s: float = 5.0
    coefficient_command: tuple[str, ...] | None = None
    bootloader: BootloaderSetting = BootloaderSetting()

    @property
    def is_simulated(self) -> bool:
        """Whether the port is `sim://`."""
        return self.port.startswith("sim://")


@dataclass(frozen=True)
class Cryostat:
    """One cryostat (or rig) with its controllers, in the file's order."""

    name: str
    thermal: Thermal
    controllers: tuple[Controller, ...]
    guards: Guards = field(default_factory=Guards)


@dataclass(frozen=True)
class Stage:
    """One stage of every rollout; `waves` are cumulative per cryostat and end at everything.

    `deadline_s`: a controller held longer than this is rolled back. `cryostats_at_once` None: all.
    """

    name: str
    targets: tuple[str, ...]
    soak_s: float
    then_approve: bool = False
    cryostats_at_once: int | None = None
    waves: tuple[Wave, ...] = (EVERYTHING,)
    on_failure: Reach = Reach.STAGE
    min_reachable: float = 0.5
    deadline_s: float = 0.0
    window: Window | None = None

    def wave_sizes(self, total: int) -> tuple[int, ...]:
        """How many of `total` controllers of a cryostat are updated after each wave."""
        return tuple(wave.size(total) for wave in self.waves)


@dataclass(frozen=True)
class SimulatedMetric:
    """What a healthy simulated controller reports: `nominal`, with noise of this deviation.

    `correlation_s` is the time after which the noise has forgotten itself to 1/e.
    """

    nominal: float
    noise: float
    correlation_s: float = 10.0


@dataclass(frozen=True)
class Simulation:
    """The simulated lab behind `sim://` ports; `coefficients` are its settings when delivered."""

    seed: int = 1
    metrics: Mapping[str, SimulatedMetric] = field(default_factory=dict, hash=False)
    coefficients: Mapping[str, float] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Fleet:
    """A lab: its cryostats by name, and the stages of every rollout."""

    lab: str
    board: str
    stages: tuple[Stage, ...]
    cryostats: Mapping[str, Cryostat] = field(hash=False)
    simulation: Simulation = Simulation()
    source_path: str = ""
    prometheus: Prometheus | None = None
    error_budgets: tuple[ErrorBudget, ...] = ()

    @cached_property
    def controllers(self) -> tuple[Controller, ...]:
        """Every controller, by cryostat, in the file's order."""
        return tuple(
            controller
            for cryostat in self.cryostats.values()
            for controller in cryostat.controllers
        )

    @cached_property
    def by_name(self) -> Mapping[str, Controller]:
        """Every controller by its name."""
        return {one.name: one for one in self.controllers}

    def stage_controllers(self, stage: Stage) -> tuple[Controller, ...]:
        """The controllers of a stage, by target, in order."""
        return tuple(
            controller
            for target in stage.targets
            for controller in self.cryostats[target].controllers
        )

    @property
    def is_simulated(self) -> bool:
        """Whether every port is `sim://`, so that virtual time may run."""
        return all(controller.is_simulated for controller in self.controllers)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the resolved fleet: comments, layout and `defaults` do not count."""
        resolved = asdict(self)
        del resolved["source_path"]
        canonical = json.dumps(resolved, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()
