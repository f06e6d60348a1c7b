"""The options of `cryofw sign` that shape the image, and what they come to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.errors import UsageError
from cryofw.image import ImageError, ImageOptions, TrailerLayout

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Literal, TypeAlias, TypedDict

    from cryofw.image import AesBits, Compression, Dependency, Payload, Version

    Dependencies: TypeAlias = tuple[tuple[Dependency, ...], ...]

    class Shape(TypedDict):
        """The options that shape the image, under ImageOptions' names; sizes in bytes."""

        version: Version
        header_size: int
        pad_header: bool | None
        slot_size: int | None
        align: int
        max_align: int | None
        max_sectors: int
        overwrite_only: bool
        security_counter: int | Literal["auto"] | None
        load_addr: int
        rom_fixed: int | None
        board: str | None
        pad: bool
        confirm: bool
        erased_value: int
        encrypt_keylen: str | None
        clear: bool
        compress: str | None


def image_options(
    payload: Payload, dependency: Dependencies, shape: Shape, *, encrypted: bool
) -> ImageOptions:
    """Turn the options of the command line into those of the image.

    Raises:
        UsageError: they contradict each other.
    """
    pad_header = shape["pad_header"]
    if pad_header is None:
        pad_header = any(payload.data[: shape["header_size"]])
    try:
        trailer = TrailerLayout(
            shape["align"], shape["max_align"], shape["max_sectors"], shape["overwrite_only"]
        )
        return ImageOptions(
            version=shape["version"],
            header_size=shape["header_size"],
            pad_header=pad_header,
            slot_size=shape["slot_size"],
            trailer=trailer,
            security_counter=shape["security_counter"],
            dependencies=tuple(each for group in dependency for each in group),
            load_addr=shape["load_addr"],
            rom_fixed=shape["rom_fixed"],
            board=shape["board"],
            pad=shape["pad"],
            confirm=shape["confirm"],
            erased_value=shape["erased_value"],
            encrypt=_aes_bits(shape["encrypt_keylen"]) if encrypted else None,
            compression=_compression(shape["compress"]),
        )
    except ImageError as error:
        raise UsageError(error.what, why=error.why, hint=error.hint) from error


def _aes_bits(text: str | None) -> AesBits:
    from cryofw.image import AesBits

    return AesBits(int(text or 128))


def _compression(text: str | None) -> Compression | None:
    if text is None:
        return None
    from cryofw.image import Compression

    return Compression(text)


def check_compression(shape: Shape, *, elsewhere: bool) -> None:
    """Refuse to compress an image that is signed elsewhere.

    Raises:
        UsageError: that is asked for.
    """
    if shape["compress"] and elsewhere:
        raise UsageError(
            "--compress does not go with --to-sign and --signature",
            why="a compressed image is signed twice, the second time over the first signature",
            hint="sign it where the key is, or with a pkcs11: key of the keyring",
        )


def check_encryption(encrypt: Path | None, shape: Shape) -> None:
    """Refuse options that mean nothing without --encrypt.

    Raises:
        UsageError: there are some.
    """
    if encrypt is None and (shape["clear"] or shape["encrypt_keylen"]):
        raise UsageError(
            "--clear and --encrypt-keylen belong to --encrypt",
            hint="name the devices' public key: --encrypt FILE",
        )
