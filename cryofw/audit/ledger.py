"""What an auditor remembers while reading a journal from its beginning: rollouts and devices.

Written apart from the rollout's own state on purpose: two readers of the same log that share no
code must come to the same end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryofw.audit.pair import OUTCOMES_OF_PAIRS, PairLedger
from cryofw.audit.register import LAB_KINDS, RegisterLedger
from cryofw.audit.standing import Standing, standing
from cryofw.rollout.commands import COMMANDS
from cryofw.rollout.record import EVENTS

if TYPE_CHECKING:
    from cryofw.journal import Record
    from cryofw.rollout import Plan

CHECK = "device-check-requested"
UPLOAD = "image-upload-requested"
TEST = "image-test-requested"
CONFIRM = "image-confirm-requested"
ROLL_BACK = "device-rollback-requested"
SAFE = "device-safe-requested"
CALIBRATE = "device-calibration-requested"
INTENTS = frozenset(COMMANDS)

ROLLOUT_KINDS = (INTENTS | frozenset(EVENTS)) - LAB_KINDS
"""Kinds that belong to a rollout."""

# What a device's record says about where it stands; of other kinds nothing is concluded.
_STANDS = {
    "device-checked": "checked",
    "device-skipped": "skipped",
    "device-refused": "refused",
    "device-unreachable": "unreachable",
    "image-uploaded": "uploaded",
    "upload-failed": "abandoned",
    TEST: "testing",
    "test-booted": "in test boot",
    "image-confirmed": "confirmed",
    "device-reverted": "self-reverted",
    "device-abandoned": "abandoned",
    ROLL_BACK: "rolling back",
    "device-rolled-back": "rolled back",
    "device-stuck": "stuck",
    "retry-granted": "checked",
    "quarantine-cleared": "",
}
_SENDING = frozenset({UPLOAD, TEST, CONFIRM, ROLL_BACK})
STOPPED = "the emergency stop was given"
ENDED = "the rollout had ended"

IN_FLIGHT = frozenset({"uploaded", "testing", "in test boot", "rolling back"})
"""States in which no rollout may leave a device."""


@dataclass(slots=True)
class DeviceLedger:
    """One device in one rollout, as far as its records tell."""

    stands: str = ""
    intents: dict[str, str] = field(default_factory=dict)  # open ones: kind -> hash
    last_good: str = ""
    uploaded: str = ""
    tested: str = ""
    verdict: str = ""
    left_by_stop: bool = False  # in quarantine because of the emergency stop
    accepted: str = ""  # who took it on themselves, since the latest verdict, which was none
    calibrated_first: bool = False  # since it was checked
    calibrated: bool = False  # in its test boot
    was_sent: bool = False  # anything that changes it
    pair: PairLedger = field(default_factory=PairLedger)

    def take(self, record: Record) -> None:
        """Fold one record of this device."""
        image = str(record.fields.get("hash", ""))
        self.pair.take(record)
        self.stands = _STANDS.get(record.kind, self.stands)
        if record.kind in INTENTS:
            self.intents[record.kind] = image
            self.was_sent = self.was_sent or record.kind in _SENDING
        elif record.kind in OUTCOMES:
            self.intents.clear()
        match record.kind:
            case "device-checked":
                self.last_good, self.calibrated_first = image, False
            case "device-calibrated":
                self.calibrated_first = self.calibrated_first or self.stands == "checked"
                self.calibrated = True
            case "image-uploaded":
                self.uploaded = image
            case "test-booted":
                self.tested, self.verdict, self.calibrated = image, "", False
                self.accepted = ""
            case "verdict-reached":
                self.verdict, self.accepted = str(record.fields.get("outcome", "")), ""
            case "device-accepted":
                held = self.stands == "in test boot" and self.verdict == "inconclusive"
                self.accepted = str(record.fields.get("by", "")) if held else ""
            case _:
                pass


OUTCOMES: dict[str, frozenset[str]] = {
    "device-checked": frozenset({CHECK}),
    "device-skipped": frozenset({CHECK}),
    "device-refused": INTENTS,
    "device-unreachable": INTENTS,
    "image-uploaded": frozenset({UPLOAD}),
    "upload-failed": frozenset({UPLOAD}),
    "test-booted": frozenset({TEST}),
    "image-confirmed": frozenset({CONFIRM}),
    "confirm-refused": frozenset({CONFIRM}),
    "device-rolled-back": frozenset({ROLL_BACK}),
    "device-stuck": INTENTS,
    "device-made-safe": frozenset({SAFE}),
    "device-not-safe": frozenset({SAFE}),
    "device-calibrated": frozenset({CALIBRATE}),
    "calibration-failed": frozenset({CALIBRATE}),
    "upload-interrupted": frozenset({UPLOAD}),
    **OUTCOMES_OF_PAIRS,
}
"""Outcomes, and the intents one of which must stand before them, still without an outcome.

`device-reverted` is not here: a device may go back by itself at any moment.
"""


@dataclass(slots=True)
class RolloutLedger:
    """One rollout, as far as its records tell; `plan` is what it was started with, if at hand."""

    release: str
    plan: Plan | None = None
    version: str = ""
    devices: dict[str, DeviceLedger] = field(default_factory=dict)
    stages: list[str] = field(default_factory=list)  # started, in order
    gates: set[str] = field(default_factory=set)
    approved: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)  # kinds about the origin of the firmware
    wave: int = 0
    frozen: set[str] = field(default_factory=set)  # cryostats
    held_out: set[str] = field(default_factory=set)
    goes_back: bool = False  # a person asked for its rollback
    resting: str = ""  # why nothing may be asked of a device: ended, paused, stopped
    is_open: bool = True

    def device(self, name: str) -> DeviceLedger:
        """The device's ledger, made when it is first named."""
        found = self.devices.get(name)
        if found is None:
            found = self.devices[name] = DeviceLedger()
        return found

    def take(self, record: Record) -> None:
        """Fold one record of this rollout."""
        if record.device is not None:
            device = self.device(record.device)
            device.take(record)
            if record.kind == "device-quarantined" and self.resting == STOPPED:
                device.left_by_stop = True
            return
        stage = str(record.fields.get("stage", ""))
        match record.kind:
            case "stage-started":
                self.stages.append(stage)
                self.wave = 0
            case "wave-started":
                self.wave += 1
            case "gate-passed":
                self.gates.add(stage)
            case "gate-failed":
                self.gates.discard(stage)
            case "stage-approved":
                self.approved.add(stage)
            case "release-verified" | "expiry-forgiven":
                self.told.add(record.kind)
            case "cryostat-frozen":
                self.frozen.add(str(record.fields.get("cryostat")))
                self.held_out.discard(str(record.fields.get("cryostat")))
            case "cryostat-thawed":
                self.frozen.discard(str(record.fields.get("cryostat")))
            case "cryostat-held-out":
                self.held_out.add(str(record.fields.get("cryostat")))
            case "cryostat-admitted":
                self.held_out.discard(str(record.fields.get("cryostat")))
            case _:
                self._rest(record)

    def _rest(self, record: Record) -> None:
        """Whether anything may be asked of a device after this."""
        match record.kind:
            case "rollout-ended":
                self.resting, self.is_open = ENDED, False
            case "rollout-paused":
                self.resting = "the rollout was paused"
            case "stop-requested":
                self.resting = STOPPED
            case "rollback-requested":
                self.resting, self.goes_back, self.is_open = "", True, True
            case "rollout-resumed" if self.resting not in (STOPPED, ENDED):
                self.resting = ""
            case _:
                pass


@dataclass(slots=True)
class Ledger:
    """The whole journal: rollouts by id, and the devices in quarantine."""

    rollouts: dict[str, RolloutLedger] = field(default_factory=dict)
    quarantine: set[str] = field(default_factory=set)
    running: dict[str, Standing] = field(default_factory=dict)
    register: RegisterLedger = field(default_factory=RegisterLedger)

    def take(self, record: Record, plan: Plan | None = None) -> None:
        """Fold one record; `plan` is that of the rollout which it starts."""
        if record.kind == "rollout-started":
            release, version = (str(record.fields.get(n, "")) for n in ("release", "version"))
            self.rollouts[record.rollout] = RolloutLedger(release, plan, version)
        elif (rollout := self.rollouts.get(record.rollout)) is not None:
            rollout.take(record)
        if record.device is None:
            return
        if record.kind in LAB_KINDS:
            self.register.take(record, self.quarantine)
        if (now := standing(record)) is not None:
            self.running[record.device] = now
        elif record.kind == "device-quarantined":
            self.quarantine.add(record.device)
        elif record.kind == "quarantine-cleared":
            self.quarantine.discard(record.device)
