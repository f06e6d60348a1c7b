"""A journal is retired, and the next one begins with how it ended; also when the host dies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cryofw.image import Algorithm
from cryofw.journal import (
    HostDied,
    Journal,
    JournalClosed,
    JournalCorrupt,
    MemoryStorage,
    TreeHead,
    read_journal,
    read_signed_head,
)
from cryofw.journal.chain import extends_chain, predecessor, retire, retired_journals
from tests.unit.journal.test_note import Signer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryofw.clock import Clock
    from cryofw.image import PublicKey

    Keys = Mapping[Algorithm, tuple[PublicKey, Callable[[bytes], bytes]]]


@pytest.fixture
def signer(image_keys: Keys) -> Signer:
    return Signer(image_keys[Algorithm.ED25519])


def begin(clock: Clock, signer: Signer | None, count: int = 5) -> MemoryStorage:
    storage = MemoryStorage()
    with Journal.open(storage, clock=clock, who="a", signer=signer) as journal:
        for index in range(count):
            journal.append("step-done", i=index)
    return storage


def test_next_journal_begins_with_the_end_of_the_one_before(signer: Signer, clock: Clock) -> None:
    storage = begin(clock, signer)
    before = read_journal(storage)
    closed = retire(storage, clock=clock, who="anna", why="year end", signer=signer)
    assert closed.head.size == 6
    first = read_journal(storage).records[0]
    assert predecessor(first) == closed
    assert (first.kind, first.fields["why"], first.fields["by"]) == (
        "journal-continued", "year end", "anna",
    )  # fmt: skip
    ((name, old),) = retired_journals(storage, first)
    assert (name, old.root) == (closed.name, closed.head.root)
    assert old.records[:5] == before.records
    assert old.records[5].kind == "journal-closed"
    signed = read_signed_head(storage, closed.name)
    assert signed is not None
    assert signed.head == closed.head
    assert signed.note.signed_by([signer.public_key])
    own = read_signed_head(storage)
    assert own is not None
    assert own.head.origin != signed.head.origin


def test_two_in_a_row(clock: Clock) -> None:
    storage = begin(clock, None)
    first = retire(storage, clock=clock, who="a", why="")
    with Journal.open(storage, clock=clock, who="a") as journal:
        journal.append("step-done")
    second = retire(storage, clock=clock, who="a", why="")
    with Journal.open(storage, clock=clock, who="a") as journal:
        names = [name for name, _ in retired_journals(storage, journal.records[0])]
        assert names == [second.name, first.name]
        for head in (first.head, second.head, TreeHead("", 0, b"")):
            assert extends_chain(storage, journal, head)
        shorter = read_journal(storage, first.name).leaves[:2]
        assert not extends_chain(storage, journal, TreeHead(first.head.origin, 2, b"\0" * 32))
        assert len(shorter) == 2
        storage.remove(first.name)  # archived elsewhere: its end is still known
        assert extends_chain(storage, journal, first.head)
        assert not extends_chain(storage, journal, TreeHead(first.head.origin, 5, b"\0" * 32))


@pytest.mark.parametrize("signs", [True, False])
def test_host_that_dies_in_any_write_of_it_loses_nothing(
    signer: Signer, clock: Clock, signs: bool
) -> None:
    key = signer if signs else None
    write = 0
    while True:
        storage = begin(clock, key, 300)
        records = read_journal(storage).records
        storage.die_at(write, 40)
        try:
            retire(storage, clock=clock, who="a", why="", signer=key)
        except HostDied:
            storage = storage.die()
        else:
            break
        write += 1
        now = read_journal(storage)  # at every moment there is a journal that verifies
        if now.records[0].kind == "step-done":
            with Journal.open(storage, clock=clock, who="a", signer=key) as journal:
                if journal.is_closed:
                    with pytest.raises(JournalClosed):
                        journal.append("step-done")
            retire(storage, clock=clock, who="a", why="", signer=key)
        with Journal.open(storage, clock=clock, who="a", signer=key) as journal:
            ((_, old),) = retired_journals(storage, journal.records[0])
            assert [r.line for r in old.records[:300]] == [r.line for r in records]
            journal.append("step-done")
    assert write > 8


def test_retired_journal_that_was_changed_is_told(clock: Clock) -> None:
    storage = begin(clock, None)
    closed = retire(storage, clock=clock, who="a", why="")
    first = read_journal(storage).records[0]
    other = begin(clock, None, 7)
    retire(other, clock=clock, who="a", why="")
    for entry in other.list("retired/"):
        suffix = entry.partition(".jsonl")[2]
        storage.write_atomic(closed.name + suffix, other.read(entry).replace(
            entry.partition(".jsonl")[0].encode(), closed.name.partition(".jsonl")[0].encode()
        ))  # fmt: skip
    with pytest.raises(JournalCorrupt, match="not the journal that was retired"):
        list(retired_journals(storage, first))
