"""What an image says about itself, for people and for JSON. A report proves nothing."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from cryofw.image.compression import (
    compression_of,
    decompressed,
    unpacked_hash,
    unpacked_size,
)
from cryofw.image.encryption import Body, ContentKeyOpener, body_of, decrypted, encryption_of
from cryofw.image.errors import ImageRejected
from cryofw.image.header import HeaderFlag
from cryofw.image.image import Image, parse_image
from cryofw.image.publickey import Algorithm
from cryofw.image.publishedkeys import PUBLISHED_KEYS
from cryofw.image.tlv import Tlv, type_name
from cryofw.image.trailer import ERASED_VALUES, read_padding
from cryofw.image.verify import check_form


@dataclass(frozen=True, slots=True)
class TlvReport:
    """One record: its type by name and number, its value in hex."""

    name: str
    type: int
    protected: bool
    value: str


@dataclass(frozen=True, slots=True)
class ImageReport:
    """An image's fields; sizes in bytes, hashes in hex.

    `hash` is what the image claims and `hash_matches` whether its content has that hash, None when
    it is encrypted and nothing here can open it; `encryption` is such as "aes-128, ecies-p256", and
    `body` "plain", "encrypted", or "clear" (marked for encryption, but plain). `compression` is
    such as "lzma2", None for most; then `running_hash` and `unpacked_size` (of the body) are those
    of the plain image inside, which the device shows once it runs. Who
    signed it is only a claim (`signature`, `key_hash`) until `verify_image` has checked it with
    a trusted key. `padding` is "none", "slot", "slot, confirmed" or "foreign bytes".
    `findings` are reasons why verification would refuse it, whatever the key.
    """

    version: str
    header_size: int
    body_size: int
    image_size: int
    file_size: int
    load_addr: int
    flags: tuple[str, ...]
    hash: str
    hash_matches: bool | None
    encryption: str | None
    body: str
    compression: str | None
    running_hash: str
    unpacked_size: int
    signature: str | None
    key_hash: str
    published_key: str | None
    security_counter: int | None
    dependencies: tuple[str, ...]
    board: str | None
    padding: str
    tlvs: tuple[TlvReport, ...]
    findings: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """The fields as plain JSON values."""
        return asdict(self)


def inspect_image(data: bytes, opener: ContentKeyOpener | None = None) -> ImageReport:
    """Describe an image file (binary) without judging its signature.

    `opener` is the devices' private key, for encrypted images.

    Raises:
        ImageError: not an MCUboot image, cut off, or sizes that do not agree.
    """
    image = parse_image(data)
    padding, findings = _padding(image)
    encryption, body = None, Body.PLAIN
    compression = None
    matches: bool | None = image.hash == image.digest
    try:
        check_form(image)
        encryption = encryption_of(image)
        body, matches = _content(image, opener)
        compression = compression_of(image)
        if compression is not None and (problem := _why_not_plain(image)):
            findings.append(problem)
    except ImageRejected as rejected:
        findings.insert(0, str(rejected))
    if matches is False:
        findings.insert(0, "The image is damaged: its content does not have the hash it claims")
    types = {tlv.type for tlv in image.tlvs}
    return ImageReport(
        version=str(image.version),
        header_size=image.header_size,
        body_size=image.header.body_size,
        image_size=image.size,
        file_size=len(data),
        load_addr=image.load_addr,
        flags=HeaderFlag.names(image.flags),
        hash=image.hash.hex(),
        hash_matches=matches,
        encryption=f"aes-{encryption[0]}, {encryption[1]}" if encryption else None,
        body=body.value,
        compression=compression.value if compression else None,
        running_hash=(unpacked_hash(image) if compression else image.hash).hex(),
        unpacked_size=unpacked_size(image) if compression else image.header.body_size,
        signature=next((str(known) for known in Algorithm if known.signature_type in types), None),
        key_hash=image.key_hash.hex(),
        published_key=PUBLISHED_KEYS.get(image.key_hash),
        security_counter=image.security_counter,
        dependencies=tuple(map(str, image.dependencies)),
        board=image.board,
        padding=padding,
        tlvs=(*_reports(image.protected, protected=True), *_reports(image.tlvs, protected=False)),
        findings=tuple(findings),
    )


def _content(image: Image, opener: ContentKeyOpener | None) -> tuple[Body, bool | None]:
    """What the body is, and whether its content has the hash; None: nobody can tell."""
    body = body_of(image)
    if body is not Body.ENCRYPTED:
        return body, image.hash == image.digest
    if opener is None:
        return body, None
    plain = decrypted(image, opener)
    return body, plain.hash == plain.digest


def _why_not_plain(image: Image) -> str:
    """Why the image inside a compressed one is not what it claims to be; empty if it is."""
    plain = decompressed(image)
    if plain.hash == plain.digest:
        return ""
    return "The image inside is damaged: it does not have the hash that is claimed for it"


def _padding(image: Image) -> tuple[str, list[str]]:
    if not image.padding:
        return "none", []
    reasons = []
    for erased in reversed(ERASED_VALUES):
        try:
            confirmed = read_padding(image.padding, erased)
        except ImageRejected as rejected:
            reasons.append(str(rejected))
        else:
            return "slot, confirmed" if confirmed else "slot", []
    return "foreign bytes", reasons[:1]


def _reports(tlvs: tuple[Tlv, ...], *, protected: bool) -> tuple[TlvReport, ...]:
    return tuple(TlvReport(type_name(t.type), t.type, protected, t.value.hex()) for t in tlvs)
