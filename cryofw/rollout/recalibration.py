"""When a device is calibrated: before its baseline, on trial once it has settled, after its return.

A calibration moves the figures that it makes comparable. So like is compared with like: where an
update is judged after a calibration, its baseline is taken after one of the same kind. It is done
to all devices of a cryostat when the first of them is in turn, before any baseline is taken there:
later it would move a control in the middle of a comparison.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.rollout import commands as c
from cryofw.rollout import events as e
from cryofw.rollout.cryostat_decision import is_blocked
from cryofw.rollout.device_state import DeviceState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryofw.rollout.progress import DeviceProgress
    from cryofw.rollout.state import RolloutState

_S = DeviceState


def is_due_first(state: RolloutState, device: DeviceProgress) -> bool:
    """It has to be calibrated before it is compared with anybody: its cryostat is in turn."""
    stage = state.stage
    if device.calibrated or device.state is not _S.CHECKED or device.doom or state.ending:
        return False
    if not device.planned.recalibration.is_asked or stage is None or state.wave_index < 0:
        return False
    if device.planned.stage != stage.name:
        return False
    first = state.roster.first_wave(state.stage_index, device.planned.cryostat)
    return first is not None and first <= state.wave_index


def awaits_others(state: RolloutState, names: Iterable[str]) -> bool:
    """One of them is still to be calibrated, and would begin to be another than it was."""
    return any(is_due_first(state, p) for p in state.members(names))


def before_baseline(state: RolloutState, device: DeviceProgress) -> e.Event | c.Command | None:
    """The calibration before the baseline; a device that it fails on cannot be judged."""
    if device.uncalibrated:
        why = f"not calibrated: {device.uncalibrated}"
        return e.DeviceRefused(device.name, why, "see why it cannot be calibrated")
    if is_blocked(state, device):
        return None
    return _request(state, device, "before its baseline")


def is_due_on_trial(device: DeviceProgress) -> bool:
    """Nothing is judged before it is calibrated; but a symptom is none of calibration."""
    if device.asleep:
        return True
    return device.calibration_due and device.watch.symptom is None and not device.common_cause


def on_trial(state: RolloutState, device: DeviceProgress) -> e.Event | c.Command | None:
    """In the test boot, once it has settled; out of the safe state at once."""
    if not (device.asleep or device.watch.settled):
        return None
    return _request(state, device, "out of its safe state" if device.asleep else "on trial")


def after_return(state: RolloutState, device: DeviceProgress) -> e.Event | c.Command | None:
    """The calibration that it has is of the firmware it no longer runs."""
    if not device.calibration_due or state.is_frozen(device.planned.cryostat):
        return None
    return _request(state, device, "for the firmware that it went back to")


def _request(state: RolloutState, device: DeviceProgress, why: str) -> c.CalibrateDevice | None:
    """A bench of the lab takes the controllers of a cryostat one by one."""
    if device.planned.recalibration.command is not None:
        near = state.inhabitants(device.planned.cryostat)
        if any(p.intent == c.CalibrateDevice.kind for p in near):
            return None
    return c.CalibrateDevice(device.name, device.asleep, why)
