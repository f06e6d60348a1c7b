"""What happens to cryostats in a rollout: readings, freezes, hold-outs, and what people override.

As `events`: every one but a reading is one journal record.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryofw.rollout.events import Event

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.rollout.guard_reading import GuardReading

EXPERIMENT = "experiment"
ERROR_BUDGET = "error-budget"


@dataclass(frozen=True, slots=True)
class CryostatObserved(Event):
    """The guards of a cryostat were read; kept beside the journal, not in it."""

    kind = "cryostat-observed"
    cryostat: str
    reading: GuardReading


@dataclass(frozen=True, slots=True)
class GuardOverridden(Event):
    """A person takes it on themselves that a guard is passed over.

    `guard` is experiment, with the cryostat whose present lease it is, or error-budget.
    """

    kind = "guard-overridden"
    guard: str
    by: str
    why: str
    cryostat: str = ""
    evidence: Mapping[str, object] = field(default_factory=dict)
    proof: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CryostatBaseTaken(Event):
    """The temperature at rest, before anything was sent; rises are counted from it."""

    kind = "cryostat-base-taken"
    cryostat: str
    base_k: float
    evidence: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CryostatFrozen(Event):
    """Too warm, warming too fast, or nobody knows: no upload, no test, no confirm."""

    kind = "cryostat-frozen"
    cryostat: str
    why: str
    evidence: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CryostatThawed(Event):
    """It was calm for long enough: what was frozen goes on, or goes back."""

    kind = "cryostat-thawed"
    cryostat: str
    why: str
    evidence: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CryostatHeldOut(Event):
    """An experiment or the fridge keeps the cryostat out of the wave for now."""

    kind = "cryostat-held-out"
    cryostat: str
    why: str
    evidence: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CryostatAdmitted(Event):
    """It may be flashed again: free, or its lease was overridden by name."""

    kind = "cryostat-admitted"
    cryostat: str
    why: str
    lease_owner: str = ""
    lease_token: int | None = None


@dataclass(frozen=True, slots=True)
class DeviceMadeSafe(Event):
    """Its front end is in the safe state: heaters and drives off."""

    kind = "device-made-safe"
    device: str


@dataclass(frozen=True, slots=True)
class DeviceNotSafe(Event):
    """It could not be put into its safe state; it stays frozen all the same."""

    kind = "device-not-safe"
    device: str
    why: str


@dataclass(frozen=True, slots=True)
class DeviceCalibrated(Event):
    """Its calibration ended at `t_s` (seconds since 1970); its front end is on."""

    kind = "device-calibrated"
    device: str
    t_s: float = 0.0


@dataclass(frozen=True, slots=True)
class CalibrationFailed(Event):
    """It failed or did not end, so what the device measures now proves nothing."""

    kind = "calibration-failed"
    device: str
    why: str


@dataclass(frozen=True, slots=True)
class UploadInterrupted(Event):
    """The freeze stopped the upload between two packets; it goes on where it was."""

    kind = "upload-interrupted"
    device: str
    why: str
