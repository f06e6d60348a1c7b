"""What one device runs, proven by one small file: records, their paths, a signed checkpoint.

The file is a C2SP tlog-proof of the newest record of a journal, which attests what the device
runs. Its extra data carries the records that this stands on, each with its own path to the same
tree head: the device's state, the verdict, the start of the rollout, and who approved it.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from cryofw.audit.device_claim import (
    PROOF_VERSION,
    VOIDED,
    is_approval,
    verdict_before,
    version_of,
)
from cryofw.audit.standing import ATTESTED, standing
from cryofw.errors import BadInput, CryofwError, Refused
from cryofw.journal import (
    JOURNAL_NAME,
    CachedTree,
    MerkleTree,
    TlogProof,
    inclusion_proof,
    leaf_hash,
    read_journal,
    read_signed_head,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryofw.journal import HashTree, Journal, Record, SignedHead, Storage

_OLDER = (
    "after `audit retire` a journal knows what was driven since; those before it lie in retired/: "
    "`cryofw audit show --journal retired/ID.jsonl`"
)


def attest_device(journal: Journal, device: str, by: str) -> Record:
    """Write down, as the newest record, what a device runs, and sign a checkpoint over it.

    Raises:
        BadInput: no record says what it runs.
        Refused: the journal has no key to sign with, or it did not sign.
        JournalWriteFailed: as `Journal.append`.
    """
    now = _latest(journal.records, device)
    version = version_of(journal.records, now[1])
    record = journal.append(
        ATTESTED, device=device, record=now[0].n, hash=now[1], state=now[2], version=version, by=by
    )
    journal.checkpoint()
    if journal.signed is None or journal.signed.head.size != journal.size:
        raise Refused(
            "nothing can be proven without a signed checkpoint",
            why=journal.unsigned_why or "no key signs this journal",
            hint="`cryofw keys generate journal --purpose journal` makes one",
        )
    return record


def _latest(records: Sequence[Record], device: str) -> tuple[Record, str, str]:
    for record in reversed(records):
        now = standing(record) if record.device == device else None
        if now is not None:
            return record, now.hash, now.state
    known = sorted({record.device for record in records if record.device})
    raise BadInput(
        f"the journal does not say what {device!r} runs",
        why=f"it knows {', '.join(known[:20]) or 'no device'}",
        hint="" if known else _OLDER,
    )


def prove_device(storage: Storage, device: str, name: str = JOURNAL_NAME) -> TlogProof:
    """The proof of what a device runs, under the latest signed checkpoint; writes nothing.

    Raises:
        Refused: there is no signed checkpoint.
        BadInput: no record under it says what the device runs.
        JournalCorrupt, NoteInvalid: as `read_journal`; the checkpoint is of another journal.
    """
    signed = read_signed_head(storage, name)
    if signed is None:
        raise Refused(
            "nothing can be proven without a signed checkpoint",
            why="no key signed this journal",
            hint="`cryofw audit checkpoint` signs one",
        )
    size = signed.head.size
    records = read_journal(storage, name).records[:size]
    newest = records[-1]
    tree = _tree(storage, name, records, signed)
    carried = _evidence(records, device)
    is_attested = newest.kind == ATTESTED and newest.device == device
    main = newest if is_attested else _latest(records, device)[0]
    extra = {
        "v": PROOF_VERSION,
        "device": device,
        "records": [
            {
                "n": record.n,
                "line": record.line.decode("ascii"),
                "path": [base64.b64encode(node).decode() for node in _path(tree, record.n)],
            }
            for record in carried
        ],
    }
    data = json.dumps(extra, separators=(",", ":")).encode()
    proof = TlogProof(main.n, tuple(_path(tree, main.n)), signed, data)
    proof.require(main.line)
    return proof


def _tree(storage: Storage, name: str, records: Sequence[Record], signed: SignedHead) -> HashTree:
    try:
        return CachedTree(storage, name, signed.head.size, signed.head.root)
    except CryofwError:
        return MerkleTree.of_hashes([leaf_hash(record.line) for record in records])


def _path(tree: HashTree, n: int) -> list[bytes]:
    return inclusion_proof(tree, n)


def _evidence(records: Sequence[Record], device: str) -> list[Record]:
    """The records that the state of a device stands on, oldest first."""
    seen = _latest(records, device)[0]
    newest = records[-1]
    kept = {seen.n: seen}
    if newest.kind == ATTESTED and newest.device == device:
        kept[newest.n] = newest
    if not seen.rollout:
        return [kept[n] for n in sorted(kept)]
    before = [record for record in records[: seen.n] if record.rollout == seen.rollout]
    if (verdict := verdict_before(before, seen)) is not None:
        kept[verdict.n] = verdict
    for record in before:
        if record.kind in ("rollout-started", VOIDED) or is_approval(record):
            kept[record.n] = record
    return [kept[n] for n in sorted(kept)]
