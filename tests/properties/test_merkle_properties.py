"""The Merkle tree against a naive recursion over RFC 6962's definition."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from cryofw.journal import Frontier, MerkleTree, verify_consistency, verify_inclusion

leaves = st.lists(st.binary(max_size=4), min_size=1, max_size=70)
places = st.integers(min_value=0, max_value=10**6)


def naive_root(items: list[bytes]) -> bytes:
    """MTH of RFC 6962, 2.1, as it is written there."""
    if not items:
        return hashlib.sha256(b"").digest()
    if len(items) == 1:
        return hashlib.sha256(b"\x00" + items[0]).digest()
    k = 1
    while k * 2 < len(items):
        k *= 2
    return hashlib.sha256(b"\x01" + naive_root(items[:k]) + naive_root(items[k:])).digest()


@given(leaves)
def test_every_tree_head_is_that_of_the_definition(items: list[bytes]) -> None:
    tree, frontier = MerkleTree(items), Frontier()
    for size in range(len(items) + 1):
        assert tree.root(size) == naive_root(items[:size])
        assert frontier.root == naive_root(items[:size])
        assert len(frontier.peaks) <= size.bit_length()
        if size < len(items):
            frontier.append(items[size])


@given(leaves, places, places)
def test_inclusion_is_proved_for_the_leaf_and_for_no_other(
    items: list[bytes], a: int, b: int
) -> None:
    size = a % len(items) + 1
    index = b % size
    tree = MerkleTree(items)
    proof, root = tree.inclusion_proof(index, size), tree.root(size)
    assert verify_inclusion(items[index], index, size, proof, root)
    assert not verify_inclusion(items[index] + b"x", index, size, proof, root)
    assert not verify_inclusion(items[index], index, size, [*proof, root], root)
    assert not verify_inclusion(items[index], size, size, proof, root)
    if proof:
        assert not verify_inclusion(items[index], index, size, proof[1:], root)
        assert not verify_inclusion(items[index], index, size, proof[:-1], root)


@given(leaves, places, places)
def test_growth_is_proved_and_a_rewrite_is_not(items: list[bytes], a: int, b: int) -> None:
    size = a % len(items) + 1
    old = b % size + 1
    tree = MerkleTree(items)
    proof = tree.consistency_proof(old, size)
    old_root, root = tree.root(old), tree.root(size)
    assert verify_consistency(old, old_root, size, root, proof)
    other = MerkleTree([item + b"!" for item in items]).root(old)
    assert not verify_consistency(old, other, size, root, proof)
    assert not verify_consistency(old, old_root, size, other, proof)
    assert not verify_consistency(0, old_root, size, root, proof)
    assert not verify_consistency(size + 1, old_root, size, root, proof)
    if proof:
        assert not verify_consistency(old, old_root, size, root, proof[:-1])
        assert not verify_consistency(old, old_root, size, root, [*proof, root])
