"""Signed checkpoints held against the journal: its own, cosigned ones, and what others kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.errors import VerificationFailed
from cryofw.journal import (
    JOURNAL_NAME,
    JournalCorrupt,
    NoteInvalid,
    SignedHead,
    origin_of,
    read_signed_head,
    signed_name,
)
from cryofw.journal.line_reader import offset_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cryofw.audit.trust import LogTrust
    from cryofw.journal import JournalScan, Storage


class SignatureMissing(VerificationFailed):
    """A journal key is trusted, and nothing that it signed vouches for the journal."""


@dataclass(frozen=True)
class Cosignature:
    """A witness saw the first `size` records, at a time in seconds since 1970."""

    witness: str
    size: int
    seconds: int


@dataclass(frozen=True)
class SignatureReport:
    """What signatures say about a journal.

    Attributes:
        signed: records under the latest checkpoint that a trusted key signed.
        signers: names of the keys that did.
        cosignatures: the latest of each witness.
        held: how many checkpoints the journal was held against.
    """

    signed: int = 0
    signers: tuple[str, ...] = ()
    cosignatures: tuple[Cosignature, ...] = ()
    held: int = 0


def cosigned_folder(journal: str = JOURNAL_NAME) -> str:
    """Where the checkpoints of a journal lie that witnesses cosigned."""
    return "cosigned/" if journal == JOURNAL_NAME else f"{journal}.cosigned/"


def cosigned_name(size: int, journal: str = JOURNAL_NAME) -> str:
    """The entry that holds the cosigned checkpoint of that size."""
    return f"{cosigned_folder(journal)}{size:012d}"


def read_cosigned(storage: Storage, journal: str = JOURNAL_NAME) -> dict[str, SignedHead]:
    """Every cosigned checkpoint at hand, by its entry, smallest first. Raises NoteInvalid."""
    names = storage.list(cosigned_folder(journal))
    return {name: parse_checkpoint(storage.read(name), name) for name in names}


def parse_checkpoint(data: bytes, name: str) -> SignedHead:
    """Read a checkpoint; raises NoteInvalid, which tells where it comes from."""
    try:
        return SignedHead.parse(data)
    except NoteInvalid as error:
        raise NoteInvalid(f"{name}: {error.what}", why=error.why, hint=error.hint) from error


def verify_signatures(
    storage: Storage,
    journal: str,
    data: bytes,
    scan: JournalScan,
    trust: LogTrust,
    since: Mapping[str, SignedHead],
) -> SignatureReport:
    """Hold a journal against every checkpoint of it that is at hand.

    Args:
        storage, journal: where it lies, and its name.
        data, scan: its bytes and its tree.
        trust: whose signatures count.
        since: checkpoints that were kept elsewhere, by where they come from.

    Raises:
        JournalCorrupt: it does not extend one of them; with the first record that may lie.
        NoteInvalid: one of them is malformed, or not of the key that it names.
        SignatureMissing: a trusted key or the quorum of witnesses is missing, or a checkpoint
            covers no record.
    """
    own = read_signed_head(storage, journal)
    heads: dict[str, SignedHead] = {} if own is None else {signed_name(journal): own}
    heads |= read_cosigned(storage, journal)
    given = dict(since)
    _hold(data, scan, heads | given)
    signers: dict[str, list[str]] = {}
    for name, head in {**heads, **given}.items():
        signers[name] = [trust.name(key) for key in head.note.signed_by(trust.keys.values())]
        if trust.keys and not signers[name]:
            raise SignatureMissing(
                f"{name} is not signed by a journal key that is trusted",
                why=f"trusted: {', '.join(trust.keys)}; signed by: "
                f"{', '.join(line.name for line in head.note.signatures)}",
                hint="name its key with --key, if you know it",
            )
    latest = max(heads, key=lambda name: heads[name].head.size, default="")
    if trust.keys and not latest and scan.leaves:
        raise SignatureMissing(
            "the journal has no signed checkpoint",
            why=f"trusted: {', '.join(trust.keys)}, and {signed_name(journal)} does not exist",
            hint="if it never had one, `cryofw audit checkpoint` signs it; else it was replaced",
        )
    cosignatures = _cosignatures(trust, {**heads, **given}.values())
    return SignatureReport(
        signed=heads[latest].head.size if latest and trust.keys else 0,
        signers=tuple(signers.get(latest, ())),
        cosignatures=tuple(cosignatures),
        held=len(heads) + len(given),
    )


def _hold(data: bytes, scan: JournalScan, heads: Mapping[str, SignedHead]) -> None:
    """The smallest checkpoint first: those that are smaller than a broken one bound the lie."""
    sizes = {0}
    origin = origin_of(scan.leaves[0]) if scan.leaves else ""
    for name, signed in sorted(heads.items(), key=lambda item: item[1].head.size):
        head = signed.head
        if head.size == 0:
            raise SignatureMissing(
                f"{name} covers no record", why="whatever it is signed by, it vouches for nothing"
            )
        if head.origin != origin:
            raise JournalCorrupt(
                f"the journal is not the one of {name}",
                why=f"that is {head.origin}; here is {origin or 'none'}",
                hint="restore the journal that belongs to it",
                record=0,
                offset=0,
            )
        if head.size > len(scan.leaves):
            raise JournalCorrupt(
                f"the journal ends after record {len(scan.leaves) - 1}, at byte {scan.length}",
                why=f"{name} covers {head.size} records: it is cut, or an older copy",
                record=len(scan.leaves),
                offset=scan.length,
            )
        if scan.tree.root(head.size) != head.root:
            sound = max(size for size in sizes if size < head.size)
            offset = offset_of(data, sound)
            raise JournalCorrupt(
                f"the journal was changed between record {sound}, at byte {offset}, and record "
                f"{head.size - 1}",
                why=f"{name} was signed over other records: the journal was written anew",
                record=sound,
                offset=offset,
            )
        sizes.add(head.size)


def _cosignatures(trust: LogTrust, heads: Iterable[SignedHead]) -> list[Cosignature]:
    latest: dict[str, Cosignature] = {}
    for signed in heads:
        for key, seconds in signed.note.cosigned_by(trust.witnesses.values()):
            name = trust.name(key)
            one = Cosignature(name, signed.head.size, seconds)
            if name not in latest or latest[name].size < one.size:
                latest[name] = one
    if len(latest) < trust.quorum:
        raise SignatureMissing(
            f"{len(latest)} of {trust.quorum} witnesses cosigned this journal",
            why=f"known witnesses: {', '.join(trust.witnesses) or 'none'}",
            hint="`cryofw audit witness` cosigns a checkpoint",
        )
    return sorted(latest.values(), key=lambda one: -one.size)
