"""The journal: the log that is the truth, audit log and recovery state in one.

One line of JSON a record, on disk before the act it announces; a Merkle tree (RFC 6962) over the
exact bytes of the lines, and a checkpoint beside them, so that order, loss and change show.
"""

from cryofw.journal.checkpoint import Checkpoint, CheckpointCorrupt
from cryofw.journal.file_storage import FileStorage
from cryofw.journal.journal import (
    JOURNAL_NAME,
    Journal,
    JournalWriteFailed,
    checkpoint_name,
    read_journal,
)
from cryofw.journal.memory_storage import HostDied, MemoryDisk, MemoryStorage
from cryofw.journal.merkle import Frontier, MerkleTree, verify_consistency, verify_inclusion
from cryofw.journal.record import Entry, Record, RecordTooNew, UnwritableRecord
from cryofw.journal.storage import (
    Storage,
    StorageDenied,
    StorageFailed,
    StorageFenced,
    StorageLocked,
    StorageMissing,
)
from cryofw.journal.verification import (
    JournalCorrupt,
    JournalReport,
    LoadedJournal,
    verify_journal,
)

__all__ = [
    "JOURNAL_NAME",
    "Checkpoint",
    "CheckpointCorrupt",
    "Entry",
    "FileStorage",
    "Frontier",
    "HostDied",
    "Journal",
    "JournalCorrupt",
    "JournalReport",
    "JournalWriteFailed",
    "LoadedJournal",
    "MemoryDisk",
    "MemoryStorage",
    "MerkleTree",
    "Record",
    "RecordTooNew",
    "Storage",
    "StorageDenied",
    "StorageFailed",
    "StorageFenced",
    "StorageLocked",
    "StorageMissing",
    "UnwritableRecord",
    "checkpoint_name",
    "read_journal",
    "verify_consistency",
    "verify_inclusion",
    "verify_journal",
]
