"""The entries of a journal in its storage: what they are called, and how they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.journal.checkpoint import Checkpoint
from cryofw.journal.tree_head import SignedHead
from cryofw.journal.verification import load_journal

if TYPE_CHECKING:
    from cryofw.journal.storage import Storage
    from cryofw.journal.verification import LoadedJournal

JOURNAL_NAME = "journal.jsonl"


def signed_name(name: str) -> str:
    """The entry that holds the latest signed checkpoint of the journal `name`."""
    return "checkpoint" if name == JOURNAL_NAME else f"{name}.checkpoint"


def read_signed_head(storage: Storage, name: str = JOURNAL_NAME) -> SignedHead | None:
    """The latest signed checkpoint, its signatures not yet verified; None if there is none.

    Raises NoteInvalid.
    """
    entry = signed_name(name)
    return SignedHead.parse(storage.read(entry)) if storage.exists(entry) else None


def checkpoint_name(name: str) -> str:
    """The entry that holds the checkpoint of the journal `name`."""
    return "checkpoint.json" if name == JOURNAL_NAME else f"{name}.checkpoint.json"


def read_journal(storage: Storage, name: str = JOURNAL_NAME) -> LoadedJournal:
    """Read without a lock, also while a writer runs; a line still being written is left out.

    Raises StorageMissing, JournalCorrupt, CheckpointCorrupt, RecordTooNew.
    """
    # The checkpoint first: the journal only grows, so it can but be longer than this says.
    checkpoint = read_checkpoint(storage, name)
    return load_journal(storage.read(name), checkpoint)


def read_checkpoint(storage: Storage, name: str = JOURNAL_NAME) -> Checkpoint | None:
    """The journal's own checkpoint; None if there is none. Raises CheckpointCorrupt."""
    entry = checkpoint_name(name)
    if not storage.exists(entry):
        return None
    return Checkpoint.decode(storage.read(entry), name)
