"""How an image is to be made, checked before anything is made of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from cryofw.image import tlv as tlvs_module
from cryofw.image.errors import ImageError
from cryofw.image.header import HEADER_SIZE
from cryofw.image.tlv import Tlv, TlvType
from cryofw.image.trailer import ERASED_VALUES, TrailerLayout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryofw.image.compression import Compression
    from cryofw.image.dependency import Dependency
    from cryofw.image.encryption import AesBits
    from cryofw.image.version import Version

_LONGEST_BOARD: Final = 64
_U32: Final = 0xFFFF_FFFF


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """How to make an image; sizes in bytes, defaults as imgtool's.

    Args:
        version: the firmware's version.
        header_size: where the body begins, at least 32.
        pad_header: True puts the header in front of the payload; False expects `header_size`
            zero bytes there already (what MCUboot's linker scripts leave).
        slot_size: the image with the trailer must fit into it; None checks nothing.
        trailer: what decides the size of the slot's trailer.
        security_counter: 0 to 2**32-1; "auto" derives it from the version as imgtool does:
            major << 24, minor << 16, revision; None leaves it out.
        dependencies: other images that this one needs.
        load_addr: RAM address that MCUboot copies the image to; 0 runs it from flash.
        rom_fixed: flash address that the image is built for; not with load_addr.
        board: the board it is for (a protected vendor TLV that `deploy` compares).
        vendor_tlvs: further protected records, types xxA0 to xxFF.
        pad: fill up to slot_size, with the trailer's magic, for a programmer.
        confirm: like pad, and mark the image as confirmed (image_ok).
        erased_value: what erased flash reads as, 0xff or 0.
        encrypt: length of the content key of an encrypted image; None leaves it plain.
        compression: of an image for a bootloader that unpacks it; see `compress`.

    Raises:
        ImageError: options that contradict each other or do not fit their fields.
    """

    version: Version
    header_size: int = HEADER_SIZE
    pad_header: bool = False
    slot_size: int | None = None
    trailer: TrailerLayout = field(default_factory=TrailerLayout)
    security_counter: int | Literal["auto"] | None = None
    dependencies: tuple[Dependency, ...] = ()
    load_addr: int = 0
    rom_fixed: int | None = None
    board: str | None = None
    vendor_tlvs: tuple[Tlv, ...] = ()
    pad: bool = False
    confirm: bool = False
    erased_value: int = 0xFF
    encrypt: AesBits | None = None
    compression: Compression | None = None

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_padding()
        self._check_compression()
        if self.load_addr and self.rom_fixed is not None:
            raise ImageError("an image has a load address or a fixed flash address, not both")
        if self.board is not None and not 1 <= len(self.board.encode()) <= _LONGEST_BOARD:
            raise ImageError(f"a board name has 1 to {_LONGEST_BOARD} bytes")
        types = [tlv.type for tlv in self.vendor_tlvs]
        for kind in types:
            if not tlvs_module.is_vendor_type(kind) or kind == tlvs_module.BOARD:
                raise ImageError(f"0x{kind:04x} is not a free vendor TLV type")
        if len(set(types)) != len(types):
            raise ImageError("a vendor TLV is given twice")

    def _check_numbers(self) -> None:
        if not HEADER_SIZE <= self.header_size <= 0xFFFF:
            raise ImageError(
                "the header size is out of range",
                why=f"{self.header_size} bytes, it takes {HEADER_SIZE} to 65535",
            )
        for name, value in (
            ("load address", self.load_addr),
            ("fixed flash address", self.rom_fixed or 0),
            ("security counter", self.counter or 0),
            ("slot size", self.slot_size or 0),
        ):
            if not 0 <= value <= _U32:
                raise ImageError(f"the {name} does not fit 32 bits", why=str(value))

    def _check_padding(self) -> None:
        if self.erased_value not in ERASED_VALUES:
            raise ImageError("erased flash reads 0xff or 0", why=f"not {self.erased_value:#x}")
        if self.slot_size == 0:
            raise ImageError("the slot size is zero")
        if not self.padded:
            return
        if self.slot_size is None:
            raise ImageError("padding needs the slot size")
        if self.confirm and self.trailer.overwrite_only:
            raise ImageError("an overwrite-only bootloader has no mark for a confirmed image")
        if self.confirm and not self.erased_value:
            raise ImageError(
                "an image for flash that erases to 0 cannot be confirmed in its file",
                why="a single flipped bit would do the same, so verification refuses it",
            )

    def _check_compression(self) -> None:
        if self.compression is None:
            return
        if self.encrypt is not None:
            raise ImageError("images that are compressed and encrypted are not supported")
        if self.padded:
            raise ImageError(
                "a compressed image is not for a programmer",
                why="no bootloader starts one from the primary slot",
                hint="sign it without --compress to program it",
            )
        if self.load_addr:
            raise ImageError("an image that runs from RAM is not compressed")

    @property
    def padded(self) -> bool:
        """Whether the file is filled up to the slot size."""
        return self.pad or self.confirm

    @property
    def trailer_size(self) -> int:
        """Bytes of the slot's trailer; with encryption it holds the content keys of both slots.

        imgtool reserves 16 bytes for each, whatever their length; MCUboot needs 32 for AES-256.
        """
        if self.encrypt is None or self.trailer.overwrite_only:
            return self.trailer.size
        widest = self.trailer.widest
        return self.trailer.size + 2 * (-(-self.encrypt.size // widest) * widest)

    @property
    def counter(self) -> int | None:
        """The security counter as a number."""
        if self.security_counter == "auto":
            version = self.version
            return (version.major << 24) + (version.minor << 16) + version.revision
        return self.security_counter

    def protected_tlvs(self, compression: Sequence[Tlv] = ()) -> tuple[Tlv, ...]:
        """The protected records in imgtool's order, with those of a compressed image."""
        tlvs = []
        if self.counter is not None:
            tlvs.append(Tlv(TlvType.SEC_CNT, self.counter.to_bytes(4, "little")))
        tlvs += [Tlv(TlvType.DEPENDENCY, needed.encode()) for needed in self.dependencies]
        tlvs += compression
        if self.board is not None:
            tlvs.append(Tlv(tlvs_module.BOARD, self.board.encode()))
        return (*tlvs, *self.vendor_tlvs)
