"""What happens to the calibration coefficients that a release brings.

As `events`: each is one journal record. Values are bytes in hex, by name of the setting; None is
one that the device did not have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.rollout.events import Event

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class CoefficientsRead(Event):
    """What the device had with the last good image, before anything was written: the way back."""

    kind = "coefficients-read"
    device: str
    values: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class CoefficientsApplied(Event):
    """The image on trial has them, as read back; its soak begins at `t_s` (host time)."""

    kind = "coefficients-applied"
    device: str
    t_s: float


@dataclass(frozen=True, slots=True)
class CoefficientsSaved(Event):
    """The confirmed image has them over a reset, as read back: the pair is whole."""

    kind = "coefficients-saved"
    device: str


@dataclass(frozen=True, slots=True)
class CoefficientsRestored(Event):
    """A device that went back by itself has its old ones again, as read back."""

    kind = "coefficients-restored"
    device: str


@dataclass(frozen=True, slots=True)
class CoefficientsDeferred(Event):
    """It did not answer, or ran another image or boot: the next heartbeat says more."""

    kind = "coefficients-deferred"
    device: str
    why: str


@dataclass(frozen=True, slots=True)
class CoefficientsFailed(Event):
    """It did not take them, or does not keep them: a failure of the update."""

    kind = "coefficients-failed"
    device: str
    why: str
    hint: str = ""
