"""Whether a device may be updated: everything that it can tell before anything is sent to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.device.observation import Mode
from cryofw.smp.messages import BootloaderMode

if TYPE_CHECKING:
    from cryofw.device.examination import Bootloader
    from cryofw.device.identity import Identity
    from cryofw.device.lease import LeaseState
    from cryofw.device.observation import Observation
    from cryofw.smp.messages import ServerParameters

_SWAPPING = (BootloaderMode.SWAP_SCRATCH, BootloaderMode.SWAP_WITHOUT_SCRATCH)


@dataclass(frozen=True)
class CheckReport:
    """What a device answered before an update.

    Attributes:
        identity: who it is; it is the target.
        observation: its slots and boot.
        image_size: bytes of the image to come.
        slot_size: bytes of its smaller slot; None if it does not tell.
        max_image_size: largest image in bytes that it names; None if it does not tell.
        buffers: its SMP buffers.
        bootloader: how it updates, as far as it tells.
        lease: who holds it; None without group 64.
        primary_size: bytes of the slot that runs; None if it does not tell.
    """

    identity: Identity
    observation: Observation
    image_size: int
    slot_size: int | None
    max_image_size: int | None
    buffers: ServerParameters
    bootloader: Bootloader
    lease: LeaseState | None
    primary_size: int | None = None

    @property
    def application_proven(self) -> bool:
        """The application answers, not the bootloader."""
        return self.observation.mode is Mode.APPLICATION

    @property
    def room(self) -> int | None:
        """Bytes that an image may have; None if the device does not tell."""
        known = [size for size in (self.slot_size, self.max_image_size) if size is not None]
        return min(known) if known else None

    @property
    def overwrites(self) -> bool | None:
        """Whether its bootloader copies over the running image; None if it does not tell.

        That is no problem in itself: a plan may accept that there is no test boot.
        """
        if self.bootloader.mode is None:
            return None
        return self.bootloader.mode == BootloaderMode.OVERWRITE_ONLY

    @property
    def problems(self) -> tuple[str, ...]:
        """Why it may not be updated now; empty if it may."""
        seen = self.observation
        found = []
        if not self.application_proven:
            found.append("serial recovery answers, not the application")
        if seen.active is None:
            found.append("no slot is active")
        if seen.test_boot:
            found.append(f"it runs {seen.active_hash} for test, not confirmed")
        if seen.pending:
            found.append("an image is pending: the next reset swaps it in")
        if self.room is not None and self.image_size > self.room:
            found.append(f"the image has {self.image_size} bytes, the slot room for {self.room}")
        if self.bootloader.mode not in (None, *_SWAPPING, BootloaderMode.OVERWRITE_ONLY):
            found.append(
                f"its bootloader does not swap ({_mode_name(self.bootloader.mode)}): "
                "there is no test boot and no way back"
            )
        return tuple(found)


def _mode_name(mode: int | None) -> str:
    try:
        return BootloaderMode(mode).name.lower().replace("_", "-") if mode is not None else "?"
    except ValueError:
        return f"mode {mode}"
