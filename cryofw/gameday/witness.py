"""Holds what the chips show against what the journals say, at any moment and at the end.

`moment` may be called at any time, also right after a kill: what the chips show must have been
announced. `end` is for when every rollout has ended and the leases have run out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.gameday.invariant import Invariant, require
from cryofw.gameday.testimony import DeviceTestimony, RolloutTestimony, Testimony

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from cryofw.gameday.chip import SeenChip

_NEW_FIRMWARE_RUNS = "confirmed"
_LAST_GOOD_RUNS = {"rolled-back", "self-reverted", "abandoned"}
_STOPPED_ON_THE_WAY = {"checked", "uploaded", "testing", "rolling-back"}
_LEFT_OPEN = ("", "stuck", "stopped")


class Witness:
    """One who saw the chips before, and reads every journal that drives them.

    Args:
        before: the chips as they were.
        verified: hashes of the images that cryofw was given and that verify.
        heat_slots: cryostat to the flashes that its heat budget allows at once.
        cryostats: device to its cryostat.
    """

    def __init__(
        self,
        before: Mapping[str, SeenChip],
        verified: Collection[str],
        heat_slots: Mapping[str, int] | None = None,
        cryostats: Mapping[str, str] | None = None,
    ) -> None:
        self.before = dict(before)
        self._verified = set(verified)
        self._slots = dict(heat_slots or {})
        self._cryostats = dict(cryostats or {})
        self._journals: dict[str, Testimony] = {}

    def believe(self, image_hash: str) -> None:
        """An image was verified that was not known before."""
        self._verified.add(image_hash)

    def testimony(self, name: str = "") -> Testimony:
        """What a journal said so far."""
        return self._journals.setdefault(name, Testimony())

    def moment(self, chips: Mapping[str, SeenChip]) -> None:
        """Check what must hold at every moment.

        Raises:
            InvariantBroken: it does not.
        """
        for name, chip in chips.items():
            self._check_announced(name, chip)
            images = {chip.active, chip.other, *chip.after_resets} - {""}
            strange = images - self._verified
            words = f"{name} holds {strange}, which was never verified"
            require(not strange, Invariant.VERIFIED_ONLY, words)
            boots = "" not in chip.after_resets
            require(boots, Invariant.VERIFIED_ONLY, f"{name} would boot nothing: {chip}")
        self._check_heat(chips)

    def end(self, chips: Mapping[str, SeenChip], hung: Collection[str] = ()) -> None:
        """Check what must hold once every rollout has ended and the leases have run out.

        Args:
            chips: as they are now.
            hung: devices whose application hangs, without a watchdog: no lease ends them.

        Raises:
            InvariantBroken: it does not.
        """
        for journal in self._journals.values():
            ended = all(rollout.ended for rollout in journal.rollouts.values())
            require(ended, Invariant.EVERY_DEVICE_SETTLED, "a rollout has not ended")
        rollouts = [one for one in self._latest() if one.devices]
        for name, chip in chips.items():
            self._check_settled(name, chip, rollouts, hangs=name in hung)
        for rollout in rollouts:
            if rollout.ended == "confirmed":
                stands = {name: device.stands for name, device in rollout.devices.items()}
                good = set(stands.values()) <= {"confirmed", "skipped", "unreachable"}
                words = f"confirmed, with {stands}"
                require(good, Invariant.EVERY_DEVICE_SETTLED, words)

    def _latest(self) -> Iterator[RolloutTestimony]:
        for journal in self._journals.values():
            if journal.latest is not None:
                yield journal.latest

    def _check_heat(self, chips: Mapping[str, SeenChip]) -> None:
        """Uploads, test boots and ways back stay within the budget.

        A device that was given up in its test boot flashes at its next reset, whoever resets it:
        it keeps its share wherever another upload is announced, but others are taken back beside
        it. What flashes is read from the chips and from the intents, not from what cryofw counts.

        Each journal is counted by itself: two hosts that share a cryostat know of one another by
        leases, thermometers and the owner in fleet.yaml, not by their budgets.
        """
        for journal in self._journals.values():
            devices = journal.latest.devices if journal.latest else {}
            flashing = {name for name, device in devices.items() if device.flashes}
            may = {n for n, device in devices.items() if device.sent and _may_flash(chips[n])}
            hangs = {name for name, device in devices.items() if device.hangs} - flashing
            for cryostat, slots in self._slots.items():
                here = {name for name, where in self._cryostats.items() if where == cryostat}
                announced = here & set(journal.uploading)
                counted = here & (flashing | may if announced else (flashing | may) - hangs)
                words = f"{cryostat}: {sorted(counted)} may flash, the budget has {slots} slots"
                require(len(counted) <= slots, Invariant.WITHIN_THE_HEAT, words)

    def _check_announced(self, name: str, chip: SeenChip) -> None:
        """Nothing is on a chip that was not in a journal before (invariants 2, 3 and 6)."""
        before, rollouts = self.before[name], list(self._latest())
        said = [(rollout, rollout.device(name)) for rollout in rollouts]
        if (chip.other_used, chip.other) != (before.other_used, before.other):
            sent = any(device.sent for _, device in said)
            words = f"{name} was written to, and no journal knows"
            require(sent, Invariant.NOTHING_LOST, words)
        if chip.pending or chip.test_boot or chip.active != before.active:
            asked = any(device.marked or device.restored for _, device in said)
            require(asked, Invariant.NOTHING_LOST, f"{name} was marked, nobody announced it")
        if chip.pending or chip.test_boot:
            held = any(rollout.ended in _LEFT_OPEN for rollout in rollouts)
            words = f"{name} is in flight, and every rollout has ended"
            require(held, Invariant.NO_ORPHAN_TEST_BOOT, words)
        if chip.confirmed and chip.active != before.active:
            asked = any(d.confirm_asked for r, d in said if r.release == chip.active)
            words = f"{name} was confirmed, nobody announced it"
            require(asked or _restored(said), Invariant.CONFIRM_AFTER_VERDICT, words)

    def _check_settled(
        self, name: str, chip: SeenChip, rollouts: list[RolloutTestimony], *, hangs: bool
    ) -> None:
        if not rollouts:
            same = chip.active == self.before[name].active and chip.confirmed
            require(same, Invariant.EVERY_DEVICE_SETTLED, f"{name} changed without a rollout")
            return
        said = [(rollout, rollout.device(name)) for rollout in rollouts]
        if hangs and any(_is_left_to_a_person(chip, *one) for one in said):
            return
        # Two operators: what one of them says of a device is enough, if it is what runs.
        faults = [self._fault(name, chip, device, rollout) for rollout, device in said]
        require("" in faults, Invariant.EVERY_DEVICE_SETTLED, "; ".join(filter(None, faults)))

    def _fault(
        self, name: str, chip: SeenChip, device: DeviceTestimony, rollout: RolloutTestimony
    ) -> str:
        """What is wrong with how a rollout left a device; empty if nothing."""
        if device.stands in ("stuck", "unreachable"):
            named = device.quarantined or not device.sent
            return "" if named else f"{name} is {device.stands}, and not named"
        if not chip.confirmed:
            return f"{name} ({device.stands}) is not settled: {chip}"
        if device.sent and rollout.ended == "stopped" and device.stands in _STOPPED_ON_THE_WAY:
            left = {device.last_good, rollout.release if device.restored else device.last_good}
            kept = device.quarantined and chip.active in left
            return "" if kept else f"{name} ({device.stands}) was left by the stop, and not named"
        if not device.sent:
            same = chip.active == self.before[name].active
            return "" if same else f"{name} changed, but nothing was sent to it"
        if device.stands == "refused":
            same = chip.active == (device.last_good or self.before[name].active)
            return "" if same else f"{name} was refused, and runs {chip.active}"
        if device.stands == _NEW_FIRMWARE_RUNS:
            same = chip.active == rollout.release
            return "" if same else f"{name} is confirmed, but runs {chip.active}"
        if device.stands not in _LAST_GOOD_RUNS:
            return f"{name} was left {device.stands}"
        same = chip.active == device.last_good
        return "" if same else f"{name} is {device.stands}, and runs {chip.active}"


def _may_flash(chip: SeenChip) -> bool:
    return chip.test_boot or chip.pending


def _is_left_to_a_person(
    chip: SeenChip, rollout: RolloutTestimony, device: DeviceTestimony
) -> bool:
    """After a stop nothing is sent: one that hangs is named, and its next reset takes it back."""
    goes_back = set(chip.after_resets) == {device.last_good}
    return rollout.ended == "stopped" and device.quarantined and goes_back


def _restored(said: list[tuple[RolloutTestimony, DeviceTestimony]]) -> bool:
    return any(device.restored for _, device in said)
