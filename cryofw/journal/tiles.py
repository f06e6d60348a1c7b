"""A journal as files that any web server can serve and any log client read (C2SP tlog-tiles).

checkpoint                   the signed tree head
tile/0/000, tile/0/x001/234  256 leaf hashes each; the last one .p/WIDTH
tile/1/000                   the roots over tiles of the level below
tile/entries/000             the lines themselves, each after its length in two bytes
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.journal.merkle import TILE_HEIGHT, TILE_WIDTH, MerkleTree

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def tiles_of(leaves: Sequence[bytes]) -> Iterator[tuple[str, bytes]]:
    """Path and content of every tile of the tree with these leaf hashes."""
    tree = MerkleTree.of_hashes(leaves)
    level = 0
    while count := len(leaves) >> level * TILE_HEIGHT:
        for first in range(0, count, TILE_WIDTH):
            width = min(TILE_WIDTH, count - first)
            nodes = [tree.node(level * TILE_HEIGHT, first + n) for n in range(width)]
            yield _path(str(level), first // TILE_WIDTH, width), b"".join(nodes)
        level += 1


def entry_bundles(lines: Sequence[bytes]) -> Iterator[tuple[str, bytes]]:
    """Path and content of every bundle of entries; a line is the leaf, without its newline."""
    for first in range(0, len(lines), TILE_WIDTH):
        bundle = lines[first : first + TILE_WIDTH]
        data = b"".join(len(line).to_bytes(2, "big") + line for line in bundle)
        yield _path("entries", first // TILE_WIDTH, len(bundle)), data


def _path(level: str, index: int, width: int) -> str:
    digits = f"{index:03d}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    partial = f".p/{width}" if width < TILE_WIDTH else ""
    return "/".join(["tile", level, *[f"x{group}" for group in groups[:-1]], groups[-1]]) + partial
