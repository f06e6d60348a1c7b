"""The invariants of the design, checked by someone who sees the chips and reads the journal.

`check_moment` may be called at any moment, also right after a kill: what the chips show must have
been announced in the journal. `check_end` is for rollouts that have ended. Neither asks the code
that made the decisions: records are read as plain JSON, chips by `flash_observer`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.flows.flash_observer import SeenDevice

Fields = Mapping[str, Any]

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
_NEW_FIRMWARE_RUNS = "confirmed"
_LAST_GOOD_RUNS = {"rolled-back", "self-reverted", "abandoned"}


@dataclass
class DeviceStory:
    """What the journal says about one device in one rollout."""

    last_good: str = ""
    sent: bool = False
    marked: bool = False
    """A test was asked for."""
    restored: bool = False
    """A rollback was asked for."""
    stands: str = "pending"
    verdict: Fields | None = None
    accepted: str = ""
    confirm_asked: bool = False
    intents: list[str] = field(default_factory=list)
    quarantined: bool = False


@dataclass
class RolloutStory:
    """What the journal says about one rollout."""

    release: str
    ended: str = ""
    gates: set[str] = field(default_factory=set)
    approved: set[str] = field(default_factory=set)
    stages: list[str] = field(default_factory=list)
    devices: dict[str, DeviceStory] = field(default_factory=dict)


def read_records(journal: bytes) -> list[Fields]:
    """The whole lines of a journal; a torn last one was never acknowledged."""
    whole = journal[: journal.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.splitlines()]


def read_stories(records: Sequence[Fields]) -> dict[str, RolloutStory]:
    """Fold the records, and check on the way what must stand before what."""
    stories: dict[str, RolloutStory] = {}
    for number, record in enumerate(records):
        assert record["n"] == number, f"record {number} says that it is {record['n']}"
        if record["kind"] == "rollout-started":
            running = [name for name, story in stories.items() if not story.ended]
            assert not running, f"{record['rollout']} was started while {running} was open"
            stories[record["rollout"]] = RolloutStory(record["release"])
        story = stories.get(record.get("rollout", ""))
        if story is not None:
            _take(story, record)
    return stories


def _take(story: RolloutStory, record: Fields) -> None:
    where = f"record {record['n']} ({record['kind']})"
    match record["kind"]:
        case "stage-started":
            before = story.stages[-1] if story.stages else ""
            assert not before or before in story.gates, f"{where}: the gate of {before} is shut"
            story.stages.append(record["stage"])
        case "gate-passed":
            story.gates.add(record["stage"])
        case "stage-approved":
            story.approved.add(record["stage"])
        case "rollout-ended":
            story.ended = record["outcome"]
        case "rollback-requested":
            story.ended = ""
        case _:
            pass
    name = record.get("device")
    if name is not None:
        device = story.devices.setdefault(str(name), DeviceStory())
        _take_device(device, record, where, story.release)


def _take_device(device: DeviceStory, record: Fields, where: str, release: str) -> None:
    kind = record["kind"]
    if kind in _OUTCOMES:
        asked = _OUTCOMES[kind] & set(device.intents)
        assert asked, f"{where}: an outcome of something that nobody announced"
        device.intents.clear()
    if kind in _INTENTS:
        device.intents.append(kind)
        device.sent = device.sent or kind in _SENT
    device.stands = _STANDS.get(kind, device.stands)
    match kind:
        case "device-checked" | "device-skipped":
            device.last_good = record["hash"]
        case "image-test-requested":
            assert record["hash"] == release, f"{where}: a test of another image"
            device.marked, device.verdict = True, None
        case "test-booted":
            device.verdict = None
        case "verdict-reached":
            assert record["why"], f"{where}: a verdict without its reason"
            assert record["evidence"]["heartbeats"], f"{where}: a verdict without numbers"
            device.verdict, device.accepted = record, ""
        case "device-accepted":
            held = device.verdict is not None and device.verdict["outcome"] == "inconclusive"
            device.accepted = record["by"] if held else ""
        case "image-confirm-requested":
            verdict = device.verdict
            passed = verdict is not None and verdict["outcome"] == "passed"
            assert passed or device.accepted, f"{where}: a confirm that nothing stands for"
            device.confirm_asked = True
        case "image-confirmed":
            assert record["hash"] == release, f"{where}: another image was confirmed"
        case "device-rollback-requested":
            assert record["hash"] == device.last_good, f"{where}: back to another image"
            device.restored = True
        case "device-rolled-back":
            assert record["hash"] == device.last_good, f"{where}: another image was read back"
        case "device-reverted":
            assert device.marked, f"{where}: it reverted, but no test was asked for"
        case "device-quarantined":
            device.quarantined = True
        case "quarantine-cleared":
            device.quarantined = False
        case _:
            pass


def check_moment(
    records: Sequence[Fields],
    chips: Mapping[str, SeenDevice],
    before: Mapping[str, SeenDevice],
    *,
    verified: frozenset[str],
    heat_slots: Mapping[str, int] | None = None,
    cryostats: Mapping[str, str] | None = None,
) -> RolloutStory | None:
    """Check what must hold at every moment, against how the chips were `before` the rollout.

    Args:
        verified: hashes of the images that cryofw was given and that verify.
        heat_slots: cryostat to the flashes that its heat budget allows at once.
        cryostats: device to its cryostat.

    Returns:
        the latest rollout.
    """
    stories = read_stories(records)
    story = list(stories.values())[-1] if stories else None
    for name, chip in chips.items():
        device = story.devices.get(name, DeviceStory()) if story else DeviceStory()
        _check_announced(name, chip, before[name], device, story)
        known = {chip.active, chip.other} - {""}
        assert known <= verified, f"{name} holds an image that was never verified"
        assert set(chip.after_resets) <= verified, f"{name} would not boot a verified image"
    if heat_slots and cryostats:
        for cryostat, slots in heat_slots.items():
            hot = [n for n, c in chips.items() if cryostats[n] == cryostat and not c.confirmed]
            assert len(hot) <= slots, f"{cryostat}: {hot} may flash, {slots} slots"
    return story


def _check_announced(
    name: str,
    chip: SeenDevice,
    before: SeenDevice,
    device: DeviceStory,
    story: RolloutStory | None,
) -> None:
    """Nothing is on a chip that was not in the journal before (invariants 2, 3 and 6)."""
    if (chip.other_used, chip.other) != (before.other_used, before.other):
        assert device.sent, f"{name} was written to, and the journal knows nothing"
    if chip.pending or chip.test_boot or chip.active != before.active:
        assert device.marked or device.restored, f"{name} was marked, nobody announced it"
    if chip.pending or chip.test_boot:
        assert story is not None
        lost = story.ended in ("", "stuck", "stopped")
        assert lost, f"{name} is in flight after the rollout ended {story.ended}"
    if chip.confirmed and story is not None and chip.active == story.release != before.active:
        assert device.confirm_asked, f"{name} was confirmed, nobody announced it"


def check_end(
    records: Sequence[Fields],
    chips: Mapping[str, SeenDevice],
    before: Mapping[str, SeenDevice],
) -> RolloutStory:
    """Check what must hold once every rollout has ended (invariant 5)."""
    stories = read_stories(records)
    assert all(story.ended for story in stories.values()), "a rollout has not ended"
    story = list(stories.values())[-1]
    for name, chip in chips.items():
        device = story.devices.get(name, DeviceStory())
        _check_settled(name, chip, before[name], device, story)
    if story.ended == "confirmed":
        good = {"confirmed", "skipped", "unreachable"}
        stands = {name: device.stands for name, device in story.devices.items()}
        assert set(stands) == set(chips), "a device was forgotten"
        assert set(stands.values()) <= good, stands
    return story


def _check_settled(
    name: str, chip: SeenDevice, before: SeenDevice, device: DeviceStory, story: RolloutStory
) -> None:
    if device.stands in ("stuck", "unreachable"):
        assert device.quarantined or not device.sent, f"{name} is {device.stands}, not named"
        return
    assert chip.confirmed, f"{name} ({device.stands}) is not settled: {chip}"
    if story.ended == "stopped" and device.stands in ("uploaded", "testing"):
        assert chip.active == device.last_good, f"{name} was left to its lease: {chip}"
        return
    if not device.sent:
        assert chip.active == before.active, f"{name} changed, but nothing was sent to it"
    elif device.stands == _NEW_FIRMWARE_RUNS:
        assert chip.active == story.release, f"{name} is confirmed, but runs {chip.active}"
    else:
        assert device.stands in _LAST_GOOD_RUNS, f"{name} was left {device.stands}"
        assert chip.active == device.last_good, f"{name} {device.stands}, runs {chip.active}"
