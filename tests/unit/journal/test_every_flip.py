"""Every single-bit flip and every truncation of a journal of 200 records, told to the record.

Nearly two hundred thousand verifications, so the library has to be quick to say no: it hashes
line by line and stops at the first that the kept leaf hashes do not know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cryofw.journal import (
    Checkpoint,
    Journal,
    JournalCorrupt,
    LeafHashes,
    MemoryStorage,
    verify_journal,
)

if TYPE_CHECKING:
    from cryofw.clock import Clock

NAME = "journal.jsonl"


@pytest.fixture
def written(clock: Clock) -> tuple[bytes, Checkpoint, LeafHashes]:
    storage = MemoryStorage()
    with Journal.open(storage, clock=clock, who="a") as journal:
        for index in range(200):
            journal.append("step-done", device=f"c{index % 4}", i=index)
    checkpoint = Checkpoint.decode(storage.read("checkpoint.json"), NAME)
    return storage.read(NAME), checkpoint, LeafHashes(storage.read("tree/leaves"))


def first_lie(
    data: bytes, checkpoint: Checkpoint, known: LeafHashes
) -> tuple[int | None, int | None] | None:
    """Record and byte; quicker than `pytest.raises`, which counts here."""
    try:
        verify_journal(data, checkpoint, known)
    except JournalCorrupt as error:
        return error.record, error.offset
    return None


def test_every_single_bit_flip_is_found_at_its_record_and_byte(
    written: tuple[bytes, Checkpoint, LeafHashes],
) -> None:
    data, checkpoint, known = written
    assert len(verify_journal(data, checkpoint, known).records) == 200
    record, offset = 0, 0
    for place, byte in enumerate(data):
        for bit in range(8):
            flipped = b"%b%c%b" % (data[:place], byte ^ 1 << bit, data[place + 1 :])
            assert first_lie(flipped, checkpoint, known) == (record, offset)
        if byte == 10:
            record, offset = record + 1, place + 1


def test_every_truncation_is_found_at_the_record_that_is_missing(
    written: tuple[bytes, Checkpoint, LeafHashes],
) -> None:
    data, checkpoint, known = written
    whole = 0
    for size in range(len(data)):
        with pytest.raises(JournalCorrupt) as caught:
            verify_journal(data[:size], checkpoint, known)
        assert caught.value.record == whole
        assert caught.value.offset == data.rfind(b"\n", 0, size) + 1
        whole += data[size] == 10


def test_leaf_hashes_that_lie_themselves_hide_nothing(
    written: tuple[bytes, Checkpoint, LeafHashes],
) -> None:
    """Who changes a line and its kept hash is found by the tree head, in its range."""
    data, checkpoint, _ = written
    changed = data.replace(b'"i":150}', b'"i":151}')
    for lying in (LeafHashes(b""), LeafHashes(b"\0" * 32 * 200)):
        assert len(verify_journal(data, checkpoint, lying).records) == 200
        with pytest.raises(JournalCorrupt, match="changed between record 128") as caught:
            verify_journal(changed, checkpoint, lying)
        assert caught.value.record == 128
