"""SMP group 1 (images) as the recorded Zephyr server answers it: state and erase."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.simulator.failure import INVALID, Answer, Failure
from cryofw.simulator.ram import Upload
from cryofw.simulator.reply import typed_fields
from cryofw.simulator.slot_image import SlotImage
from cryofw.simulator.trailer import SwapType
from cryofw.smp import Group, ImageCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.simulator.board import Board

_HASH_SIZE = 32

# Swap type of the next boot -> flags of (slot 0, slot 1), beside "active" of slot 0.
SLOT_FLAGS: Mapping[SwapType, tuple[frozenset[str], frozenset[str]]] = {
    SwapType.NONE: (frozenset({"confirmed"}), frozenset()),
    SwapType.TEST: (frozenset({"confirmed"}), frozenset({"pending"})),
    SwapType.PERMANENT: (frozenset({"confirmed"}), frozenset({"pending", "permanent"})),
    SwapType.REVERT: (frozenset(), frozenset({"confirmed"})),
}


def image_failure(code: ImageCode, reason: str = "") -> Failure:
    """A refusal with a code of this group."""
    return Failure(code, Group.IMAGE, reason)


def read_state(board: Board, _body: Mapping[str, object] | None) -> Answer:
    """Command 0, read: both slots; hash and version are the image's own claims."""
    flags = SLOT_FLAGS[board.bootloader.swap_type()]
    images = []
    for index in (0, 1):
        image = board.image(index)
        if not isinstance(image, SlotImage):
            continue
        images.append(
            {
                "slot": index,
                "version": image.header.version_text,
                "hash": image.hash,
                "bootable": image.header.bootable,
                "pending": "pending" in flags[index],
                "confirmed": "confirmed" in flags[index],
                "active": index == 0,
                "permanent": "permanent" in flags[index],
            }
        )
    return {"images": images, "splitStatus": 0}


def write_state(board: Board, body: Mapping[str, object] | None) -> Answer:
    """Command 0, write: test or confirm an image by its hash; no hash confirms the running one."""
    fields = typed_fields(body, {"hash": bytes, "confirm": bool})
    if fields is None:
        return INVALID
    wanted = fields.get("hash", b"")
    confirm = fields.get("confirm", False) is True
    assert isinstance(wanted, bytes)
    if not wanted and confirm:
        slot = 0
    elif len(wanted) != _HASH_SIZE:
        return image_failure(ImageCode.INVALID_HASH)
    else:
        found = [index for index in (0, 1) if _hash(board, index) == wanted]
        if not found:
            return image_failure(ImageCode.HASH_NOT_FOUND)
        slot = found[0]
    refusal = set_next_boot(board, slot, confirm=confirm)
    return refusal or read_state(board, None)


def _hash(board: Board, index: int) -> bytes:
    image = board.image(index)
    return image.hash if isinstance(image, SlotImage) else b""


def set_next_boot(board: Board, slot: int, *, confirm: bool) -> Failure | None:
    """Do what a state write asks, if the present state allows it."""
    if not confirm and slot == 0:
        return image_failure(ImageCode.IMAGE_SETTING_TEST_TO_ACTIVE_DENIED)
    already_pending = image_failure(ImageCode.IMAGE_ALREADY_PENDING)
    match board.bootloader.swap_type():
        case SwapType.TEST:
            return already_pending if confirm or slot == 0 else None
        case SwapType.PERMANENT:
            return None if confirm and slot == 1 else already_pending
        case SwapType.REVERT:
            if not confirm:
                return already_pending
            if slot == 0:
                board.bootloader.confirm()
        case SwapType.NONE:
            if slot == 1:
                board.bootloader.set_pending(permanent=confirm)
    return None


def slot_in_use(board: Board, slot: int) -> bool:
    """Whether a slot runs, will run, or is what a revert needs."""
    return slot == 0 or board.bootloader.swap_type() is not SwapType.NONE


def erase(board: Board, body: Mapping[str, object] | None) -> Answer:
    """Command 5: erase a slot that is not in use.

    An erased slot answers UNKNOWN, as the recorded server does: its check for an empty slot
    returns 1, and nobody translates that.
    """
    fields = typed_fields(body, {"slot": int})
    if fields is None:
        return INVALID
    slot = fields.get("slot", 1)
    if slot not in (0, 1):
        return image_failure(ImageCode.FLASH_OPEN_FAILED)
    assert isinstance(slot, int)
    if isinstance(board.image(slot), SlotImage) and slot_in_use(board, slot):
        return image_failure(ImageCode.NO_FREE_SLOT)
    board.ram.upload = Upload()
    board.persist()
    if board.slot(slot).is_erased():
        return image_failure(ImageCode.UNKNOWN)
    board.slot(slot).erase()
    return {}
