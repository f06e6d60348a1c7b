"""A witness: somebody else who remembers how far a journal was, and signs that it only grew.

The request is the body of C2SP tlog-witness `add-checkpoint`, as a file:

    old 120
    base64(hash)          that the tree of 120 records is the beginning of the one below
    ...

    (the signed checkpoint)
"""

from __future__ import annotations

import base64
import re
from hashlib import sha256
from typing import TYPE_CHECKING

from cryofw.audit.signatures import cosigned_name, read_cosigned
from cryofw.errors import CryofwError, Refused
from cryofw.journal import (
    JOURNAL_NAME,
    CachedTree,
    JournalCorrupt,
    MerkleTree,
    NoteInvalid,
    SignedHead,
    consistency_proof,
    cosign,
    leaf_hash,
    read_journal,
    read_signed_head,
    verify_consistency,
)
from cryofw.journal.note import decode_base64

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.image import PublicKey
    from cryofw.journal import HashTree, NoteSigner, Storage

_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")
_LONGEST_PROOF = 63


class WitnessRefused(Refused):
    """The checkpoint contradicts what this witness saw, or does not start where it was."""


class WitnessMemory:
    """The latest checkpoint of each journal that a witness cosigned.

    Args:
        storage: a directory of this witness alone; entries are `ORIGIN HASH/checkpoint`.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def latest(self, origin: str) -> SignedHead | None:
        """What was cosigned last; raises NoteInvalid."""
        entry = _entry(origin)
        return SignedHead.parse(self._storage.read(entry)) if self._storage.exists(entry) else None

    def size(self, origin: str) -> int:
        """How many records of the journal this witness saw."""
        latest = self.latest(origin)
        return latest.head.size if latest else 0

    def cosign(
        self,
        request: bytes,
        log_keys: Mapping[str, PublicKey],
        signer: NoteSigner,
        name: str,
        seconds: int,
    ) -> SignedHead:
        """Cosign the checkpoint of a request, and remember it before anybody has the answer.

        Args:
            request: see the module.
            log_keys: the journal keys that this witness knows, by name.
            signer, name: the witness's own key, and what it is called.
            seconds: now, in seconds since 1970.

        Raises:
            NoteInvalid: it is malformed, or no known key signed it.
            WitnessRefused: the journal does not grow out of what was seen before.
            StorageLocked: another process cosigns just now.
        """
        old, proof, signed = _parse_request(request)
        if not signed.note.signed_by(log_keys.values()):
            raise NoteInvalid(
                "the checkpoint is not signed by a journal key that is known here",
                why=f"known: {', '.join(log_keys) or 'none'}",
            )
        head = signed.head
        with self._storage.lock("witness"):
            latest = self.latest(head.origin)
            size = latest.head.size if latest else 0
            if old != size or head.size < size:
                raise WitnessRefused(
                    f"this witness has seen {size} records of {head.origin}",
                    why=f"the request leads from {old} to {head.size}",
                    hint=f"`cryofw audit checkpoint --from {size}` makes one that fits",
                )
            if latest is not None and not verify_consistency(
                size, latest.head.root, head.size, head.root, proof
            ):
                raise WitnessRefused(
                    f"{head.origin} was written anew",
                    why=f"its {head.size} records do not begin with the {size} seen before",
                    hint="keep both checkpoints: together they prove it",
                )
            line = cosign(signed.note.text, name, signer, seconds)
            cosigned = SignedHead(head, signed.note.with_signatures([line]))
            self._storage.write_atomic(_entry(head.origin), cosigned.encode())
        return cosigned


def _entry(origin: str) -> str:
    return f"{sha256(origin.encode()).hexdigest()}/checkpoint"


def _parse_request(data: bytes) -> tuple[int, list[bytes], SignedHead]:
    head, separator, rest = data.partition(b"\n\n")
    lines = head.decode("ascii", "replace").split("\n")
    old = _OLD.fullmatch(lines[0])
    proof = [decode_base64(line) for line in lines[1:]]
    hashes = [node for node in proof if node is not None and len(node) == 32]
    sound = separator and old is not None and len(hashes) == len(proof) <= _LONGEST_PROOF
    if not sound or old is None or (int(old[1]) == 0 and proof):
        raise NoteInvalid(
            "this is not a request to a witness",
            why="expected `old SIZE`, a proof, an empty line and a checkpoint",
            hint="`cryofw audit checkpoint --from SIZE` makes one",
        )
    return int(old[1]), hashes, SignedHead.parse(rest)


def make_request(storage: Storage, old: int, name: str = JOURNAL_NAME) -> bytes:
    """The request to a witness that has seen `old` records, with the latest signed checkpoint.

    Raises:
        Refused: there is no signed checkpoint, or a smaller one.
        JournalCorrupt, NoteInvalid: the journal does not verify.
    """
    signed = require_signed(storage, name)
    size = signed.head.size
    if old > size:
        raise Refused(f"the latest signed checkpoint covers {size} records, not {old}")
    tree = signed_tree(storage, signed, name)
    proof = consistency_proof(tree, old) if 0 < old < size else []
    lines = [f"old {old}", *[base64.b64encode(node).decode() for node in proof], "", ""]
    return "\n".join(lines).encode() + signed.encode()


def require_signed(storage: Storage, name: str = JOURNAL_NAME) -> SignedHead:
    """The latest signed checkpoint of a journal.

    Raises:
        Refused: there is none.
        NoteInvalid: it is malformed.
    """
    signed = read_signed_head(storage, name)
    if signed is None:
        raise Refused(
            "the journal has no signed checkpoint",
            why="no key signed it yet",
            hint="`cryofw keys generate journal --purpose journal` makes one, "
            "`cryofw audit checkpoint` signs",
        )
    return signed


def signed_tree(storage: Storage, signed: SignedHead, name: str = JOURNAL_NAME) -> HashTree:
    """The tree under a checkpoint, from the cache or else from the journal itself.

    Raises:
        JournalCorrupt: the journal is not the one that was signed.
    """
    head = signed.head
    try:
        return CachedTree(storage, name, head.size, head.root)
    except CryofwError:
        records = read_journal(storage, name).records[: head.size]
    tree = MerkleTree.of_hashes([leaf_hash(record.line) for record in records])
    if len(tree) < head.size or tree.root() != head.root:
        raise JournalCorrupt(
            "the journal is not the one that was signed",
            why=f"its checkpoint covers {head.short}",
        )
    return tree


def accept_cosigned(
    storage: Storage, data: bytes, witnesses: Mapping[str, PublicKey], name: str = JOURNAL_NAME
) -> SignedHead:
    """Keep a checkpoint of this journal that a witness cosigned, with those of other witnesses.

    Raises:
        NoteInvalid: it is malformed, or no known witness cosigned it.
        JournalCorrupt: it is not of this journal.
    """
    signed = SignedHead.parse(data)
    if not signed.note.cosigned_by(witnesses.values()):
        raise NoteInvalid(
            "no witness that is known here cosigned the checkpoint",
            why=f"known: {', '.join(witnesses) or 'none'}",
            hint="its public key belongs into the keyring, with `purpose: witness`",
        )
    if signed.head.size == 0:
        raise NoteInvalid("the checkpoint covers no record", why="it is of every journal, and none")
    signed_tree(storage, signed, name)
    entry = cosigned_name(signed.head.size, name)
    kept = read_cosigned(storage, name).get(entry)
    if kept is not None and kept.head == signed.head:
        signed = SignedHead(signed.head, kept.note.with_signatures(signed.note.signatures))
    storage.write_atomic(entry, signed.encode())
    return signed
