"""A copy of a journal for others: readable here, and by any client of C2SP tlog-tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.audit.signatures import cosigned_folder
from cryofw.audit.witness import require_signed
from cryofw.errors import Refused
from cryofw.journal import (
    JOURNAL_NAME,
    JournalCorrupt,
    MerkleTree,
    SignedHead,
    checkpoint_name,
    entry_bundles,
    read_journal,
    signed_name,
    tiles_of,
)
from cryofw.journal.checkpoint import Checkpoint
from cryofw.journal.merkle import Frontier

if TYPE_CHECKING:
    from cryofw.journal import Storage

_EVIDENCE = ("rollouts/", "images/", "retired/", cosigned_folder())


@dataclass(frozen=True)
class Exported:
    """What an export wrote: the checkpoint it ends with, and how many files are new."""

    checkpoint: SignedHead
    files: int


def export_log(source: Storage, target: Storage) -> Exported:
    """Write the journal up to its latest signed checkpoint, its tiles, and the evidence.

    An export of the same journal is continued: files that are there already stay.

    Raises:
        Refused: no signed checkpoint; or `target` holds something else.
        JournalCorrupt, NoteInvalid: the journal does not verify, or was written anew since.
    """
    signed = require_signed(source)
    size = signed.head.size
    loaded = read_journal(source)
    leaves = loaded.leaves[:size]
    if len(leaves) < size or MerkleTree.of_hashes(leaves).root() != signed.head.root:
        raise JournalCorrupt(
            "the journal is not the one that was signed", why=f"signed: {signed.head.short}"
        )
    _require_same_log(target, signed, leaves)
    lines = source.read(JOURNAL_NAME).split(b"\n")[:size]
    files = {**dict(tiles_of(leaves)), **dict(entry_bundles(lines))}
    written = 0
    for prefix in _EVIDENCE:
        written += sum(_put(target, name, source.read(name)) for name in source.list(prefix))
    journal = b"".join(line + b"\n" for line in lines)
    frontier = Frontier()
    for leaf in leaves:
        frontier.append_hash(leaf)
    files[JOURNAL_NAME] = journal
    files[checkpoint_name(JOURNAL_NAME)] = Checkpoint.of(
        JOURNAL_NAME, frontier, len(journal)
    ).encode()
    files[signed_name(JOURNAL_NAME)] = signed.encode()  # last: it vouches for all before
    written += sum(_put(target, name, data) for name, data in files.items())
    return Exported(signed, written)


def require_own_tiles(storage: Storage, data: bytes, leaves: list[bytes]) -> None:
    """See that the tiles in an export, if there are any, are those of its journal.

    Smaller ones of an earlier export stay, and are the beginning of the larger ones.

    Args:
        storage: the export.
        data, leaves: the journal's bytes and leaf hashes.

    Raises:
        JournalCorrupt: one is not.
    """
    found = storage.list("tile/")
    if not found:
        return
    lines = data.split(b"\n")[: len(leaves)]
    files = {**dict(tiles_of(leaves)), **dict(entry_bundles(lines))}
    whole = {name.partition(".p/")[0]: content for name, content in files.items()}
    for name in found:
        place, _, width = name.partition(".p/")
        content = storage.read(name)
        is_beginning = bool(content) and whole.get(place, b"").startswith(content)
        if not is_beginning or (not width and content != files.get(name)):
            raise JournalCorrupt(
                f"{name} is not a tile of this journal",
                why="a client that reads it would see another log",
                hint="export it again, into a new directory",
            )


def _put(target: Storage, name: str, data: bytes) -> bool:
    """Write what is not there yet; whether it was written."""
    if target.exists(name) and target.read(name) == data:
        return False
    target.write_atomic(name, data)
    return True


def _require_same_log(target: Storage, signed: SignedHead, leaves: list[bytes]) -> None:
    names = target.list()
    if not names:
        return
    if not target.exists(signed_name(JOURNAL_NAME)):
        raise _foreign(f"it holds {names[0]}, and no export")
    before = SignedHead.parse(target.read(signed_name(JOURNAL_NAME))).head
    is_prefix = before.size <= len(leaves) and (
        MerkleTree.of_hashes(leaves[: before.size]).root() == before.root
    )
    if before.origin != signed.head.origin or not is_prefix:
        raise _foreign(f"it holds {before.origin}, {before.short}")


def _foreign(why: str) -> Refused:
    return Refused("the export would mix two journals", why=why, hint="name a new directory")
