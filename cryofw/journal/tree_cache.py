"""The tree beside its journal, so that nobody has to hash a million lines for one proof.

    tree/leaves    the hash of each line, 32 bytes
    tree/tiles     for each 256 lines: the root over them, and where they end in the journal

It is a cache: whatever it says is believed only under the checkpoint's tree head, and the next
writer mends what is missing or wrong.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from cryofw.errors import CryofwError
from cryofw.journal.merkle import TILE_HEIGHT, TILE_WIDTH, MerkleTree, tree_head
from cryofw.journal.scan import LeafHashes
from cryofw.journal.storage import StorageMissing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryofw.journal.storage import Storage

_HASH_SIZE = 32
_TILE = struct.Struct(">32sQ")


class TreeCacheStale(CryofwError):
    """The cache does not hold the tree that was asked for; the journal itself has to be read."""


def _names(journal: str) -> tuple[str, str]:
    folder = "tree" if journal == "journal.jsonl" else f"{journal}.tree"
    return f"{folder}/leaves", f"{folder}/tiles"


def read_leaf_hashes(storage: Storage, journal: str) -> LeafHashes | None:
    """The kept leaf hashes of a journal, not yet believed; None if there are none."""
    try:
        return LeafHashes(storage.read(_names(journal)[0]))
    except StorageMissing:
        return None


class TreeWriter:
    """Keeps the cache of one journal in step with it. A disk that fails costs only the cache."""

    def __init__(self, storage: Storage, journal: str) -> None:
        self._storage = storage
        self._leaves, self._tiles = _names(journal)
        self._cached = -1  # leaves on disk; not known before the first write

    def write(self, leaves: Sequence[bytes], tile_ends: Sequence[int]) -> None:
        """Bring the cache up to these leaves and ends of full tiles."""
        with suppress(CryofwError):
            if self._cached < 0:
                self._mend(leaves, tile_ends)
            if fresh := leaves[self._cached :]:
                self._storage.append(self._leaves, b"".join(fresh))
            full = self._cached // TILE_WIDTH
            if more := _tiles(leaves, tile_ends, full):
                self._storage.append(self._tiles, more)
            self._cached = len(leaves)

    def _mend(self, leaves: Sequence[bytes], tile_ends: Sequence[int]) -> None:
        """Find out what is there; replace it when it is not the beginning of this tree."""
        there = self._storage.read(self._leaves) if self._storage.exists(self._leaves) else b""
        count = len(there) // _HASH_SIZE
        sound = count * _HASH_SIZE == len(there) and there == b"".join(leaves[:count])
        if not sound:
            count = len(leaves)
            self._storage.write_atomic(self._leaves, b"".join(leaves))
        tiles = self._storage.read(self._tiles) if self._storage.exists(self._tiles) else b""
        wanted = _tiles(leaves[: count - count % TILE_WIDTH], tile_ends, 0)
        if tiles != wanted:
            self._storage.write_atomic(self._tiles, wanted)
        self._cached = count


def _tiles(leaves: Sequence[bytes], tile_ends: Sequence[int], first: int) -> bytes:
    """The entries of the full tiles from `first` on."""
    entries = []
    for tile in range(first, len(leaves) // TILE_WIDTH):
        part = leaves[tile * TILE_WIDTH : (tile + 1) * TILE_WIDTH]
        entries.append(_TILE.pack(MerkleTree.of_hashes(part).root(), tile_ends[tile]))
    return b"".join(entries)


class CachedTree:
    """A `HashTree` of the first `size` records, read from the cache in parts.

    Raises:
        TreeCacheStale: it does not give `root`.
        StorageMissing: there is no cache.
    """

    def __init__(self, storage: Storage, journal: str, size: int, root: bytes) -> None:
        self._storage = storage
        self._journal = journal
        self._size = size
        leaves, tiles = _names(journal)
        self._leaves = leaves
        full, rest = divmod(size, TILE_WIDTH)
        data = storage.read_part(tiles, 0, full * _TILE.size) if full else b""
        if len(data) != full * _TILE.size:
            raise TreeCacheStale("the cached tree is too short")
        entries = list(_TILE.iter_unpack(data))
        self._spine = MerkleTree.of_hashes([entry[0] for entry in entries])
        self._ends = [entry[1] for entry in entries]
        self._tile_trees: dict[int, MerkleTree] = {}
        if rest and len(self._tile(full)) != rest:
            raise TreeCacheStale("the cached tree is too short")
        if tree_head(self) != root:
            raise TreeCacheStale("the cached tree is that of another journal")

    def __len__(self) -> int:
        return self._size

    def node(self, level: int, index: int) -> bytes:
        """See `HashTree`; of a full tile only what is asked for is read."""
        if level >= TILE_HEIGHT:
            return self._spine.node(level - TILE_HEIGHT, index)
        below = TILE_HEIGHT - level
        return self._tile(index >> below).node(level, index & ((1 << below) - 1))

    def _tile(self, index: int) -> MerkleTree:
        if index not in self._tile_trees:
            first = index * TILE_WIDTH
            count = min(TILE_WIDTH, self._size - first)
            data = self._storage.read_part(self._leaves, first * _HASH_SIZE, count * _HASH_SIZE)
            hashes = [data[at : at + _HASH_SIZE] for at in range(0, len(data), _HASH_SIZE)]
            self._tile_trees[index] = MerkleTree.of_hashes(hashes)
        return self._tile_trees[index]

    def line(self, n: int) -> bytes:
        """The line of record `n`, without its newline, as it lies in the journal now."""
        tile, within = divmod(n, TILE_WIDTH)
        start = self._ends[tile - 1] if tile else 0
        size = self._ends[tile] - start if tile < len(self._ends) else 1 << 30
        lines = self._storage.read_part(self._journal, start, size).split(b"\n", within + 1)
        return lines[within] if within < len(lines) else b""
