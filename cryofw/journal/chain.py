"""Journals that follow one another: one is closed with a checkpoint, the next begins with it.

The closed one goes to `retired/`, under the hash of its origin, with its checkpoints. Its bytes
stay as they are: it verifies as it always did.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.journal.checkpoint import Checkpoint
from cryofw.journal.entry import JOURNAL_NAME, checkpoint_name, read_journal, signed_name
from cryofw.journal.journal import CLOSED, Journal
from cryofw.journal.line_reader import JournalCorrupt
from cryofw.journal.merkle import Frontier, MerkleTree
from cryofw.journal.record import Entry, Record, make_record
from cryofw.journal.tree_head import TreeHead, origin_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryofw.clock import Clock
    from cryofw.journal.note import NoteSigner
    from cryofw.journal.storage import Storage
    from cryofw.journal.verification import LoadedJournal

CONTINUED = "journal-continued"
"""Kind of the first record of a journal that follows another."""


@dataclass(frozen=True)
class Predecessor:
    """The journal before this one: how it ended, and under which entry it should lie."""

    head: TreeHead

    @property
    def name(self) -> str:
        """Its entry in the state directory."""
        return f"retired/{self.head.origin.rpartition('/')[2]}.jsonl"


@contextmanager
def named_if_retired(name: str) -> Iterator[None]:
    """Let what is wrong with a retired journal say which one it is: "the journal" is the present.

    Raises:
        JournalCorrupt: as it comes out of the block, with the name.
    """
    try:
        yield
    except JournalCorrupt as error:
        if name != JOURNAL_NAME:
            error.what = f"{name}: {error.what}"
        raise


def predecessor(first: Record) -> Predecessor | None:
    """What the first record of a journal says about the one before; None if it is the first.

    Raises:
        JournalCorrupt: it should say it, and does not.
    """
    if first.kind != CONTINUED:
        return None
    fields = first.fields
    origin, size, root = fields.get("origin"), fields.get("size"), fields.get("root")
    try:
        head = TreeHead(str(origin), int(str(size)), bytes.fromhex(str(root)))
    except ValueError:
        head = TreeHead("", 0, b"")
    if not head.origin.rpartition("/")[2].isalnum() or head.size < 1 or len(head.root) != 32:
        raise JournalCorrupt(
            "record 0 of the journal does not say which journal it continues", record=0, offset=0
        )
    return Predecessor(head)


def retired_journals(storage: Storage, first: Record) -> Iterator[tuple[str, LoadedJournal]]:
    """Name and content of the journals before the one that begins so, newest first.

    Those that were archived elsewhere end the chain.

    Raises:
        JournalCorrupt, CheckpointCorrupt: one of them is not the one that was closed.
    """
    before = predecessor(first)
    while before is not None and storage.exists(before.name):
        with named_if_retired(before.name):
            loaded = read_journal(storage, before.name)
        head = TreeHead(origin_of(loaded.leaves[0]), len(loaded.leaves), loaded.root)
        if head != before.head:
            raise JournalCorrupt(
                f"{before.name} is not the journal that was retired",
                why=f"it has {head.short}; retired was {before.head.short}",
            )
        yield before.name, loaded
        before = predecessor(loaded.records[0])


def extends_chain(storage: Storage, journal: Journal | LoadedJournal, head: TreeHead) -> bool:
    """Whether a journal, or one that it continues, began as `head` says and only grew since."""
    if journal.extends(head):
        return True
    if not journal.size:
        return False
    first = journal.records[0]
    before = predecessor(first)
    if before is not None and before.head == head:
        return True
    for _, loaded in retired_journals(storage, first):
        if origin_of(loaded.leaves[0]) == head.origin and head.size <= len(loaded.leaves):
            return MerkleTree.of_hashes(loaded.leaves[: head.size]).root() == head.root
        before = predecessor(loaded.records[0])
        if before is not None and before.head == head:
            return True
    return False


def retire(
    storage: Storage, *, clock: Clock, who: str, why: str, signer: NoteSigner | None = None
) -> Predecessor:
    """Close the journal, put it into `retired/`, and begin the next one.

    It may be killed at any moment and called again. Who calls it has seen that no rollout is open.

    Raises:
        StorageLocked: somebody writes to it.
        JournalCorrupt, CheckpointCorrupt, JournalWriteFailed: as `Journal.open`.
    """
    with Journal.open(storage, clock=clock, who=who, signer=signer) as journal:
        if not journal.is_closed:
            journal.append(CLOSED, by=who, why=why)
        journal.checkpoint()
        before = Predecessor(journal.head)
        _keep(storage, before)
        fields = {
            "origin": before.head.origin,
            "size": before.head.size,
            "root": before.head.root.hex(),
            "by": who,
            "why": why,
        }
        first = make_record(Entry(CONTINUED, fields=fields), 0, journal.records[-1].t, who)
        # Until the last of these writes the closed journal is there, and this is begun again.
        empty = Checkpoint.of(JOURNAL_NAME, Frontier(), 0)
        storage.write_atomic(checkpoint_name(JOURNAL_NAME), empty.encode())
        for name in [signed_name(JOURNAL_NAME), *storage.list("tree/"), *storage.list("cosigned/")]:
            storage.remove(name)
        storage.write_atomic(JOURNAL_NAME, first.line + b"\n")
    Journal.open(storage, clock=clock, who=who, signer=signer).close()
    return before


def _keep(storage: Storage, before: Predecessor) -> None:
    """Copy the closed journal with all that vouches for it; the journal itself last."""
    checkpoint = Checkpoint.decode(storage.read(checkpoint_name(JOURNAL_NAME)), JOURNAL_NAME)
    renamed = Checkpoint(before.name, checkpoint.size, checkpoint.length, checkpoint.peaks)
    storage.write_atomic(checkpoint_name(before.name), renamed.encode())
    if storage.exists(signed_name(JOURNAL_NAME)):
        data = storage.read(signed_name(JOURNAL_NAME))
        storage.write_atomic(signed_name(before.name), data)
    for folder in ("tree", "cosigned"):
        for name in storage.list(f"{folder}/"):
            kept = f"{before.name}.{folder}/{name.partition('/')[2]}"
            storage.write_atomic(kept, storage.read(name))
    storage.write_atomic(before.name, storage.read(JOURNAL_NAME))
