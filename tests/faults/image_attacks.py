"""How signed images are attacked; see `repository_attacks`.

The image that is offered is `good.bin` of the lab, changed as each function says. Where it is
signed anew, the key signed what it should not; else its hash and signature are the old ones.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING

from cryofw.image.publishedkeys import PUBLISHED_KEYS
from cryofw.image.tlv import BOARD, Tlv, TlvType
from cryofw.keys import Purpose, load_keyring
from tests.faults.forged_image import PROTECTED_LENGTH, Forgery, good, offered, patched
from tests.flows.small_lab import firmware

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.attacked_lab import AttackedLab

    Command = tuple[str, ...]


# --- who signed it --------------------------------------------------------------------------


def signed_by_another_key(lab: AttackedLab) -> Command:
    return offered(lab, lab.sign_elsewhere("good"))


def signed_in_the_name_of_the_key(lab: AttackedLab) -> Command:
    """Another key signs, and the image names ours."""
    ours = next(tlv for tlv in good(lab).tlvs if tlv.type == TlvType.KEYHASH)
    theirs = Forgery.of(lab.sign_elsewhere("good"))
    return offered(lab, theirs.value(TlvType.KEYHASH, ours.value))


def signed_by_a_key_of_another_purpose(lab: AttackedLab) -> Command:
    keygen = ("keys", "generate", "log", "--purpose=journal", "--no-passphrase")
    lab.lab.run(*keygen).expect(0)
    return offered(lab, good(lab).signed(lab.lab, "log", Purpose.JOURNAL))


def signed_by_a_published_key(lab: AttackedLab, name: str) -> Command:
    """Anyone has its private half, so whether it really signed does not matter."""
    key_hash = next(each for each, known in PUBLISHED_KEYS.items() if known == name)
    return offered(lab, good(lab).value(TlvType.KEYHASH, key_hash))


def published(name: str) -> Callable[[AttackedLab], Command]:
    return partial(signed_by_a_published_key, name=name)


def signature_of_another_image(lab: AttackedLab) -> Command:
    other = Forgery.of((lab.lab.directory / "drift.bin").read_bytes())
    return offered(lab, good(lab).with_tlvs(lambda tlvs: [*tlvs[:2], other.tlvs[2]]))


def records_of_another_image(lab: AttackedLab) -> Command:
    other = Forgery.of((lab.lab.directory / "drift.bin").read_bytes())
    return offered(lab, replace(good(lab), tlvs=other.tlvs))


def hashed_anew(lab: AttackedLab) -> Command:
    """Changed firmware with its right hash; the signature is the old one."""
    changed = replace(good(lab), body=firmware({"hang_s": 0, "wdt": False}))
    return offered(lab, changed.value(TlvType.SHA256, sha256(changed.region).digest()))


def without_signature(lab: AttackedLab) -> Command:
    return offered(lab, good(lab).with_tlvs(lambda tlvs: tlvs[:2]))


def without_any_record(lab: AttackedLab) -> Command:
    return offered(lab, replace(good(lab), tlvs=()))


def without_key_name(lab: AttackedLab) -> Command:
    return offered(lab, good(lab).with_tlvs(lambda tlvs: [tlvs[0], tlvs[2]]))


def without_hash(lab: AttackedLab) -> Command:
    return offered(lab, good(lab).with_tlvs(lambda tlvs: tlvs[1:]))


def empty_signature(lab: AttackedLab) -> Command:
    return offered(lab, good(lab).value(TlvType.ECDSA_SIG, b""))


def signature_of_zeros(lab: AttackedLab) -> Command:
    """r = s = 0 satisfies a careless check (CVE-2022-21449)."""
    return offered(lab, good(lab).value(TlvType.ECDSA_SIG, bytes.fromhex("3006020100020100")))


def signature_with_bytes_behind(lab: AttackedLab) -> Command:
    signature = good(lab).tlvs[2].value + b"\0\0"
    return offered(lab, good(lab).value(TlvType.ECDSA_SIG, signature))


def signature_of_another_kind(lab: AttackedLab) -> Command:
    return offered(lab, good(lab).with_tlvs(lambda t: [*t[:2], Tlv(TlvType.ED25519, bytes(64))]))


def signature_over_the_image_itself(lab: AttackedLab) -> Command:
    return offered(lab, good(lab).with_tlvs(lambda tlvs: [*tlvs, Tlv(TlvType.SIG_PURE, b"\1")]))


def key_in_the_image(lab: AttackedLab) -> Command:
    """The image brings the key that verifies it."""
    theirs = Forgery.of(lab.sign_elsewhere("good"))
    ring = load_keyring(lab.directory / "other" / "keys.yaml")
    key = ring.public_key("firmware", Purpose.IMAGE).encoded
    return offered(lab, theirs.with_tlvs(lambda tlvs: [tlvs[0], Tlv(TlvType.PUBKEY, key), tlvs[2]]))


# --- records --------------------------------------------------------------------------------


def injected(lab: AttackedLab, record: Tlv) -> Command:
    return offered(lab, good(lab).with_tlvs(lambda tlvs: [*tlvs, record]))


def counter_injected(lab: AttackedLab) -> Command:
    return injected(lab, Tlv(TlvType.SEC_CNT, b"\xff\xff\xff\xff"))


def dependency_injected(lab: AttackedLab) -> Command:
    return injected(lab, Tlv(TlvType.DEPENDENCY, bytes(12)))


def boot_record_injected(lab: AttackedLab) -> Command:
    return injected(lab, Tlv(TlvType.BOOT_RECORD, b"\xa0"))


def board_injected(lab: AttackedLab) -> Command:
    return injected(lab, Tlv(BOARD, b"cc40"))


def unknown_record_injected(lab: AttackedLab) -> Command:
    return injected(lab, Tlv(0x0099, b"?"))


def record_before_the_hash(lab: AttackedLab) -> Command:
    return offered(lab, good(lab).with_tlvs(lambda tlvs: [tlvs[1], tlvs[0], tlvs[2]]))


def board_moved_out(lab: AttackedLab) -> Command:
    """Out of the area that the signature covers, where it can be exchanged."""
    image = good(lab)
    moved = image.protected
    return offered(lab, replace(image, protected=(), tlvs=(*image.tlvs, *moved)))


def signature_moved_in(lab: AttackedLab) -> Command:
    image = good(lab)
    moved = replace(image, protected=(*image.protected, image.tlvs[2]), tlvs=image.tlvs[:2])
    return offered(lab, moved)


def protected_area_disowned(lab: AttackedLab) -> Command:
    """The header says that there is none, and there is one (imgtool #2302)."""
    return patched(lab, PROTECTED_LENGTH, "<H", 0)


def protected_area_too_long(lab: AttackedLab) -> Command:
    """It reaches over the signature's records."""
    return patched(lab, PROTECTED_LENGTH, "<H", 0xFFF0)


def protected_area_promised(lab: AttackedLab) -> Command:
    image = replace(good(lab), protected=())
    data = bytearray(image.signed(lab.lab).data)
    struct.pack_into("<H", data, PROTECTED_LENGTH, 8)
    return offered(lab, bytes(data))


def area_beyond_the_file(lab: AttackedLab) -> Command:
    image = good(lab)
    data = bytearray(image.data)
    struct.pack_into("<H", data, len(image.region) + 2, 0xFFFF)
    return offered(lab, bytes(data))


def area_smaller_than_its_head(lab: AttackedLab) -> Command:
    image = good(lab)
    data = bytearray(image.data)
    struct.pack_into("<H", data, len(image.region) + 2, 3)
    return offered(lab, bytes(data))


def record_beyond_its_area(lab: AttackedLab) -> Command:
    image = good(lab)
    data = bytearray(image.data)
    struct.pack_into("<H", data, len(image.region) + 6, 0xFFFF)
    return offered(lab, bytes(data))


def hash_twice(lab: AttackedLab) -> Command:
    """One hash is checked, another one is reported."""
    other = Tlv(TlvType.SHA256, bytes(32))
    return offered(lab, good(lab).with_tlvs(lambda tlvs: [other, *tlvs]))


def key_name_twice(lab: AttackedLab) -> Command:
    return offered(lab, good(lab).with_tlvs(lambda tlvs: [tlvs[0], tlvs[1], *tlvs[1:]]))


def signature_twice(lab: AttackedLab) -> Command:
    return offered(lab, good(lab).with_tlvs(lambda tlvs: [*tlvs, tlvs[2]]))


def two_kinds_of_signature(lab: AttackedLab) -> Command:
    return injected(lab, Tlv(TlvType.ED25519, bytes(64)))


def counter_twice(lab: AttackedLab) -> Command:
    """Rightly signed: which of the two holds?"""
    counters = (Tlv(TlvType.SEC_CNT, bytes(4)), Tlv(TlvType.SEC_CNT, b"\x09\0\0\0"))
    return offered(lab, good(lab).with_protected(*counters).signed(lab.lab))


def board_twice(lab: AttackedLab) -> Command:
    return offered(lab, good(lab).with_protected(Tlv(BOARD, b"cc41")).signed(lab.lab))
