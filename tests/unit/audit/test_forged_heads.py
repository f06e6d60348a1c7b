"""Checkpoints that vouch for nothing, and journals that hang in the air."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cryofw.audit import LogTrust, SignatureMissing, accept_cosigned, export_log, verify_log
from cryofw.journal import (
    CheckpointCorrupt,
    Entry,
    Journal,
    JournalCorrupt,
    MemoryStorage,
    NoteInvalid,
    SignedHead,
    SignedNote,
    TreeHead,
    cosign,
    sign_note,
)
from cryofw.journal.chain import CONTINUED, retire
from cryofw.journal.merkle import EMPTY_ROOT
from tests.unit.audit.test_audit_signatures import BERT, LOG, TRUST, append, sign

if TYPE_CHECKING:
    from cryofw.clock import Clock


@pytest.fixture
def storage(clock: Clock) -> MemoryStorage:
    """A signed journal of three records."""
    storage = MemoryStorage()
    for _ in range(3):
        append(storage, clock)
    return storage


def empty_head(origin: str = "cryofw/journal/elsewhere") -> SignedHead:
    head = TreeHead(origin, 0, EMPTY_ROOT)
    return SignedHead(head, sign_note(head.text, origin, LOG))


def cosigned(head: SignedHead) -> SignedHead:
    line = cosign(head.note.text, "bert", BERT, 1_700_000_000)
    note = SignedNote(head.note.text, (*head.note.signatures, line))
    return SignedHead(head.head, note)


def test_empty_checkpoint_is_no_signature(storage: MemoryStorage) -> None:
    storage.write_atomic("checkpoint", empty_head().encode())
    with pytest.raises(SignatureMissing, match="covers no record"):
        verify_log(storage, trust=TRUST)


def test_empty_checkpoint_is_no_witness(storage: MemoryStorage) -> None:
    quorum = LogTrust(TRUST.keys, TRUST.witnesses, 1)
    with pytest.raises(NoteInvalid, match="covers no record"):
        accept_cosigned(storage, cosigned(empty_head()).encode(), TRUST.witnesses)
    storage.write_atomic("cosigned/000000000000", cosigned(empty_head()).encode())
    with pytest.raises(SignatureMissing, match="covers no record"):
        verify_log(storage, trust=quorum)


def test_empty_checkpoint_proves_no_growth(storage: MemoryStorage) -> None:
    with pytest.raises(SignatureMissing, match="kept covers no record"):
        verify_log(storage, since={"kept": empty_head().encode()})


@pytest.mark.parametrize("field", ["size", "length"])
@pytest.mark.parametrize("value", [-1, -5, 10**30])
def test_checkpoint_of_an_impossible_size(storage: MemoryStorage, field: str, value: int) -> None:
    fields = json.loads(storage.read("checkpoint.json"))
    fields[field] = value
    if value < 0:
        fields |= {"root": EMPTY_ROOT.hex(), "peaks": []}
    storage.write_atomic("checkpoint.json", json.dumps(fields, indent=1).encode() + b"\n")
    with pytest.raises((CheckpointCorrupt, JournalCorrupt)):
        verify_log(storage)


def test_journal_that_continues_one_which_was_never_closed(
    storage: MemoryStorage, clock: Clock
) -> None:
    head = Journal.open(storage, clock=clock, who="eve").head
    retired = f"retired/{head.origin.rpartition('/')[2]}.jsonl"
    other = MemoryStorage()
    fields = {"origin": head.origin, "size": head.size, "root": head.root.hex(), "by": "eve"}
    with Journal.open(other, clock=clock, who="eve") as journal:
        journal.append_many([Entry(CONTINUED, fields=fields)])
    other.write_atomic(retired, storage.read("journal.jsonl"))
    text = storage.read("checkpoint.json").replace(b'"journal.jsonl"', f'"{retired}"'.encode())
    other.write_atomic(f"{retired}.checkpoint.json", text)
    with pytest.raises(JournalCorrupt, match="was not closed"):
        verify_log(other)


def test_honest_retirement_still_verifies(storage: MemoryStorage, clock: Clock) -> None:
    retire(storage, clock=clock, who="anna", why="long", signer=LOG)
    report = verify_log(storage, trust=TRUST)
    assert report.continues is not None
    assert report.continues.records == 4


@pytest.mark.parametrize("kind", ["tile/0/", "tile/entries/"])
def test_changed_tile_of_an_export_is_found(
    storage: MemoryStorage, clock: Clock, kind: str
) -> None:
    public = MemoryStorage()
    export_log(storage, public)
    append(storage, clock)
    export_log(storage, public)  # older, smaller tiles stay: they are of this journal as well
    verify_log(public, trust=TRUST)
    for name in public.list(kind):
        data = public.read(name)
        public.write_atomic(name, data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(JournalCorrupt, match=name.replace(".", r"\.")):
            verify_log(public, trust=TRUST)
        public.write_atomic(name, data)
    public.write_atomic("tile/9/000", b"x")
    with pytest.raises(JournalCorrupt, match="tile/9/000"):
        verify_log(public, trust=TRUST)


def test_signed_journal_of_no_rollout_is_fine(storage: MemoryStorage, clock: Clock) -> None:
    sign(storage, clock)
    assert verify_log(storage, trust=TRUST).signatures.signed == 3
