"""What a plan can see, how long it takes, and whom it compares with: before anything is flashed.

Waves, controls and ledger are those that the rollout itself will use; how noisy a device is, its
last baseline tells, if there ever was one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.health import BeatTest, StreamKind
from cryofw.rollout.rehearsal import Rehearsal
from cryofw.rollout.streams import beats_planned, ledger_of, sights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.health import AlphaLedger, EvidenceContract, MetricContract, Sight
    from cryofw.rollout.plan import Plan, PlannedDevice, PlannedStage
    from cryofw.rollout.rehearsal import Comparisons

_BITS_PER_BYTE = 10 * 4 / 3
"""On a serial line, of a console that speaks base64."""


@dataclass(frozen=True, slots=True)
class PastBaseline:
    """A metric of a device as its last baseline had it.

    Attributes:
        sd: standard deviation of a sample less its controls, in the metric's unit.
        block: samples in a block.
        sees: smallest shift that was found in 90 % of cases then; None if none was.
    """

    sd: float
    block: int
    sees: float | None


@dataclass(frozen=True, slots=True)
class Seen:
    """What a stage finds in one metric.

    Attributes:
        smallest: shift found in 90 % of cases within the soak, in the metric's unit, by the
            typical one of the devices with a baseline; infinite: none is. None: no baseline yet.
        known: devices with a baseline.
        devices: devices that are judged.
    """

    metric: MetricContract
    smallest: float | None
    known: int
    devices: int

    @property
    def blind(self) -> bool:
        """As things were at the last baselines, the stage would be refused."""
        return self.smallest is not None and self.smallest > self.metric.reject


@dataclass(frozen=True, slots=True)
class Silence:
    """The misses in a row that raise the alarm, and the seconds that they take."""

    misses: int
    after_s: float


@dataclass(frozen=True, slots=True)
class StageForesight:
    """What can be said of a stage.

    Attributes:
        sights: contract to what one stream of it sees, in standard deviations of a difference.
        seen: what is found in each metric, in its unit, where baselines tell.
        silence: of its devices the one that is noticed last; None without devices.
        baseline_s: longest baseline of its devices.
        soak_s: longest soak.
        duration_s: estimate of the whole stage.
        comparisons: who is compared with whom.
    """

    name: str
    sights: Mapping[EvidenceContract, Sight]
    seen: tuple[Seen, ...]
    silence: Silence | None
    baseline_s: float
    soak_s: float
    duration_s: float
    comparisons: Comparisons


@dataclass(frozen=True, slots=True)
class Foresight:
    """Of a whole plan."""

    ledger: AlphaLedger
    stages: tuple[StageForesight, ...]

    @property
    def duration_s(self) -> float:
        """Of all stages; people, windows, cryostats and calibrations come on top."""
        return sum(stage.duration_s for stage in self.stages)


Baselines = dict[str, dict[str, PastBaseline]]
"""Device to metric to its last baseline."""


def past_baselines(found: Mapping[str, Mapping[str, object]]) -> Baselines:
    """Read the evidence of the latest `baseline-taken` of each device; what is odd is left out."""
    past: Baselines = {}
    for device, evidence in found.items():
        metrics = evidence.get("metrics")
        for name, one in metrics.items() if isinstance(metrics, dict) else ():
            if (baseline := _past(one)) is not None:
                past.setdefault(device, {})[str(name)] = baseline
    return past


def _past(one: object) -> PastBaseline | None:
    if not isinstance(one, dict):
        return None
    sd, block, sees = (one.get(key) for key in ("sd", "block", "sees"))
    if not isinstance(sd, int | float) or not isinstance(block, int):
        return None
    return PastBaseline(float(sd), block, float(sees) if isinstance(sees, int | float) else None)


def foresee(plan: Plan, past: Baselines | None = None) -> Foresight:
    """What `plan` can see.

    Args:
        plan: the plan.
        past: what earlier baselines told of its devices.
    """
    ledger, beats = ledger_of(plan), beats_planned(plan)
    rehearsal = Rehearsal(plan, ledger, beats)
    seen = sights(plan.stages, plan.devices, ledger)
    stages = []
    for stage in plan.stages:
        devices = [plan.devices[name] for name in stage.devices]
        compared = rehearsal.go_through(stage)
        contracts = [device.evidence for device in devices]
        stages.append(
            StageForesight(
                name=stage.name,
                sights=seen[stage.name],
                seen=_seen(devices, seen[stage.name], past or {}),
                silence=_silence(devices, beats, ledger),
                baseline_s=max((_baseline_s(c) for c in contracts), default=0.0),
                soak_s=max((c.soak_s for c in contracts), default=0.0),
                duration_s=_duration_s(plan, stage, compared),
                comparisons=compared,
            )
        )
    return Foresight(ledger, tuple(stages))


def _seen(
    devices: list[PlannedDevice], seen: Mapping[EvidenceContract, Sight], past: Baselines
) -> tuple[Seen, ...]:
    """Of each metric, in the order in which devices name them."""
    judged: dict[MetricContract, list[float | None]] = {}
    for device in devices:
        for metric in device.evidence.metrics:
            baseline = past.get(device.name, {}).get(metric.name)
            sight = seen[device.evidence]
            smallest = None if baseline is None else _smallest(metric, sight, baseline)
            judged.setdefault(metric, []).append(smallest)
    return tuple(_typical(metric, found) for metric, found in judged.items())


def _smallest(metric: MetricContract, sight: Sight, past: PastBaseline) -> float:
    """With noise that remembers, what it was then; else with the samples of this plan."""
    now = sight.smallest_shift(metric, past.sd) if past.block == 1 else past.sees
    return math.inf if now is None else now


def _typical(metric: MetricContract, found: list[float | None]) -> Seen:
    known = sorted(shift for shift in found if shift is not None)
    return Seen(metric, known[(len(known) - 1) // 2] if known else None, len(known), len(found))


def _silence(
    devices: list[PlannedDevice], beats: Mapping[str, int], ledger: AlphaLedger
) -> Silence | None:
    threshold = ledger.threshold(StreamKind.HEARTBEAT) if devices else 0.0
    alarms = []
    for device in devices:
        misses = BeatTest(beats[device.name], threshold).misses_in_a_row()
        alarms.append(Silence(misses, misses * device.evidence.heartbeat_every_s))
    return max(alarms, key=lambda alarm: alarm.after_s, default=None)


def _baseline_s(contract: EvidenceContract) -> float:
    return contract.baseline_samples * contract.sample_every_s if contract.metrics else 0.0


def _duration_s(plan: Plan, stage: PlannedStage, compared: Comparisons) -> float:
    """Wave after wave; one that takes its baseline early does so while the last one soaks."""
    total_s = last_s = 0.0
    for wave, names in enumerate(stage.waves):
        devices = [plan.devices[n] for n in names if n in compared.updated]
        if not devices:
            continue
        baseline_s = max(_baseline_s(device.evidence) for device in devices)
        waits_s = max(0.0, baseline_s - last_s) if wave in compared.early else baseline_s
        soak_s = max(device.evidence.soak_s for device in devices)
        last_s = waits_s + _flash_s(plan, devices) + soak_s
        total_s += last_s
    return total_s


def _flash_s(plan: Plan, devices: list[PlannedDevice]) -> float:
    """Upload and boot of a wave; no more at once than the heat budget of a cryostat allows."""
    inhabitants: dict[str, list[float]] = {}
    bits = plan.release.size * _BITS_PER_BYTE
    for device in devices:
        upload_s = bits / max(1, device.connection.baud)
        took_s = upload_s + device.connection.boot_time_s
        inhabitants.setdefault(device.cryostat, []).append(took_s)
    rounds = (
        max(took) * math.ceil(len(took) / max(1, plan.heat_slots[cryostat]))
        for cryostat, took in inhabitants.items()
    )
    return max(rounds)
