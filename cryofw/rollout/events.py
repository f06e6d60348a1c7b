"""What happens in a rollout, in the past tense: facts from devices and people, and decisions.

Every event but a reading is one journal record; `kind` is its name there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.health import Reading


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events; a field called `device` becomes the record's device.

    A field called `proof` holds the statement that the person signed, where a policy asks for one.
    """

    kind: ClassVar[str] = ""


class Ending(StrEnum):
    """How a rollout ended."""

    CONFIRMED = "confirmed"
    ROLLED_BACK = "rolled-back"
    STUCK = "stuck"
    ABORTED = "aborted"
    STOPPED = "stopped"
    REFUSED = "refused"


# --- facts: from the person who runs it ---------------------------------------------------


@dataclass(frozen=True, slots=True)
class RolloutStarted(Event):
    """A person started the rollout of a plan, up to stage `until` (empty: all)."""

    kind = "rollout-started"
    plan: str
    release: str
    version: str
    until: str = ""
    by: str = ""
    proof: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RolloutResumed(Event):
    """The rollout continues in a new process; what was in flight is looked at first."""

    kind = "rollout-resumed"
    until: str = ""
    by: str = ""
    proof: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StageApproved(Event):
    """A person approved that `stage` may start."""

    kind = "stage-approved"
    stage: str
    by: str
    why: str = ""
    proof: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ApprovalVoided(Event):
    """An approval that was given does not count any more: its key was revoked since."""

    kind = "approval-voided"
    stage: str
    principal: str
    why: str


@dataclass(frozen=True, slots=True)
class AbortRequested(Event):
    """Start nothing more; revert what is not confirmed."""

    kind = "abort-requested"
    by: str
    why: str = ""
    proof: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RollbackRequested(Event):
    """Take every device of the rollout back to its last good firmware."""

    kind = "rollback-requested"
    by: str
    why: str = ""
    proof: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StopRequested(Event):
    """The emergency stop: nothing more is sent to any device."""

    kind = "stop-requested"
    by: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class PauseRequested(Event):
    """Finish what is in flight, start nothing, and pause."""

    kind = "pause-requested"
    by: str


@dataclass(frozen=True, slots=True)
class QuarantineCleared(Event):
    """A person saw to a stuck, refused or unreachable device; it is read again first."""

    kind = "quarantine-cleared"
    device: str
    by: str
    why: str = ""


# --- facts: from devices ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DeviceChecked(Event):
    """It is the device of the plan, runs the last good image, and can take the new one."""

    kind = "device-checked"
    device: str
    hash: str
    version: str
    hw: str = ""
    board: str = ""
    boot: int | None = None


@dataclass(frozen=True, slots=True)
class DeviceSkipped(Event):
    """It runs the new firmware already, confirmed."""

    kind = "device-skipped"
    device: str
    hash: str


@dataclass(frozen=True, slots=True)
class DeviceRefused(Event):
    """It answers but is not the device, or not in the state, that the plan names."""

    kind = "device-refused"
    device: str
    why: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class DeviceUnreachable(Event):
    """It did not answer; `sent` says whether anything had been sent to it before."""

    kind = "device-unreachable"
    device: str
    why: str
    sent: bool = False
    hint: str = ""


@dataclass(frozen=True, slots=True)
class ImageUploaded(Event):
    """The image lies whole in the second slot: its hash was read back.

    Of a compressed one `uploaded_hash` was read back, and `hash` is that of the plain image inside.
    """

    kind = "image-uploaded"
    device: str
    hash: str
    sent_bytes: int = 0
    resumed_at: int = 0
    retries: int = 0
    duration_s: float = 0.0
    uploaded_hash: str = ""


@dataclass(frozen=True, slots=True)
class UploadFailed(Event):
    """The device answers but did not take the image; nothing was marked."""

    kind = "upload-failed"
    device: str
    why: str


@dataclass(frozen=True, slots=True)
class TestBooted(Event):
    """The new image runs, not confirmed, in boot `boot`; `t_s` is host time.

    A bootloader that overwrites has confirmed it already, and nothing reverts it.
    """

    kind = "test-booted"
    __test__ = False
    device: str
    hash: str
    t_s: float
    boot: int | None = None


@dataclass(frozen=True, slots=True)
class DeviceReverted(Event):
    """The last good image runs again without our rollback; `host_fault` means we caused it."""

    kind = "device-reverted"
    device: str
    hash: str
    why: str
    host_fault: bool = False


@dataclass(frozen=True, slots=True)
class ImageConfirmed(Event):
    """Hash and boot were read afresh, the image was confirmed, and that was read back."""

    kind = "image-confirmed"
    device: str
    hash: str
    boot: int | None = None


@dataclass(frozen=True, slots=True)
class ConfirmRefused(Event):
    """The fresh read before the confirm did not show the image and boot that passed."""

    kind = "confirm-refused"
    device: str
    why: str


@dataclass(frozen=True, slots=True)
class PowerCycleRequested(Event):
    """The power hook is about to cycle the device and, with it, the devices `shared_by`."""

    kind = "power-cycle-requested"
    device: str
    shared_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PowerCycled(Event):
    """The power hook has done its work, or failed; the devices boot."""

    kind = "power-cycled"
    device: str
    shared_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceRolledBack(Event):
    """The last good image runs, confirmed, and its hash was read back."""

    kind = "device-rolled-back"
    device: str
    hash: str
    how: str = ""


@dataclass(frozen=True, slots=True)
class DeviceStuck(Event):
    """It cannot be brought to a known good state from here; a person has to act."""

    kind = "device-stuck"
    device: str
    why: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class ReadingTaken(Event):
    """A heartbeat, a missed one or a metric sample; kept beside the journal, not in it."""

    kind = "reading-taken"
    device: str
    reading: Reading


@dataclass(frozen=True, slots=True)
class ClockTicked(Event):
    """It is now `t_s` (seconds since 1970); not in the journal."""

    kind = "clock-ticked"
    t_s: float


# --- decisions ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StageStarted(Event):
    """The gate of the stage before it passed (`gate`: that stage; empty for the first)."""

    kind = "stage-started"
    stage: str
    gate: str = ""


@dataclass(frozen=True, slots=True)
class WaveStarted(Event):
    """Every device of the stage was checked; these are taken next."""

    kind = "wave-started"
    stage: str
    wave: int
    of: int
    devices: int = 0


@dataclass(frozen=True, slots=True)
class CohortFrozen(Event):
    """The baselines of a cohort are complete; it and its controls are fixed before the first look.

    `controls` may be empty: then before is compared with after, and a drift looks like a shift.
    """

    kind = "cohort-frozen"
    cohort: str
    devices: tuple[str, ...]
    controls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CommonCauseFound(Event):
    """The device is silent, and so are its controls, which nobody updated: held, not judged."""

    kind = "common-cause-found"
    device: str
    why: str
    t_s: float
    evidence: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CommonCauseEnded(Event):
    """The device or its controls answer again."""

    kind = "common-cause-ended"
    device: str
    why: str


@dataclass(frozen=True, slots=True)
class BaselineTaken(Event):
    """Enough samples from before the update; the device may be touched."""

    kind = "baseline-taken"
    device: str
    evidence: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VerdictReached(Event):
    """Passed, failed or inconclusive, with the numbers."""

    kind = "verdict-reached"
    device: str
    outcome: str
    why: str
    evidence: Mapping[str, object] = field(default_factory=dict)
    t_s: float | None = None


@dataclass(frozen=True, slots=True)
class HoldExpired(Event):
    """A held device did not become provably good in time; it goes back."""

    kind = "hold-expired"
    device: str
    why: str


@dataclass(frozen=True, slots=True)
class RetryGranted(Event):
    """The host caused the revert, so the firmware gets another attempt."""

    kind = "retry-granted"
    device: str
    attempt: int
    why: str


@dataclass(frozen=True, slots=True)
class FailureSpread(Event):
    """A failure reaches `count` devices within `reach`; they are taken back."""

    kind = "failure-spread"
    device: str
    reach: str
    stage: str
    count: int
    why: str


@dataclass(frozen=True, slots=True)
class DeviceAbandoned(Event):
    """An uploaded image that will not be tested; nothing was marked, nothing to revert."""

    kind = "device-abandoned"
    device: str
    why: str


@dataclass(frozen=True, slots=True)
class DeviceQuarantined(Event):
    """Nothing is sent to it until a person clears it by name."""

    kind = "device-quarantined"
    device: str
    why: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class GatePassed(Event):
    """Every reachable device of the stage runs the new firmware, proven good."""

    kind = "gate-passed"
    stage: str
    evidence: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GateFailed(Event):
    """The stage is over and did not prove the firmware good."""

    kind = "gate-failed"
    stage: str
    why: str
    evidence: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RolloutPaused(Event):
    """Nothing is in flight; `needs` says what it waits for.

    One of approval, stage (as far as asked), device, window, operator, cryostat.
    """

    kind = "rollout-paused"
    needs: str
    why: str
    stage: str = ""


@dataclass(frozen=True, slots=True)
class RolloutEnded(Event):
    """Nothing further follows."""

    kind = "rollout-ended"
    outcome: str
    why: str
    evidence: Mapping[str, object] = field(default_factory=dict)
