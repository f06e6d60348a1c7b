"""Whatever is changed in a journal or its checkpoint is found, and said where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cryofw.errors import CryofwError
from cryofw.journal import (
    Checkpoint,
    Journal,
    JournalCorrupt,
    JournalReport,
    MemoryStorage,
    verify_journal,
)

if TYPE_CHECKING:
    from cryofw.clock import Clock

NAME = "journal.jsonl"


def written(clock: Clock, count: int) -> tuple[bytes, bytes]:
    """A journal of `count` records and its checkpoint file."""
    storage = MemoryStorage()
    with Journal.open(storage, clock=clock, who="a") as journal:
        for index in range(count):
            journal.append("step-done", device=f"c{index % 4}", i=index)
    return storage.read(NAME), storage.read("checkpoint.json")


def verify(data: bytes, checkpoint: bytes) -> JournalReport:
    return verify_journal(data, Checkpoint.decode(checkpoint, NAME))


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_untouched_journal_verifies(clock: Clock) -> None:
    data, checkpoint = written(clock, 200)
    report = verify(data, checkpoint)
    assert (len(report.records), report.anchored, report.torn_bytes) == (200, 200, 0)
    assert report.root == Checkpoint.decode(checkpoint, NAME).root


def test_every_flipped_bit_of_a_short_journal_is_found_at_its_record(clock: Clock) -> None:
    data, checkpoint = written(clock, 8)
    for bit in range(len(data) * 8):
        with pytest.raises(CryofwError) as caught:
            verify(flipped(data, bit), checkpoint)
        assert caught.value.exit_code in (4, 5)  # 5: a version number from the future
        if isinstance(caught.value, JournalCorrupt):
            record = data.count(b"\n", 0, bit // 8)
            assert caught.value.record is not None
            assert caught.value.record <= record


def test_flipped_bits_all_over_a_long_journal_are_found(clock: Clock) -> None:
    data, checkpoint = written(clock, 200)
    last = len(data) * 8
    ends = [*range(400), *range(last - 400, last)]
    for bit in [*ends, *range(400, last - 400, 53)]:
        with pytest.raises(CryofwError) as caught:
            verify(flipped(data, bit), checkpoint)
        assert caught.value.exit_code in (4, 5)


def test_every_truncation_is_found(clock: Clock) -> None:
    data, checkpoint = written(clock, 200)
    boundaries = [place for place, byte in enumerate(data) if byte == 10]
    sizes = {size + step for size in boundaries for step in (-1, 0, 1)}
    sizes |= set(range(300)) | set(range(len(data) - 300, len(data)))
    for size in sorted(sizes - {len(data)}):
        with pytest.raises(JournalCorrupt) as caught:
            verify(data[:size], checkpoint)
        assert caught.value.record == data.count(b"\n", 0, size)
        assert caught.value.offset == data.rfind(b"\n", 0, size) + 1


def test_every_flipped_bit_of_the_checkpoint_is_found(clock: Clock) -> None:
    data, checkpoint = written(clock, 200)
    for bit in range(len(checkpoint) * 8):
        with pytest.raises(CryofwError) as caught:
            verify(data, flipped(checkpoint, bit))
        assert caught.value.exit_code == 4


def test_every_truncation_of_the_checkpoint_is_found(clock: Clock) -> None:
    data, checkpoint = written(clock, 20)
    for size in range(len(checkpoint)):
        with pytest.raises(CryofwError) as caught:
            verify(data, checkpoint[:size])
        assert caught.value.exit_code == 4


def test_removed_doubled_and_swapped_lines_are_found(clock: Clock) -> None:
    data, checkpoint = written(clock, 20)
    lines = data.splitlines(keepends=True)
    for index in range(19):
        for changed in (
            lines[:index] + lines[index + 1 :],
            lines[: index + 1] + lines[index:],
            [*lines[:index], lines[index + 1], lines[index], *lines[index + 2 :]],
        ):
            with pytest.raises(JournalCorrupt) as caught:
                verify(b"".join(changed), checkpoint)
            assert caught.value.record in (index, index + 1)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"i":5', b'"i": 5'),  # the same record in another form
        (b'"i":5', b'"i":4,"i":5'),  # a key twice: readers differ in what they see
        (b'"i":5', b'"i":5.0'),
        (b'"i":5', b'"i":6'),
        (b'"device":"c1","kind":"step-done","i":5', b'"kind":"step-done","device":"c1","i":5'),
        (b'"i":5}\n', b'"i":5}\r\n'),
    ],
)
def test_rewritten_line_is_found(clock: Clock, old: bytes, new: bytes) -> None:
    data, checkpoint = written(clock, 20)
    assert data.count(old) == 1
    with pytest.raises(JournalCorrupt):
        verify(data.replace(old, new), checkpoint)


def test_rewrite_with_a_rewritten_length_is_found_in_its_range(clock: Clock) -> None:
    """200 records are perfect subtrees of 128, 64 and 8: the lie is in one of them."""
    data, checkpoint = written(clock, 200)
    for changed, first in ((5, 0), (127, 0), (128, 128), (191, 128), (199, 192)):
        old = b'"i":%d}' % changed
        new = b'"i":%d}' % (changed ^ 1)
        with pytest.raises(JournalCorrupt) as caught:
            verify(data.replace(old, new, 1), checkpoint)
        assert caught.value.record == first
        assert caught.value.offset == len(b"".join(data.splitlines(keepends=True)[:first]))


def test_what_follows_the_checkpoint_is_read_but_not_anchored(clock: Clock) -> None:
    data, checkpoint = written(clock, 20)
    more, _ = written(clock, 25)
    report = verify(more + b'{"v":1', checkpoint)
    assert (len(report.records), report.anchored, report.torn_bytes) == (25, 20, 6)
    assert verify_journal(data, None).anchored == 0


def test_time_that_runs_backwards_is_found(clock: Clock) -> None:
    data, _ = written(clock, 3)
    changed = data.replace(b"21:07:03.114Z", b"21:07:04.114Z", 2)
    with pytest.raises(JournalCorrupt, match="disagree") as caught:
        verify_journal(changed, None)
    assert caught.value.record == 1
