"""NOR flash as a chip: sectors erase to ones, programming only clears bits, power may go any time.

Every erased sector and every programmed page is one operation; a `PowerCut` armed on the chip
lets the n-th operation tear (it is done in part) and raises `PowerLostError`, as the code that
was running on the device would simply have ended there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.errors import CryofwError
from cryofw.simulator.flash_storage import erased

if TYPE_CHECKING:
    from cryofw.simulator.flash_storage import FlashStorage

PAGE_SIZE = 256
"""Bytes that the chip programs at once: the grain at which a power cut can tear a write."""


class FlashMisuseError(CryofwError):
    """Code of the simulated device asked the chip for something it cannot do."""


class PowerLostError(CryofwError):
    """The supply failed in the middle of a flash operation; the device stops right there."""


@dataclass(frozen=True)
class PowerCut:
    """The supply fails in the n-th flash operation from now (0 is the next one).

    `torn` is the share of that operation that is still done, 0 to 1.
    """

    after_operations: int
    torn: float = 0.5


@dataclass(frozen=True)
class Activity:
    """Work done by the chip: what it cost in time and heat is for others to say."""

    erased_sectors: int = 0
    programmed_bytes: int = 0


class Flash:
    """One chip: reads, sector erases and aligned writes, with an optional power cut."""

    def __init__(
        self, storage: FlashStorage, *, sector_size: int = 4096, write_size: int = 4
    ) -> None:
        if storage.size % sector_size:
            raise FlashMisuseError(
                "the flash size is no multiple of its sectors",
                why=f"{storage.size} bytes in sectors of {sector_size}",
            )
        self.size = storage.size
        self.sector_size = sector_size
        self.write_size = write_size
        self.generation = 0
        self._storage = storage
        self._cut: PowerCut | None = None
        self._erased_sectors = 0
        self._programmed_bytes = 0
        self._erased_sector = erased(sector_size)

    def arm(self, cut: PowerCut | None) -> None:
        """Let the supply fail as `cut` says; None disarms."""
        self._cut = cut

    def take_activity(self) -> Activity:
        """Return the work done since the last call."""
        activity = Activity(self._erased_sectors, self._programmed_bytes)
        self._erased_sectors = self._programmed_bytes = 0
        return activity

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`.

        Raises:
            FlashMisuseError: the range is not on the chip.
        """
        self._check(offset, length)
        return self._storage.read(offset, length) if length else b""

    def is_erased(self, offset: int, length: int) -> bool:
        """Say whether all bytes of the range are 0xff."""
        return self.read(offset, length) == b"\xff" * length

    def erase(self, offset: int, length: int) -> None:
        """Erase the sectors of the range, one operation each; erased ones are skipped.

        Raises:
            FlashMisuseError: the range does not consist of whole sectors.
            PowerLostError: the armed power cut came; one sector may be torn.
        """
        self._check(offset, length)
        if offset % self.sector_size or length % self.sector_size:
            raise FlashMisuseError("an erase must cover whole sectors", why=f"{offset:#x}")
        for start in range(offset, offset + length, self.sector_size):
            if self._storage.read(start, self.sector_size) == self._erased_sector:
                continue
            torn = self._count_operation()
            self.generation += 1
            self._erased_sectors += 1
            if torn is not None:
                self._storage.write(start, self._erased_sector[: int(torn * self.sector_size)])
                raise PowerLostError("the supply failed while a sector was erased")
            self._storage.write(start, self._erased_sector)

    def program(self, offset: int, data: bytes) -> None:
        """Clear bits so that erased bytes become `data`; each page is one operation.

        Raises:
            FlashMisuseError: offset or length is not aligned to the write size.
            PowerLostError: the armed power cut came; one page may be torn.
        """
        self._check(offset, len(data))
        if offset % self.write_size or len(data) % self.write_size:
            raise FlashMisuseError("a write is not aligned", why=f"{offset:#x}, {len(data)} bytes")
        self.generation += 1
        if self._cut is None:
            self._clear_bits(offset, data)
            self._programmed_bytes += len(data)
            return
        for start in range(0, len(data), PAGE_SIZE):
            page = data[start : start + PAGE_SIZE]
            torn = self._count_operation()
            if torn is not None:
                self._clear_bits(offset + start, page[: int(torn * len(page))])
                raise PowerLostError("the supply failed while a page was programmed")
            self._clear_bits(offset + start, page)
            self._programmed_bytes += len(page)

    def _clear_bits(self, offset: int, data: bytes) -> None:
        if not data:
            return
        old = self._storage.read(offset, len(data))
        if old.count(0xFF) != len(old):
            cleared = int.from_bytes(old, "big") & int.from_bytes(data, "big")
            data = cleared.to_bytes(len(data), "big")
        self._storage.write(offset, data)

    def _count_operation(self) -> float | None:
        if self._cut is None:
            return None
        if self._cut.after_operations > 0:
            self._cut = PowerCut(self._cut.after_operations - 1, self._cut.torn)
            return None
        torn, self._cut = self._cut.torn, None
        return torn

    def _check(self, offset: int, length: int) -> None:
        if offset < 0 or length < 0 or offset + length > self.size:
            raise FlashMisuseError(
                "an access is outside the flash", why=f"{offset:#x}, {length} bytes"
            )


@dataclass(frozen=True)
class FlashArea:
    """A partition of a chip (one image slot); offsets count from its start."""

    flash: Flash
    start: int
    size: int

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes; shorter at the end of the area."""
        return self.flash.read(self.start + offset, max(0, min(length, self.size - offset)))

    def program(self, offset: int, data: bytes) -> None:
        """Program aligned bytes; see `Flash.program` for what it raises."""
        if offset < 0 or offset + len(data) > self.size:
            raise FlashMisuseError("a write is outside the slot", why=f"{offset:#x}")
        self.flash.program(self.start + offset, data)

    def erase(self, offset: int = 0, length: int | None = None) -> None:
        """Erase whole sectors; see `Flash.erase` for what it raises."""
        size = self.size - offset if length is None else length
        if offset < 0 or offset + size > self.size:
            raise FlashMisuseError("an erase is outside the slot", why=f"{offset:#x}")
        self.flash.erase(self.start + offset, size)

    def is_erased(self) -> bool:
        """Say whether the whole area is erased."""
        return self.flash.is_erased(self.start, self.size)
