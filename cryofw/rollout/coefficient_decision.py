"""What follows for the coefficients of a device, beside what follows for its firmware.

They are read before the test boot, applied in it, saved after the confirm, and come back with the
last good image. What makes a pair whole is done also while a rollout pauses or ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.rollout import commands as c
from cryofw.rollout import events as e
from cryofw.rollout.device_state import DeviceState

if TYPE_CHECKING:
    from cryofw.rollout.progress import DeviceProgress

_S = DeviceState
_MAX_DEFERRALS = 3


def read_before(device: DeviceProgress) -> e.Event | c.Command | None:
    """Before the test boot: what it has now is the way back."""
    names = tuple(device.planned.coefficients)
    if not names or device.pair.before is not None:
        return None
    return c.ReadCoefficients(device.name, names)


def apply_on_trial(device: DeviceProgress) -> e.Event | c.Command | None:
    """In the test boot, before anything is judged."""
    if not device.pair.unapplied:
        return None
    values = {name: one.hex for name, one in device.planned.coefficients.items()}
    command = c.ApplyCoefficients(device.name, device.new_hash, values, device.boot)
    return _unless_deferred(device, command)


def mend(device: DeviceProgress) -> e.Event | c.Command | None:
    """Make a torn pair whole: save what was confirmed, bring back what went back by itself."""
    if not device.torn:
        return None
    if device.state is _S.CONFIRMED:
        if device.doom or device.failure:
            return None  # it is taken back instead
        values = {name: one.hex for name, one in device.planned.coefficients.items()}
        command = c.SaveCoefficients(device.name, device.new_hash, values)
        return _unless_deferred(device, command)
    old = device.planned.running_hash
    return c.RestoreCoefficients(device.name, old, device.pair.way_back)


def _unless_deferred(device: DeviceProgress, command: c.Command) -> e.Event | c.Command | None:
    if device.refusals >= _MAX_DEFERRALS:
        why = f"its coefficients could not be written in {device.refusals} tries: {device.why}"
        return e.HoldExpired(device.name, why)
    return None if device.awaits_beat else command
