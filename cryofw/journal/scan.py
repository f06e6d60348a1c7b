"""The lines of a journal against the tree head of its checkpoint; JSON is not read."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from cryofw.journal.line_reader import JournalCorrupt, blocks_of, offset_of, read_records
from cryofw.journal.merkle import MerkleTree, leaf_hashes, peak_sizes
from cryofw.journal.record import RecordMalformed, RecordTooNew, decode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryofw.journal.checkpoint import Checkpoint

_HASH_SIZE = sha256().digest_size


class LeafHashes:
    """Leaf hashes that were kept beside a journal: they name the record that was changed.

    They are believed only if they give the tree head of the checkpoint.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._roots: dict[int, bytes] = {}

    def __len__(self) -> int:
        return len(self._data) // _HASH_SIZE

    def equal(self, start: int, hashes: Sequence[bytes]) -> bool:
        """Whether these are the hashes from `start` on."""
        end = (start + len(hashes)) * _HASH_SIZE
        return self._data[start * _HASH_SIZE : end] == b"".join(hashes)

    def __getitem__(self, index: int) -> bytes:
        return self._data[index * _HASH_SIZE : (index + 1) * _HASH_SIZE]

    def vouched_by(self, checkpoint: Checkpoint) -> bool:
        """Whether they are the leaves of the checkpoint's tree."""
        size = checkpoint.size
        if len(self) < size:
            return False
        if size not in self._roots:
            self._roots[size] = MerkleTree.of_hashes([self[n] for n in range(size)]).root()
        return self._roots[size] == checkpoint.root


@dataclass(frozen=True)
class JournalScan:
    """A journal whose lines are those of its checkpoint. `length`: bytes of whole lines."""

    tree: MerkleTree
    leaves: list[bytes]
    length: int
    anchored: int
    torn_bytes: int


def scan_journal(
    data: bytes, checkpoint: Checkpoint | None, known: LeafHashes | None = None
) -> JournalScan:
    """Hash the lines and hold them against the checkpoint's tree head; JSON is not read.

    Raises:
        JournalCorrupt: exact to the record if `known` hashes are at hand; else the first line
            that is no record, or the range in which a line was changed.
    """
    anchored = checkpoint.size if checkpoint else 0
    length = _whole_length(data, checkpoint.length if checkpoint else 0)
    leaves: list[bytes] = []
    anchored_length = 0
    for offset, lines in blocks_of(data, length):
        first = len(leaves)
        hashes = leaf_hashes(lines)
        leaves += hashes
        if checkpoint is None or first >= anchored:
            continue
        count = min(len(hashes), anchored - first)
        anchored_length = offset + sum(map(len, lines[:count])) + count
        if known is not None and not known.equal(first, hashes[:count]):
            _tell_changed_line(checkpoint, known, first, offset, lines)
    if checkpoint is not None and len(leaves) < anchored:
        if known is None or not known.vouched_by(checkpoint):
            _read_all(data, length)
        raise _cut_short(len(leaves), checkpoint, length, torn=len(data) > length)
    tree = MerkleTree.of_hashes(leaves)
    if checkpoint is not None:
        _check_head(data, checkpoint, tree, anchored_length, length)
    return JournalScan(tree, leaves, length, anchored, len(data) - length)


def _whole_length(data: bytes, after: int) -> int:
    """Bytes of whole lines, without a block of zeroes of a last write that never came to disk."""
    length = data.rfind(b"\n") + 1
    zero = data.find(b"\0", after, length)
    if zero < 0:
        return length
    start = data.rfind(b"\n", 0, zero) + 1
    torn = data[start:length].split(b"\n")[1:]
    return length if start < after or any(map(_is_record, torn)) else start


def _is_record(line: bytes) -> bool:
    try:
        decode(line)
    except RecordMalformed:
        return False
    except RecordTooNew:
        return True
    return True


def _tell_changed_line(
    checkpoint: Checkpoint, known: LeafHashes, first: int, offset: int, lines: list[bytes]
) -> None:
    """Raise for the line that the kept hashes do not know, if the checkpoint vouches for them."""
    if not known.vouched_by(checkpoint):
        return
    for n, line in enumerate(lines, start=first):
        if leaf_hashes([line])[0] != known[n]:
            break
        offset += len(line) + 1
    raise JournalCorrupt(
        f"record {n} of the journal, at byte {offset}, is not what was written",
        why="its hash is not the one under the checkpoint",
        record=n,
        offset=offset,
    )


def _cut_short(size: int, checkpoint: Checkpoint, length: int, *, torn: bool) -> JournalCorrupt:
    cut = " and part of one" if torn else ""
    return JournalCorrupt(
        f"the journal ends after record {size - 1}, at byte {length}"
        if size
        else "the journal is empty",
        why=f"its checkpoint covers {checkpoint.size} records; here are {size}{cut}",
        record=size,
        offset=length,
    )


def _check_head(
    data: bytes, checkpoint: Checkpoint, tree: MerkleTree, anchored_length: int, length: int
) -> None:
    size = checkpoint.size
    if tree.root(size) == checkpoint.root and anchored_length == checkpoint.length:
        return
    _read_all(data, length)
    first, last = 0, size
    for found, written, count in zip(
        tree.peaks(size), checkpoint.peaks, peak_sizes(size), strict=True
    ):
        last = first + count
        if found != written:
            break
        first = last
    offset = offset_of(data, first)
    raise JournalCorrupt(
        f"the journal was changed in record {first}, at byte {offset}"
        if last - first == 1
        else f"the journal was changed between record {first}, at byte {offset}, and "
        f"record {last - 1}",
        why="the tree head over the lines is not that of the checkpoint",
        record=first,
        offset=offset,
    )


def _read_all(data: bytes, length: int) -> None:
    """A line that is no record names the place of a lie better than a range; raises if any is."""
    try:
        for _ in read_records(data, length):
            pass
    except RecordTooNew:
        return  # under a tree head that is wrong nothing has to be believed
