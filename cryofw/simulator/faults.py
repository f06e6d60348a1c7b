"""What can go wrong in a simulated lab, by name; and a storm of it, by seed.

A fault acts on one controller from the moment it is injected; `for_s` is how long (seconds of
the lab). The same seed gives the same faults at the same times.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from cryofw.errors import BadInput
from cryofw.simulator.physics import uniforms

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class CutPower:
    """The supply fails in the n-th flash operation from now, and is back after `off_s`."""

    after_operations: int = 0
    torn: float = 0.5
    off_s: float = 2.0


@dataclass(frozen=True)
class Hang:
    """The application stops answering at once; a watchdog resets it unless `watchdog` is off."""

    watchdog: bool = True


@dataclass(frozen=True)
class LoopBoots:
    """The application crashes shortly after each of the next `boots` starts."""

    boots: int = 3


@dataclass(frozen=True)
class LoseHeartbeats:
    """A share of the heartbeats gets no answer."""

    share: float = 1.0
    for_s: float = math.inf


@dataclass(frozen=True)
class ShiftCalibration:
    """A metric moves by `by` over `ramp_s`, until the next power cycle."""

    metric: str = "readout_snr"
    by: float = -2.0
    ramp_s: float = 0.0


@dataclass(frozen=True)
class CorruptBytes:
    """A share of the frames, in both directions, has one byte changed."""

    share: float = 0.2
    for_s: float = 10.0


@dataclass(frozen=True)
class DropBytes:
    """A share of the frames, in both directions, loses bytes."""

    share: float = 0.2
    for_s: float = 10.0


@dataclass(frozen=True)
class DuplicateBytes:
    """A share of the frames, in both directions, comes twice."""

    share: float = 0.2
    for_s: float = 10.0


@dataclass(frozen=True)
class DelayBytes:
    """A share of the answers comes `delay_s` late."""

    share: float = 0.2
    delay_s: float = 3.0
    for_s: float = 10.0


@dataclass(frozen=True)
class PullCable:
    """The line breaks; the port cannot be opened until the cable is back after `for_s`."""

    for_s: float = 5.0


@dataclass(frozen=True)
class SlowErase:
    """Erasing takes `factor` times as long."""

    factor: float = 100.0
    for_s: float = 60.0


@dataclass(frozen=True)
class FillBuffers:
    """The device has no free line buffers: packets of more than `lines` lines are lost."""

    lines: int = 1
    for_s: float = 5.0


@dataclass(frozen=True)
class CutLines:
    """A share of the frames, in both directions, loses the end of a line, newline included."""

    share: float = 0.2
    for_s: float = 10.0


@dataclass(frozen=True)
class PrintNoise:
    """A share of the answers comes with a log line of the device, before it or in its middle."""

    share: float = 0.2
    for_s: float = 10.0


@dataclass(frozen=True)
class OverrunBuffers:
    """A share of the frames to the device loses a whole line: no line buffer was free."""

    share: float = 0.2
    for_s: float = 10.0


@dataclass(frozen=True)
class ResetWhileReceiving:
    """A share of the frames to the device resets it before it has read them (a brown-out)."""

    share: float = 0.01
    for_s: float = 10.0


LineFault: TypeAlias = (
    CorruptBytes
    | DropBytes
    | DuplicateBytes
    | DelayBytes
    | FillBuffers
    | CutLines
    | PrintNoise
    | OverrunBuffers
    | ResetWhileReceiving
)
Fault: TypeAlias = (
    CutPower
    | Hang
    | LoopBoots
    | LoseHeartbeats
    | ShiftCalibration
    | PullCable
    | SlowErase
    | LineFault
)

FAULTS: Mapping[str, type[Fault]] = {
    "power-cut": CutPower,
    "hang": Hang,
    "boot-loop": LoopBoots,
    "lost-heartbeats": LoseHeartbeats,
    "calibration-shift": ShiftCalibration,
    "corrupted-bytes": CorruptBytes,
    "dropped-bytes": DropBytes,
    "duplicated-bytes": DuplicateBytes,
    "late-bytes": DelayBytes,
    "cable-pulled": PullCable,
    "slow-erase": SlowErase,
    "full-buffers": FillBuffers,
    "half-lines": CutLines,
    "log-noise": PrintNoise,
    "buffer-overrun": OverrunBuffers,
    "reset-while-receiving": ResetWhileReceiving,
}


def parse_fault(text: str) -> Fault:
    """Read `name` or `name:key=value,...`, for example `power-cut:after_operations=12,off_s=1`.

    Raises:
        BadInput: unknown name, key, or a value of the wrong kind.
    """
    name, _, rest = text.partition(":")
    kind = FAULTS.get(name)
    if kind is None:
        raise BadInput(f"no fault is called {name!r}", hint=f"known: {', '.join(FAULTS)}")
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}
    values: dict[str, object] = {}
    for pair in filter(None, rest.split(",")):
        key, _, value = pair.partition("=")
        if key not in defaults:
            raise BadInput(
                f"fault {name} has no {key!r}", hint=f"known: {', '.join(defaults) or 'none'}"
            )
        values[key] = _value(f"{name}:{key}", value, defaults[key])
    return kind(**values)  # type: ignore[arg-type]  # keys and types are checked above


def _value(where: str, text: str, default: object) -> object:
    if isinstance(default, str):
        return text
    if isinstance(default, bool):
        if text not in ("true", "false"):
            raise BadInput(f"{where} is true or false", why=f"it is {text!r}")
        return text == "true"
    try:
        return int(text) if isinstance(default, int) else float(text)
    except ValueError as error:
        raise BadInput(f"{where} is a number", why=f"it is {text!r}") from error


@dataclass(frozen=True)
class ScheduledFault:
    """A fault of one device, `at_s` seconds from when the schedule is given to the lab."""

    at_s: float
    device: str
    fault: Fault


def storm(
    seed: int,
    devices: Sequence[str],
    *,
    duration_s: float,
    count: int,
    names: Sequence[str] = tuple(FAULTS),
) -> tuple[ScheduledFault, ...]:
    """Draw `count` faults over `duration_s`, in order of time; the seed decides everything.

    Raises:
        BadInput: a name is unknown.
    """
    drawn = []
    for index in range(count):
        when, who, what, size = uniforms(f"storm/{seed}/{index}", 4)
        fault = parse_fault(names[int(what * len(names))])
        if isinstance(fault, CutPower):
            fault = dataclasses.replace(fault, after_operations=int(size * 60), torn=size)
        device = devices[int(who * len(devices))]
        drawn.append(ScheduledFault(when * duration_s, device, fault))
    return tuple(sorted(drawn, key=lambda one: (one.at_s, one.device)))
