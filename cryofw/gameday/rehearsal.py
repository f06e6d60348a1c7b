"""A user's own fleet, with nothing real behind it: every port, source and hook is simulated."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cryofw.fleet import (
    BootloaderSetting,
    FromDevice,
    FromSimulation,
    Guards,
    ResetPath,
)
from cryofw.simulator import MetricSpec, spec_of_fleet
from cryofw.simulator.climate import BASE_STABLE
from cryofw.smp import Framing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cryofw.fleet import Controller, Cryostat, Fleet, Metric, Stage
    from cryofw.simulator import ControllerSpec, LabSpec, ThermalSpec

_ALWAYS = "policies are set aside: one person of the game approves what waits"
_SWITCH = ("simulated",)
_SPREAD = 3.0
"""Derived noise: so many times of it are the margin, and what lies from there to `reject`."""
_HEADROOM = 4.0
"""Derived nominal: so many times `reject` on the good side of the limit."""
_WARM = 0.8
"""The stage rests at this share of the lowest limit, where 4 K would be above or near it."""


@dataclass(frozen=True)
class Rehearsal:
    """A fleet to play on.

    Attributes:
        fleet: as it was, but all its ports are `sim://` and named after their controllers.
        spec: the devices behind them.
        set_aside: what is not as in the lab, one sentence each.
        no_reset_path: controllers that nothing resets, which the game accepts by name.
    """

    fleet: Fleet
    spec: LabSpec
    set_aside: tuple[str, ...]
    no_reset_path: tuple[str, ...]


def rehearse(fleet: Fleet, *, stages: int | None = None, seed: int = 1) -> Rehearsal:
    """Replace everything real of a fleet.

    Args:
        stages: only the first so many are rolled out; None: all.
        seed: of the noise; 1 is as fleet.yaml says.
    """
    played = replace(
        fleet,
        stages=tuple(replace(one, window=None) for one in fleet.stages[:stages]),
        cryostats={name: _cryostat(one) for name, one in fleet.cryostats.items()},
        simulation=replace(fleet.simulation, seed=fleet.simulation.seed + seed - 1),
        prometheus=None,
        error_budgets=(),
    )
    return Rehearsal(
        played,
        _spec(played),
        tuple(_set_aside(fleet, played.stages)),
        tuple(one.name for one in played.controllers if not one.reset.exists),
    )


def _cryostat(cryostat: Cryostat) -> Cryostat:
    guards = cryostat.guards
    warm, fridge, experiment = guards.temperature, guards.fridge, guards.experiment
    simulated = FromSimulation()
    return replace(
        cryostat,
        controllers=tuple(_controller(one) for one in cryostat.controllers),
        guards=Guards(
            None if warm is None else replace(warm, source=simulated),
            None
            if fridge is None
            else replace(fridge, source=simulated, base_stable=(BASE_STABLE,), label=None),
            None if experiment is None else replace(experiment, source=simulated),
        ),
    )


def _controller(controller: Controller) -> Controller:
    name, contract, reset = controller.name, controller.calibration, controller.reset
    metrics = {
        key: replace(metric, source=FromDevice()) for key, metric in contract.metrics.items()
    }
    if reset.lines:
        reset = ResetPath(reset.watchdog, reset.hook or _SWITCH, reset.shared_by)
    return replace(
        controller,
        port=f"sim://{name}",
        hw=controller.hw or hashlib.sha256(f"hw:{name}".encode()).hexdigest()[:16],
        calibration=replace(contract, metrics=metrics),
        reset=reset,
        owner=None,
        framing="auto",
        coefficient_command=None,
        bootloader=BootloaderSetting(),
    )


def _spec(fleet: Fleet) -> LabSpec:
    spec = spec_of_fleet(fleet)
    return replace(
        spec,
        controllers=tuple(_device(fleet, one) for one in spec.controllers),
        stages={name: _thermal(fleet.cryostats[name], one) for name, one in spec.stages.items()},
    )


def _device(fleet: Fleet, spec: ControllerSpec) -> ControllerSpec:
    """Without the time that bytes take on a line: it is short beside a soak, and dear to play."""
    controller = fleet.by_name[spec.name]
    given = {name: one for name, one in spec.metrics.items() if name in fleet.simulation.metrics}
    metrics = {
        name: given.get(name) or derived_metric(metric, controller.calibration.every_s)
        for name, metric in controller.calibration.metrics.items()
    }
    return replace(spec, metrics=metrics, paced=False)


def derived_metric(metric: Metric, every_s: float) -> MetricSpec:
    """A figure that keeps its contract, as quiet as that needs, and without a memory."""
    noise = min(metric.margin, metric.reject - metric.margin) / _SPREAD
    away = _HEADROOM * metric.reject
    nominal = 10.0 * metric.reject
    if metric.golden is not None:
        nominal = metric.golden
    elif metric.limit is not None:
        nominal = metric.limit + (away if metric.worse == "lower" else -away)
    return MetricSpec(nominal, noise, device=noise, drift=0.3 * noise, correlation_s=every_s / 10)


def _thermal(cryostat: Cryostat, spec: ThermalSpec) -> ThermalSpec:
    """A stage that rests below its limits, and that the heat budget warms by half of max_rise."""
    guard, budget = cryostat.guards.temperature, cryostat.thermal
    limits = [x for x in (guard.limit_k, guard.hard_limit_k) if x] if guard else []
    base_k = min([spec.base_k, *(_WARM * limit for limit in limits)])
    full_w = budget.flash_w * max(1, budget.flashes_at_once)
    resistance = min(spec.resistance_k_per_w, 0.5 * budget.max_rise_k / full_w)
    return replace(spec, base_k=base_k, resistance_k_per_w=resistance)


def _set_aside(fleet: Fleet, stages: tuple[Stage, ...]) -> Iterator[str]:
    """What is not as in the lab."""
    yield _ALWAYS
    if len(stages) < len(fleet.stages):
        yield f"rolled out to {', '.join(stage.name for stage in stages)} only"
    if any(stage.window for stage in fleet.stages):
        yield "maintenance windows are open"
    if fleet.error_budgets:
        yield "error budgets are kept"
    derived = _derived(fleet)
    if derived:
        yield f"nominal and noise of {', '.join(derived)} are derived from margin, reject and limit"
    if any(_has_real_source(one) for one in fleet.cryostats.values()):
        yield "guards and metrics come from the simulated lab, not from their sources"
    controllers = fleet.controllers
    if any(one.reset.from_outside for one in controllers):
        yield "power hooks and reset lines are the switch of the simulated lab"
    if any(one.bootloader.overwrites for one in controllers):
        yield "bootloaders that overwrite are played as ones that swap"
    if any(one.framing == Framing.RAW for one in controllers):
        yield "raw framing is played as the console's"
    bare = [one.name for one in controllers if not one.reset.exists]
    if bare:
        yield f"no reset path, accepted by name: {', '.join(bare)}"


def _derived(fleet: Fleet) -> list[str]:
    wanted: Mapping[str, None] = {
        name: None for one in fleet.controllers for name in one.calibration.metrics
    }
    return [name for name in wanted if name not in fleet.simulation.metrics]


def _has_real_source(cryostat: Cryostat) -> bool:
    guards = cryostat.guards
    seen = [one.source for one in (guards.temperature, guards.fridge, guards.experiment) if one]
    seen += [m.source for c in cryostat.controllers for m in c.calibration.metrics.values()]
    return any(not isinstance(source, FromDevice | FromSimulation) for source in seen)
