"""Decide whether an image may be trusted. The answer is no, unless everything is as it must be.

MCUboot is more lenient than this module, on purpose of older images; cryofw signs what it
deploys, so it accepts one form only. Every byte of the file is covered: the signature covers
header, body and protected TLVs; the unprotected TLVs are exactly hash, key hash and signature,
in this order, each with the one right value (CVE-2024-32883 injected others); padding is exactly
erased flash and a trailer, of a slot whose size the caller states. Of an encrypted image the
signature covers the plain body, so it is decrypted first, and a fourth TLV holds its content key.
A compressed image is judged twice: as it is, and as the plain image that the device will run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryofw.image.compression import RECORD_TYPES, Compression, compression_of, decompressed
from cryofw.image.encryption import Body, ContentKeyOpener, body_of, encryption_of, opened
from cryofw.image.errors import ImageError, ImageRejected
from cryofw.image.header import ALL_FLAGS, HeaderFlag
from cryofw.image.image import Image, parse_image
from cryofw.image.publickey import Algorithm, PublicKey
from cryofw.image.publishedkeys import PUBLISHED_KEYS
from cryofw.image.tlv import TlvType, is_encryption_type, is_vendor_type, type_name
from cryofw.image.trailer import TrailerLayout, read_padding

if TYPE_CHECKING:
    from collections.abc import Sequence

_SIGNATURE_TYPES: Final = {algorithm.signature_type for algorithm in Algorithm}
_PROTECTED_TYPES: Final = {
    TlvType.DEPENDENCY,
    TlvType.SEC_CNT,
    TlvType.BOOT_RECORD,
    TlvType.UUID_VID,
    TlvType.UUID_CID,
}
_REPEATABLE: Final = TlvType.DEPENDENCY
_NEXT_STEP: Final = "do not use this file: get it again from who signed it, or `cryofw sign` anew"
_SMALLEST_TRAILER: Final = TrailerLayout(overwrite_only=True).size


@dataclass(frozen=True)
class VerifiedImage:
    """An image whose every byte is accounted for, and the trusted key that signed it.

    `padded` files fill their slot; `confirmed` ones are also marked as good (image_ok), so that
    a bootloader never reverts them: not for a rollout. `image` is as it lies in the file. Of a
    compressed one `plain` is what the device will run.
    """

    image: Image
    key: PublicKey
    padded: bool
    confirmed: bool
    body: Body = Body.PLAIN
    compression: Compression | None = None
    plain: Image | None = None

    @property
    def running_hash(self) -> bytes:
        """The hash that a device shows once it runs this; that of `image` unless compressed."""
        return (self.plain or self.image).hash


def verify_image(
    data: bytes,
    keys: Sequence[PublicKey],
    *,
    slot_size: int | None = None,
    erased_value: int = 0xFF,
    opener: ContentKeyOpener | None = None,
) -> VerifiedImage:
    """Prove that `data` is one image, whole and unchanged, signed with one of `keys`.

    Args:
        data: the whole file, binary.
        keys: the trusted public keys; without any, nothing verifies.
        slot_size: bytes of the flash slot. A padded file must have exactly this size, and is
            refused without it; any other file must leave room for a trailer.
        erased_value: what erased flash reads as, 0xff or 0; the filler of a padded file, and
            between header and body of an image that is unpacked.
        opener: the devices' private key; without it, an encrypted image does not verify.

    Raises:
        ImageRejected: it must not be trusted; `why` says the reason. This includes files that
            are no image at all (the ImageError is the cause).
    """
    try:
        return _verified(data, keys, slot_size, erased_value, opener)
    except ImageRejected as error:
        error.hint = error.hint or _NEXT_STEP
        raise


def _verified(
    data: bytes,
    keys: Sequence[PublicKey],
    slot_size: int | None,
    erased_value: int,
    opener: ContentKeyOpener | None,
) -> VerifiedImage:
    check_keys(keys)
    try:
        image = parse_image(data)
    except ImageError as error:
        raise ImageRejected(error.what, why=error.why, hint=error.hint) from error
    check_form(image)
    confirmed = _check_padding(image, slot_size, erased_value)
    key = _signer(image, keys)
    body = body_of(image)
    plain = opened(image, opener) if body is Body.ENCRYPTED else image
    if plain.hash != plain.digest:
        raise ImageRejected(
            "the image is damaged",
            why=f"its hash is {plain.digest.hex()}, it claims {plain.hash.hex()}",
        )
    key.verify_digest(plain.tlvs[2].value, plain.digest)
    compression = compression_of(image)
    unpacked = None
    if compression is not None:
        unpacked = decompressed(image, erased_value)
        _require_plain(unpacked, key, slot_size)
    return VerifiedImage(image, key, bool(image.padding), confirmed, body, compression, unpacked)


def _require_plain(plain: Image, key: PublicKey, slot_size: int | None) -> None:
    """The image inside a compressed one stands on its own: the device boots it again and again."""
    check_form(plain)
    if plain.hash != plain.digest:
        raise ImageRejected(
            "the image inside the compressed one is damaged",
            why=f"its hash is {plain.digest.hex()}, it claims {plain.hash.hex()}",
            hint="was it made without --pad-header? Bootloaders that unpack it hash erased flash "
            "between header and body",
        )
    key.verify_digest(plain.tlvs[2].value, plain.digest)
    _check_padding(plain, slot_size, 0xFF)


def check_keys(keys: Sequence[PublicKey]) -> None:
    """Refuse to verify with no key, or with a key that everybody has.

    Raises:
        ImageRejected: no key, or one of MCUboot's published development keys.
    """
    if not keys:
        raise ImageRejected(
            "nothing verifies without a key",
            why="no public key was given",
            hint="name the keyring, or a .pub.pem file",
        )
    for key in keys:
        _refuse_published(key.key_hash)


def check_form(image: Image) -> None:
    """Everything about an image that needs no key, without its hash and padding.

    Raises:
        ImageRejected: flags, records or values that a trusted image does not have.
    """
    _check_flags(image)
    _check_protected(image)
    encryption = encryption_of(image)
    _check_unprotected(image, encrypted=encryption is not None)
    _refuse_published(image.key_hash)


def _check_flags(image: Image) -> None:
    flags = image.flags
    if flags & ~ALL_FLAGS:
        names = ", ".join(HeaderFlag.names(flags & ~ALL_FLAGS))
        raise ImageRejected("the image has unknown flags", why=names)
    if image.header.reserved:
        raise ImageRejected("a reserved field of the image header is not zero")


def _check_protected(image: Image) -> None:
    seen = set()
    allowed = _PROTECTED_TYPES | (RECORD_TYPES if compression_of(image) is not None else set())
    for tlv in image.protected:
        if tlv.type not in allowed and not is_vendor_type(tlv.type):
            raise ImageRejected(
                f"TLV {type_name(tlv.type)} does not belong into the protected area"
            )
        if tlv.type in seen and tlv.type != _REPEATABLE:
            raise ImageRejected(f"TLV {type_name(tlv.type)} is there twice")
        seen.add(tlv.type)


def _check_unprotected(image: Image, *, encrypted: bool) -> None:
    types = [tlv.type for tlv in image.tlvs]
    for kind in types:
        _check_unprotected_type(kind)
        if types.count(kind) > 1:
            raise ImageRejected(f"TLV {type_name(kind)} is there twice")
    if sum(kind in _SIGNATURE_TYPES for kind in types) > 1:
        raise ImageRejected("the image has two signatures")
    in_order = types[:2] == [TlvType.SHA256, TlvType.KEYHASH] and (
        types[2:3] and types[2] in _SIGNATURE_TYPES
    )
    if len(types) != (4 if encrypted else 3) or not in_order:
        raise ImageRejected(
            "the image is not signed"
            if not _SIGNATURE_TYPES & set(types)
            else "the image's signature records are not as they must be",
            why="expected hash, key hash and signature"
            f"{', then the content key' if encrypted else ''}, found "
            f"{', '.join(map(type_name, types)) or 'nothing'}",
        )


def _check_unprotected_type(kind: int) -> None:
    if kind in {TlvType.SHA256, TlvType.KEYHASH} or kind in _SIGNATURE_TYPES:
        return
    if is_encryption_type(kind):
        return  # encryption_of has judged it
    if kind == TlvType.SIG_PURE:
        why = "signatures over the image instead of its hash are not supported"
    elif kind == TlvType.PUBKEY:
        why = "whole public keys in images are not supported; sign with the key's hash"
    elif kind in {TlvType.SHA384, TlvType.SHA512}:
        why = "hashes other than SHA-256 are not supported"
    elif kind in _PROTECTED_TYPES or is_vendor_type(kind):
        why = "outside of the protected area anyone could have put it there (CVE-2024-32883)"
    else:
        why = "it is unknown"
    raise ImageRejected(f"TLV {type_name(kind)} must not be in the unprotected area", why=why)


def _signer(image: Image, keys: Sequence[PublicKey]) -> PublicKey:
    """The trusted key that the image names, fit for the image's signature."""
    key = next((key for key in keys if key.key_hash == image.key_hash), None)
    if key is None:
        raise ImageRejected(
            "the image is signed with a key that is not trusted",
            why=f"it names key {image.key_hash.hex() or 'nothing'}, "
            f"trusted: {', '.join(known.key_hash.hex()[:16] for known in keys)}",
            hint="if that key is yours, the keyring lacks its public half, with `purpose: image`; "
            "else do not use this file",
        )
    kind = image.tlvs[2].type
    if kind != key.algorithm.signature_type:
        raise ImageRejected(
            "the signature is of another kind than its key",
            why=f"{type_name(kind)} by a key of {key.algorithm}",
        )
    return key


def _check_padding(image: Image, slot_size: int | None, erased_value: int) -> bool:
    """Whether the padding, of which there may be none, marks the image as confirmed."""
    if not image.padding:
        if slot_size is not None and image.size + _SMALLEST_TRAILER > slot_size:
            raise ImageRejected(
                "the image does not fit the slot",
                why=f"{image.size} bytes and a trailer into {slot_size}",
            )
        return False
    confirmed = read_padding(image.padding, erased_value)
    if slot_size is None:
        raise ImageRejected(
            "the file is padded to a slot whose size is not known",
            why=f"no signature covers its {len(image.padding)} bytes of padding",
            hint=f"name the slot size ({len(image.data)}), or sign without padding",
        )
    if len(image.data) != slot_size:
        raise ImageRejected(
            "the file is padded to another slot size",
            why=f"{len(image.data)} bytes instead of {slot_size}",
        )
    return confirmed


def _refuse_published(key_hash: bytes) -> None:
    name = PUBLISHED_KEYS.get(key_hash)
    if name:
        raise ImageRejected(
            "a published development key of MCUboot proves nothing",
            why=f"anyone can sign with {name} (GHSA-gcxh-546h-phg4)",
            hint="sign with a key of your own",
        )
