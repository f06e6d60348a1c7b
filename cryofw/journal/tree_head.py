"""A tree head that travels: origin, size and root, as a signed note (C2SP tlog-checkpoint).

    cryofw/journal/8c2f...
    200
    base64(root)

    — cryofw/journal/8c2f... base64(key id || signature)

The origin is made of the hash of the journal's first line. So two copies of one journal have one
origin, whatever directory they lie in, and a fork of it shows; two journals never share one.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from cryofw.journal.merkle import EMPTY_ROOT
from cryofw.journal.note import NoteInvalid, SignedNote, decode_base64

_ORIGIN = "cryofw/journal/"
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


def origin_of(first_leaf: bytes) -> str:
    """The origin of the journal whose first line has this leaf hash."""
    return f"{_ORIGIN}{first_leaf.hex()[:32]}"


@dataclass(frozen=True)
class TreeHead:
    """`size` records of the journal `origin` have the tree head `root` (32 bytes)."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The text of its note."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @property
    def short(self) -> str:
        """In words, for people."""
        return f"{self.size} records, tree head {self.root.hex()[:16]}"

    @classmethod
    def parse(cls, text: str) -> TreeHead:
        """Read the text of a note; extension lines are passed over. Raises NoteInvalid."""
        lines = text.removesuffix("\n").split("\n")
        root = decode_base64(lines[2]) if len(lines) >= 3 else None
        if (
            root is None
            or len(root) != len(EMPTY_ROOT)
            or not all(lines)
            or not _SIZE.fullmatch(lines[1])
            or not text.endswith("\n")
        ):
            raise NoteInvalid(
                "this is not a checkpoint of a journal",
                why="expected three lines: origin, size, root",
            )
        head = cls(lines[0], int(lines[1]), root)
        if head.size == 0 and root != EMPTY_ROOT:
            raise NoteInvalid("this is not a checkpoint", why="an empty tree has another root")
        return head


@dataclass(frozen=True)
class SignedHead:
    """A tree head and the note that signs it."""

    head: TreeHead
    note: SignedNote

    def encode(self) -> bytes:
        """The note's exact bytes."""
        return self.note.encode()

    @classmethod
    def parse(cls, data: bytes) -> SignedHead:
        """Read a checkpoint; raises NoteInvalid. It says nothing yet about any signature."""
        note = SignedNote.parse(data)
        return cls(TreeHead.parse(note.text), note)
