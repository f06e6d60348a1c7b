"""Group 1, image management (Zephyr, "SMP group 1")."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from cryofw.smp.message import Group, Op, Request
from cryofw.smp.messages import fields

if TYPE_CHECKING:
    from collections.abc import Mapping


class ImageCommand(IntEnum):
    """Commands of group 1."""

    STATE = 0
    UPLOAD = 1
    ERASE = 5
    SLOT_INFO = 6


_READ_STATE: Final = Request(Op.READ, Group.IMAGE, ImageCommand.STATE)
_READ_SLOT_INFO: Final = Request(Op.READ, Group.IMAGE, ImageCommand.SLOT_INFO)


def read_image_state() -> Request:
    """Ask for the images in all slots; answered with an `ImageState`."""
    return _READ_STATE


def mark_for_test(image_hash: bytes) -> Request:
    """Mark the image with this TLV hash for one test boot; answered with an `ImageState`."""
    body = {"hash": image_hash, "confirm": False}
    return Request(Op.WRITE, Group.IMAGE, ImageCommand.STATE, body)


def confirm_image(image_hash: bytes | None = None) -> Request:
    """Confirm the running image, or with a hash that one (in another slot: boot it for good)."""
    body: dict[str, object] = {"confirm": True}
    if image_hash is not None:
        body = {"hash": image_hash, "confirm": True}
    return Request(Op.WRITE, Group.IMAGE, ImageCommand.STATE, body)


def erase_slot(slot: int | None = None) -> Request:
    """Erase a slot (slot 1 if not named); the answer comes when it is done, which takes long."""
    body = {} if slot is None else {"slot": slot}
    return Request(Op.WRITE, Group.IMAGE, ImageCommand.ERASE, body)


def read_slot_info() -> Request:
    """Ask for the slots and their sizes; older servers refuse it (8)."""
    return _READ_SLOT_INFO


def upload_first_chunk(
    *, image: int, length: int, sha: bytes, data: bytes, upgrade: bool = False
) -> Request:
    """Begin an upload, or resume the one with the same `sha` where the server's `off` says.

    Args:
        image: image number (not slot).
        length: bytes of the whole file.
        sha: SHA-256 of the whole file; without the right one the server cannot check it.
        data: the first bytes.
        upgrade: refuse (27) unless the version is higher than the running one.
    """
    body: dict[str, object] = {"image": image, "len": length, "off": 0, "sha": sha, "data": data}
    if upgrade:
        body["upgrade"] = True
    return Request(Op.WRITE, Group.IMAGE, ImageCommand.UPLOAD, body)


def upload_chunk(off: int, data: bytes) -> Request:
    """Continue an upload at byte `off`."""
    return Request(Op.WRITE, Group.IMAGE, ImageCommand.UPLOAD, {"off": off, "data": data})


@dataclass(frozen=True, slots=True)
class ImageSlot:
    """An image in a slot, as its device sees it.

    Attributes:
        image: image number, 0 when the device has one image.
        slot: 0 primary, 1 secondary.
        version: as the device prints it: `2.0.0.7` for 2.0.0+7.
        hash: the image's own TLV hash, never recomputed by the device; b"" if not told.
        bootable: it looks like an image.
        pending: the next boot swaps it in.
        confirmed: a reset keeps it.
        active: it runs.
        permanent: pending for good, not for a test boot.
        unknown: further fields.
    """

    image: int
    slot: int
    version: str
    hash: bytes
    bootable: bool
    pending: bool
    confirmed: bool
    active: bool
    permanent: bool
    unknown: Mapping[str, object]

    @classmethod
    def from_body(cls, body: Mapping[str, object]) -> ImageSlot:
        """Read it; raises `MessageError` if a field is unreadable or there is no slot."""
        return cls(
            image=fields.optional_uint(body, "image") or 0,
            slot=fields.uint(body, "slot"),
            version=fields.optional_text(body, "version"),
            hash=fields.optional_bytes(body, "hash"),
            bootable=fields.flag(body, "bootable"),
            pending=fields.flag(body, "pending"),
            confirmed=fields.flag(body, "confirmed"),
            active=fields.flag(body, "active"),
            permanent=fields.flag(body, "permanent"),
            unknown=fields.unknown(body, _SLOT_KEYS),
        )


_SLOT_KEYS: Final = frozenset(
    (
        "image",
        "slot",
        "version",
        "hash",
        "bootable",
        "pending",
        "confirmed",
        "active",
        "permanent",
    )
)


@dataclass(frozen=True, slots=True)
class ImageState:
    """All images of a device.

    Attributes:
        slots: the slots that hold an image, in the order told.
        split_status: unused by Zephyr, but only its application sends it: MCUboot's serial
            recovery leaves it out (None).
        unknown: further fields.
    """

    slots: tuple[ImageSlot, ...]
    split_status: int | None
    unknown: Mapping[str, object]

    @classmethod
    def from_body(cls, body: Mapping[str, object]) -> ImageState:
        """Read it; raises `MessageError` if there is no list of images."""
        return cls(
            slots=tuple(ImageSlot.from_body(item) for item in fields.maps(body, "images")),
            split_status=fields.optional_uint(body, "splitStatus"),
            unknown=fields.unknown(body, ("images", "splitStatus", "rc")),
        )


@dataclass(frozen=True, slots=True)
class UploadAnswer:
    """Where an upload stands.

    Attributes:
        off: byte that the server wants next, whatever was sent.
        match: with the last chunk: what is in flash has the `sha`; None if not checked.
        unknown: further fields.
    """

    off: int
    match: bool | None
    unknown: Mapping[str, object]

    @classmethod
    def from_body(cls, body: Mapping[str, object]) -> UploadAnswer:
        """Read it; raises `MessageError` if there is no `off`."""
        return cls(
            off=fields.uint(body, "off"),
            match=fields.optional_flag(body, "match"),
            unknown=fields.unknown(body, ("off", "match", "rc")),
        )


@dataclass(frozen=True, slots=True)
class SlotInfo:
    """A slot's room.

    Attributes:
        image: image number.
        slot: slot number.
        size: bytes of the slot; None if the device could not tell.
        upload_image_id: the image number that uploads to this slot, None if there is none.
        max_image_size: largest image in bytes that fits with the bootloader's trailer, if told.
    """

    image: int
    slot: int
    size: int | None
    upload_image_id: int | None
    max_image_size: int | None

    @classmethod
    def list_from_body(cls, body: Mapping[str, object]) -> tuple[SlotInfo, ...]:
        """Read all slots of an answer; raises `MessageError` if it is not readable."""
        return tuple(
            cls(
                image=fields.uint(image, "image"),
                slot=fields.uint(slot, "slot"),
                size=fields.optional_uint(slot, "size"),
                upload_image_id=fields.optional_uint(slot, "upload_image_id"),
                max_image_size=fields.optional_uint(image, "max_image_size"),
            )
            for image in fields.maps(body, "images")
            for slot in fields.maps(image, "slots")
        )
