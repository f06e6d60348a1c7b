"""Where a drift comes from, as far as it can be told, and what a person may do about it.

A coincidence in time is no proof: a release or a cooldown that began within the range in which the
drift began is named, and what is not known is named unknown. Nothing is decided here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryofw.engine.release_timeline import ReleaseSpell, ReleaseTimeline
    from cryofw.fleet import Metric
    from cryofw.health.drift_verdict import Drift, DriftVerdict
    from cryofw.telemetry import Recording


class Step(StrEnum):
    """What is proposed."""

    ROLL_BACK = "roll back"
    RECALIBRATE = "recalibrate"
    CHECK_CRYOSTAT = "check the cryostat"
    WATCH = "watch"
    LOOK = "look at it"


@dataclass(frozen=True, slots=True)
class Origin:
    """What ran when a drift began.

    Attributes:
        release: what ran then; None: unknown, no journal has it.
        with_release: `release` began to run within the range in which the drift began.
        before: what ran before `release`; None: unknown.
        cooldown: its name; empty: unknown.
        with_cooldown: it began within that range.
        carriers: devices to which all this applies.
        company: of the judged devices that run `release` too, how many drift, and how many do not.
    """

    release: ReleaseSpell | None
    with_release: bool
    before: ReleaseSpell | None
    cooldown: str
    with_cooldown: bool
    carriers: tuple[str, ...]
    company: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Proposal:
    """One step, and why."""

    step: Step
    why: str


def origin_of(verdict: DriftVerdict, timeline: ReleaseTimeline, recording: Recording) -> Origin:
    """The release and the cooldown that `verdict.drift` began with or under.

    For a drift that a cryostat shares: those of most of its devices.
    """
    drift = verdict.drift
    assert drift is not None
    devices = verdict.neighbours if verdict.is_shared else (verdict.device,)
    new = {
        device: spell
        for device in devices
        if (spell := timeline.installed_between(device, drift.earliest_s, drift.latest_s))
    }
    with_release = 2 * len(new) > len(devices)
    carriers = tuple(new) if with_release else devices
    first = carriers[0]
    release = new[first] if with_release else timeline.at(first, drift.began_s)
    cooldown, began = _cooldown(first, drift, recording)
    before = timeline.before(first, release) if release else None
    return Origin(release, with_release, before, cooldown, began, carriers)


def _cooldown(device: str, drift: Drift, recording: Recording) -> tuple[str, bool]:
    starts = recording.cooldowns.get(device, ())
    # The first of a recording was seen then; nobody knows since when it lasted.
    began = [one for one in starts[1:] if drift.earliest_s <= one.t_s <= drift.latest_s]
    if began:
        return began[-1].cooldown, True
    return recording.cooldown(device, drift.began_s), False


def propose(
    verdict: DriftVerdict, origin: Origin, metric: Metric | None, latest_rollout: str
) -> Proposal:
    """What a person may do about a drift.

    Args:
        verdict: with its drift.
        origin: what ran when it began.
        metric: of fleet.yaml; None: unit, direction of harm and margin are unknown.
        latest_rollout: id of the last rollout.
    """
    drift = verdict.drift
    assert drift is not None
    if metric is not None:
        harm = drift.size if metric.worse == "higher" else -drift.size
        if harm < 0:
            why = "it got better: see what changed; nothing has to be taken back"
            return Proposal(Step.LOOK, why)
        if harm <= metric.margin:
            return Proposal(Step.WATCH, _until_margin(drift, harm, metric))
    if origin.with_release and origin.with_cooldown:
        why = (
            f"release {_version(origin)} and cooldown {origin.cooldown} began together: if it stays"
            " after a recalibration, it is the release"
        )
        return Proposal(Step.RECALIBRATE, why)
    if origin.with_release:
        return _about_release(origin, latest_rollout)
    if origin.with_cooldown:
        why = f"cooldown {origin.cooldown} began then: a thermal cycle moves the working point"
        return Proposal(Step.RECALIBRATE, why)
    if verdict.is_shared:
        why = "no release began then: temperature, reference, supply, wiring; then recalibrate"
        return Proposal(Step.CHECK_CRYOSTAT, why)
    if origin.release is None:
        return Proposal(Step.RECALIBRATE, "no journal says what ran then")
    return Proposal(Step.RECALIBRATE, "no new release and no new cooldown is known to begin then")


def _version(origin: Origin) -> str:
    return (origin.release.version if origin.release else "") or "unknown"


def _until_margin(drift: Drift, harm: float, metric: Metric) -> str:
    within = f"still within the margin of {metric.margin:g} {metric.unit}"
    rate = abs(drift.per_day)
    if not drift.gradual or rate * 365 < metric.margin - harm or not rate:
        return within
    days = (metric.margin - harm) / rate
    return f"{within}; at this rate for {days:.2g} more days"


def _about_release(origin: Origin, latest_rollout: str) -> Proposal:
    """A fault of firmware shows on most devices that run it; one device alone is another matter."""
    drifting, still = origin.company
    back = f"back {_way_back(origin, latest_rollout)}"
    began = f"release {_version(origin)} began then"
    if not drifting + still:
        return Proposal(Step.ROLL_BACK, f"{began}; {back}")
    others = f"{drifting} of {drifting + still} other devices with it drift"
    if drifting < still:
        why = f"{began}, but only {others}: if it stays after a recalibration, {back}"
        return Proposal(Step.RECALIBRATE, why)
    return Proposal(Step.ROLL_BACK, f"{began}, and {others} too; {back}")


def _way_back(origin: Origin, latest_rollout: str) -> str:
    assert origin.release is not None
    before = origin.before.version if origin.before and origin.before.hash else ""
    goal = f"to {before}" if before else "to what ran before"
    if origin.release.rollout and origin.release.rollout == latest_rollout:
        return f"{goal} with `cryofw rollback {latest_rollout}`"
    return f"{goal} with `cryofw deploy --downgrade`"
