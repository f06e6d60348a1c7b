"""The waves of a fleet as a rollout would judge them, for a replay that has no release.

Controls, ledger, contracts and pools come from the rollout itself: a plan is made as if every
device answered, and its stages are walked through.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from cryofw.fleet import CalibrationTest
from cryofw.health import Method
from cryofw.health.wave_replay import ReplayedWave
from cryofw.release import Firmware
from cryofw.rollout import Plan, PlannedDevice, PlannedStage
from cryofw.rollout.device_state import DeviceState
from cryofw.rollout.planner import connection_of, evidence_of, waves_of
from cryofw.rollout.state import RolloutState
from cryofw.rollout.streams import groups, open_ledger

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from cryofw.fleet import Fleet
    from cryofw.health import CohortRule, EvidenceContract

_NOTHING = Firmware("0" * 64, "0" * 64, "0.0.0", None, 0, "", "0" * 64)
"""A plan is of a firmware; a replay installs none."""


def replayed_waves(
    fleet: Fleet, devices: Collection[str], metrics: Collection[str], seed: str
) -> tuple[ReplayedWave, ...]:
    """All waves in the order of a rollout, the controllers of each cryostat in a random order.

    The ledger is that of the whole fleet: what was not recorded has its part of alpha too.

    Args:
        fleet: fleet.yaml.
        devices: those with a recording; others take no part and are nobody's controls.
        metrics: those with a recording.
        seed: decides the order and breaks ties.
    """
    fleet = _shuffled(fleet, seed)
    whole = _plan(fleet, fleet.by_name.keys(), seed)
    recorded = _plan(fleet, devices, seed)
    ledger = open_ledger(whole.stages, whole.devices, false_rollback_of(fleet))
    method = _method(fleet)
    waves = []
    for rule, stage, number, contract, pooled in _rules(recorded):
        kept = tuple(metric for metric in rule.metrics if metric.name in metrics)
        if kept:
            rule = replace(rule, metrics=kept, ledger=ledger, method=method)
            waves.append(
                ReplayedWave(
                    stage.name, number, rule, contract.settle_s, contract.deadline_s, pooled
                )
            )
    return tuple(waves)


def false_rollback_of(fleet: Fleet) -> float:
    """The one budget of the rollout."""
    return min(one.calibration.false_rollback for one in fleet.controllers)


def _method(fleet: Fleet) -> Method:
    asked = {one.calibration.test for one in fleet.controllers}
    return Method.T_MIXTURE if CalibrationTest.T_MIXTURE in asked else Method.RANKS


def _shuffled(fleet: Fleet, seed: str) -> Fleet:
    order = random.Random(seed)  # noqa: S311  # a fair choice of who goes first, no secret
    cryostats = {
        name: replace(
            cryostat,
            controllers=tuple(order.sample(cryostat.controllers, len(cryostat.controllers))),
        )
        for name, cryostat in fleet.cryostats.items()
    }
    return replace(fleet, cryostats=cryostats)


def _plan(fleet: Fleet, devices: Collection[str], nonce: str) -> Plan:
    planned = {
        controller.name: PlannedDevice(
            name=controller.name,
            cryostat=controller.cryostat,
            stage=stage.name,
            connection=connection_of(controller),
            hw="",
            board=controller.board,
            running_hash="1" * 64,
            running_version="0.0.0",
            last_good=_NOTHING,
            way_back=True,
            lease_ttl_s=60.0,
            evidence=evidence_of(controller, stage),
        )
        for stage in fleet.stages
        for controller in fleet.stage_controllers(stage)
        if controller.name in devices
    }
    stages = tuple(
        PlannedStage(
            stage.name,
            waves_of(fleet, stage, planned),
            stage.on_failure,
            stage.min_reachable,
            stage.then_approve,
        )
        for stage in fleet.stages
    )
    kept = tuple(stage for stage in stages if stage.devices)
    return Plan(fleet.lab, fleet.digest, _NOTHING, kept, planned, {}, "replay", "", nonce)


def _rules(
    plan: Plan,
) -> Iterator[tuple[CohortRule, PlannedStage, int, EvidenceContract, tuple[str, ...]]]:
    """Walk a rollout in which all goes well: the rules of its cohorts as they are opened."""
    state = RolloutState(plan)
    for stage in plan.stages:
        judged = groups(stage.devices, plan.devices)
        for name in stage.devices:
            state.devices[name].state = DeviceState.CHECKED
        for index, wave in enumerate(stage.waves):
            state.cohorts.open_waves(stage, index)
            seen = set()
            for name in wave:
                cohort = state.cohorts.of(name)
                if cohort is not None and cohort.rule.name not in seen:
                    seen.add(cohort.rule.name)
                    contract = plan.devices[name].evidence
                    yield cohort.rule, stage, index + 1, contract, tuple(judged[contract])
            for name in wave:
                state.devices[name].state = DeviceState.CONFIRMED
                state.devices[name].sent = True
