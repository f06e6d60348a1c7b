"""Whether a device may be touched: baseline, turn, window, heat, and evidence that can decide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.rollout import commands as c
from cryofw.rollout import events as e
from cryofw.rollout import recalibration
from cryofw.rollout.device_state import DeviceState
from cryofw.rollout.heat_share import has_heat_slot

if TYPE_CHECKING:
    from cryofw.health import Cohort
    from cryofw.rollout.progress import DeviceProgress
    from cryofw.rollout.state import RolloutState

_S = DeviceState
_BASELINE_PATIENCE = 3
_BLIND = (
    "set baseline_samples to 100 or more, sample less often (every), soak longer or allow more "
    "(reject); `cryofw gate tune` proposes numbers"
)


def upload(state: RolloutState, device: DeviceProgress) -> e.Event | c.Command | None:
    """Nothing, a refusal, or the next step towards the upload of a checked device."""
    if recalibration.is_due_first(state, device):
        return recalibration.before_baseline(state, device)
    in_turn = state.is_in_turn(device)
    if device.doom or state.ending or not in_turn:
        if device.doom and device.sent:
            return e.DeviceAbandoned(device.name, device.doom)
        return None
    cohort = state.cohorts.of(device.name)
    if cohort is not None and not cohort.frozen:
        if recalibration.awaits_others(state, (*cohort.rule.devices, *cohort.rule.controls)):
            return None
        if not cohort.has_baseline(device.name):
            return _no_baseline(state, device, cohort)
        if not cohort.baseline_complete:  # of the others
            return None
    if not (state.window_open and has_heat_slot(state, device)):
        return None
    if cohort is not None and not cohort.frozen:
        return e.CohortFrozen(cohort.rule.name, cohort.rule.devices, cohort.rule.controls)
    if not device.baseline_taken:
        return e.BaselineTaken(device.name, _baseline(device, cohort))
    if blind := state.cohorts.refusal(device.name):
        return e.DeviceRefused(device.name, f"its evidence would decide nothing: {blind}", _BLIND)
    return c.UploadImage(device.name, device.new_hash, device.planned.running_hash, device.attempt)


def _baseline(device: DeviceProgress, cohort: Cohort | None) -> dict[str, object]:
    """The baseline of each metric, and what can be seen from it."""
    if cohort is None:
        return {"samples": {}}
    metrics: dict[str, object] = {}
    for name, (sight, deviation) in cohort.sights(device.name).items():
        stream = cohort.streams(device.name)[name]
        sees = sight.smallest_shift(stream.rule.metric, deviation)
        metrics[name] = {
            "samples": stream.baseline_count,
            "mean": _round(stream.before),
            "sd": _round(stream.noise),
            "block": sight.block,
            "sees": _round(sees),
        }
    counts = {name: stream.baseline_count for name, stream in cohort.streams(device.name).items()}
    return {"samples": counts, "controls": list(cohort.rule.controls), "metrics": metrics}


def _round(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")


def _no_baseline(
    state: RolloutState, device: DeviceProgress, cohort: Cohort
) -> e.Event | c.Command | None:
    """A device without a baseline cannot be judged, so it must not be updated."""
    need, asked = cohort.rule.baseline_samples, state.cohorts.asked(device.name)
    if asked < _BASELINE_PATIENCE * need:
        return None
    metrics = [metric.name for metric in cohort.rule.metrics]
    counts = ", ".join(f"{m} {cohort.baseline_count(device.name, m)}" for m in metrics)
    against = f" together with {', '.join(cohort.rule.controls)}" if cohort.rule.controls else ""
    why = f"no baseline: {asked} samples asked, {need} fresh needed{against}: {counts}"
    gaps = "; ".join(f"{name} is {gap}" for name, gap in sorted(device.watch.gaps.items()))
    return e.DeviceRefused(device.name, why, gaps or "see why its metrics are missing or stale")
