"""Which streams of evidence a rollout has, and what each may spend of its one alpha."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cryofw.health import AlphaLedger, StreamKind, sight, wave_streams

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cryofw.health import EvidenceContract, Sight
    from cryofw.rollout.plan import Plan, PlannedDevice, PlannedStage

ADVISED_BASELINE = 100
"""Baseline samples: with fewer, an unlucky series looks as if its noise remembered for long."""

FALSE_ROLLBACK = 0.01
"""Of a plan that freezes no ledger: those of cryofw 0.1.0 before its statistics."""


def groups(
    names: Iterable[str], devices: Mapping[str, PlannedDevice]
) -> dict[EvidenceContract, list[str]]:
    """Devices that are judged alike, by their contract; those without a metric are left out."""
    found: dict[EvidenceContract, list[str]] = {}
    for name in names:
        contract = devices[name].evidence
        if contract.metrics:
            found.setdefault(contract, []).append(name)
    return found


def open_ledger(
    stages: Sequence[PlannedStage], devices: Mapping[str, PlannedDevice], false_rollback: float
) -> AlphaLedger:
    """One alpha over all devices, metrics and stages: heartbeats, shifts, noise, bounds, pools."""
    streams: list[StreamKind] = []
    for stage in stages:
        judged = groups(stage.devices, devices)
        for contract, names in judged.items():
            streams += wave_streams(len(names), contract.metrics)
        silent = len(stage.devices) - sum(map(len, judged.values()))
        streams += [StreamKind.HEARTBEAT] * silent
    return AlphaLedger.open(false_rollback, streams)


def ledger_of(plan: Plan) -> AlphaLedger:
    """The plan's ledger."""
    if plan.ledger is not None:
        return plan.ledger
    return open_ledger(plan.stages, plan.devices, FALSE_ROLLBACK)


def beats_planned(plan: Plan) -> dict[str, int]:
    """Device name to the heartbeats expected from its test boot to the rollout's end."""
    left_s = 0.0
    planned: dict[str, int] = {}
    for stage in reversed(plan.stages):
        contracts = [plan.devices[name].evidence for name in stage.devices]
        left_s += len(stage.waves) * max(c.soak_s for c in contracts)
        for name, contract in zip(stage.devices, contracts, strict=True):
            planned[name] = max(2, math.ceil(left_s / contract.heartbeat_every_s))
    return planned


def sights(
    stages: Sequence[PlannedStage], devices: Mapping[str, PlannedDevice], ledger: AlphaLedger
) -> dict[str, dict[EvidenceContract, Sight]]:
    """Stage name to contract to what each of its streams sees, if its samples are independent.

    In standard deviations of a difference: the noise itself is known once a baseline is taken.
    """
    threshold = ledger.threshold(StreamKind.SHIFT) if StreamKind.SHIFT in ledger.streams else 0.0
    return {
        stage.name: {
            contract: sight(contract.baseline_samples, contract.planned_samples, threshold)
            for contract in groups(stage.devices, devices)
        }
        for stage in stages
    }


def blind_spots(
    stages: Sequence[PlannedStage], devices: Mapping[str, PlannedDevice], false_rollback: float
) -> list[str]:
    """A reason for each stage whose evidence could decide nothing, however quiet its metrics."""
    found: list[str] = []
    if any(not stage.devices for stage in stages):
        return found
    for name, seen in sights(stages, devices, open_ledger(stages, devices, false_rollback)).items():
        for contract, sees in seen.items():
            samples = (
                f"baseline_samples: {contract.baseline_samples} and a soak of "
                f"{contract.planned_samples} samples"
            )
            if sees.finds is None:
                found.append(
                    f"stage {name}: {samples} find no shift at all with a false_rollback of "
                    f"{false_rollback:g}; take {ADVISED_BASELINE} baseline samples or a longer soak"
                )
            elif sees.clears is None:
                found.append(f"stage {name}: {samples} can never pass; take more")
    return found
