"""The Merkle tree of RFC 6962 (SHA-256) over the lines of a journal.

A leaf is the exact bytes of a line without its newline. Leaf and node hashes are told apart by a
prefix byte (RFC 6962, 2.1), so that no line can pose as an inner node.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

EMPTY_ROOT = hashlib.sha256(b"").digest()
TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
"""Hashes in a tile, as C2SP tlog-tiles has it."""


def leaf_hash(leaf: bytes) -> bytes:
    """Hash of a leaf: SHA-256(0x00 || leaf)."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node: SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def leaf_hashes(leaves: Iterable[bytes]) -> list[bytes]:
    """`leaf_hash` of each; a million take half a second."""
    sha256 = hashlib.sha256
    return [sha256(b"\x00" + leaf).digest() for leaf in leaves]


class Frontier:
    """The right edge of a growing tree: root in O(log n) memory, without the leaves.

    `peaks` are the roots of the perfect subtrees that the tree consists of, largest first: one for
    each bit that is set in `size`.
    """

    def __init__(self) -> None:
        self.size = 0
        self.peaks: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """Add one leaf."""
        self.append_hash(leaf_hash(leaf))

    def append_hash(self, node: bytes) -> None:
        """Add the leaf that has this hash."""
        size = self.size
        while size & 1:
            node = node_hash(self.peaks.pop(), node)
            size >>= 1
        self.peaks.append(node)
        self.size += 1

    @property
    def root(self) -> bytes:
        """The tree head over all leaves so far."""
        return root_of_peaks(self.peaks)


def root_of_peaks(peaks: Sequence[bytes]) -> bytes:
    """The tree head whose perfect subtrees have these roots, largest first."""
    if not peaks:
        return EMPTY_ROOT
    node = peaks[-1]
    for peak in reversed(peaks[:-1]):
        node = node_hash(peak, node)
    return node


def peak_sizes(size: int) -> list[int]:
    """The sizes of the perfect subtrees of a tree of `size` leaves, largest first."""
    return [1 << bit for bit in range(size.bit_length() - 1, -1, -1) if size >> bit & 1]


class HashTree(Protocol):
    """A tree of which the root of every perfect subtree can be had; all proofs follow from them."""

    def __len__(self) -> int:
        """How many leaves there are."""

    def node(self, level: int, index: int) -> bytes:
        """The root over the leaves from `index << level` to `(index + 1) << level`."""


def tree_head(tree: HashTree, size: int | None = None) -> bytes:
    """The tree head over the first `size` leaves (default: all); ValueError if too many."""
    size = len(tree) if size is None else size
    if not 0 <= size <= len(tree):
        raise ValueError(f"the tree has {len(tree)} leaves, not {size}")
    return _range(tree, 0, size) if size else EMPTY_ROOT


def _range(tree: HashTree, start: int, end: int) -> bytes:
    """MTH(D[start:end]) of RFC 6962, 2.1; `start` is a multiple of the split below it."""
    count = end - start
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return tree.node(level, start >> level)
    split = _split(count)
    return node_hash(_range(tree, start, start + split), _range(tree, start + split, end))


def inclusion_proof(tree: HashTree, index: int, size: int | None = None) -> list[bytes]:
    """PATH(index, D[size]) of RFC 6962, 2.1.1: proves that leaf `index` is in the tree."""
    size = len(tree) if size is None else size
    if not 0 <= index < size <= len(tree):
        raise ValueError(f"no leaf {index} in a tree of {size} of {len(tree)} leaves")
    start, end, path = 0, size, []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_range(tree, middle, end))
            end = middle
        else:
            path.append(_range(tree, start, middle))
            start = middle
    return path[::-1]


def consistency_proof(tree: HashTree, old: int, size: int | None = None) -> list[bytes]:
    """PROOF(old, D[size]) of RFC 6962, 2.1.2: proves that the tree only grew since `old`."""
    size = len(tree) if size is None else size
    if not 0 < old <= size <= len(tree):
        raise ValueError(f"no growth from {old} to {size} of {len(tree)} leaves")
    start, end, path = 0, size, []
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_range(tree, middle, end))
            end = middle
        else:
            path.append(_range(tree, start, middle))
            start = middle
    if start:
        path.append(_range(tree, start, end))
    return path[::-1]


class MerkleTree:
    """A `HashTree` in memory: it keeps the hash of every perfect subtree, 64 bytes a leaf."""

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self._levels: list[list[bytes]] = [[]]
        for leaf in leaves:
            self.append(leaf)

    @classmethod
    def of_hashes(cls, hashes: Sequence[bytes]) -> MerkleTree:
        """The tree whose leaves have these hashes."""
        tree, level = cls(), list(hashes)
        tree._levels = [level]
        sha256 = hashlib.sha256
        while len(level) > 1:
            pairs = zip(level[::2], level[1::2], strict=False)
            level = [sha256(b"\x01" + left + right).digest() for left, right in pairs]
            tree._levels.append(level)
        return tree

    def __len__(self) -> int:
        return len(self._levels[0])

    def append(self, leaf: bytes) -> None:
        """Add one leaf."""
        node, level = leaf_hash(leaf), 0
        self._levels[0].append(node)
        while len(self._levels[level]) % 2 == 0:
            node = node_hash(*self._levels[level][-2:])
            level += 1
            if level == len(self._levels):
                self._levels.append([])
            self._levels[level].append(node)

    def node(self, level: int, index: int) -> bytes:
        """See `HashTree`."""
        return self._levels[level][index]

    def root(self, size: int | None = None) -> bytes:
        """See `tree_head`."""
        return tree_head(self, size)

    def peaks(self, size: int) -> list[bytes]:
        """Roots of the perfect subtrees of the first `size` leaves, largest first."""
        nodes, start = [], 0
        for count in peak_sizes(size):
            nodes.append(_range(self, start, start + count))
            start += count
        return nodes

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """See the function of this name."""
        return inclusion_proof(self, index, size)

    def consistency_proof(self, old: int, size: int | None = None) -> list[bytes]:
        """See the function of this name."""
        return consistency_proof(self, old, size)


def _split(count: int) -> int:
    """The largest power of two smaller than `count`."""
    return 1 << (count - 1).bit_length() - 1


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> bool:
    """Whether `proof` shows that `leaf` stands at `index` of the tree (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    node, at, last = leaf_hash(leaf), index, size - 1
    for sibling in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            node = node_hash(sibling, node)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and node == root


def verify_consistency(
    old: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether `proof` shows that the tree of `size` extends that of `old` (RFC 9162, 2.1.4.2)."""
    if not 0 < old <= size:
        return False
    if old == size:
        return not proof and old_root == root
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path:
        return False
    at, last = old - 1, size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old_node = node = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            old_node, node = node_hash(sibling, old_node), node_hash(sibling, node)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and old_node == old_root and node == root
