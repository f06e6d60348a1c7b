"""A proof that one record stands in a journal, as a file of its own (C2SP tlog-proof).

c2sp.org/tlog-proof@v1
extra base64(anything)
index 41
base64(hash)                 the path from the leaf to the tree head
...

(the signed checkpoint)
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from cryofw.journal.merkle import verify_inclusion
from cryofw.journal.note import NoteInvalid, decode_base64
from cryofw.journal.tree_head import SignedHead

_HEADER = "c2sp.org/tlog-proof@v1"
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")
_LONGEST_PATH = 64
_LARGEST = 8 << 20  # bytes; what a device's proof carries along is some kilobytes


class ProofInvalid(NoteInvalid):
    """A file that proves nothing: malformed, or what it claims does not follow."""


@dataclass(frozen=True)
class TlogProof:
    """That a leaf stands at `index` of the tree of `checkpoint`; `extra` is not proven by it."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: SignedHead
    extra: bytes = b""

    def encode(self) -> bytes:
        """The proof's exact bytes."""
        lines = [_HEADER]
        if self.extra:
            lines.append(f"extra {base64.b64encode(self.extra).decode()}")
        lines.append(f"index {self.index}")
        lines += [base64.b64encode(node).decode() for node in self.path]
        return "\n".join([*lines, "", ""]).encode() + self.checkpoint.encode()

    @classmethod
    def parse(cls, data: bytes) -> TlogProof:
        """Read a proof; raises NoteInvalid. Nothing in it is verified yet."""
        if len(data) > _LARGEST:
            raise ProofInvalid("this is not a proof", why=f"it has {len(data)} bytes")
        head, separator, rest = data.partition(b"\n\n")
        try:
            lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError as error:
            raise ProofInvalid("this is not a proof", why="it is not ASCII") from error
        if not separator or lines.pop(0) != _HEADER:
            raise ProofInvalid("this is not a proof", why=f"its first line is not {_HEADER}")
        extra: bytes | None = b""
        if lines and lines[0].startswith("extra "):
            extra = decode_base64(lines.pop(0).removeprefix("extra "))
        index = _INDEX.fullmatch(lines.pop(0)) if lines else None
        path = [decode_base64(line) for line in lines]
        hashes = tuple(node for node in path if node is not None and len(node) == 32)
        if extra is None or index is None:
            raise ProofInvalid("this is not a proof", why="`extra` or `index` is malformed")
        if len(hashes) != len(path) or len(path) > _LONGEST_PATH:
            raise ProofInvalid("this is not a proof", why="its path is malformed")
        return cls(int(index[1]), hashes, SignedHead.parse(rest), extra)

    def require(self, leaf: bytes) -> None:
        """Raise ProofInvalid unless `leaf` stands where this says; signatures are another matter.

        A leaf is the line of a record without its newline.
        """
        head = self.checkpoint.head
        if not verify_inclusion(leaf, self.index, head.size, self.path, head.root):
            raise ProofInvalid(
                f"record {self.index} is not in the journal of this checkpoint",
                why=f"its hash and path do not lead to the tree head {head.root.hex()[:16]}",
            )
