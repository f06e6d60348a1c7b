"""MCUboot's "swap using move": resumable after a power cut at any flash operation.

The primary image first moves up by one sector, from its end; then, sector by sector, the
secondary image is copied down and the moved one over. After each step a status entry is written
to the trailer of the primary slot. A step that is done again changes nothing, because its source
is untouched until the next step. An encrypted image is decrypted on its way down, and encrypted
again on its way up. Source: MCUboot boot/bootutil/src/swap_move.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.simulator.trailer import (
    FIELD_SIZE,
    Flag,
    SwapType,
    erase_trailer,
    read_ciphers,
    read_swap_size,
    read_trailer,
    status_offset,
    write_ciphers,
    write_copy_done,
    write_image_ok,
    write_magic,
    write_swap_size,
    write_swap_type,
)

if TYPE_CHECKING:
    from cryofw.simulator.encryption import BodyCipher
    from cryofw.simulator.flash import FlashArea


def _write_status(area: FlashArea, index: int) -> None:
    area.program(status_offset(area) + index * FIELD_SIZE, b"\x01".ljust(FIELD_SIZE, b"\xff"))


def _read_status(area: FlashArea, steps: int) -> int:
    raw = area.read(status_offset(area), steps * FIELD_SIZE)
    written = 0
    while written < steps and raw[written * FIELD_SIZE] != 0xFF:
        written += 1
    return written


def _copy_sector(
    source: FlashArea,
    source_index: int,
    target: FlashArea,
    index: int,
    cipher: BodyCipher | None = None,
) -> None:
    size = source.flash.sector_size
    data = source.read(source_index * size, size)
    if cipher is not None:
        data = cipher.apply(index * size, data)
    target.erase(index * size, size)
    if data != b"\xff" * size:
        target.program(index * size, data)


def begin_swap(
    primary: FlashArea,
    secondary: FlashArea,
    swap_type: SwapType,
    size: int,
    ciphers: tuple[BodyCipher | None, BodyCipher | None] = (None, None),
) -> None:
    """Write down that a swap of `size` bytes begins; nothing has moved when it returns.

    `ciphers` are those of the images in the primary and in the secondary slot.

    Until the magic of the primary slot is written, the trailer of the secondary slot alone says
    that a swap is wanted; a revert therefore first marks the old image there as permanent.

    Raises:
        PowerLostError: an armed power cut came.
    """
    if swap_type is SwapType.REVERT:
        erase_trailer(secondary)
        write_image_ok(secondary)
        write_swap_type(secondary, SwapType.REVERT)
        write_magic(secondary)
    erase_trailer(primary)
    write_ciphers(primary, ciphers)
    write_swap_size(primary, size)
    write_swap_type(primary, swap_type)
    if swap_type is not SwapType.TEST:
        write_image_ok(primary)
    write_magic(primary)


def finish_swap(primary: FlashArea, secondary: FlashArea) -> None:
    """Do all steps of a begun swap that are not done yet, and mark it complete.

    Raises:
        PowerLostError: an armed power cut came; calling it again at the next boot continues.
    """
    erase_trailer(secondary)
    sector_size = primary.flash.sector_size
    sectors = -(-read_swap_size(primary) // sector_size)
    done = _read_status(primary, 3 * sectors)
    going_up, coming_down = read_ciphers(primary)
    for step in range(done, 3 * sectors):
        if step < sectors:
            index = sectors - step
            _copy_sector(primary, index - 1, primary, index)
        else:
            index, copied = divmod(step - sectors, 2)
            if copied:
                _copy_sector(primary, index + 1, secondary, index, going_up)
            else:
                _copy_sector(secondary, index, primary, index, coming_down)
        _write_status(primary, step)
    if read_trailer(primary).copy_done is not Flag.SET:
        write_copy_done(primary)
