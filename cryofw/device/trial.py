"""Changing what a device boots: mark for test, confirm, revert, restore.

A change is never sent twice unseen: when its answer is lost, the state is read first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.device.errors import (
    BootChanged,
    ChangeNotSeen,
    DeviceSilent,
    DeviceUnreachable,
    ImageNotRunning,
    NotReady,
)
from cryofw.device.examination import require_application
from cryofw.device.observation import Mode
from cryofw.device.upload import require_settled
from cryofw.smp import messages

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cryofw.device.boot import BootWatcher
    from cryofw.device.examination import Examiner
    from cryofw.device.link import Link
    from cryofw.device.observation import Observation
    from cryofw.device.target import Target
    from cryofw.smp import Request


# A last good image that a power cut or a crash throws out of its test boot is given it again.
MOST_RESTORING_BOOTS = 3
MOST_REVERTING_RESETS = 2


@dataclass(frozen=True)
class RestoreReport:
    """How a device came back to its last good image.

    Attributes:
        observation: read back at the end: the last good image, active and confirmed.
        uploaded: it had to be uploaded; False: the other slot still held it.
        boots: test boots that it took; 0: it ran already.
    """

    observation: Observation
    uploaded: bool
    boots: int


class Trial:
    """Moves one device between its two images."""

    def __init__(self, target: Target, link: Link, examiner: Examiner, boot: BootWatcher) -> None:
        self._target = target
        self._link = link
        self._examiner = examiner
        self._boot = boot

    async def test(self, image_hash: str, running_hash: str = "") -> Observation:
        """Mark the image in the other slot for one test boot; return the state read back.

        That state is pending; or, if the device was reset right after the mark, already the test
        boot (`test_boot`): then another reset would revert it. A bootloader that overwrites makes
        no test boot of it: then the image runs, confirmed.

        Args:
            image_hash: hash in hex that the other slot shows.
            running_hash: that it shows once it runs; empty: the same. They differ if the
                bootloader unpacks it.

        Raises:
            NotReady: not settled, runs it already, or no slot holds it.
            InRecovery: serial recovery answers, also after resets.
            RequestFailed: the device refused.
            ChangeNotSeen: it accepted, but shows nothing pending.
            DeviceSilent, DeviceUnreachable: no answer.
        """
        seen = await self._boot.application()
        await self._examiner.require_same_device()
        slot = seen.slot_holding(image_hash)
        if slot is not None and slot.pending and not slot.permanent and not seen.test_boot:
            return seen
        running = running_hash or image_hash
        overwrites = self._target.overwrites
        self._require_testable(seen, image_hash, running)
        return await self._change(
            messages.mark_for_test(bytes.fromhex(image_hash)),
            "mark the image for test",
            done=lambda now: _marked_or_booted(now, image_hash, running, overwrites=overwrites),
            still=lambda now: self._require_testable(now, image_hash, running),
        )

    async def confirm(self, expected_hash: str, boot_id: int | None = None) -> Observation:
        """Confirm what runs, if it is `expected_hash` in the boot `boot_id`; read it back.

        The request names no hash: if the device reverted this very moment, it confirms the old
        image, where a confirmation by hash would make the new one permanent.

        Args:
            expected_hash: hash in hex that must run, before and after.
            boot_id: boot that must last until the confirmation; None: the present one.

        Raises:
            ImageNotRunning: another image runs.
            BootChanged: the device has booted since.
            InRecovery: serial recovery answers, also after resets.
            RequestFailed: the device refused.
            ChangeNotSeen: it accepted, but is not confirmed.
            DeviceSilent, DeviceUnreachable: no answer.
        """
        seen = await self._boot.application()
        await self._examiner.require_same_device()
        self._require_running(seen, expected_hash, boot_id)
        if _confirmed(seen, expected_hash):
            return seen
        boot_id = boot_id if boot_id is not None else seen.boot_id
        # If it booted right after the confirmation it still is confirmed: an earlier boot would
        # have reverted it.
        return await self._change(
            messages.confirm_image(),
            "confirm the image",
            done=lambda now: _confirmed(now, expected_hash),
            still=lambda now: self._require_running(now, expected_hash, boot_id),
        )

    async def revert(self, old_hash: str) -> Observation:
        """Reset a device out of a test boot and see that `old_hash` runs, confirmed.

        A pending image cannot be unmarked: one reset lets it boot for test, the next reverts it.

        Raises:
            ImageNotRunning: another image runs afterwards.
            As `BootWatcher.reset` and `BootWatcher.wait_for_boot`.
        """
        seen = await self._boot.application()
        await self._examiner.require_same_device()
        resets = 0
        while not seen.settled and resets < MOST_REVERTING_RESETS:
            resets += 1
            await self._boot.reset()
            seen = await self._boot.wait_for_boot(seen)
        self._require_running(seen, old_hash, None)
        require_settled(seen, self._target.name)
        return seen

    async def restore(
        self, last_good_hash: str, upload: Callable[[], Awaitable[object]] | None
    ) -> RestoreReport:
        """Bring back the last good image after a newer one was confirmed.

        Any reset on the way returns to the newer one, so the old image is confirmed as soon as
        its hash runs. May be called again after an interruption: it goes on where it stood.

        Args:
            last_good_hash: hash in hex.
            upload: uploads it, for when the other slot does not hold it any more.

        Raises:
            NotReady: the image is not on the device and `upload` is None.
            As `test`, `confirm`, `BootWatcher.wait_for_boot` and the upload.
        """
        seen = await self._boot.application()
        await self._examiner.require_same_device()
        if seen.active_hash == last_good_hash and seen.pending:
            seen = await self._unmark(seen, last_good_hash)
        uploaded = False
        boots = 0
        while True:
            while seen.active_hash != last_good_hash and boots < MOST_RESTORING_BOOTS:
                boots += 1
                if seen.slot_holding(last_good_hash) is None:
                    uploaded = await self._fetch(last_good_hash, upload)
                seen = await self.test(last_good_hash)
                if seen.pending:
                    await self._boot.reset()
                    seen = await self._boot.wait_for_boot(seen)
            try:
                seen = await self.confirm(last_good_hash, seen.boot_id)
            except (BootChanged, ImageNotRunning):
                # A reset came before the confirmation, and took it back to the newer image.
                if boots >= MOST_RESTORING_BOOTS:
                    raise
                seen = await self._boot.application()
                boots += seen.active_hash == last_good_hash
            else:
                return RestoreReport(seen, uploaded, boots)

    async def _unmark(self, seen: Observation, last_good_hash: str) -> Observation:
        """Get rid of a mark, which only a boot does: after it the other image runs, or ran."""
        if not self._target.overwrites:
            return await self.revert(last_good_hash)
        await self._boot.reset()
        return await self._boot.wait_for_boot(seen)

    async def _fetch(self, image_hash: str, upload: Callable[[], Awaitable[object]] | None) -> bool:
        if upload is None:
            raise NotReady(
                f"{self._target.name} does not hold its last good image any more",
                why=f"no slot holds {image_hash}",
                hint="give the image file, so that it can be uploaded.",
            )
        await upload()
        return True

    async def _change(
        self,
        request: Request,
        doing: str,
        *,
        done: Callable[[Observation], bool],
        still: Callable[[Observation], None],
    ) -> Observation:
        """Send a change, and again only when the state proves that it was not carried out.

        Args:
            request: the change.
            doing: in words.
            done: tells from an observation that it was carried out.
            still: raises when the change is not wanted any more.
        """
        tries = self._target.retries.count + 1
        while True:
            tries -= 1
            failure: DeviceSilent | DeviceUnreachable | None = None
            try:
                await self._examiner.command(request, doing, attempts=1)
            except (DeviceSilent, DeviceUnreachable) as error:
                failure = error
            seen = await self._boot.application()
            await self._examiner.require_same_device()
            if done(seen):
                return seen
            still(seen)
            if not tries:
                raise failure or ChangeNotSeen(
                    f"{self._target.name} did not {doing}",
                    why=f"it agreed, but its state is {_flags(seen)}",
                    hint="its flash may be faulty: read its log lines.",
                )
            self._link.count_repeat()

    def _require_testable(self, seen: Observation, image_hash: str, running_hash: str) -> None:
        require_application(seen, self._target.name)
        if seen.active_hash == running_hash:
            raise NotReady(
                f"{self._target.name} runs this image already",
                why=f"{running_hash} is active, "
                f"{'not confirmed' if seen.test_boot else 'confirmed'}",
                hint="there is nothing to test." if seen.settled else "It is in its test boot.",
            )
        require_settled(seen, self._target.name)
        if seen.slot_holding(image_hash) is None:
            raise NotReady(
                f"{self._target.name} does not hold the image",
                why=f"slot 1 holds {seen.other_hash or 'nothing'}, wanted {image_hash}",
                hint="upload it first.",
            )

    def _require_running(self, seen: Observation, expected_hash: str, boot_id: int | None) -> None:
        require_application(seen, self._target.name)
        if seen.active_hash != expected_hash:
            raise ImageNotRunning(
                f"{self._target.name} does not run the image that was expected",
                why=f"{seen.active_hash} runs, expected {expected_hash}",
                hint="it reverted, or its bootloader found the image not valid.",
                recovery_escapes=seen.recovery_escapes,
            )
        if boot_id is not None and seen.boot_id != boot_id:
            raise BootChanged(
                f"{self._target.name} has booted since it was watched",
                why=f"boot {seen.boot_id}, watched was boot {boot_id}"
                if seen.boot_id is not None
                else "its heartbeat is not answered any more, so nobody can tell its boot",
                hint="watch it anew: what was measured belongs to another boot.",
            )


def _confirmed(seen: Observation, image_hash: str) -> bool:
    active = seen.active if seen.mode is Mode.APPLICATION else None
    return active is not None and active.confirmed and active.hash == image_hash


def _marked_or_booted(
    seen: Observation, image_hash: str, running_hash: str, *, overwrites: bool
) -> bool:
    slot = seen.slot_holding(image_hash)
    booted = seen.active_hash == running_hash and (seen.test_boot or (overwrites and seen.settled))
    return booted or (slot is not None and slot.pending)


def _flags(seen: Observation) -> str:
    names = ("active", "confirmed", "pending", "permanent", "bootable")
    return "; ".join(
        f"slot {slot.slot} {slot.hash[:12]} "
        + (" ".join(name for name in names if getattr(slot, name)) or "no flag")
        for slot in seen.slots
    )
