"""The journal: one writer, nothing acknowledged is lost, nothing is written after a doubt."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from cryofw.journal import (
    Checkpoint,
    CheckpointCorrupt,
    Entry,
    HostDied,
    Journal,
    JournalCorrupt,
    JournalWriteFailed,
    MemoryDisk,
    MemoryStorage,
    MerkleTree,
    RecordTooNew,
    StorageFenced,
    StorageLocked,
    StorageMissing,
    UnwritableRecord,
    read_journal,
)

if TYPE_CHECKING:
    from cryofw.clock import Clock

NAME, CHECKPOINT = "journal.jsonl", "checkpoint.json"


def open_journal(storage: MemoryStorage, clock: Clock) -> Journal:
    return Journal.open(storage, clock=clock, who="anna@lab")


def write(storage: MemoryStorage, clock: Clock, count: int) -> None:
    with open_journal(storage, clock) as journal:
        for index in range(count):
            journal.append("step-done", rollout="r-1", device="c1-a", index=index)


def test_record_is_on_disk_when_append_returns(clock: Clock) -> None:
    storage = MemoryStorage()
    journal = open_journal(storage, clock)
    record = journal.append("rollout-started", rollout="r-1", why="because")
    assert storage.disk.entries[NAME] == record.line + b"\n"
    assert (record.n, record.t, record.who) == (0, "2026-11-20T21:07:03.114Z", "anna@lab")


def test_reopened_journal_goes_on(clock: Clock) -> None:
    storage = MemoryStorage()
    write(storage, clock, 3)
    write(storage, clock, 2)
    with open_journal(storage, clock) as journal:
        assert [record.n for record in journal.records] == [0, 1, 2, 3, 4]
        assert [record.fields["index"] for record in journal.records] == [0, 1, 2, 0, 1]
        assert journal.root == MerkleTree(record.line for record in journal.records).root()
        assert journal.size == 5


def test_append_many_is_one_write(clock: Clock) -> None:
    storage = MemoryStorage()
    journal = open_journal(storage, clock)
    before = storage.writes
    records = journal.append_many([Entry("a", "r-1"), Entry("b", device="c1-a", fields={"x": 1})])
    assert storage.writes == before + 1
    assert [record.kind for record in journal.records] == ["a", "b"] == [r.kind for r in records]


def test_clock_set_back_does_not_turn_the_record_back(clock: Clock) -> None:
    journal = open_journal(MemoryStorage(), clock)
    first = journal.append("a")
    asyncio.run(clock.sleep(-3600))
    assert journal.append("b").t == first.t
    asyncio.run(clock.sleep(7200))
    assert journal.append("c").t > first.t


def test_unwritable_record_leaves_the_journal_as_it_was(clock: Clock) -> None:
    storage = MemoryStorage()
    journal = open_journal(storage, clock)
    with pytest.raises(UnwritableRecord):
        journal.append_many([Entry("a"), Entry("b", fields={"x": float("nan")})])
    assert journal.append("c").n == 0


def test_second_writer_is_refused_by_the_holder_s_name(clock: Clock) -> None:
    disk = MemoryDisk()
    with open_journal(MemoryStorage(disk, holder="process 7 (cryofw deploy)"), clock):
        with pytest.raises(StorageLocked, match="process 7") as caught:
            open_journal(MemoryStorage(disk), clock)
        assert caught.value.exit_code == 5
    open_journal(MemoryStorage(disk), clock).close()


def test_journal_can_be_read_while_it_is_written(clock: Clock) -> None:
    disk = MemoryDisk()
    writer = open_journal(MemoryStorage(disk), clock)
    writer.append("a")
    writer.append("b")
    disk.entries[NAME] += b'{"v":1,"n":2,"t":'  # the writer is in the middle of a line
    seen = read_journal(MemoryStorage(disk))
    assert [record.kind for record in seen.records] == ["a", "b"]
    assert seen.root == writer.root


def test_reading_a_journal_that_is_not_there() -> None:
    with pytest.raises(StorageMissing):
        read_journal(MemoryStorage())


def test_torn_last_line_is_cut_off_and_the_repair_is_journaled(clock: Clock) -> None:
    whole = MemoryStorage()
    journal = open_journal(whole, clock)
    journal.append("a")
    journal.append("b", x=1)
    last = journal.records[1].line + b"\n"
    for kept in range(1, len(last)):
        storage = MemoryStorage()
        first = open_journal(storage, clock)
        first.append("a")
        storage.die_at(0, kept)
        with pytest.raises(HostDied):
            first.append("b", x=1)
        with open_journal(storage.die(), clock) as again:
            kinds = [record.kind for record in again.records]
            assert kinds == ["a", "journal-repaired"]
            repair = again.records[1].fields
            assert (repair["dropped_bytes"], repair["dropped"]) == (kept, last[:kept].decode())
            assert again.append("c").n == 2


def test_block_of_zeroes_after_a_power_cut_is_torn_too(clock: Clock) -> None:
    disk = MemoryDisk()
    open_journal(MemoryStorage(disk), clock).append("a")
    disk.locks.clear()
    disk.entries[NAME] += b"\0" * 40 + b'"x":1}\n'
    with open_journal(MemoryStorage(disk), clock) as journal:
        assert [record.kind for record in journal.records] == ["a", "journal-repaired"]


def test_whole_line_that_is_no_record_is_not_taken_for_torn(clock: Clock) -> None:
    """An acknowledged record that was damaged must be told, not repaired away."""
    disk = MemoryDisk()
    open_journal(MemoryStorage(disk), clock).append_many([Entry("a"), Entry("b")])
    disk.locks.clear()
    disk.entries[NAME] = disk.entries[NAME].replace(b'"b"}', b'"b"]')
    with pytest.raises(JournalCorrupt) as caught:
        open_journal(MemoryStorage(disk), clock)
    assert (caught.value.record, caught.value.exit_code) == (1, 4)
    assert not disk.locks


def test_nothing_under_the_checkpoint_is_repaired(clock: Clock) -> None:
    disk = MemoryDisk()
    write(MemoryStorage(disk), clock, 3)
    disk.entries[NAME] = disk.entries[NAME][:-1]
    before = dict(disk.entries)
    with pytest.raises(JournalCorrupt, match="ends after record 1") as caught:
        open_journal(MemoryStorage(disk), clock)
    assert caught.value.record == 2
    assert disk.entries == before


def test_lost_journal_and_lost_checkpoint_are_told(clock: Clock) -> None:
    for lost in (NAME, CHECKPOINT):
        disk = MemoryDisk()
        write(MemoryStorage(disk), clock, 3)
        del disk.entries[lost]
        with pytest.raises(JournalCorrupt, match=r"empty|no checkpoint"):
            open_journal(MemoryStorage(disk), clock)


def test_older_copy_with_its_newer_checkpoint_is_told(clock: Clock) -> None:
    disk = MemoryDisk()
    write(MemoryStorage(disk), clock, 3)
    old = disk.entries[NAME]
    write(MemoryStorage(disk), clock, 3)
    disk.entries[NAME] = old
    with pytest.raises(JournalCorrupt, match="covers 6 records; here are 3"):
        open_journal(MemoryStorage(disk), clock)


def test_journal_of_a_newer_cryofw_is_not_touched(clock: Clock) -> None:
    disk = MemoryDisk()
    write(MemoryStorage(disk), clock, 2)
    disk.entries[NAME] += (
        disk.entries[NAME].splitlines(keepends=True)[-1].replace(b'"v":1,"n":1', b'"v":2,"n":2')
    )
    before = dict(disk.entries)
    with pytest.raises(RecordTooNew):
        open_journal(MemoryStorage(disk), clock)
    with pytest.raises(RecordTooNew):
        read_journal(MemoryStorage(disk))
    assert disk.entries == before


@pytest.mark.parametrize("kept", [0, 10, 10_000])
def test_after_a_failed_write_nothing_more_is_taken(clock: Clock, kept: int) -> None:
    storage = MemoryStorage()
    journal = open_journal(storage, clock)
    journal.append("a")
    storage.fail_at(0, kept)
    with pytest.raises(JournalWriteFailed, match="No space left") as caught:
        journal.append("b")
    assert caught.value.exit_code == 75
    with pytest.raises(JournalWriteFailed, match="earlier write failed"):
        journal.append("c")
    assert [record.kind for record in journal.records] == ["a"]
    journal.close()
    with open_journal(MemoryStorage(storage.disk), clock) as again:
        assert again.records[0].kind == "a"
        assert "c" not in [record.kind for record in again.records]


def test_failed_checkpoint_stops_the_journal_too(clock: Clock) -> None:
    storage = MemoryStorage()
    journal = open_journal(storage, clock)
    journal.append("a")
    storage.fail_at(0)
    with pytest.raises(JournalWriteFailed):
        journal.checkpoint()
    with pytest.raises(JournalWriteFailed):
        journal.append("b")


def test_closed_journal_takes_nothing(clock: Clock) -> None:
    journal = open_journal(MemoryStorage(), clock)
    journal.close()
    journal.close()
    with pytest.raises(JournalWriteFailed, match="closed"):
        journal.append("a")


def test_handle_of_a_dead_run_writes_nothing(clock: Clock) -> None:
    storage = MemoryStorage()
    journal = open_journal(storage, clock)
    journal.append("a")
    next_storage = storage.die()
    with open_journal(next_storage, clock) as again:
        with pytest.raises(JournalWriteFailed) as caught:
            journal.append("late")
        assert isinstance(caught.value.__cause__, StorageFenced)
        journal.close()
        again.append("b")  # the dead run's close did not take the lock away
        with pytest.raises(StorageLocked):
            open_journal(MemoryStorage(storage.disk), clock)
    kinds = [record.kind for record in read_journal(next_storage).records]
    assert kinds == ["a", "b"]


def test_checkpoint_follows_the_journal(clock: Clock) -> None:
    storage = MemoryStorage()
    journal = open_journal(storage, clock)
    sizes = set()
    for _ in range(200):
        journal.append("a")
        sizes.add(Checkpoint.decode(storage.read(CHECKPOINT), NAME).size)
    assert sizes == {0, 64, 128, 192}
    journal.close()
    checkpoint = Checkpoint.decode(storage.read(CHECKPOINT), NAME)
    assert (checkpoint.size, checkpoint.root) == (200, journal.root)
    assert checkpoint.length == len(storage.read(NAME))


def test_journals_beside_each_other_keep_their_own_checkpoints(clock: Clock) -> None:
    storage = MemoryStorage()
    for name in (NAME, "gateway-a.jsonl"):
        with Journal.open(storage, name, clock=clock, who="me") as journal:
            journal.append("a", name=name)
    assert read_journal(storage, "gateway-a.jsonl").records[0].fields["name"] == "gateway-a.jsonl"
    storage.disk.entries[CHECKPOINT] = storage.disk.entries["gateway-a.jsonl.checkpoint.json"]
    with pytest.raises(CheckpointCorrupt):
        read_journal(storage)
