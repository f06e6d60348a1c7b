"""The journal: append-only, one writer, every record on disk before the act it announces."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from cryofw.errors import CryofwError, Paused
from cryofw.journal.checkpoint import Checkpoint
from cryofw.journal.record import Entry, Record, make_record, time_text
from cryofw.journal.verification import JournalCorrupt, LoadedJournal, load_journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType

    from cryofw.clock import Clock
    from cryofw.journal.storage import Storage

JOURNAL_NAME = "journal.jsonl"
CHECKPOINT_EVERY = 64  # records; a signed or atomic checkpoint costs ten appends


class JournalWriteFailed(Paused):
    """A record may not be on disk, so the act it announces must not happen.

    After a failed write or sync the page cache can no longer be trusted to tell what is on disk
    (the "fsync gate"): the journal refuses every further record until it is opened again.
    """


def checkpoint_name(name: str) -> str:
    """The entry that holds the checkpoint of the journal `name`."""
    return "checkpoint.json" if name == JOURNAL_NAME else f"{name}.checkpoint.json"


def read_journal(storage: Storage, name: str = JOURNAL_NAME) -> LoadedJournal:
    """Read without a lock, also while a writer runs; a line still being written is left out.

    Raises StorageMissing, JournalCorrupt, CheckpointCorrupt, RecordTooNew.
    """
    # The checkpoint first: the journal only grows, so it can but be longer than this says.
    checkpoint = _read_checkpoint(storage, name)
    return load_journal(storage.read(name), checkpoint)


def _read_checkpoint(storage: Storage, name: str) -> Checkpoint | None:
    entry = checkpoint_name(name)
    if not storage.exists(entry):
        return None
    return Checkpoint.decode(storage.read(entry), name)


class Journal:
    """The one writer of a journal. Use `Journal.open`, and close it or use it as a context."""

    def __init__(
        self, storage: Storage, name: str, clock: Clock, who: str, loaded: LoadedJournal
    ) -> None:
        self._storage = storage
        self._name = name
        self._clock = clock
        self._who = who
        self._records = loaded.records
        self._frontier = loaded.frontier
        self._length = loaded.length
        self._last_time = loaded.records[-1].t if loaded.records else ""
        self._checkpointed = -1
        self._lock = ExitStack()
        self._failed = ""

    @classmethod
    def open(cls, storage: Storage, name: str = JOURNAL_NAME, *, clock: Clock, who: str) -> Journal:
        """Lock the journal, verify it against its checkpoint, repair a torn last line.

        A line that a power cut tore is beyond the checkpoint and was never acknowledged: it is cut
        off and the repair is journaled. Raises StorageLocked, JournalCorrupt, CheckpointCorrupt,
        RecordTooNew, JournalWriteFailed.
        """
        with ExitStack() as stack:
            stack.enter_context(storage.lock(name))
            checkpoint = _read_checkpoint(storage, name)
            data = storage.read(name) if storage.exists(name) else b""
            if data and checkpoint is None:
                raise JournalCorrupt(
                    f"{name} has no checkpoint",
                    why="a checkpoint is written before the first record",
                    hint="restore the state directory from a backup, both files together",
                )
            loaded = load_journal(data, checkpoint)
            journal = cls(storage, name, clock, who, loaded)
            journal._repair(data)
            journal.checkpoint()
            journal._lock = stack.pop_all()
        return journal

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
        for line in lines:
            self._frontier.append(line)
        self._records.extend(records)
        self._length += len(data)
        self._last_time = records[-1].t

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
        """Write the checkpoint now; raises JournalWriteFailed."""
        checkpoint = Checkpoint.of(self._name, self._frontier, self._length)
        if self._checkpointed != self.size:
            entry, data = checkpoint_name(self._name), checkpoint.encode()
            self._guarded(lambda: self._storage.write_atomic(entry, data))
            self._checkpointed = self.size
        return checkpoint

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
