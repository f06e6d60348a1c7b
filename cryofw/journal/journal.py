"""The journal: append-only, one writer, every record on disk before the act it announces."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from cryofw.errors import CryofwError, Paused, Refused
from cryofw.journal.checkpoint import Checkpoint
from cryofw.journal.entry import (
    JOURNAL_NAME,
    checkpoint_name,
    read_checkpoint,
    read_signed_head,
    signed_name,
)
from cryofw.journal.line_reader import JournalCorrupt
from cryofw.journal.merkle import TILE_WIDTH, Frontier, MerkleTree, leaf_hashes
from cryofw.journal.note import sign_note
from cryofw.journal.record import Entry, Record, make_record, time_text
from cryofw.journal.tree_cache import TreeWriter
from cryofw.journal.tree_head import SignedHead, TreeHead, origin_of
from cryofw.journal.verification import LoadedJournal, load_journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType

    from cryofw.clock import Clock
    from cryofw.journal.note import NoteSigner
    from cryofw.journal.storage import Storage

CHECKPOINT_EVERY = 64  # records; a signed or atomic checkpoint costs ten appends
CLOSED = "journal-closed"
"""Kind of the record that ends a journal for good."""


class JournalWriteFailed(Paused):
    """A record may not be on disk, so the act it announces must not happen.

    After a failed write or sync the page cache can no longer be trusted to tell what is on disk
    (the "fsync gate"): the journal refuses every further record until it is opened again.
    """


class JournalClosed(Refused):
    """The journal was retired; another one goes on."""


class Journal:
    """The one writer of a journal. Use `Journal.open`, and close it or use it as a context."""

    def __init__(
        self,
        storage: Storage,
        name: str,
        clock: Clock,
        who: str,
        loaded: LoadedJournal,
        signer: NoteSigner | None,
    ) -> None:
        self._storage = storage
        self._name = name
        self._clock = clock
        self._who = who
        self._signer = signer
        self._signed: SignedHead | None = None
        self.unsigned_why = ""
        """Why the latest checkpoint could not be signed; empty if it was, or nobody signs."""
        self._records = loaded.records
        self._leaves = loaded.leaves
        self._tile_ends = loaded.tile_ends
        self._cache = TreeWriter(storage, name)
        self._frontier = Frontier()
        for leaf in loaded.leaves:
            self._frontier.append_hash(leaf)
        self._length = loaded.length
        self._last_time = loaded.records[-1].t if loaded.records else ""
        self._checkpointed = -1
        self.on_commit: Callable[[TreeHead], None] = lambda _head: None
        """Told how far the journal is, once records are on disk and before anybody acts on them."""
        self._lock = ExitStack()
        self._failed = ""

    @classmethod
    def open(
        cls,
        storage: Storage,
        name: str = JOURNAL_NAME,
        *,
        clock: Clock,
        who: str,
        signer: NoteSigner | None = None,
    ) -> Journal:
        """Lock the journal, verify it against its checkpoints, repair a torn last line.

        A line that a power cut tore is beyond the checkpoint and was never acknowledged: it is cut
        off and the repair is journaled. With a `signer` each checkpoint is also signed.

        Raises StorageLocked, JournalCorrupt, CheckpointCorrupt, NoteInvalid, RecordTooNew,
        JournalWriteFailed.
        """
        with ExitStack() as stack:
            stack.enter_context(storage.lock(name))
            checkpoint = read_checkpoint(storage, name)
            data = storage.read(name) if storage.exists(name) else b""
            if data and checkpoint is None:
                raise JournalCorrupt(
                    f"{name} has no checkpoint",
                    why="a checkpoint is written before the first record",
                    hint="restore the state directory from a backup, both files together",
                )
            loaded = load_journal(data, checkpoint)
            journal = cls(storage, name, clock, who, loaded, signer)
            journal._hold_against_signed()
            journal._repair(data)
            journal.checkpoint()
            journal._lock = stack.pop_all()
        return journal

    def _hold_against_signed(self) -> None:
        """No checkpoint may be signed that contradicts an earlier one (C2SP tlog-checkpoint)."""
        signed = read_signed_head(self._storage, self._name)
        if signed is None:
            return
        if not self.extends(signed.head):
            raise JournalCorrupt(
                f"{self._name} is not the journal that was signed",
                why=f"{signed_name(self._name)} covers {signed.head.short}; "
                f"here are {self.size} records",
                hint="restore the state directory from a backup, all files together",
            )
        key = self._signer.public_key if self._signer else None
        if key is not None and signed.note.signed_by([key]):
            self._signed = signed

    def extends(self, head: TreeHead) -> bool:
        """Whether this journal began as that tree did, and only grew since."""
        if head.size == 0:
            return True
        if self.head.origin != head.origin or head.size > self.size:
            return False
        return MerkleTree.of_hashes(self._leaves[: head.size]).root() == head.root

    def _repair(self, data: bytes) -> None:
        """Replace a torn tail by the record of its repair, both in one step."""
        torn = data[self._length :]
        if not torn:
            return
        fields = {
            "why": "a power cut tore the last line; it was never acknowledged",
            "offset": self._length,
            "dropped_bytes": len(torn),
            "dropped": torn[:2000].decode("ascii", "backslashreplace"),
        }
        entry = Entry("journal-repaired", fields=fields)
        self._commit(
            self._number([entry]),
            lambda line: self._storage.write_atomic(self._name, data[: self._length] + line),
        )

    @property
    def records(self) -> Sequence[Record]:
        """All records, oldest first."""
        return self._records

    @property
    def root(self) -> bytes:
        """The tree head (RFC 6962) over all lines."""
        return self._frontier.root

    @property
    def head(self) -> TreeHead:
        """Origin, size and tree head; the origin of an empty journal is empty."""
        origin = origin_of(self._leaves[0]) if self._leaves else ""
        return TreeHead(origin, self.size, self.root)

    @property
    def signed(self) -> SignedHead | None:
        """The latest checkpoint that this journal's key signed; None if nobody signs."""
        return self._signed

    @property
    def is_closed(self) -> bool:
        """Whether it was retired."""
        return bool(self._records) and self._records[-1].kind == CLOSED

    @property
    def size(self) -> int:
        """How many records there are."""
        return len(self._records)

    def append(
        self, kind: str, *, rollout: str = "", device: str | None = None, **fields: object
    ) -> Record:
        """Write one record; on return it is on disk.

        Raises JournalWriteFailed (the act must not happen), UnwritableRecord (nothing written).
        """
        return self.append_many([Entry(kind, rollout, device, fields)])[0]

    def append_many(self, entries: Iterable[Entry]) -> list[Record]:
        """Write several records with one sync; on return all are on disk, and in order."""
        if self._failed:
            raise JournalWriteFailed(
                f"{self._name} is closed for writing", why=self._failed, hint="`cryofw resume`"
            )
        if self.is_closed:
            raise JournalClosed(
                f"{self._name} was closed",
                why=f"its record {self.size - 1} ends it",
                hint="`cryofw audit retire` begins the one that follows",
            )
        records = self._number(entries)
        if not records:
            return []
        self._commit(records, lambda lines: self._storage.append(self._name, lines))
        if self.size - self._checkpointed >= CHECKPOINT_EVERY:
            self.checkpoint()
        return records

    def _number(self, entries: Iterable[Entry]) -> list[Record]:
        now = max(time_text(self._clock.now()), self._last_time)  # clocks are set back; we are not
        return [
            make_record(entry, n, now, self._who)
            for n, entry in enumerate(entries, start=self.size)
        ]

    def _commit(self, records: list[Record], write: Callable[[bytes], None]) -> None:
        """Write the lines, then believe in them."""
        lines = [record.line for record in records]
        data = b"".join(line + b"\n" for line in lines)
        self._guarded(lambda: write(data))
        for line, leaf in zip(lines, leaf_hashes(lines), strict=True):
            self._frontier.append_hash(leaf)
            self._leaves.append(leaf)
            self._length += len(line) + 1
            if len(self._leaves) % TILE_WIDTH == 0:
                self._tile_ends.append(self._length)
        self._records.extend(records)
        self._last_time = records[-1].t
        self._guarded(lambda: self.on_commit(self.head))

    def _guarded(self, write: Callable[[], None]) -> None:
        try:
            write()
        except CryofwError as error:
            self._failed = f"an earlier write failed: {error.why or error.what}"
            raise JournalWriteFailed(
                f"the journal {self._name} could not be written",
                why=error.why or error.what,
                hint=error.hint,
            ) from error
        except BaseException:
            self._failed = "an earlier write was interrupted"
            raise

    def checkpoint(self) -> Checkpoint:
        """Write the checkpoint now, and sign it; raises JournalWriteFailed.

        A key that does not sign stops nothing: `unsigned_why` says so, the next one covers it.
        """
        checkpoint = Checkpoint.of(self._name, self._frontier, self._length)
        if self._checkpointed != self.size:
            entry, data = checkpoint_name(self._name), checkpoint.encode()
            self._guarded(lambda: self._storage.write_atomic(entry, data))
            self._checkpointed = self.size
            self._guarded(lambda: self._cache.write(self._leaves, self._tile_ends))
        self._sign()
        return checkpoint

    def _sign(self) -> None:
        signed = self._signed.head.size if self._signed else 0
        if self._signer is None or self.size == signed:
            return
        head = self.head
        try:
            note = sign_note(head.text, head.origin, self._signer)
        except CryofwError as error:
            self.unsigned_why = str(error)
            return
        made = SignedHead(head, note)
        entry = signed_name(self._name)
        self._guarded(lambda: self._storage.write_atomic(entry, made.encode()))
        self._signed, self.unsigned_why = made, ""

    def close(self) -> None:
        """Write the checkpoint and release the lock; a failed journal only releases it."""
        with self._lock:
            if not self._failed:
                self.checkpoint()
                self._failed = "it was closed"

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
