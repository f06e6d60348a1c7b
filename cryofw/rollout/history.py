"""What the whole journal says: rollouts, what runs where, who is in quarantine. A fold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryofw.errors import BadInput
from cryofw.rollout import events as e
from cryofw.rollout import recovery_events as rec
from cryofw.rollout.lab_events import DeviceAdopted, PolicyPinned, PolicyUnpinned
from cryofw.rollout.record import step_from_record
from cryofw.rollout.register import DeviceRegister
from cryofw.trust.statement import parse_statement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cryofw.journal import Record


@dataclass(slots=True)
class RolloutSummary:
    """One rollout as the journal has it.

    Attributes:
        ended: how it ended; None while it is open.
        paused: what it waits for; empty if nothing.
    """

    rollout: str
    plan_digest: str
    release: str
    version: str
    by: str
    started: str
    latest: str
    stage: str = ""
    ended: e.Ending | None = None
    paused: str = ""
    why: str = ""

    @property
    def word(self) -> str:
        """One word for tables."""
        if self.ended is not None:
            return self.ended.value
        return f"paused ({self.paused})" if self.paused else "open"


@dataclass(frozen=True, slots=True)
class Sighting:
    """What was last read from a device: hash, how sure, when, in which rollout and why."""

    hash: str
    state: str
    t: str
    rollout: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Why nothing is sent to a device until a person clears it."""

    why: str
    hint: str
    rollout: str
    since: str


@dataclass(frozen=True, slots=True)
class PolicyMemory:
    """A policy that was in force: the hex digest of its file, and its version, 0 if unknown."""

    digest: str
    version: int


@dataclass(slots=True)
class History:
    """Folded from all records of a journal, oldest first."""

    rollouts: dict[str, RolloutSummary] = field(default_factory=dict)
    devices: dict[str, Sighting] = field(default_factory=dict)
    quarantine: dict[str, Quarantine] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    baselines: dict[str, Mapping[str, object]] = field(default_factory=dict)
    """Device to the evidence of its latest baseline."""
    register: DeviceRegister = field(default_factory=DeviceRegister)
    policy: PolicyMemory | None = None
    """The policy that was put in force last; None if there was none, or it was taken away."""
    set_aside: dict[str, Quarantine] = field(default_factory=dict)
    """Hardware id to why it was in quarantine when its controller was taken out."""

    @classmethod
    def fold(cls, records: Iterable[Record]) -> History:
        """The history of `records`."""
        history = cls()
        for record in records:
            step = step_from_record(record)
            if isinstance(step, e.Event):
                history._take(record, step)
        return history

    @property
    def open_rollout(self) -> RolloutSummary | None:
        """The rollout that has not ended; there is never more than one."""
        return next((r for r in self.rollouts.values() if r.ended is None), None)

    def version(self, image_hash: str) -> str:
        """The version of an image, or its shortened hash if no record names it."""
        return self.versions.get(image_hash) or image_hash[:12] or "unknown"

    def _take(self, record: Record, event: e.Event) -> None:
        self._about_rollout(record, event)
        self._about_device(record, event)
        self.register.take(record, event)
        match event:
            case DeviceAdopted():
                self._about_hardware(event)
            case PolicyPinned():
                self.policy = PolicyMemory(event.digest, event.version)
            case PolicyUnpinned():
                self.policy = None
            case e.RolloutStarted() if event.proof and self.policy is None:
                self.policy = _policy_of(event)  # of a cryofw that did not record the pin
            case e.DeviceQuarantined():
                self.quarantine[event.device] = Quarantine(
                    event.why, event.hint, record.rollout, record.t
                )
            case e.QuarantineCleared():
                self.quarantine.pop(event.device, None)
            case e.BaselineTaken():
                self.baselines[event.device] = event.evidence
            case _:
                pass

    def _about_hardware(self, event: DeviceAdopted) -> None:
        """What was known of a controller goes with it, wherever it goes."""
        if event.replaces is not None:
            self.baselines.pop(event.device, None)
            quarantine = self.quarantine.pop(event.device, None)
            if quarantine is not None:
                self.set_aside[event.replaces] = quarantine
        if event.hw and (found := self.set_aside.pop(event.hw, None)) is not None:
            self.quarantine[event.device] = found

    def _about_rollout(self, record: Record, event: e.Event) -> None:
        if isinstance(event, e.RolloutStarted):
            self.rollouts[record.rollout] = RolloutSummary(
                record.rollout, event.plan, event.release, event.version,
                event.by or record.who, record.t, record.t,
            )  # fmt: skip
            self.versions[event.release] = event.version
        summary = self.rollouts.get(record.rollout)
        if summary is None:
            return
        summary.latest = record.t
        match event:
            case e.RolloutResumed():
                summary.paused = ""
                summary.why = summary.why if summary.ended else ""
            case e.RollbackRequested():
                summary.paused = summary.why = ""
                summary.ended = None
            case e.StageStarted():
                summary.stage = event.stage
            case e.RolloutPaused():
                summary.paused, summary.why = event.needs, event.why
            case e.RolloutEnded():
                summary.ended, summary.paused = e.Ending(event.outcome), ""
                summary.why = event.why
            case _:
                pass

    def _about_device(self, record: Record, event: e.Event) -> None:
        seen: tuple[str, str] | None = None
        why = ""
        match event:
            case e.DeviceChecked():
                seen = event.hash, "confirmed"
                self.versions.setdefault(event.hash, event.version)
            case DeviceAdopted():
                seen = event.hash, "adopted"
                self.versions.setdefault(event.hash, event.version)
            case e.DeviceSkipped() | e.ImageConfirmed():
                seen = event.hash, "confirmed"
            case e.TestBooted():
                seen = event.hash, "test boot"
            case e.DeviceReverted():
                seen, why = (event.hash, "self-reverted"), event.why
            case e.DeviceRolledBack():
                seen, why = (event.hash, "rolled back"), event.how
            case e.DeviceStuck():
                seen, why = ("", "stuck"), event.why
            case rec.RecoveryRequested():
                seen, why = ("", "being recovered"), f"with {event.version}, by {event.by}"
            case rec.DeviceRecovered():
                seen, why = (event.hash, "recovered"), f"by {event.by}, over serial recovery"
            case rec.RecoveryFailed():
                seen, why = ("", "not recovered"), event.why
            case _:
                pass
        if seen is not None:
            device = str(record.device)
            self.devices[device] = Sighting(*seen, record.t, record.rollout, why)


def _policy_of(event: e.RolloutStarted) -> PolicyMemory | None:
    """The policy under which a signed start was given."""
    try:
        statement = parse_statement(str(event.proof.get("statement", "")).encode())
    except BadInput:
        return None
    return PolicyMemory(statement.policy, 0)
