"""Checkpoints, proofs and tiles as C2SP has them, and the tree that is kept beside a journal."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

import pytest

from cryofw.errors import BadInput
from cryofw.image import Algorithm
from cryofw.journal import (
    CachedTree,
    Entry,
    Journal,
    JournalCorrupt,
    MemoryStorage,
    MerkleTree,
    NoteInvalid,
    ProofInvalid,
    SignedHead,
    TlogProof,
    TreeCacheStale,
    TreeHead,
    consistency_proof,
    entry_bundles,
    inclusion_proof,
    leaf_hash,
    origin_of,
    read_leaf_hashes,
    read_signed_head,
    sign_note,
    tiles_of,
    tree_head,
)
from tests.unit.journal.test_note import Signer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryofw.clock import Clock
    from cryofw.image import PublicKey

    Keys = Mapping[Algorithm, tuple[PublicKey, Callable[[bytes], bytes]]]

NAME = "journal.jsonl"


@pytest.fixture
def signer(image_keys: Keys) -> Signer:
    return Signer(image_keys[Algorithm.ED25519])


def write(storage: MemoryStorage, clock: Clock, count: int, signer: Signer | None = None) -> None:
    with Journal.open(storage, clock=clock, who="a", signer=signer) as journal:
        journal.append_many(Entry("step-done", fields={"i": i}) for i in range(count))


def lines_of(storage: MemoryStorage) -> list[bytes]:
    return storage.read(NAME).splitlines()


# --- checkpoints ----------------------------------------------------------------------------


def test_checkpoint_is_three_lines_and_a_signature(signer: Signer, clock: Clock) -> None:
    storage = MemoryStorage()
    write(storage, clock, 3, signer)
    first, size, root, empty, line = storage.read("checkpoint").decode().splitlines()
    lines = lines_of(storage)
    assert (
        first
        == f"cryofw/journal/{leaf_hash(lines[0]).hex()[:32]}"
        == origin_of(leaf_hash(lines[0]))
    )
    assert (size, empty) == ("3", "")
    assert base64.b64decode(root) == MerkleTree(lines).root()
    assert line.startswith(f"— {first} ")
    signed = read_signed_head(storage)
    assert signed is not None
    assert signed.note.signed_by([signer.public_key]) == [signer.public_key]


def test_checkpoint_of_c2sp_is_read() -> None:
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    head = TreeHead.parse(text)
    assert (head.origin, head.size, head.text) == ("example.com/behind-the-sofa", 20852163, text)
    assert TreeHead.parse(text + "extension\n") == head


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\n1\n",
        "a\n01\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "a\n-1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "a\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2J=\n",
        "a\n1\nAAAA\n",
        "\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "a\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=",
        "a\n0\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
    ],
)
def test_what_is_no_checkpoint_is_told(text: str) -> None:
    with pytest.raises(NoteInvalid):
        TreeHead.parse(text)


def test_journal_that_was_written_anew_is_not_signed(signer: Signer, clock: Clock) -> None:
    """Also one whose own checkpoint was made to fit."""
    storage, other = MemoryStorage(), MemoryStorage()
    write(storage, clock, 5, signer)
    write(other, clock, 9)
    for forged in (other, MemoryStorage()):
        forged.write_atomic("checkpoint", storage.read("checkpoint"))
    write(other, clock, 1)  # one that extends it is continued
    changed = MemoryStorage()
    with Journal.open(changed, clock=clock, who="eve") as journal:
        journal.append_many(Entry("step-done", fields={"i": i}) for i in range(9))
    changed.write_atomic("checkpoint", storage.read("checkpoint"))
    with pytest.raises(JournalCorrupt, match="not the journal that was signed"):
        Journal.open(changed, clock=clock, who="a", signer=signer)


def test_key_that_fails_stops_nothing_and_the_next_one_signs(signer: Signer, clock: Clock) -> None:
    class Broken(Signer):
        def sign(self, message: bytes) -> bytes:
            raise BadInput("the token is gone")

    storage = MemoryStorage()
    broken = Broken((signer.public_key, lambda message: message))
    with Journal.open(storage, clock=clock, who="a", signer=broken) as journal:
        journal.append("step-done")
        journal.checkpoint()
        assert (journal.unsigned_why, journal.signed) == ("the token is gone", None)
    assert not storage.exists("checkpoint")
    with Journal.open(storage, clock=clock, who="a", signer=signer) as journal:
        assert journal.signed is not None
        assert (journal.signed.head, journal.unsigned_why) == (journal.head, "")


def test_signed_checkpoint_follows_the_journal(signer: Signer, clock: Clock) -> None:
    storage = MemoryStorage()
    with Journal.open(storage, clock=clock, who="a", signer=signer) as journal:
        for _ in range(64):
            journal.append("step-done")
        signed = read_signed_head(storage)
        assert signed is not None
        assert signed.head == journal.head
        journal.append("step-done")
    last = read_signed_head(storage)
    assert last is not None
    assert (last.head.size, last.head.origin) == (65, signed.head.origin)


# --- proofs ---------------------------------------------------------------------------------


def proof_of(storage: MemoryStorage, n: int, extra: bytes = b"") -> TlogProof:
    signed = read_signed_head(storage)
    assert signed is not None
    tree = CachedTree(storage, NAME, signed.head.size, signed.head.root)
    return TlogProof(n, tuple(inclusion_proof(tree, n)), signed, extra)


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 1000])
def test_every_record_is_proven_from_the_cache(signer: Signer, clock: Clock, size: int) -> None:
    storage = MemoryStorage()
    write(storage, clock, size, signer)
    lines = lines_of(storage)
    signed = read_signed_head(storage)
    assert signed is not None
    tree = CachedTree(storage, NAME, size, signed.head.root)
    for n in {0, 1 % size, size // 2, size - 1, *range(250 % size, min(size, 260))}:
        proof = TlogProof.parse(proof_of(storage, n, b"more").encode())
        proof.require(lines[n])
        assert (tree.line(n), proof.extra) == (lines[n], b"more")
        with pytest.raises(ProofInvalid):
            proof.require(lines[n] + b" ")
    plain = MerkleTree(lines)
    for old in {1, size // 2 or 1, size}:
        assert consistency_proof(tree, old) == plain.consistency_proof(old)
        assert tree_head(tree, old) == plain.root(old)


def holds(data: bytes, line: bytes, signer: Signer) -> bool:
    try:
        read = TlogProof.parse(data)
        read.require(line)
        return bool(read.checkpoint.note.signed_by([signer.public_key]))
    except NoteInvalid:
        return False


def test_every_changed_line_of_a_proof_is_found(signer: Signer, clock: Clock) -> None:
    storage = MemoryStorage()
    write(storage, clock, 20, signer)
    line = lines_of(storage)[7]
    data = proof_of(storage, 7).encode()
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        assert not holds(changed, line, signer), place
    assert holds(data, line, signer)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"c2sp.org/tlog-proof@v2\nindex 0\n\n",
        b"c2sp.org/tlog-proof@v1\n\n",
        b"c2sp.org/tlog-proof@v1\nindex 00\n\n",
        b"c2sp.org/tlog-proof@v1\nextra !\nindex 0\n\n",
        b"c2sp.org/tlog-proof@v1\nindex 0\nAAAA\n\n",
        b"c2sp.org/tlog-proof@v1\nindex 0\n" + b"A" * 43 + b"=\n" * 70 + b"\n\n",
        b"\xff\n\n",
        b"a" * (9 << 20),
    ],
)
def test_what_is_no_proof_is_told(data: bytes) -> None:
    with pytest.raises(NoteInvalid) as caught:
        TlogProof.parse(data)
    assert caught.value.exit_code == 4


# --- the cache ------------------------------------------------------------------------------


def test_cache_that_is_missing_short_or_wrong_is_mended_by_the_next_writer(
    signer: Signer, clock: Clock
) -> None:
    storage = MemoryStorage()
    write(storage, clock, 600, signer)
    sound = {name: storage.read(name) for name in storage.list("tree/")}
    assert {name: len(data) for name, data in sound.items()} == {
        "tree/leaves": 600 * 32, "tree/tiles": 2 * 40,
    }  # fmt: skip
    for name, data in sound.items():
        for damage in (b"", data[:-5], data[:-40], bytes(len(data)), data + b"\0" * 40):
            storage.write_atomic(name, damage)
            Journal.open(storage, clock=clock, who="a").close()
            assert {name: storage.read(name) for name in sound} == sound, name
        storage.remove(name)
        Journal.open(storage, clock=clock, who="a").close()
        assert storage.read(name) == data


def test_cache_of_another_journal_is_not_believed(signer: Signer, clock: Clock) -> None:
    storage, other = MemoryStorage(), MemoryStorage()
    write(storage, clock, 300, signer)
    write(other, clock, 300)
    with Journal.open(other, clock=clock, who="b") as journal:
        root = journal.root
    signed = read_signed_head(storage)
    assert signed is not None
    with pytest.raises(TreeCacheStale):
        CachedTree(storage, NAME, 300, hashlib.sha256(b"x").digest())
    with pytest.raises(TreeCacheStale):
        CachedTree(storage, NAME, 900, root)
    storage.write_atomic("tree/leaves", storage.read("tree/leaves")[: 32 * 260])
    with pytest.raises(TreeCacheStale):
        CachedTree(storage, NAME, 300, signed.head.root)


def test_kept_hashes_name_the_changed_record(clock: Clock) -> None:
    storage = MemoryStorage()
    write(storage, clock, 3)
    known = read_leaf_hashes(storage, NAME)
    assert known is not None
    assert [known[n] for n in range(3)] == [leaf_hash(line) for line in lines_of(storage)]
    assert read_leaf_hashes(MemoryStorage(), NAME) is None


# --- tiles ----------------------------------------------------------------------------------


def test_tiles_are_those_of_the_specification() -> None:
    """A tree of 70,000: 273 full tiles and one of 112; one full tile and one of 17; one of 1."""
    leaves = [n.to_bytes(32, "big") for n in range(70_000)]
    tiles = dict(tiles_of(leaves))
    assert len(tiles) == 274 + 2 + 1
    assert tiles["tile/0/000"] == b"".join(leaves[:256])
    assert tiles["tile/0/273.p/112"] == b"".join(leaves[69_888:])
    assert len(tiles["tile/1/001.p/17"]) == 17 * 32
    tree = MerkleTree.of_hashes(leaves)
    assert tiles["tile/1/000"][32:64] == MerkleTree.of_hashes(leaves[256:512]).root()
    assert tiles["tile/2/000.p/1"] == tree.node(16, 0)


def test_long_journals_have_nested_paths() -> None:
    tiles = dict(tiles_of([b"\0" * 32] * (256 * 1000 + 1)))
    assert "tile/0/999" in tiles
    assert "tile/0/x001/000.p/1" in tiles


def test_tree_of_256_has_a_full_tile_and_its_root() -> None:
    tiles = dict(tiles_of([b"\1" * 32] * 256))
    assert sorted(tiles) == ["tile/0/000", "tile/1/000.p/1"]


def test_entries_are_the_lines_after_their_lengths() -> None:
    lines = [b"x" * n for n in range(300)]
    bundles = dict(entry_bundles(lines))
    assert sorted(bundles) == ["tile/entries/000", "tile/entries/001.p/44"]
    data, found = b"".join(bundles[name] for name in sorted(bundles)), []
    while data:
        size = int.from_bytes(data[:2], "big")
        found.append(data[2 : 2 + size])
        data = data[2 + size :]
    assert found == lines


def test_signed_head_comes_back(signer: Signer) -> None:
    head = TreeHead("log", 1, b"\1" * 32)
    signed = SignedHead(head, sign_note(head.text, "log", signer))
    assert SignedHead.parse(signed.encode()) == signed
