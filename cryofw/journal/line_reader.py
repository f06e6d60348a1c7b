"""The lines of a journal as records: each with its number, its time, and where it begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.errors import VerificationFailed
from cryofw.journal.record import MAX_LINE, Record, RecordMalformed, decode

if TYPE_CHECKING:
    from collections.abc import Iterator

_RESTORE = "keep this file as evidence and restore the state directory from a backup"
_FIRST_BLOCK = 4 << 10  # bytes; a lie near the beginning is found without hashing all of it
_LARGEST_BLOCK = 1 << 20


class JournalCorrupt(VerificationFailed):
    """The journal is not the one that was written.

    `record` is the number of the first record that lies (None: the whole file) and `offset` its
    first byte.
    """

    def __init__(
        self,
        what: str,
        *,
        why: str = "",
        hint: str = _RESTORE,
        record: int | None = None,
        offset: int | None = None,
    ) -> None:
        super().__init__(what, why=why, hint=hint)
        self.record = record
        self.offset = offset


def blocks_of(data: bytes, length: int) -> Iterator[tuple[int, list[bytes]]]:
    """Lines in blocks that grow, each with the offset of its first byte."""
    start, block = 0, _FIRST_BLOCK
    while start < length:
        end = data.find(b"\n", min(start + block, length) - 1) + 1
        yield start, data[start : end - 1].split(b"\n")
        start, block = end, min(2 * block, _LARGEST_BLOCK)


def read_records(data: bytes, length: int, *, strict_from: int = 0) -> Iterator[tuple[int, Record]]:
    """Each record of the first `length` bytes with the offset of its line.

    From record `strict_from` on each line must be the canonical one of its record.
    Raises JournalCorrupt, RecordTooNew.
    """
    n, before, time = 0, 0, ""
    for offset, lines in blocks_of(data, length):
        for line in lines:
            try:
                record = decode(line, strict=n >= strict_from)
            except RecordMalformed as error:
                raise _not_written(n, offset, str(error)) from None
            if record.n != n:
                raise _not_written(n, offset, f"it has the number {record.n}")
            if len(line) > MAX_LINE:
                raise _not_written(n, offset, "it is longer than 64 KiB")
            if record.t < time:
                raise JournalCorrupt(
                    f"records {n - 1} and {n} of the journal, from byte {before} on, disagree",
                    why=f"the time {record.t} follows {time}: one of them was changed",
                    record=n - 1,
                    offset=before,
                )
            yield offset, record
            n, before, time = n + 1, offset, record.t
            offset += len(line) + 1


def _not_written(n: int, offset: int, why: str) -> JournalCorrupt:
    return JournalCorrupt(
        f"record {n} of the journal, at byte {offset}, is not what was written",
        why=why,
        record=n,
        offset=offset,
    )


def offset_of(data: bytes, n: int) -> int:
    """The first byte of record `n`."""
    offset = 0
    for _ in range(n):
        offset = data.find(b"\n", offset) + 1
    return offset
