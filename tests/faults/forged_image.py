"""A signed image in pieces that can be exchanged, and how it is given to somebody."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING

from cryofw.image import parse_image
from cryofw.image.tlv import MAGIC, PROTECTED_MAGIC, Tlv, TlvType, encode_area
from cryofw.keys import Purpose, load_keyring, no_passphrase

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryofw.image.header import Header
    from tests.faults.attacked_lab import AttackedLab
    from tests.flows.small_lab import SmallLab

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
