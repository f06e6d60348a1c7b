"""How the bytes of images are attacked, and rightly signed ones; see `image_attacks`."""

from __future__ import annotations

import shutil
import struct
from dataclasses import replace
from typing import TYPE_CHECKING

from cryofw.image.tlv import BOARD, Tlv, TlvType
from tests.faults.forged_image import (
    FLAGS,
    HEADER_LENGTH,
    PROGRAM_LENGTH,
    RESERVED,
    flipped,
    good,
    offered,
    patched,
)
from tests.faults.image_attacks import injected

if TYPE_CHECKING:
    from tests.faults.attacked_lab import AttackedLab

    Command = tuple[str, ...]


# --- bytes ----------------------------------------------------------------------------------


def payload_flipped(lab: AttackedLab) -> Command:
    return flipped(lab, 0x300)


def version_flipped(lab: AttackedLab) -> Command:
    return flipped(lab, 20)


def board_flipped(lab: AttackedLab) -> Command:
    return flipped(lab, len(good(lab).region) - 1)


def hash_flipped(lab: AttackedLab) -> Command:
    return flipped(lab, len(good(lab).region) + 10)


def signature_flipped(lab: AttackedLab) -> Command:
    return flipped(lab, len(good(lab).data) - 1)


def cut_in_the_body(lab: AttackedLab) -> Command:
    return offered(lab, good(lab).data[:0x800])


def cut_in_the_signature(lab: AttackedLab) -> Command:
    return offered(lab, good(lab).data[:-1])


def cut_after_the_protected_area(lab: AttackedLab) -> Command:
    return offered(lab, good(lab).region)


def byte_behind(lab: AttackedLab) -> Command:
    return offered(lab, good(lab).data + b"\xff")


def image_behind(lab: AttackedLab) -> Command:
    return offered(lab, good(lab).data + (lab.lab.directory / "drift.bin").read_bytes())


def trailer_behind(lab: AttackedLab) -> Command:
    """A trailer that marks the image for good: no bootloader would ever revert it."""
    lab.lab.sign("good", "--confirm", "--slot-size", "64K")
    return ("deploy", "good.bin", "--yes")


# --- the header -----------------------------------------------------------------------------


def header_smaller_than_a_header(lab: AttackedLab) -> Command:
    return patched(lab, HEADER_LENGTH, "<H", 16)


def header_larger_than_the_file(lab: AttackedLab) -> Command:
    return patched(lab, HEADER_LENGTH, "<H", 0xFFFF)


def header_moved_over_the_body(lab: AttackedLab) -> Command:
    """The same region, with its first bytes as header: the sums agree, the start does not."""
    image = good(lab)
    data = bytearray(image.data)
    struct.pack_into("<H", data, HEADER_LENGTH, image.header.header_size + 64)
    struct.pack_into("<I", data, PROGRAM_LENGTH, image.header.body_size - 64)
    return offered(lab, bytes(data))


def body_that_wraps(lab: AttackedLab) -> Command:
    """A sum of sizes that a 32-bit machine wraps around to a small one."""
    return patched(lab, PROGRAM_LENGTH, "<I", 0xFFFF_FFF0)


def reserved_field_used(lab: AttackedLab) -> Command:
    return patched(lab, RESERVED, "<I", 1)


def unknown_flag(lab: AttackedLab) -> Command:
    return patched(lab, FLAGS, "<I", 0x8000)


def compressed(lab: AttackedLab) -> Command:
    return patched(lab, FLAGS, "<I", 0x400)


def encrypted_without_a_key(lab: AttackedLab) -> Command:
    return patched(lab, FLAGS, "<I", 0x004)


def encrypted_with_two_lengths(lab: AttackedLab) -> Command:
    return patched(lab, FLAGS, "<I", 0x00C)


def key_without_encryption(lab: AttackedLab) -> Command:
    return injected(lab, Tlv(TlvType.ENC_EC256, bytes(113)))


def not_bootable(lab: AttackedLab) -> Command:
    image = good(lab)
    flagged = replace(image, header=replace(image.header, flags=0x10))
    return offered(lab, flagged.signed(lab.lab))


# --- rightly signed, and wrong here ---------------------------------------------------------


def older_version(lab: AttackedLab) -> Command:
    lab.lab.sign("good", version="0.9.0")
    return ("deploy", "good.bin", "--yes")


def lower_counter(lab: AttackedLab) -> Command:
    """The devices' counter is 5: the bootloader would refuse it, or never let it go back."""
    lab.lab.sign("factory", "--security-counter", "5", version="1.0.0")
    _flash_by_hand(lab)
    lab.lab.sign("good", "--security-counter", "4")
    return ("deploy", "good.bin", "--yes")


def no_counter(lab: AttackedLab) -> Command:
    lab.lab.sign("factory", "--security-counter", "5", version="1.0.0")
    _flash_by_hand(lab)
    return ("deploy", "good.bin", "--yes")


def counter_that_bars_the_way_back(lab: AttackedLab) -> Command:
    """MCUboot #2420: after a confirm the last good image would not boot any more."""
    lab.lab.sign("good", "--security-counter", "7")
    return ("deploy", "good.bin", "--yes")


def _flash_by_hand(lab: AttackedLab) -> None:
    shutil.rmtree(lab.lab.state / "sim")
    lab.lab.run("sim", "create", "--factory", "factory.bin").expect(0)


def for_another_board(lab: AttackedLab) -> Command:
    image = good(lab)
    other = replace(image, protected=(Tlv(BOARD, b"cc41"),))
    return offered(lab, other.signed(lab.lab))


def as_the_way_back(lab: AttackedLab) -> Command:
    """The way back is an image that nobody signed for this lab."""
    (lab.lab.directory / "given.bin").write_bytes(lab.sign_elsewhere("factory"))
    return ("deploy", "good.bin", "--last-good", "given.bin", "--yes")


def verified_by_hand(lab: AttackedLab) -> Command:
    """The trusted key itself is named beside one of a stranger."""
    (lab.lab.directory / "given.bin").write_bytes(lab.sign_elsewhere("good"))
    return ("verify", "given.bin", "--key", "firmware")
