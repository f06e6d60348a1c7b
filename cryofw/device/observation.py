"""What a device says about its slots and its boot."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryofw.smp.messages import ImageSlot


class Mode(StrEnum):
    """Who answers on the line."""

    APPLICATION = "application"
    RECOVERY = "recovery"


@dataclass(frozen=True)
class SlotState:
    """One slot that holds an image.

    Attributes:
        image: image number.
        slot: 0 primary, 1 secondary.
        hash: the image's TLV hash in hex, as the image claims it; never recomputed by devices.
        version: as the device prints it.
        bootable: it looks like an image.
        pending: the next boot swaps it in.
        confirmed: a reset keeps it.
        active: it runs.
        permanent: pending without a test boot.
    """

    image: int
    slot: int
    hash: str
    version: str
    bootable: bool = False
    pending: bool = False
    confirmed: bool = False
    active: bool = False
    permanent: bool = False

    @classmethod
    def of(cls, slot: ImageSlot) -> SlotState:
        """Take over what a device answered."""
        return cls(
            image=slot.image,
            slot=slot.slot,
            hash=slot.hash.hex(),
            version=slot.version,
            bootable=slot.bootable,
            pending=slot.pending,
            confirmed=slot.confirmed,
            active=slot.active,
            permanent=slot.permanent,
        )


@dataclass(frozen=True)
class Observation:
    """A device's state, read at one time inside one boot.

    Attributes:
        mode: application, or the bootloader's serial recovery.
        slots: the slots that hold an image, all image numbers.
        boot_id: changes with every boot; None without group 64.
        up_ms: milliseconds since boot; None without group 64.
        reset_cause: as the device numbers it; None if not told.
        recovery_escapes: resets that we sent to get the device out of serial recovery while we
            waited for this observation. A revert seen after one is the host's doing, no verdict
            on the firmware.
        caught_hash: what slot 0 held, in hex, when serial recovery was first seen while we waited;
            None if it did not tell or was never seen. If it was the old image already, then the
            new one had booted and gone before we sent any reset.
        reset_repeats: resets sent again, because the device had not reset.
    """

    mode: Mode
    slots: tuple[SlotState, ...]
    boot_id: int | None = None
    up_ms: int | None = None
    reset_cause: int | None = None
    recovery_escapes: int = 0
    caught_hash: str | None = None
    reset_repeats: int = 0

    @property
    def active(self) -> SlotState | None:
        """The slot of image 0 that runs."""
        return next((slot for slot in self._of_image_0 if slot.active), None)

    @property
    def other(self) -> SlotState | None:
        """The slot of image 0 that does not run."""
        return next((slot for slot in self._of_image_0 if not slot.active), None)

    @property
    def active_hash(self) -> str | None:
        """Hash in hex of what runs."""
        return self.active.hash if self.active else None

    @property
    def other_hash(self) -> str | None:
        """Hash in hex of what the other slot holds; None if it is empty."""
        return self.other.hash if self.other else None

    @property
    def test_boot(self) -> bool:
        """What runs is not confirmed: the next reset reverts it.

        Known of an application only; recovery does not tell.
        """
        return self.mode is Mode.APPLICATION and bool(self.active and not self.active.confirmed)

    @property
    def pending(self) -> bool:
        """The next reset swaps some image in."""
        return any(slot.pending for slot in self.slots)

    @property
    def settled(self) -> bool:
        """An application that is confirmed, with nothing pending: ready for an update."""
        return (
            self.mode is Mode.APPLICATION
            and not self.pending
            and self.active is not None
            and self.active.confirmed
        )

    def slot_holding(self, image_hash: str) -> SlotState | None:
        """Return the slot of image 0 that does not run and holds `image_hash` (hex)."""
        other = self.other
        return other if other and other.hash == image_hash else None

    @property
    def _of_image_0(self) -> tuple[SlotState, ...]:
        return tuple(slot for slot in self.slots if slot.image == 0)
