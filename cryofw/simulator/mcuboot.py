"""The bootloader: which image runs after a reset, and what that does to the flash.

A model of MCUboot (swap using move, or overwrite-only) at the level of flash operations and
trailers. It prints the log lines a real one prints, because host tools meet them on the console.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from cryofw.simulator.compression import is_compressed, unpacked
from cryofw.simulator.encryption import BodyCipher, body_cipher, is_encrypted
from cryofw.simulator.flash import Flash, FlashArea
from cryofw.simulator.slot_image import SlotError, SlotImage, read_slot_image
from cryofw.simulator.spec import BootloaderConfig
from cryofw.simulator.swap import begin_swap, finish_swap
from cryofw.simulator.trailer import (
    Flag,
    Magic,
    SwapType,
    is_swap_interrupted,
    next_swap_type,
    read_trailer,
    trailer_offset,
    write_image_ok,
    write_magic,
    write_swap_type,
)

Validator = Callable[[bytes], bool]
"""Says whether the device accepts an image: hash and signature against its own key."""


@dataclass
class SecurityCounter:
    """The monotonic hardware counter of a device: images below it do not boot."""

    value: int = 0


@dataclass(frozen=True)
class BootOutcome:
    """Result of one run of the bootloader; `image` is None when nothing can be started."""

    image: SlotImage | None
    swapped: SwapType
    log: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bootloader:
    """MCUboot over one chip with two slots of equal size, the primary one first."""

    flash: Flash
    validator: Validator
    config: BootloaderConfig = field(default_factory=BootloaderConfig)
    counter: SecurityCounter = field(default_factory=SecurityCounter)

    def slot(self, index: int) -> FlashArea:
        """The flash area of slot 0 (primary) or 1 (secondary)."""
        size = self.flash.size // 2
        return FlashArea(self.flash, index * size, size)

    def swap_type(self) -> SwapType:
        """What the next boot would do, from the trailers."""
        return next_swap_type(read_trailer(self.slot(0)), read_trailer(self.slot(1)))

    def is_confirmed(self) -> bool:
        """Whether the image in the primary slot stays at the next reset."""
        return self.swap_type() is not SwapType.REVERT

    def is_valid(self, index: int) -> bool:
        """Check the image of a slot as at boot: size, flags, counter, hash, signature.

        An encrypted one is decrypted first in the secondary slot, and is plain in the primary one.
        """
        image = read_slot_image(self.slot(index))
        if isinstance(image, SlotError) or not image.header.bootable:
            return False
        area = self.slot(index)
        if image.size > trailer_offset(area) - self.flash.sector_size:
            return False
        if self.config.hardware_counter and (image.security_counter or 0) < self.counter.value:
            return False
        if is_compressed(image.header):
            return index == 1 and self.validator(area.read(0, image.size)) and self._unpacks()
        data = self._plain(index, image)
        return data is not None and self.validator(data)

    def _unpacks(self) -> bool:
        plain = self._unpacked()
        return plain is not None and self.validator(plain)

    def _unpacked(self) -> bytes | None:
        """The plain image that the compressed one in the secondary slot becomes."""
        taken = self.config.compressed if self.config.overwrite_only else ""
        return unpacked(self.slot(1), taken, trailer_offset(self.slot(0)))

    def _plain(self, index: int, image: SlotImage) -> bytes | None:
        """An image as it would lie in the primary slot; None if this bootloader cannot tell."""
        data = self.slot(index).read(0, image.size)
        if index == 0 or not is_encrypted(self.slot(index)):
            return data
        cipher = self._cipher(index)
        return cipher.apply(0, data) if cipher is not None else None

    def _cipher(self, index: int) -> BodyCipher | None:
        """How the image of a slot is encrypted; None if it is not, or for another device."""
        area = self.slot(index)
        return body_cipher(area, self.config.decryption_key) if is_encrypted(area) else None

    def planned_swap(self) -> SwapType:
        """What `boot` would do now, an interrupted swap included."""
        first = read_trailer(self.slot(0))
        return first.swap_type if is_swap_interrupted(first) else self.swap_type()

    def _has_swapped(self, planned: SwapType) -> bool:
        first, second = read_trailer(self.slot(0)), read_trailer(self.slot(1))
        return (
            planned is not SwapType.NONE
            and first.swap_type is planned
            and first.copy_done is Flag.SET
            and second.magic is not Magic.GOOD
        )

    def boot(self, begun: SwapType = SwapType.NONE) -> BootOutcome:
        """Run once: finish, begin or revert a swap, then choose the image to start.

        `begun` is the swap that this very boot had planned when the simulating process ended; if
        it was done by then, it is not taken for the boot after.

        Raises:
            PowerLostError: an armed power cut came; the next boot continues from the flash.
        """
        primary, secondary = self.slot(0), self.slot(1)
        first, second = read_trailer(primary), read_trailer(secondary)
        interrupted = is_swap_interrupted(first)
        log = [
            "*** Booting MCUboot ***",
            "I: Starting bootloader",
            f"I: Primary image: {first.describe()}",
            f"I: Secondary image: {second.describe()}",
            f"I: Boot source: {'primary slot' if interrupted else 'none'}",
        ]
        if self._has_swapped(begun):
            swapped = begun
        elif interrupted:
            swapped = first.swap_type
            log.append(f"I: Image index: 0, Swap type: {swapped.title}")
            finish_swap(primary, secondary)
        else:
            swapped = self._swap(log)
        if not self.is_valid(0):
            if isinstance(read_slot_image(primary), SlotImage):
                log.append("E: Image in the primary slot is not valid!")
            log.append("E: Unable to find bootable image")
            if self.config.serial_recovery:
                log.append("I: Enter the serial recovery mode")
            return BootOutcome(None, swapped, tuple(log))
        image = read_slot_image(primary)
        assert isinstance(image, SlotImage)
        self._raise_counter(image, swapped)
        return BootOutcome(image, swapped, tuple(log))

    def _swap(self, log: list[str]) -> SwapType:
        primary, secondary = self.slot(0), self.slot(1)
        wanted = self.swap_type()
        if wanted is SwapType.NONE and isinstance(read_slot_image(primary), SlotError):
            log.append("W: Failed reading image headers; Image=0")
            return SwapType.NONE
        log.append(f"I: Image index: 0, Swap type: {wanted.title}")
        if wanted is SwapType.NONE:
            return SwapType.NONE
        refusal = self._refuse(wanted)
        if refusal:
            log.append(refusal)
            secondary.erase()
            return SwapType.NONE
        if self.config.overwrite_only:
            log.append("I: Image 0 upgrade secondary slot -> primary slot")
            self._overwrite()
            return SwapType.PERMANENT
        log.append("I: Starting swap using move algorithm.")
        images = (read_slot_image(primary), read_slot_image(secondary))
        size = max(image.size for image in images if isinstance(image, SlotImage))
        begin_swap(primary, secondary, wanted, size, (self._cipher(0), self._cipher(1)))
        finish_swap(primary, secondary)
        return wanted

    def _overwrite(self) -> None:
        """Copy the secondary slot over the primary one; a cut copy begins anew at the next boot.

        What asks for it, the trailer of the secondary slot, is erased last. Source: MCUboot
        boot/bootutil/src/loader.c, boot_copy_image.
        """
        primary, secondary = self.slot(0), self.slot(1)
        image = read_slot_image(secondary)
        assert isinstance(image, SlotImage)
        compressed = is_compressed(image.header)
        data = self._unpacked() if compressed else self._plain(1, image)
        assert data is not None
        primary.erase()
        sector_size, align = self.flash.sector_size, self.flash.write_size
        data += b"\xff" * (-len(data) % align)
        for offset in range(0, len(data), sector_size):
            primary.program(offset, data[offset : offset + sector_size])
        secondary.erase(0, sector_size)
        secondary.erase(secondary.size - sector_size, sector_size)

    def _refuse(self, wanted: SwapType) -> str:
        if not self.is_valid(1):
            return "E: Image in the secondary slot is not valid!"
        if self.config.downgrade_prevention and wanted is not SwapType.REVERT:
            running, new = read_slot_image(self.slot(0)), read_slot_image(self.slot(1))
            if isinstance(running, SlotImage) and isinstance(new, SlotImage):
                old = running.header.version, running.security_counter or 0
                if new.header.version < old[0] or (new.security_counter or 0) < old[1]:
                    return "E: Insufficient version in secondary slot"
        return ""

    def _raise_counter(self, image: SlotImage, swapped: SwapType) -> None:
        if not self.config.hardware_counter:
            return
        settled = swapped is SwapType.PERMANENT or (
            swapped is SwapType.NONE and self.is_confirmed()
        )
        if settled:
            self.counter.value = max(self.counter.value, image.security_counter or 0)

    def set_pending(self, *, permanent: bool) -> None:
        """Ask for a swap to slot 1 at the next boot, as the application does.

        A trailer torn by a power cut cannot be recovered: the slot is erased instead.
        """
        secondary = self.slot(1)
        match read_trailer(secondary).magic:
            case Magic.UNSET:
                write_magic(secondary)
                if permanent:
                    write_image_ok(secondary)
                kind = SwapType.PERMANENT if permanent else SwapType.TEST
                write_swap_type(secondary, kind)
            case Magic.BAD:
                secondary.erase()
            case Magic.GOOD:
                pass

    def confirm(self) -> None:
        """Confirm the running image: it stays at the next reset."""
        primary = self.slot(0)
        trailer = read_trailer(primary)
        if trailer.magic is Magic.GOOD and trailer.image_ok is Flag.UNSET:
            write_image_ok(primary)
