"""A checkpoint: how long the journal was, and the tree head over exactly those lines.

It says what must still be there. The peaks (roots of the perfect subtrees, RFC 6962) let a reader
say in which records a lie stands, and are all that is needed to go on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.errors import VerificationFailed
from cryofw.journal.merkle import peak_sizes, root_of_peaks

if TYPE_CHECKING:
    from cryofw.journal.merkle import Frontier

_VERSION = 1


class CheckpointCorrupt(VerificationFailed):
    """The checkpoint file is not what cryofw wrote."""


@dataclass(frozen=True)
class Checkpoint:
    """`size` records in `length` bytes, whose perfect subtrees have the roots `peaks`."""

    journal: str
    size: int
    length: int
    peaks: tuple[bytes, ...]

    @property
    def root(self) -> bytes:
        """The tree head (RFC 6962)."""
        return root_of_peaks(self.peaks)

    @classmethod
    def of(cls, journal: str, frontier: Frontier, length: int) -> Checkpoint:
        """The checkpoint of a journal that has come this far."""
        return cls(journal, frontier.size, length, tuple(frontier.peaks))

    def encode(self) -> bytes:
        """The file's exact bytes."""
        fields = {
            "v": _VERSION,
            "journal": self.journal,
            "size": self.size,
            "length": self.length,
            "root": self.root.hex(),
            "peaks": [peak.hex() for peak in self.peaks],
        }
        return json.dumps(fields, indent=1).encode() + b"\n"

    @classmethod
    def decode(cls, data: bytes, journal: str) -> Checkpoint:
        """Read the file for the journal of that name; raises CheckpointCorrupt."""
        try:
            raw = json.loads(data)
            checkpoint = cls(
                raw["journal"],
                raw["size"],
                raw["length"],
                tuple(bytes.fromhex(peak) for peak in raw["peaks"]),
            )
            sound = (
                type(checkpoint.size) is int
                and type(checkpoint.length) is int
                and min(checkpoint.size, checkpoint.length) >= 0
                and len(checkpoint.peaks) == len(peak_sizes(checkpoint.size))
                and all(len(peak) == 32 for peak in checkpoint.peaks)
                and checkpoint.journal == journal
                and checkpoint.encode() == data
            )
        except (ValueError, KeyError, TypeError, RecursionError):
            sound = False
        if not sound:
            raise CheckpointCorrupt(
                f"the checkpoint of {journal} was changed or damaged",
                why="its bytes are not those of a checkpoint that cryofw wrote",
                hint="restore the state directory from a backup, journal and checkpoint together",
            )
        return checkpoint
