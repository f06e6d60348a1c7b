"""The journal: the log that is the truth, audit log and recovery state in one.

One line of JSON a record, on disk before the act it announces; a Merkle tree (RFC 6962) over the
exact bytes of the lines, and a checkpoint beside them, so that order, loss and change show.
"""

from cryofw.journal.checkpoint import Checkpoint, CheckpointCorrupt
from cryofw.journal.entry import (
    JOURNAL_NAME,
    checkpoint_name,
    read_journal,
    read_signed_head,
    signed_name,
)
from cryofw.journal.file_storage import FileStorage
from cryofw.journal.journal import CLOSED, Journal, JournalClosed, JournalWriteFailed
from cryofw.journal.line_reader import JournalCorrupt, read_records
from cryofw.journal.memory_storage import HostDied, MemoryDisk, MemoryStorage
from cryofw.journal.merkle import (
    Frontier,
    HashTree,
    MerkleTree,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    tree_head,
    verify_consistency,
    verify_inclusion,
)
from cryofw.journal.note import (
    NoteInvalid,
    NoteSignature,
    NoteSigner,
    SignatureType,
    SignedNote,
    VerifierKeyInvalid,
    cosign,
    parse_verifier_key,
    sign_note,
    verifier_key,
)
from cryofw.journal.record import Entry, Record, RecordTooNew, UnwritableRecord
from cryofw.journal.scan import JournalScan, LeafHashes, scan_journal
from cryofw.journal.storage import (
    Storage,
    StorageDenied,
    StorageFailed,
    StorageFenced,
    StorageLocked,
    StorageMissing,
    StorageUnsafe,
)
from cryofw.journal.tiles import entry_bundles, tiles_of
from cryofw.journal.tlog_proof import ProofInvalid, TlogProof
from cryofw.journal.tree_cache import CachedTree, TreeCacheStale, read_leaf_hashes
from cryofw.journal.tree_head import SignedHead, TreeHead, origin_of
from cryofw.journal.verification import JournalReport, LoadedJournal, verify_journal

__all__ = [
    "CLOSED",
    "JOURNAL_NAME",
    "CachedTree",
    "Checkpoint",
    "CheckpointCorrupt",
    "Entry",
    "FileStorage",
    "Frontier",
    "HashTree",
    "HostDied",
    "Journal",
    "JournalClosed",
    "JournalCorrupt",
    "JournalReport",
    "JournalScan",
    "JournalWriteFailed",
    "LeafHashes",
    "LoadedJournal",
    "MemoryDisk",
    "MemoryStorage",
    "MerkleTree",
    "NoteInvalid",
    "NoteSignature",
    "NoteSigner",
    "ProofInvalid",
    "Record",
    "RecordTooNew",
    "SignatureType",
    "SignedHead",
    "SignedNote",
    "Storage",
    "StorageDenied",
    "StorageFailed",
    "StorageFenced",
    "StorageLocked",
    "StorageMissing",
    "StorageUnsafe",
    "TlogProof",
    "TreeCacheStale",
    "TreeHead",
    "UnwritableRecord",
    "VerifierKeyInvalid",
    "checkpoint_name",
    "consistency_proof",
    "cosign",
    "entry_bundles",
    "inclusion_proof",
    "leaf_hash",
    "origin_of",
    "parse_verifier_key",
    "read_journal",
    "read_leaf_hashes",
    "read_records",
    "read_signed_head",
    "scan_journal",
    "sign_note",
    "signed_name",
    "tiles_of",
    "tree_head",
    "verifier_key",
    "verify_consistency",
    "verify_inclusion",
    "verify_journal",
]
