"""What a proof of a device claims, and whether that follows: needs only public keys."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.audit.standing import ATTESTED, standing
from cryofw.journal import ProofInvalid, Record, SignedHead, TlogProof, verify_inclusion
from cryofw.journal.note import decode_base64
from cryofw.journal.record import RecordMalformed, decode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cryofw.audit.trust import LogTrust

PROOF_VERSION = 1
VOIDED = "approval-voided"
_APPROVED = "-approved"
_ACCEPTED = "-accepted"
"""Ends of kinds: a person released a stage or a plan; a person accepted a held device."""


@dataclass(frozen=True)
class DeviceClaim:
    """What a proof proves, once it verified.

    Attributes:
        state: confirmed, on trial, taken back, not known.
        hash, version: of the image; empty if not known.
        seen: the record that says so.
        attested: whether the file's own record is the newest of its journal, so that nothing
            later is known about the device there.
        signers, witnesses: names of the trusted keys.
        records: everything that the file carries, oldest first.
    """

    device: str
    state: str
    hash: str
    version: str
    seen: Record
    attested: Record | None
    verdict: Record | None
    approvals: tuple[Record, ...]
    checkpoint: SignedHead
    signers: tuple[str, ...]
    witnesses: tuple[str, ...]
    records: tuple[Record, ...]


def verify_device_proof(data: bytes, trust: LogTrust) -> DeviceClaim:
    """Check a proof with nothing but the public keys of journal and witnesses.

    Raises:
        NoteInvalid: it is malformed, nobody trusted signed it, or it does not prove what it says.
    """
    proof = TlogProof.parse(data)
    signers = proof.checkpoint.note.signed_by(trust.keys.values())
    if not signers:
        raise ProofInvalid(
            "the proof is not signed by a journal key that is trusted",
            why=f"trusted: {', '.join(trust.keys) or 'none'}",
        )
    cosigners = proof.checkpoint.note.cosigned_by(trust.witnesses.values())
    if len(cosigners) < trust.quorum:
        raise ProofInvalid(f"{len(cosigners)} of {trust.quorum} witnesses cosigned the proof")
    device, records = _carried(proof)
    by_number = {record.n: record for record in records}
    main = by_number.get(proof.index)
    if main is None or main.device != device:
        found = f"record {proof.index} is of {main.device or 'no device'}" if main else ""
        raise ProofInvalid(
            "the proof is of a record that it does not carry",
            why=f"it says that it is of {device}, and {found or 'lacks its own record'}",
        )
    proof.require(main.line)
    attested = main if main.kind == ATTESTED else None
    seen = by_number.get(_seen_number(main)) if attested else main
    now = standing(seen) if seen is not None else None
    if seen is None or now is None or seen.device != device:
        raise ProofInvalid(f"no record of the proof says what {device} runs")
    if attested is not None:
        _require_newest(proof, attested, now.hash, now.state)
    verdict = verdict_before(records, seen)
    if seen.kind == "image-confirmed" and verdict is None:
        raise ProofInvalid(
            f"the confirm of {device} stands on no verdict `passed`, nor on a person's word"
        )
    return DeviceClaim(
        device=device,
        state=now.state,
        hash=now.hash,
        version=version_of(records, now.hash),
        seen=seen,
        attested=attested,
        verdict=verdict,
        approvals=tuple(
            r for r in records if _is_approval_of(r, seen) and not _is_voided(r, records)
        ),
        checkpoint=proof.checkpoint,
        signers=tuple(trust.name(key) for key in signers),
        witnesses=tuple(trust.name(key) for key, _ in cosigners),
        records=tuple(records),
    )


def _seen_number(attested: Record) -> int:
    n = attested.fields.get("record")
    return n if type(n) is int else -1


def _require_newest(proof: TlogProof, attested: Record, image: str, state: str) -> None:
    if proof.index != proof.checkpoint.head.size - 1:
        raise ProofInvalid("the attestation is not the newest record of its journal")
    if (attested.fields.get("hash"), attested.fields.get("state")) != (image, state):
        raise ProofInvalid("the attestation is not about what the record it names says")


def verdict_before(records: Sequence[Record], seen: Record) -> Record | None:
    """What lets a device be confirmed: its latest verdict if it passed, or who accepted it."""
    for record in reversed(records):
        is_its_own = (record.rollout, record.device) == (seen.rollout, seen.device)
        if not is_its_own or record.n >= seen.n:
            continue
        if record.kind.endswith(_ACCEPTED):
            return record
        if record.kind == "verdict-reached":
            return record if record.fields.get("outcome") == "passed" else None
    return None


def is_approval(record: Record) -> bool:
    """Whether a person released a stage or a plan."""
    return record.kind.endswith(_APPROVED)


def _is_approval_of(record: Record, seen: Record) -> bool:
    is_its_own = bool(seen.rollout) and record.rollout == seen.rollout
    return is_its_own and record.n < seen.n and is_approval(record)


def _is_voided(approval: Record, records: Iterable[Record]) -> bool:
    """Whether its key was revoked before it was used."""
    mark = (approval.rollout, approval.fields.get("stage"), approval.fields.get("by"))
    return any(
        (r.rollout, r.fields.get("stage"), r.fields.get("principal")) == mark
        for r in records
        if r.kind == VOIDED and r.n > approval.n
    )


def version_of(records: Iterable[Record], image: str) -> str:
    """The version of an image as records name it; empty if none does."""
    for record in records:
        names = (record.fields.get("release"), record.fields.get("hash"))
        if image and image in names and record.fields.get("version"):
            return str(record.fields["version"])
    return ""


def _carried(proof: TlogProof) -> tuple[str, list[Record]]:
    """The device and the records of the extra data, each proven to stand in the journal."""
    try:
        extra = json.loads(proof.extra)
        device, entries = extra["device"], extra["records"]
        found = [_proven(entry, proof.checkpoint) for entry in entries]
        numbers = [record.n for record in found]
        sound = (
            extra["v"] == PROOF_VERSION and type(device) is str and numbers == sorted(set(numbers))
        )
    except RecursionError as error:
        raise ProofInvalid("this is not the proof of a device", why="it nests too deep") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProofInvalid(
            "this is not the proof of a device", why="what it carries is not what such a proof has"
        ) from error
    if not sound:
        raise ProofInvalid("this is not the proof of a device")
    return device, found


def _proven(entry: dict[str, object], checkpoint: SignedHead) -> Record:
    line, n, path = entry["line"], entry["n"], entry["path"]
    if type(line) is not str or type(n) is not int or not isinstance(path, list):
        raise ProofInvalid("this is not the proof of a device")
    nodes = [decode_base64(node) or b"" for node in path]
    head = checkpoint.head
    leaf = line.encode("ascii", "replace")
    if not verify_inclusion(leaf, n, head.size, nodes, head.root):
        raise ProofInvalid(f"record {n} of the proof is not in the journal that was signed")
    try:
        record = decode(leaf, strict=True)
    except RecordMalformed as error:
        raise ProofInvalid(f"record {n} of the proof is no record", why=str(error)) from error
    if record.n != n:
        raise ProofInvalid(f"record {n} of the proof has the number {record.n}")
    return record
