"""Each step of a rollout as one line for a person: a word, a sentence, and how serious it is.

The odds of a finding are told once, with the verdict; what follows from it names it in short. The
journal keeps the whole sentence everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from cryofw.health import in_short
from cryofw.rollout import coefficient_events as coe
from cryofw.rollout import commands as c
from cryofw.rollout import cryostat_events as ce
from cryofw.rollout import events as e
from cryofw.rollout import lab_events as lab
from cryofw.rollout import operator_events as oe
from cryofw.rollout import recovery_events as rec
from cryofw.rollout import release_events as rel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryofw.rollout.rollout import Step


class Tone(StrEnum):
    """How a line should look; never the only carrier of its meaning."""

    GOOD = "good"
    BAD = "bad"
    WARNING = "warning"
    ACTIVE = "active"
    QUIET = "quiet"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the story; a `routine` one may be left out of a summary."""

    tone: Tone
    word: str
    text: str
    routine: bool = False


def tell(step: Step, version: Callable[[str], str] = lambda image_hash: image_hash[:8]) -> Line:
    """The line of a step.

    Args:
        step: an event or an intent.
        version: names an image by its hash.
    """
    if isinstance(step, c.Command):
        return Line(Tone.QUIET, "next", _INTENTS[type(step)], routine=True)
    for known in (
        _of_person,
        _of_lab,
        _of_release,
        _of_device,
        _of_comparison,
        _of_decision,
        _of_cryostat,
        _of_pair,
    ):
        line = known(step, version)
        if line is not None:
            return replace(line, text=printable(line.text))
    return Line(Tone.QUIET, step.kind, "", routine=True)


def printable(text: str) -> str:
    """Devices and people wrote it: nothing of it may steer the reader's terminal."""
    return "".join(char if char.isprintable() else " " for char in text)


_INTENTS: dict[type[c.Command], str] = {
    c.CheckDevice: "check the device",
    c.UploadImage: "upload the image",
    c.TestImage: "mark for test and reset",
    c.ConfirmImage: "read afresh and confirm",
    c.RollBackDevice: "bring the last good image back",
    c.SafeDevice: "put the front end into its safe state",
    c.CalibrateDevice: "calibrate it",
    c.ReadCoefficients: "read its coefficients",
    c.ApplyCoefficients: "give it its coefficients",
    c.SaveCoefficients: "let it keep its coefficients",
    c.RestoreCoefficients: "give it its old coefficients back",
}


def _of_person(step: e.Event, _version: Callable[[str], str]) -> Line | None:
    match step:
        case e.RolloutStarted():
            until = f" up to stage {step.until}" if step.until else ""
            return Line(Tone.ACTIVE, "started", f"rollout of {step.version}{until} by {step.by}")
        case e.RolloutResumed():
            return Line(Tone.ACTIVE, "resumed", f"by {step.by}")
        case e.StageApproved():
            why = f": {step.why}" if step.why else ""
            return Line(Tone.GOOD, "approved", f"stage {step.stage} by {step.by}{why}")
        case e.ApprovalVoided():
            what = f"of stage {step.stage} by {step.principal}: {step.why}"
            return Line(Tone.WARNING, "approval void", what)
        case e.AbortRequested():
            return Line(Tone.WARNING, "abort", _asked(step.by, step.why))
        case e.RollbackRequested():
            return Line(Tone.WARNING, "rollback", _asked(step.by, step.why))
        case e.StopRequested():
            return Line(Tone.BAD, "STOP", _asked(step.by, step.why))
        case e.PauseRequested():
            return Line(Tone.WARNING, "pause", _asked(step.by, ""))
        case e.QuarantineCleared():
            return Line(Tone.GOOD, "cleared", _asked(step.by, step.why))
    return None


def _of_lab(step: e.Event, version: Callable[[str], str]) -> Line | None:
    """What people say about single devices."""
    match step:
        case oe.DeviceAccepted():
            return Line(Tone.GOOD, "accepted", f"by {step.by}: {step.why}")
        case lab.DeviceAdopted():
            runs = f"runs {step.version or version(step.hash)} ({step.image})"
            return Line(Tone.GOOD, "adopted", f"{runs}, {_asked(step.by, step.why)}")
        case lab.DevicePinned():
            return Line(Tone.WARNING, "pinned", f"to {step.version}, {_asked(step.by, step.why)}")
        case lab.DeviceExcluded():
            what = f"from every rollout, {_asked(step.by, step.why)}"
            return Line(Tone.WARNING, "excluded", what)
        case lab.DeviceUnpinned():
            return Line(Tone.GOOD, "unpinned", _asked(step.by, step.why))
        case rec.RecoveryRequested():
            what = f"with {step.version}, {_asked(step.by, step.why)}"
            return Line(Tone.WARNING, "recovering", what)
        case rec.DeviceRecovered():
            what = f"runs {version(step.hash)} again, read back; {step.beats} heartbeats followed"
            return Line(Tone.GOOD, "recovered", what)
        case rec.RecoveryFailed():
            return Line(Tone.BAD, "not recovered", step.why)
        case lab.PolicyPinned():
            what = f"version {step.version} from {step.source}, by {step.by}"
            return Line(Tone.WARNING, "policy", f"{what} ({step.digest[:16]})")
        case lab.PolicyUnpinned():
            return Line(Tone.WARNING, "no policy", f"from now on, {_asked(step.by, step.why)}")
    return None


def _asked(by: str, why: str) -> str:
    return f"asked for by {by}" + (f": {why}" if why else "")


def _of_device(step: e.Event, version: Callable[[str], str]) -> Line | None:
    match step:
        case e.DeviceChecked():
            return Line(Tone.QUIET, "checked", f"runs {step.version}, confirmed", routine=True)
        case e.DeviceSkipped():
            return Line(Tone.GOOD, "skipped", f"runs {version(step.hash)} already")
        case e.DeviceRefused():
            return Line(Tone.BAD, "refused", step.why)
        case e.DeviceUnreachable():
            return Line(Tone.WARNING, "unreachable", step.why)
        case e.ImageUploaded():
            return Line(Tone.QUIET, "uploaded", _upload_words(step), routine=True)
        case e.UploadFailed():
            return Line(Tone.BAD, "upload failed", step.why)
        case e.TestBooted():
            boot = "" if step.boot is None else f" (boot {step.boot:08x})"
            return Line(Tone.ACTIVE, "test boot", f"runs {version(step.hash)}{boot}; soak begins")
        case e.DeviceReverted():
            return Line(Tone.BAD, "reverted", f"{step.why}; runs {version(step.hash)}")
        case e.ImageConfirmed():
            return Line(Tone.GOOD, "confirmed", f"runs {version(step.hash)}")
        case e.ConfirmRefused():
            return Line(Tone.WARNING, "not confirmed", step.why)
        case e.PowerCycleRequested():
            others = f", and with it {' '.join(step.shared_by)}" if step.shared_by else ""
            return Line(Tone.WARNING, "power cycle", f"it does not answer{others}")
        case e.PowerCycled():
            return Line(Tone.QUIET, "power cycled", "it boots", routine=True)
        case e.DeviceRolledBack():
            return Line(Tone.WARNING, "rolled back", f"runs {version(step.hash)}: {step.how}")
        case e.DeviceStuck():
            return Line(Tone.BAD, "STUCK", step.why)
    return None


def _upload_words(step: e.ImageUploaded) -> str:
    if step.sent_bytes == 0:
        return "the slot held the image already"
    resumed = f", resumed at {step.resumed_at}" if step.resumed_at else ""
    retries = f", {step.retries} retries" if step.retries else ""
    return f"{step.sent_bytes} bytes in {step.duration_s:.1f} s{resumed}{retries}"


_VERDICT_TONES = {"passed": Tone.GOOD, "failed": Tone.BAD, "inconclusive": Tone.WARNING}


def _of_comparison(step: e.Event, _version: Callable[[str], str]) -> Line | None:
    match step:
        case e.CohortFrozen():
            against = ", ".join(step.controls) or "nobody: before is compared with after"
            what = f"{', '.join(step.devices)} against {against}"
            return Line(Tone.QUIET, "compared", what, routine=bool(step.controls))
        case e.CommonCauseFound():
            return Line(Tone.WARNING, "silent", step.why)
        case e.CommonCauseEnded():
            return Line(Tone.ACTIVE, "heard", step.why)
    return None


def _of_decision(step: e.Event, _version: Callable[[str], str]) -> Line | None:
    match step:
        case e.StageStarted():
            gate = f"the gate of {step.gate} passed" if step.gate else "the first stage"
            return Line(Tone.ACTIVE, "stage", f"{step.stage} ({gate})")
        case e.WaveStarted():
            count = f"{step.devices} device" + ("s" if step.devices != 1 else "")
            return Line(Tone.ACTIVE, "wave", f"{step.wave}/{step.of} of {step.stage}: {count}")
        case e.BaselineTaken():
            return Line(Tone.QUIET, "baseline", "taken", routine=True)
        case e.VerdictReached():
            return Line(_VERDICT_TONES[step.outcome], step.outcome, step.why)
        case e.HoldExpired():
            return Line(Tone.BAD, "hold expired", in_short(step.why))
        case e.RetryGranted():
            return Line(Tone.WARNING, "again", f"attempt {step.attempt}: {step.why}")
        case e.FailureSpread():
            count = f"{step.count} device" + ("s" if step.count != 1 else "")
            what = f"reaches the {step.reach}, {count} back: {in_short(step.why)}"
            return Line(Tone.BAD, "failure", what)
        case e.DeviceAbandoned():
            return Line(Tone.WARNING, "abandoned", f"uploaded, never marked: {in_short(step.why)}")
        case e.DeviceQuarantined():
            return Line(Tone.BAD, "quarantine", f"{step.why}; {step.hint}")
        case e.GatePassed():
            return Line(Tone.GOOD, "gate passed", f"{step.stage}{_accepted(step.evidence)}")
        case e.GateFailed():
            return Line(Tone.BAD, "gate failed", f"{step.stage}: {in_short(step.why)}")
        case e.RolloutPaused():
            return Line(Tone.WARNING, "paused", step.why)
        case e.RolloutEnded():
            tone = Tone.GOOD if step.outcome == e.Ending.CONFIRMED else Tone.BAD
            return Line(tone, step.outcome, in_short(step.why))
    return None


def _accepted(evidence: Mapping[str, object]) -> str:
    """Whom a person, and no verdict, let through this gate."""
    accepted = evidence.get("accepted")
    if not isinstance(accepted, dict) or not accepted:
        return ""
    names = ", ".join(f"{name} by {who}" for name, who in accepted.items())
    return f", with devices that a person accepted: {names}"


def _of_release(step: e.Event, _version: Callable[[str], str]) -> Line | None:
    match step:
        case rel.ReleaseVerified():
            back = f", takes back {step.rolls_back}" if step.rolls_back else ""
            what = f"{step.release} (number {step.number}{back}) from {step.source}"
            return Line(Tone.GOOD, "released", what)
        case rel.ExpiryForgiven():
            what = f"expired metadata of {', '.join(step.roles)}"
            return Line(Tone.WARNING, "override", f"{what}, accepted by {step.by}: {step.why}")
    return None


def _of_cryostat(step: e.Event, _version: Callable[[str], str]) -> Line | None:
    match step:
        case ce.GuardOverridden():
            what = f"{step.guard} {step.cryostat}".rstrip()
            return Line(Tone.WARNING, "override", f"{what}, {_asked(step.by, step.why)}")
        case ce.CryostatBaseTaken():
            text = f"{step.cryostat} rests at {step.base_k:.3f} K"
            return Line(Tone.QUIET, "base", text, routine=True)
        case ce.CryostatFrozen():
            return Line(Tone.BAD, "FROZEN", f"{step.cryostat}: {step.why}")
        case ce.CryostatThawed():
            return Line(Tone.GOOD, "thawed", f"{step.cryostat}: {step.why}")
        case ce.CryostatHeldOut():
            return Line(Tone.WARNING, "held out", f"{step.cryostat}: {step.why}; the wave waits")
        case ce.CryostatAdmitted():
            return Line(Tone.GOOD, "admitted", f"{step.cryostat}: {step.why}")
        case ce.DeviceMadeSafe():
            return Line(Tone.QUIET, "safe", "heaters and drives are off", routine=True)
        case ce.DeviceNotSafe():
            return Line(Tone.WARNING, "not safe", step.why)
        case ce.DeviceCalibrated():
            return Line(Tone.QUIET, "calibrated", "its front end is on", routine=True)
        case ce.CalibrationFailed():
            return Line(Tone.BAD, "not calibrated", step.why)
        case ce.UploadInterrupted():
            return Line(Tone.WARNING, "interrupted", f"the upload waits: {step.why}")
    return None


def _of_pair(step: e.Event, _version: Callable[[str], str]) -> Line | None:
    match step:
        case coe.CoefficientsRead():
            had = ", ".join(f"{n} {v or 'none'}" for n, v in step.values.items())
            return Line(Tone.QUIET, "coefficients", f"before: {had}", routine=True)
        case coe.CoefficientsApplied():
            text = "given to the image on trial; the soak begins anew"
            return Line(Tone.ACTIVE, "coefficients", text)
        case coe.CoefficientsSaved():
            return Line(Tone.GOOD, "coefficients", "kept, as read back from its storage")
        case coe.CoefficientsRestored():
            return Line(Tone.WARNING, "coefficients", "the old ones are back")
        case coe.CoefficientsDeferred():
            return Line(Tone.WARNING, "coefficients", f"not now: {step.why}")
        case coe.CoefficientsFailed():
            return Line(Tone.BAD, "coefficients", step.why)
    return None
