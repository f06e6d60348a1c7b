"""From fleet.yaml to the guards and sources that a plan freezes, and to its control groups."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cryofw.fleet import FromCommand, FromDevice, FromPrometheus
from cryofw.rollout.guard_contract import (
    CryostatContract,
    FridgeContract,
    PlannedSource,
    TemperatureContract,
)

if TYPE_CHECKING:
    from cryofw.fleet import Controller, Cryostat, Fleet, Prometheus, Source

DEFAULT_EVERY_S = 10.0


def with_holdback(sizes: tuple[int, ...], total: int) -> tuple[int, ...]:
    """Cumulative wave sizes that leave one controller of several to the last wave.

    It is the control group that tells a drift of the cryostat from a harm of the firmware; an
    update of all controllers at once becomes two waves.
    """
    steps = sizes if len(sizes) > 1 else (*sizes, total)
    if total < 2:
        return steps
    return (*(min(size, total - 1) for size in steps[:-1]), total)


def contracts_of(fleet: Fleet) -> dict[str, CryostatContract]:
    """The guards of each cryostat that has any, by its name."""
    found = {name: _contract(cryostat) for name, cryostat in fleet.cryostats.items()}
    return {name: contract for name, contract in found.items() if contract is not None}


def prometheus_of(fleet: Fleet) -> Prometheus | None:
    """The server of fleet.yaml; its CA file by its whole path: a resume may stand elsewhere."""
    server = fleet.prometheus
    if server is None or server.ca is None:
        return server
    beside = Path(fleet.source_path).absolute().parent
    return replace(server, ca=str(beside / Path(server.ca).expanduser()))


def lab_sources(controller: Controller) -> dict[str, PlannedSource]:
    """Metric to its source, for each that the controller does not measure itself."""
    return {
        name: _source(metric.source)
        for name, metric in controller.calibration.metrics.items()
        if not isinstance(metric.source, FromDevice)
    }


def _contract(cryostat: Cryostat) -> CryostatContract | None:
    guards, thermal = cryostat.guards, cryostat.thermal
    warm, fridge, lease = guards.temperature, guards.fridge, guards.experiment
    if warm is None and fridge is None and lease is None:
        return None
    temperature = None
    if warm is not None:
        temperature = TemperatureContract(
            _source(warm.source),
            thermal.max_rise_k,
            warm.limit_k,
            warm.hard_limit_k,
            warm.slope_k_per_s,
            warm.over_s,
        )
    return CryostatContract(
        budget_w=thermal.capacity_w * thermal.headroom,
        flash_w=thermal.flash_w,
        every_s=DEFAULT_EVERY_S if warm is None else warm.every_s,
        temperature=temperature,
        fridge=None
        if fridge is None
        else FridgeContract(_source(fridge.source), fridge.base_stable, fridge.label or ""),
        experiment=None if lease is None else _source(lease.source),
    )


def _source(source: Source) -> PlannedSource:
    match source:
        case FromPrometheus():
            return PlannedSource(source.kind, query=source.query, stale_s=source.stale_s)
        case FromCommand():
            return PlannedSource(
                source.kind, run=source.run, stale_s=source.stale_s, timeout_s=source.timeout_s
            )
        case _:
            return PlannedSource(source.kind)
