"""How signed images are attacked; see `repository_attacks`.

The image that is offered is `good.bin` of the lab, changed as each function says. Where it is
signed anew, the key signed what it should not; else its hash and signature are the old ones.
"""

from __future__ import annotations

import shutil
import struct
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING

from cryofw.image import parse_image
from cryofw.image.publishedkeys import PUBLISHED_KEYS
from cryofw.image.tlv import BOARD, MAGIC, PROTECTED_MAGIC, Tlv, TlvType, encode_area
from cryofw.keys import Purpose, load_keyring, no_passphrase
from tests.flows.small_lab import SmallLab, firmware

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryofw.image.header import Header
    from tests.faults.attacked_lab import AttackedLab

    Command = tuple[str, ...]
    Records = Callable[[list[Tlv]], list[Tlv]]

PROGRAM_LENGTH, PROTECTED_LENGTH, HEADER_LENGTH, FLAGS, RESERVED = 12, 10, 8, 16, 28
"""Where these fields lie in the header (MCUboot, image.h)."""


@dataclass(frozen=True)
class Forgery:
    """An image in pieces that can be exchanged."""

    header: Header
    gap: bytes
    body: bytes
    protected: tuple[Tlv, ...]
    tlvs: tuple[Tlv, ...]

    @classmethod
    def of(cls, data: bytes) -> Forgery:
        image = parse_image(data)
        gap = data[32 : image.header_size]
        return cls(image.header, gap, image.body, image.protected, image.tlvs)

    @property
    def region(self) -> bytes:
        """Header, body and protected records, with the sizes that they have now."""
        area = encode_area(PROTECTED_MAGIC, self.protected) if self.protected else b""
        header = replace(self.header, body_size=len(self.body), protected_size=len(area))
        return header.encode() + self.gap + self.body + area

    @property
    def data(self) -> bytes:
        return self.region + encode_area(MAGIC, self.tlvs)

    def with_tlvs(self, edit: Records) -> Forgery:
        return replace(self, tlvs=tuple(edit(list(self.tlvs))))

    def with_protected(self, *more: Tlv) -> Forgery:
        return replace(self, protected=(*self.protected, *more))

    def value(self, kind: TlvType, value: bytes) -> Forgery:
        """Another value in the record of a type."""
        return self.with_tlvs(
            lambda tlvs: [Tlv(t.type, value) if t.type == kind else t for t in tlvs]
        )

    def signed(
        self, lab: SmallLab, key: str = "firmware", purpose: Purpose = Purpose.IMAGE
    ) -> Forgery:
        """The same, hashed and signed anew by a key of the lab."""
        signer = load_keyring(lab.directory / "keys.yaml").signer(key, purpose, no_passphrase)
        algorithm = signer.public_key.algorithm
        digest = sha256(self.region).digest()
        to_sign = digest if algorithm == "ed25519" else self.region
        records = (
            Tlv(TlvType.SHA256, digest),
            Tlv(TlvType.KEYHASH, signer.public_key.key_hash),
            Tlv(algorithm.signature_type, signer.sign(to_sign)),
        )
        return replace(self, tlvs=records)


def good(lab: AttackedLab) -> Forgery:
    return Forgery.of((lab.lab.directory / "good.bin").read_bytes())


def offered(lab: AttackedLab, image: Forgery | bytes) -> Command:
    """Somebody is given the file."""
    data = image.data if isinstance(image, Forgery) else image
    (lab.lab.directory / "given.bin").write_bytes(data)
    return ("deploy", "given.bin", "--yes")


def patched(lab: AttackedLab, offset: int, form: str, value: int) -> Command:
    """A field of the header as somebody else wants it."""
    data = bytearray(good(lab).data)
    struct.pack_into(form, data, offset, value)
    return offered(lab, bytes(data))


def flipped(lab: AttackedLab, offset: int) -> Command:
    data = bytearray(good(lab).data)
    data[offset] ^= 0x10
    return offered(lab, bytes(data))


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
