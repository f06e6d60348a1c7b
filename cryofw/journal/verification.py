"""Is this the journal that was written? Its tree first, then lines, numbers and times."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryofw.journal.line_reader import read_records
from cryofw.journal.merkle import TILE_WIDTH, MerkleTree
from cryofw.journal.scan import scan_journal
from cryofw.journal.tree_head import TreeHead, origin_of

if TYPE_CHECKING:
    from cryofw.journal.checkpoint import Checkpoint
    from cryofw.journal.record import Record
    from cryofw.journal.scan import LeafHashes


@dataclass
class LoadedJournal:
    """What could be read: records, leaf hashes, and the `length` in bytes of whole lines."""

    records: list[Record] = field(default_factory=list)
    leaves: list[bytes] = field(default_factory=list)
    length: int = 0
    tile_ends: list[int] = field(default_factory=list)
    """Offset of the end of each full tile."""

    @property
    def root(self) -> bytes:
        """The tree head over the records."""
        return MerkleTree.of_hashes(self.leaves).root()

    @property
    def size(self) -> int:
        """How many records there are."""
        return len(self.records)

    @property
    def head(self) -> TreeHead:
        """Origin, size and tree head; the origin of an empty journal is empty."""
        origin = origin_of(self.leaves[0]) if self.leaves else ""
        return TreeHead(origin, self.size, self.root)

    def extends(self, head: TreeHead) -> bool:
        """Whether this journal began as that tree did, and only grew since."""
        if head.size == 0:
            return True
        if not self.leaves or origin_of(self.leaves[0]) != head.origin or head.size > self.size:
            return False
        return MerkleTree.of_hashes(self.leaves[: head.size]).root() == head.root


@dataclass(frozen=True)
class JournalReport:
    """A journal that verified. `anchored` records are covered by the checkpoint."""

    records: tuple[Record, ...]
    root: bytes
    anchored: int
    torn_bytes: int


def verify_journal(
    data: bytes, checkpoint: Checkpoint | None, known: LeafHashes | None = None
) -> JournalReport:
    """Check every line to the byte; raises JournalCorrupt at the first lie, or RecordTooNew.

    A torn last line beyond the checkpoint is no lie, its length is in the report.
    """
    scan = scan_journal(data, checkpoint, known)
    records = tuple(record for _, record in read_records(data, scan.length))
    return JournalReport(records, scan.tree.root(), scan.anchored, scan.torn_bytes)


def load_journal(data: bytes, checkpoint: Checkpoint | None) -> LoadedJournal:
    """Read the whole lines of `data` and hold them against the checkpoint.

    Lines under the checkpoint are held by its tree head; the ones after it must each be the
    canonical line of its record. Raises JournalCorrupt, RecordTooNew.
    """
    scan = scan_journal(data, checkpoint)
    loaded = LoadedJournal([], scan.leaves, scan.length)
    for offset, record in read_records(data, scan.length, strict_from=scan.anchored):
        if record.n and record.n % TILE_WIDTH == 0:
            loaded.tile_ends.append(offset)
        loaded.records.append(record)
    if loaded.records and len(loaded.records) % TILE_WIDTH == 0:
        loaded.tile_ends.append(scan.length)
    return loaded
