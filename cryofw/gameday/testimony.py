"""What a journal says about devices, read as plain JSON by somebody who decides nothing.

The fold checks on its way what must stand before what: an intent before its outcome, a verdict
before a confirm, a gate before the next stage.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cryofw.gameday.invariant import Invariant, require

if TYPE_CHECKING:
    from collections.abc import Mapping

_OUTCOMES = {
    "device-checked": {"device-check-requested"},
    "device-skipped": {"device-check-requested"},
    "image-uploaded": {"image-upload-requested"},
    "upload-failed": {"image-upload-requested"},
    "test-booted": {"image-test-requested"},
    "image-confirmed": {"image-confirm-requested"},
    "confirm-refused": {"image-confirm-requested"},
    "device-rolled-back": {"device-rollback-requested"},
}
_UPLOAD = "image-upload-requested"
_CLOSING = {
    *_OUTCOMES,
    "device-refused",
    "device-unreachable",
    "device-stuck",
    "upload-interrupted",
}
_INTENTS = {
    "device-check-requested",
    "image-upload-requested",
    "image-test-requested",
    "image-confirm-requested",
    "device-rollback-requested",
}
_SENT = _INTENTS - {"device-check-requested"}
_STANDS = {
    "device-checked": "checked",
    "device-skipped": "skipped",
    "device-refused": "refused",
    "device-unreachable": "unreachable",
    "image-uploaded": "uploaded",
    "upload-failed": "abandoned",
    "device-abandoned": "abandoned",
    "image-test-requested": "testing",
    "test-booted": "testing",
    "image-confirmed": "confirmed",
    "device-rollback-requested": "rolling-back",
    "device-rolled-back": "rolled-back",
    "device-reverted": "self-reverted",
    "device-stuck": "stuck",
    "quarantine-cleared": "pending",
}
_READ = {"device-checked", "device-skipped", "device-rolled-back"}
_ON_THE_WAY = {"uploaded", "testing", "rolling-back"}


@dataclass
class DeviceTestimony:
    """What the journal says about one device in one rollout."""

    last_good: str = ""
    boot: int | None = None
    """Of its last test boot."""
    sent: bool = False
    marked: bool = False
    """A test was asked for."""
    restored: bool = False
    """A rollback was asked for."""
    stands: str = "pending"
    verdict: Mapping[str, Any] | None = None
    accepted: str = ""
    confirm_asked: bool = False
    intents: list[str] = field(default_factory=list)
    quarantined: bool = False
    hangs: bool = False
    """It was given up in a test boot or on its way back, and was not read since."""

    @property
    def flashes(self) -> bool:
        """An image is on its way to it, or it is on its way back: it writes its flash now."""
        return bool({"image-upload-requested", "device-rollback-requested"} & set(self.intents))


@dataclass
class RolloutTestimony:
    """What the journal says about one rollout."""

    release: str
    ended: str = ""
    gates: set[str] = field(default_factory=set)
    approved: set[str] = field(default_factory=set)
    stages: list[str] = field(default_factory=list)
    devices: dict[str, DeviceTestimony] = field(default_factory=dict)

    def device(self, name: str) -> DeviceTestimony:
        """What is said about a device; nothing yet is an answer too."""
        return self.devices.get(name) or DeviceTestimony()


class Testimony:
    """One journal, read as it grows.

    Attributes:
        records: how many were read.
        rollouts: by name, in order.
        uploading: devices to which an upload was announced in what was read last.
    """

    def __init__(self) -> None:
        self.records = 0
        self.rollouts: dict[str, RolloutTestimony] = {}
        self.uploading: list[str] = []
        self._read = b""

    @property
    def latest(self) -> RolloutTestimony | None:
        """The rollout that began last."""
        return next(reversed(self.rollouts.values()), None)

    def read(self, journal: bytes) -> list[Mapping[str, Any]]:
        """Take the whole lines that are new, and return them; a torn last one is not taken.

        Raises:
            InvariantBroken: what was read before is there no more, or a record may not stand
                where it stands.
        """
        kept = journal.startswith(self._read)
        require(kept, Invariant.NOTHING_LOST, "records that were on disk are lost or changed")
        whole = journal[: journal.rfind(b"\n") + 1]
        kept = whole.startswith(self._read)
        require(kept, Invariant.NOTHING_LOST, "records that were acknowledged are gone, or others")
        records = [json.loads(line) for line in whole[len(self._read) :].splitlines()]
        self._read = whole
        for record in records:
            self.take(record)
        kind = "image-upload-requested"
        self.uploading = [record["device"] for record in records if record["kind"] == kind]
        return records

    def take(self, record: Mapping[str, Any]) -> None:
        """Take the next record.

        Raises:
            InvariantBroken: it may not stand here.
        """
        number = self.records
        in_order = record["n"] == number
        require(in_order, Invariant.NOTHING_LOST, f"record {number} calls itself {record['n']}")
        self.records += 1
        if record["kind"] == "rollout-started":
            running = [name for name, one in self.rollouts.items() if not one.ended]
            words = f"{record['rollout']} was started while {running} was open"
            require(not running, Invariant.ONE_WRITER, words)
            self.rollouts[record["rollout"]] = RolloutTestimony(record["release"])
        rollout = self.rollouts.get(record.get("rollout", ""))
        if rollout is not None:
            _take(rollout, record)


def _take(rollout: RolloutTestimony, record: Mapping[str, Any]) -> None:
    where = f"record {record['n']} ({record['kind']})"
    match record["kind"]:
        case "stage-started":
            before = rollout.stages[-1] if rollout.stages else ""
            opened = not before or before in rollout.gates
            require(opened, Invariant.GATES_IN_ORDER, f"{where}: the gate of {before} is shut")
            rollout.stages.append(record["stage"])
        case "gate-passed":
            rollout.gates.add(record["stage"])
        case "stage-approved":
            rollout.approved.add(record["stage"])
        case "rollout-resumed":
            for one in rollout.devices.values():
                # The process that uploaded is gone; what people said before may have begun more.
                one.intents = [kind for kind in one.intents if kind != _UPLOAD]
        case "rollout-ended":
            rollout.ended = record["outcome"]
        case "rollback-requested":
            rollout.ended = ""
        case _:
            pass
    name = record.get("device")
    if name is not None:
        device = rollout.devices.setdefault(str(name), DeviceTestimony())
        _take_device(device, record, where, rollout.release)


def _take_device(
    device: DeviceTestimony, record: Mapping[str, Any], where: str, release: str
) -> None:
    kind = record["kind"]
    _take_step(device, kind, where)
    match kind:
        case "device-checked" | "device-skipped":
            device.last_good = record["hash"]
        case "image-test-requested":
            same = record["hash"] == release
            require(same, Invariant.VERIFIED_ONLY, f"{where}: a test of another image")
            device.marked, device.verdict = True, None
        case "test-booted":
            device.verdict, device.boot = None, record["boot"]
        case "verdict-reached":
            _take_verdict(device, record, where)
        case "device-accepted":
            held = device.verdict is not None and device.verdict["outcome"] == "inconclusive"
            device.accepted = record["by"] if held else ""
        case "image-confirm-requested":
            verdict = device.verdict
            passed = verdict is not None and verdict["outcome"] == "passed"
            stands = passed or bool(device.accepted)
            require(stands, Invariant.CONFIRM_AFTER_VERDICT, f"{where}: nothing stands for it")
            judged = verdict is not None and verdict["evidence"]["heartbeats"]["boot"]
            same = record["boot"] == judged and device.boot in (None, judged)
            words = f"{where}: boot {record['boot']}, tested was {device.boot}, judged {judged}"
            require(same, Invariant.CONFIRM_AFTER_VERDICT, words)
            device.confirm_asked = True
        case "image-confirmed":
            same = record["hash"] == release
            require(same, Invariant.CONFIRM_AFTER_VERDICT, f"{where}: another image")
        case "device-rollback-requested":
            same = record["hash"] == device.last_good
            require(same, Invariant.EVERY_DEVICE_SETTLED, f"{where}: back to another image")
            device.restored = True
        case "device-rolled-back":
            same = record["hash"] == device.last_good
            require(same, Invariant.EVERY_DEVICE_SETTLED, f"{where}: another image was read")
        case "device-reverted":
            require(device.marked, Invariant.NOTHING_LOST, f"{where}: no test was asked for")
        case "device-quarantined":
            device.quarantined = True
        case "quarantine-cleared":
            device.quarantined = False
        case _:
            pass


def _take_step(device: DeviceTestimony, kind: str, where: str) -> None:
    """Intents and their outcomes, and where the device stands by them."""
    if kind in _OUTCOMES:
        asked = _OUTCOMES[kind] & set(device.intents)
        require(bool(asked), Invariant.NOTHING_LOST, f"{where}: nobody announced it")
    if kind in _CLOSING:
        device.intents.clear()
    if kind in _INTENTS:
        device.intents.append(kind)
        device.sent = device.sent or kind in _SENT
    if kind == "device-stuck":
        device.hangs = device.hangs or device.stands in _ON_THE_WAY
    elif kind in _READ:
        device.hangs = False
    device.stands = _STANDS.get(kind, device.stands)


def _take_verdict(device: DeviceTestimony, record: Mapping[str, Any], where: str) -> None:
    why, evidence = record["why"], record["evidence"]
    require(bool(why), Invariant.EVERY_DECISION_EXPLAINED, f"{where}: a verdict without reason")
    told = bool(evidence.get("heartbeats"))
    require(told, Invariant.EVERY_DECISION_EXPLAINED, f"{where}: a verdict without numbers")
    device.verdict, device.accepted = record, ""
