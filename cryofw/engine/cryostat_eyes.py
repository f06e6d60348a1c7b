"""Looks at cryostats through telemetry, as the plan's guards say, and reads error budgets."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from cryofw.engine.site import SCHEME, is_simulated
from cryofw.errors import Refused
from cryofw.fleet import (
    Cryostat,
    ExperimentGuard,
    Fleet,
    FridgeGuard,
    FromCommand,
    FromPrometheus,
    FromSimulation,
    Guards,
    Source,
    TemperatureGuard,
    Thermal,
)
from cryofw.rollout import CryostatContract, GuardReading, Plan, PlannedSource
from cryofw.rollout import cryostat_events as ce
from cryofw.telemetry import (
    FREE,
    BudgetReading,
    BudgetState,
    CryostatSource,
    ExperimentLease,
    Observed,
    Telemetry,
    open_telemetry,
    simulated_telemetry,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryofw.clock import Clock
    from cryofw.engine.site import Site
    from cryofw.rollout import Event
    from cryofw.simulator import SimulatedLab

T = TypeVar("T")

_FOREVER_S = 1e12
"""A lease without end ends in the year 33658: a record holds no infinity."""


class LabReadings:
    """A simulated lab in place of every source.

    Args:
        lab: the lab; its clock and `clock` go alike.
        names: controller to its name in the lab, if that is another.
    """

    def __init__(self, lab: SimulatedLab, clock: Clock, names: Mapping[str, str]) -> None:
        self._lab = lab
        self._clock = clock
        self._names = names

    def temperature_k(self, cryostat: str) -> float | None:
        """See `SimulatedReadings`."""
        if not self._lab.climate.is_measured(cryostat):
            return None
        return round(self._lab.stage(cryostat).temperature_k(self._lab.now_s()), 6)

    def fridge_state(self, cryostat: str) -> str | None:
        """See `SimulatedReadings`."""
        return self._lab.climate.fridge_state(cryostat)

    def experiment(self, cryostat: str) -> ExperimentLease | None:
        """See `SimulatedReadings`."""
        lease = self._lab.climate.experiment(cryostat)
        if lease is None:
            return FREE
        owner, left_s, token = lease
        return ExperimentLease(owner, self._clock.now().timestamp() + left_s, token)

    def metrics(self, controller: str) -> Mapping[str, float]:
        """See `SimulatedReadings`: what instruments beside the controller would show."""
        return self._lab.measure(self._names.get(controller, controller))

    def error_budget(self, name: str) -> float | None:
        """See `SimulatedReadings`."""
        return self._lab.climate.error_budget(name)


class CryostatEyes:
    """The `Eyes` of an engine over the cryostats of one plan."""

    def __init__(self, plan: Plan, source: CryostatSource) -> None:
        self._source = source
        self._cryostats = {n: _cryostat(n, guards) for n, guards in plan.guards.items()}

    async def look(self, cryostat: str) -> GuardReading:
        """See `Eyes.look`."""
        seen = await self._source.read(self._cryostats[cryostat])
        lease = seen.experiment.fresh if seen.experiment else None
        return GuardReading(
            seen.t_s,
            seen.temperature_k.fresh if seen.temperature_k else None,
            _gap(seen.temperature_k),
            seen.fridge_state.fresh if seen.fridge_state else None,
            _gap(seen.fridge_state),
            lease.owner if lease else "",
            min(lease.expires_s, _FOREVER_S) if lease else 0.0,
            lease.token if lease else None,
            _gap(seen.experiment),
        )


def open_plan_telemetry(plan: Plan, site: Site) -> Telemetry | None:
    """The sources of a plan's guards, metrics and error budgets; None if it has none.

    Raises:
        AccessDenied, BadInput: as `open_telemetry`.
    """
    measured = any(device.sources for device in plan.devices.values())
    if not plan.guards and not plan.error_budgets and not measured:
        return None
    fleet = Fleet(
        plan.lab,
        "",
        (),
        {name: _cryostat(name, contract) for name, contract in plan.guards.items()},
        prometheus=plan.prometheus,
        error_budgets=plan.error_budgets,
    )
    names = {n: p.removeprefix(SCHEME) for n, p in plan.ports.items() if p.startswith(SCHEME)}
    lab = None if site.lab is None else LabReadings(site.lab, site.clock, names)
    if lab is not None and is_simulated(plan.ports.values()):
        return simulated_telemetry(fleet, site.clock, lab)
    return open_telemetry(fleet, site.clock, lab=lab)


async def require_budgets(telemetry: Telemetry, overrides: Sequence[Event]) -> list[Event]:
    """The overrides to record, with the numbers that they pass over.

    Raises:
        Refused: an error budget is spent or unknown, and nobody overrode it by name.
    """
    spent = [one for one in await telemetry.budgets.read() if one.state is not BudgetState.KEPT]
    person = next((o for o in overrides if _is_budget_override(o)), None)
    others = [o for o in overrides if not _is_budget_override(o)]
    if not spent:
        return others
    if not isinstance(person, ce.GuardOverridden):
        raise Refused(
            "the error budget of this fleet does not allow a rollout; nothing was sent",
            why="\n".join(f"- {_budget_words(one)}" for one in spent),
            hint="wait until it has recovered, or take it on yourself: "
            "--override-error-budget --why TEXT",
        )
    evidence = {one.name: _budget_words(one) for one in spent}
    overridden = ce.GuardOverridden(ce.ERROR_BUDGET, person.by, person.why, evidence=evidence)
    return [overridden, *others]


def _is_budget_override(event: Event) -> bool:
    return isinstance(event, ce.GuardOverridden) and event.guard == ce.ERROR_BUDGET


def _budget_words(one: BudgetReading) -> str:
    if one.state is BudgetState.UNKNOWN:
        return f"{one.name} is unknown: {one.value.why or one.value.freshness}"
    return f"{one.name} is {one.value.fresh:.6g}, {one.bound} is needed"


def _gap(seen: Observed[T] | None) -> str:
    if seen is None or seen.fresh is not None:
        return ""
    return f"{seen.freshness}: {seen.why}" if seen.why else str(seen.freshness)


def _cryostat(name: str, contract: CryostatContract) -> Cryostat:
    """As telemetry takes it; what only decisions need is left out."""
    warm, fridge = contract.temperature, contract.fridge
    return Cryostat(
        name,
        Thermal("", 0.0, 0.0, 0.0, 0.0),
        (),
        Guards(
            None if warm is None else TemperatureGuard(source_of(warm.source)),
            None
            if fridge is None
            else FridgeGuard(source_of(fridge.source), fridge.base_stable, fridge.label or None),
            None
            if contract.experiment is None
            else ExperimentGuard(source_of(contract.experiment)),
        ),
    )


def source_of(source: PlannedSource) -> Source:
    """As telemetry takes it."""
    match source.kind:
        case "prometheus":
            return FromPrometheus(source.query, source.stale_s)
        case "command":
            return FromCommand(source.run, source.stale_s, source.timeout_s)
        case _:
            return FromSimulation()
