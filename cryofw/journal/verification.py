"""Is this the journal that was written? Lines, numbers, times, and the tree head."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryofw.errors import VerificationFailed
from cryofw.journal.merkle import Frontier, peak_sizes, root_of_peaks
from cryofw.journal.record import MAX_LINE, Record, RecordMalformed, decode

if TYPE_CHECKING:
    from cryofw.journal.checkpoint import Checkpoint

_RESTORE = "keep this file as evidence and restore the state directory from a backup"


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


@dataclass
class LoadedJournal:
    """What could be read: the records, the tree, and the `length` in bytes of whole lines."""

    records: list[Record] = field(default_factory=list)
    frontier: Frontier = field(default_factory=Frontier)
    length: int = 0

    @property
    def root(self) -> bytes:
        """The tree head over the records."""
        return self.frontier.root


@dataclass(frozen=True)
class JournalReport:
    """A journal that verified. `anchored` records are covered by the checkpoint."""

    records: tuple[Record, ...]
    root: bytes
    anchored: int
    torn_bytes: int


def verify_journal(data: bytes, checkpoint: Checkpoint | None) -> JournalReport:
    """Check every line to the byte; raises JournalCorrupt at the first lie, or RecordTooNew.

    A torn last line beyond the checkpoint is no lie, its length is in the report.
    """
    loaded = load_journal(data, checkpoint, strict=True)
    return JournalReport(
        tuple(loaded.records),
        loaded.root,
        checkpoint.size if checkpoint else 0,
        len(data) - loaded.length,
    )


def load_journal(
    data: bytes, checkpoint: Checkpoint | None, *, strict: bool = False
) -> LoadedJournal:
    """Read the whole lines of `data` and hold them against the checkpoint.

    Lines under the checkpoint are held by its tree head; `strict` also insists that each is the
    canonical line of its record. Raises JournalCorrupt, RecordTooNew.
    """
    loaded = LoadedJournal()
    anchored = checkpoint.size if checkpoint else 0
    peaks: list[bytes] = []
    offsets = [0]
    lines = data.split(b"\n")
    tail = lines.pop()
    for index, line in enumerate(lines):
        if index >= anchored and b"\0" in line and not _any_record(lines[index + 1 :]):
            break  # a block of the last write that never reached the disk
        _read_line(loaded, line, strict=strict or index >= anchored)
        offsets.append(loaded.length)
        if index + 1 == anchored:
            peaks = list(loaded.frontier.peaks)
    if checkpoint is not None:
        _check_head(loaded, checkpoint, peaks, offsets, tail)
    return loaded


def _read_line(loaded: LoadedJournal, line: bytes, *, strict: bool) -> None:
    n, offset = len(loaded.records), loaded.length
    try:
        record = decode(line)
        problem = _line_problem(loaded, record, line, strict=strict)
    except RecordMalformed as error:
        problem = str(error)
    if problem:
        raise JournalCorrupt(
            f"record {n} of the journal, at byte {offset}, is not what was written",
            why=problem,
            record=n,
            offset=offset,
        )
    if loaded.records and record.t < loaded.records[-1].t:
        before = offset - len(loaded.records[-1].line) - 1
        raise JournalCorrupt(
            f"records {n - 1} and {n} of the journal, from byte {before} on, disagree",
            why=f"the time {record.t} follows {loaded.records[-1].t}: one of them was changed",
            record=n - 1,
            offset=before,
        )
    loaded.records.append(record)
    loaded.frontier.append(line)
    loaded.length += len(line) + 1


def _line_problem(loaded: LoadedJournal, record: Record, line: bytes, *, strict: bool) -> str:
    """Why this line cannot follow what was loaded; empty if it can."""
    if record.n != len(loaded.records):
        return f"it has the number {record.n}"
    if len(line) > MAX_LINE:
        return "it is longer than 64 KiB"
    if strict and record.line != line:
        return "it is not in the form that cryofw writes"
    return ""


def _any_record(lines: list[bytes]) -> bool:
    for line in lines:
        try:
            decode(line)
        except RecordMalformed:
            continue
        return True
    return False


def _check_head(
    loaded: LoadedJournal,
    checkpoint: Checkpoint,
    peaks: list[bytes],
    offsets: list[int],
    tail: bytes,
) -> None:
    size = len(loaded.records)
    if size < checkpoint.size:
        cut = " and part of one" if tail else ""
        raise JournalCorrupt(
            f"the journal ends after record {size - 1}, at byte {loaded.length}"
            if size
            else "the journal is empty",
            why=f"its checkpoint covers {checkpoint.size} records; here are {size}{cut}",
            record=size,
            offset=loaded.length,
        )
    if root_of_peaks(peaks) == checkpoint.root and offsets[checkpoint.size] == checkpoint.length:
        return
    first, last = 0, checkpoint.size
    for found, written, count in zip(
        peaks, checkpoint.peaks, peak_sizes(checkpoint.size), strict=True
    ):
        last = first + count
        if found != written:
            break
        first = last
    raise JournalCorrupt(
        f"the journal was changed in record {first}, at byte {offsets[min(first, size)]}"
        if last - first == 1
        else f"the journal was changed between record {first}, at byte {offsets[first]}, and "
        f"record {last - 1}",
        why="the tree head over the lines is not that of the checkpoint",
        record=first,
        offset=offsets[min(first, size)],
    )
