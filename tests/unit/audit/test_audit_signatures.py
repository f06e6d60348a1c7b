"""Who signed the journal, who saw it: what is proven to others, and what a forger cannot hide."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cryofw.audit import (
    AuditFailed,
    ImageEvidence,
    LogTrust,
    SignatureMissing,
    WitnessMemory,
    WitnessRefused,
    accept_cosigned,
    attest_device,
    export_log,
    make_request,
    prove_device,
    require_signed,
    verify_device_proof,
    verify_log,
)
from cryofw.errors import BadInput, Refused
from cryofw.image import PublicKey
from cryofw.journal import (
    Entry,
    Journal,
    JournalCorrupt,
    MemoryStorage,
    NoteInvalid,
    SignedHead,
    TlogProof,
    read_journal,
    read_signed_head,
)
from cryofw.journal.chain import retire
from tests.unit.audit.audited_lab import NEW, Lab

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryofw.clock import Clock

NAME = "journal.jsonl"


class Key:
    """An Ed25519 key of journal or witness; the same seed is the same key."""

    def __init__(self, seed: int) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        public = self._key.public_key()
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.public_key = PublicKey.from_pem(pem)

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)


LOG, OTHER, BERT, CARL = (Key(seed) for seed in (1, 2, 3, 4))
TRUST = LogTrust({"journal": LOG.public_key}, {"bert": BERT.public_key, "carl": CARL.public_key})


@pytest.fixture
def lab(clock: Clock) -> Lab:
    """A good rollout, signed."""
    lab = Lab(clock)
    lab.run()
    sign(lab.storage, clock)
    return lab


def sign(storage: MemoryStorage, clock: Clock, key: Key = LOG) -> None:
    Journal.open(storage, clock=clock, who="anna@lab", signer=key).close()


def append(storage: MemoryStorage, clock: Clock, key: Key | None = LOG) -> None:
    with Journal.open(storage, clock=clock, who="anna@lab", signer=key) as journal:
        journal.append("lab-noted", why="a remark")


def rewritten(
    lab: Lab, change: Callable[[str, dict[str, object]], dict[str, object]], clock: Clock
) -> MemoryStorage:
    """All that lies beside the journal, and the journal written anew with its own checkpoint."""
    storage = MemoryStorage()
    for name in lab.storage.list("rollouts/"):
        storage.write_atomic(name, lab.storage.read(name))
    with Journal.open(storage, clock=clock, who="anna@lab") as journal:
        journal.append_many(
            Entry(r.kind, r.rollout, r.device, change(r.kind, dict(r.fields)))
            for r in read_journal(lab.storage).records
        )
    return storage


def reworded(kind: str, fields: dict[str, object]) -> dict[str, object]:
    return {**fields, "why": "as eve says"} if kind == "stage-approved" else fields


# --- signatures -----------------------------------------------------------------------------


def test_signed_journal_verifies_and_says_by_whom(lab: Lab) -> None:
    report = verify_log(lab.storage, trust=TRUST)
    assert (report.signatures.signed, report.signatures.signers) == (report.records, ("journal",))
    assert report.origin.startswith("cryofw/journal/")
    assert verify_log(lab.storage).signatures.signed == 0, "nobody's signature was asked for"


def test_journal_without_a_signature_is_refused_when_a_key_is_trusted(
    lab: Lab, clock: Clock
) -> None:
    lab.storage.remove("checkpoint")
    with pytest.raises(SignatureMissing, match="no signed checkpoint") as caught:
        verify_log(lab.storage, trust=TRUST)
    assert caught.value.exit_code == 4
    sign(lab.storage, clock, OTHER)
    with pytest.raises(SignatureMissing, match="not signed by a journal key"):
        verify_log(lab.storage, trust=TRUST)


def test_journal_and_checkpoint_written_anew_do_not_fit_the_signature(
    lab: Lab, clock: Clock
) -> None:
    forged = rewritten(lab, reworded, clock)
    assert verify_log(forged).records == lab.journal.size
    forged.write_atomic("checkpoint", lab.storage.read("checkpoint"))
    with pytest.raises(JournalCorrupt, match="written anew") as caught:
        verify_log(forged, trust=TRUST)
    assert (caught.value.record, caught.value.offset) == (0, 0)


def test_smaller_checkpoint_bounds_where_it_was_written_anew(lab: Lab, clock: Clock) -> None:
    before = lab.storage.read("checkpoint")
    size = lab.journal.size
    append(lab.storage, clock)
    after = lab.storage.read("checkpoint")
    forged = rewritten(
        lab, lambda kind, fields: fields | ({"why": "no"} if kind == "lab-noted" else {}), clock
    )
    with pytest.raises(JournalCorrupt) as caught:
        verify_log(forged, since={"monday": before, "tuesday": after})
    data = forged.read(NAME)
    assert caught.value.record == size
    assert caught.value.offset == data.index(data.splitlines(keepends=True)[size])


def test_forged_signature_is_found(lab: Lab) -> None:
    data = lab.storage.read("checkpoint")
    name, _, signature = data.decode().splitlines()[-1].rpartition(" ")
    note = require_signed(lab.storage).note.signatures[0]
    for place in range(len(note.body)):
        body = bytearray(note.key_id + note.body)
        body[4 + place] ^= 1
        forged = data.replace(signature.encode(), b64encode(bytes(body)))
        assert forged != data, name
        lab.storage.write_atomic("checkpoint", forged)
        with pytest.raises(NoteInvalid, match="does not verify"):
            verify_log(lab.storage, trust=TRUST)


# --- checkpoints kept elsewhere ---------------------------------------------------------------


def test_older_copy_is_found_by_a_checkpoint_kept_elsewhere(lab: Lab, clock: Clock) -> None:
    """Journal and checkpoint restored together look sound: only somebody else's memory tells."""
    old = MemoryStorage()
    for name in lab.storage.list():
        old.write_atomic(name, lab.storage.read(name))
    append(lab.storage, clock)
    kept = {"kept.checkpoint": lab.storage.read("checkpoint")}
    assert verify_log(lab.storage, trust=TRUST, since=kept).signatures.held == 2
    assert verify_log(old, trust=TRUST).records == lab.journal.size
    with pytest.raises(JournalCorrupt, match="cut, or an older copy") as caught:
        verify_log(old, trust=TRUST, since=kept)
    assert caught.value.record == lab.journal.size


def test_fork_is_found_by_a_checkpoint_kept_elsewhere(lab: Lab, clock: Clock) -> None:
    """Also when the one who forked it has the journal's key."""
    fork = MemoryStorage()
    for name in lab.storage.list():
        fork.write_atomic(name, lab.storage.read(name))
    kept = {"monday": lab.storage.read("checkpoint")}
    append(lab.storage, clock)
    kept["tuesday"] = lab.storage.read("checkpoint")
    with Journal.open(fork, clock=clock, who="eve", signer=LOG) as journal:
        journal.append("lab-noted", why="something else")
    assert verify_log(fork, trust=TRUST).records == lab.journal.size + 1
    with pytest.raises(JournalCorrupt, match="written anew") as caught:
        verify_log(fork, trust=TRUST, since=kept)
    assert caught.value.record == lab.journal.size, "what was signed before still stands"


def test_checkpoint_of_another_journal_is_told(lab: Lab, clock: Clock) -> None:
    other = MemoryStorage()
    append(other, clock)
    with pytest.raises(JournalCorrupt, match="not the one of theirs"):
        verify_log(lab.storage, since={"theirs": other.read("checkpoint")})
    with pytest.raises(NoteInvalid, match="theirs"):
        verify_log(lab.storage, since={"theirs": b"x"})
    sign(lab.storage, clock, OTHER)
    data = lab.storage.read("checkpoint")
    sign(lab.storage, clock, LOG)
    with pytest.raises(SignatureMissing, match="kept is not signed"):
        verify_log(lab.storage, trust=TRUST, since={"kept": data})


def test_retired_journal_is_verified_with_the_one_that_follows(lab: Lab, clock: Clock) -> None:
    kept = {"monday": lab.storage.read("checkpoint")}
    closed = retire(lab.storage, clock=clock, who="a", why="", signer=LOG)
    append(lab.storage, clock)
    report = verify_log(lab.storage, trust=TRUST, since=kept)
    assert report.records == 2
    assert report.continues is not None
    assert (report.continues.records, report.continues.rollouts) == (lab.journal.size + 1, 1)
    data = lab.storage.read(closed.name)
    lab.storage.write_atomic(closed.name, data.replace(b'"bert"', b'"Bert"'))
    with pytest.raises(JournalCorrupt):
        verify_log(lab.storage, trust=TRUST)
    lab.storage.remove(closed.name)
    report = verify_log(lab.storage, trust=TRUST)
    assert (report.continues, report.absent) == (None, closed.name)


def test_rules_hold_across_retirement(lab: Lab, clock: Clock) -> None:
    """Who was in quarantine still is: the auditor does not forget what the lab must not."""
    with Journal.open(lab.storage, clock=clock, who="a", signer=LOG) as journal:
        rollout = journal.records[0].rollout
        journal.append(
            "device-quarantined", rollout=rollout, device="a1", why="x", hint="y", n_of=1
        )
    retire(lab.storage, clock=clock, who="a", why="", signer=LOG)
    plan = lab.storage.read(f"rollouts/{rollout}/plan.json")
    with Journal.open(lab.storage, clock=clock, who="a", signer=LOG) as journal:
        lab.storage.write_atomic("rollouts/r-2/plan.json", plan)
        digest = (
            read_journal(lab.storage, lab.storage.list("retired/")[0]).records[0].fields["plan"]
        )
        journal.append("rollout-started", rollout="r-2", plan=digest, release=NEW, version="1")
        journal.append("stage-started", rollout="r-2", stage="rig", gate="", why="x")
        journal.append("device-check-requested", rollout="r-2", device="a1")
    with pytest.raises(AuditFailed, match="a1 was in quarantine"):
        verify_log(lab.storage)


# --- witnesses --------------------------------------------------------------------------------


def cosigned(lab: Lab, memory: WitnessMemory, key: Key = BERT, name: str = "bert") -> SignedHead:
    size = memory.size(require_signed(lab.storage).head.origin)
    request = make_request(lab.storage, size)
    return memory.cosign(request, TRUST.keys, key, name, 1_000)


def test_witness_cosigns_what_grew_and_the_audit_counts_it(lab: Lab, clock: Clock) -> None:
    memory, other = WitnessMemory(MemoryStorage()), WitnessMemory(MemoryStorage())
    for _ in range(3):
        accept_cosigned(lab.storage, cosigned(lab, memory).encode(), TRUST.witnesses)
        append(lab.storage, clock)
    accept_cosigned(lab.storage, cosigned(lab, other, CARL, "carl").encode(), TRUST.witnesses)
    report = verify_log(lab.storage, trust=LogTrust(TRUST.keys, TRUST.witnesses, 2))
    assert {one.witness: one.size for one in report.signatures.cosignatures} == {
        "carl": report.records, "bert": report.records - 1,
    }  # fmt: skip


def test_two_witnesses_of_one_checkpoint_are_kept_together(lab: Lab) -> None:
    for key, name in ((BERT, "bert"), (CARL, "carl")):
        line = cosigned(lab, WitnessMemory(MemoryStorage()), key, name)
        accept_cosigned(lab.storage, line.encode(), TRUST.witnesses)
    assert len(lab.storage.list("cosigned/")) == 1
    report = verify_log(lab.storage, trust=LogTrust(TRUST.keys, TRUST.witnesses, 2))
    assert len(report.signatures.cosignatures) == 2


def test_one_key_under_two_names_is_one_witness(lab: Lab) -> None:
    for name in ("bert", "bob"):
        line = cosigned(lab, WitnessMemory(MemoryStorage()), BERT, name)
        accept_cosigned(lab.storage, line.encode(), TRUST.witnesses)
    with pytest.raises(SignatureMissing, match="1 of 2 witnesses"):
        verify_log(lab.storage, trust=LogTrust(TRUST.keys, TRUST.witnesses, 2))


def test_witness_refuses_a_fork_also_of_the_journal_s_key(lab: Lab, clock: Clock) -> None:
    memory = WitnessMemory(MemoryStorage())
    fork = MemoryStorage()
    for name in lab.storage.list():
        fork.write_atomic(name, lab.storage.read(name))
    append(lab.storage, clock)
    seen = cosigned(lab, memory).head
    with Journal.open(fork, clock=clock, who="eve", signer=LOG) as journal:
        journal.append("lab-noted", why="x")
        journal.append("lab-noted", why="y")
    with pytest.raises(WitnessRefused, match="written anew") as caught:
        memory.cosign(make_request(fork, seen.size), TRUST.keys, BERT, "bert", 1)
    assert caught.value.exit_code == 5
    assert memory.size(seen.origin) == seen.size


def test_witness_refuses_to_go_back(lab: Lab, clock: Clock) -> None:
    memory = WitnessMemory(MemoryStorage())
    old = make_request(lab.storage, 0)
    append(lab.storage, clock)
    size = cosigned(lab, memory).head.size
    for request in (old, make_request(lab.storage, 0), make_request(lab.storage, size - 1)):
        with pytest.raises(WitnessRefused, match=f"has seen {size} records"):
            memory.cosign(request, TRUST.keys, BERT, "bert", 1)
    again = memory.cosign(make_request(lab.storage, size), TRUST.keys, BERT, "bert", 2)
    assert again.head.size == size


def test_witness_signs_for_no_unknown_key_and_no_garbage(lab: Lab) -> None:
    memory = WitnessMemory(MemoryStorage())
    request = make_request(lab.storage, 0)
    with pytest.raises(NoteInvalid, match="not signed by a journal key"):
        memory.cosign(request, {"other": OTHER.public_key}, BERT, "bert", 1)
    note = lab.storage.read("checkpoint")
    for garbage in (b"", b"old 0\n\n", b"old 00\n\n" + note, note, b"old 0\nAAAA\n\n" + note):
        with pytest.raises(NoteInvalid):
            memory.cosign(garbage, TRUST.keys, BERT, "bert", 1)


def test_cosigned_checkpoint_of_another_journal_is_not_kept(lab: Lab, clock: Clock) -> None:
    other = Lab(clock, silent=("a2",))
    other.run()
    sign(other.storage, clock)
    append(other.storage, clock)
    theirs = cosigned(other, WitnessMemory(MemoryStorage()))
    with pytest.raises((JournalCorrupt, BadInput)):
        accept_cosigned(lab.storage, theirs.encode(), TRUST.witnesses)
    with pytest.raises(NoteInvalid, match="no witness that is known"):
        accept_cosigned(lab.storage, lab.storage.read("checkpoint"), TRUST.witnesses)
    assert lab.storage.list("cosigned/") == []


def test_nothing_is_asked_of_a_witness_without_a_signature(clock: Clock) -> None:
    storage = MemoryStorage()
    append(storage, clock, None)
    with pytest.raises(Refused, match="no signed checkpoint"):
        make_request(storage, 0)
    sign(storage, clock)
    with pytest.raises(Refused, match="covers 1 records, not 9"):
        make_request(storage, 9)


# --- proofs of a device -----------------------------------------------------------------------


def proven(lab: Lab, device: str, clock: Clock) -> bytes:
    with Journal.open(lab.storage, clock=clock, who="anna@lab", signer=LOG) as journal:
        attest_device(journal, device, "anna@lab")
    return prove_device(lab.storage, device).encode()


def test_proof_says_what_runs_on_whose_approval_with_public_keys_alone(
    lab: Lab, clock: Clock
) -> None:
    claim = verify_device_proof(proven(lab, "b1", clock), TRUST)
    assert (claim.device, claim.state, claim.hash, claim.version) == (
        "b1", "confirmed", NEW, "1.1.0",
    )  # fmt: skip
    assert [record.fields["by"] for record in claim.approvals] == ["bert"]
    assert claim.verdict is not None
    assert claim.verdict.fields["outcome"] == "passed"
    assert (claim.signers, claim.attested is not None) == (("journal",), True)
    assert verify_log(lab.storage, trust=TRUST).unknown_kinds == ()


def test_proof_is_a_plain_tlog_proof_of_the_newest_record(lab: Lab, clock: Clock) -> None:
    proof = TlogProof.parse(proven(lab, "b1", clock))
    proof.require(lab.storage.read(NAME).splitlines()[-1])
    assert proof.index == proof.checkpoint.head.size - 1


def test_proof_without_attestation_says_so(lab: Lab, clock: Clock) -> None:
    data = prove_device(lab.storage, "r1").encode()
    claim = verify_device_proof(data, TRUST)
    assert (claim.attested, claim.seen.kind, claim.approvals) == (None, "image-confirmed", ())


def test_witnesses_count_in_a_proof(lab: Lab, clock: Clock) -> None:
    data = proven(lab, "b1", clock)
    quorum = LogTrust(TRUST.keys, TRUST.witnesses, 1)
    with pytest.raises(NoteInvalid, match="0 of 1 witnesses"):
        verify_device_proof(data, quorum)
    cosigned_head = cosigned(lab, WitnessMemory(MemoryStorage()))
    lab.storage.write_atomic("checkpoint", cosigned_head.encode())
    claim = verify_device_proof(prove_device(lab.storage, "b1").encode(), quorum)
    assert claim.witnesses == ("bert",)


def test_every_changed_byte_of_a_proof_is_found(lab: Lab, clock: Clock) -> None:
    data = proven(lab, "b1", clock)
    sound = verify_device_proof(data, TRUST)
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        try:
            claim = verify_device_proof(changed, TRUST)
        except NoteInvalid:
            continue
        pytest.fail(f"byte {place}: {claim}")
    assert verify_device_proof(data, TRUST) == sound


def carried(data: bytes) -> tuple[TlogProof, dict[str, object]]:
    proof = TlogProof.parse(data)
    return proof, json.loads(proof.extra)


def test_proof_cannot_be_made_to_say_something_else(lab: Lab, clock: Clock) -> None:
    data = proven(lab, "b1", clock)
    proof, extra = carried(data)
    records = extra["records"]
    assert isinstance(records, list)
    attested = proof.index
    kinds = {json.loads(record["line"])["kind"]: record for record in records}

    def says(device: str, kept: list[object], index: int = attested) -> None:
        again = json.dumps({"v": 1, "device": device, "records": kept}).encode()
        forged = TlogProof(index, proof.path, proof.checkpoint, again)
        verify_device_proof(forged.encode(), TRUST)

    says("b1", records)
    with pytest.raises(NoteInvalid, match="of a record that it does not carry"):
        says("b2", records)
    with pytest.raises(NoteInvalid, match="stands on no verdict"):
        says("b1", [record for record in records if record is not kinds["verdict-reached"]])
    with pytest.raises(NoteInvalid, match="no record of the proof says"):
        says("b1", [record for record in records if record is not kinds["image-confirmed"]])
    with pytest.raises(NoteInvalid, match="does not carry"):
        says("b1", [record for record in records if record is not kinds["device-attested"]])
    with pytest.raises(NoteInvalid):
        says("b1", [*records[1:], records[0]])
    with pytest.raises(NoteInvalid):
        says("b1", [{**records[0], "line": records[0]["line"].replace("1.1.0", "9.9.9")}])


def test_proof_of_an_older_attestation_is_refused(lab: Lab, clock: Clock) -> None:
    """The newest record of the journal, and no other, may attest what runs."""
    proven(lab, "b1", clock)
    old = read_journal(lab.storage).records[-1]
    append(lab.storage, clock)
    data = prove_device(lab.storage, "b1").encode()
    assert verify_device_proof(data, TRUST).attested is None
    from cryofw.journal import CachedTree, inclusion_proof

    signed = require_signed(lab.storage)
    tree = CachedTree(lab.storage, NAME, signed.head.size, signed.head.root)
    _, extra = carried(data)
    records = extra["records"]
    assert isinstance(records, list)
    path = inclusion_proof(tree, old.n)
    entry = {
        "n": old.n, "line": old.line.decode(), "path": [b64encode(node).decode() for node in path],
    }  # fmt: skip
    stale = json.dumps({"v": 1, "device": "b1", "records": [*records, entry]}).encode()
    with pytest.raises(NoteInvalid, match="not the newest record"):
        verify_device_proof(TlogProof(old.n, tuple(path), signed, stale).encode(), TRUST)


def test_nothing_is_proven_to_someone_who_trusts_nobody(lab: Lab, clock: Clock) -> None:
    data = proven(lab, "b1", clock)
    for trust in (LogTrust(), LogTrust({"other": OTHER.public_key})):
        with pytest.raises(NoteInvalid, match="not signed by a journal key"):
            verify_device_proof(data, trust)


def test_no_proof_without_a_key_or_of_an_unknown_device(lab: Lab, clock: Clock) -> None:
    with pytest.raises(BadInput, match="does not say what 'zz' runs"):
        prove_device(lab.storage, "zz")
    with (
        Journal.open(lab.storage, clock=clock, who="a") as journal,
        pytest.raises(Refused, match="without a signed checkpoint"),
    ):
        attest_device(journal, "b1", "a")
    lab.storage.remove("checkpoint")
    with pytest.raises(Refused, match="without a signed checkpoint"):
        prove_device(lab.storage, "b1")


def test_false_attestation_is_found_by_the_audit(lab: Lab, clock: Clock) -> None:
    with Journal.open(lab.storage, clock=clock, who="a", signer=LOG) as journal:
        journal.append(
            "device-attested", device="b1", record=3, hash=NEW, state="confirmed", by="eve"
        )
    with pytest.raises(AuditFailed, match="attests what no record before it says"):
        verify_log(lab.storage)


# --- images and exports -----------------------------------------------------------------------


def test_image_that_is_not_at_hand_is_named(lab: Lab) -> None:
    with pytest.raises(AuditFailed, match="the release cannot be proven") as caught:
        verify_log(lab.storage, checks=[ImageEvidence(lab.storage, [LOG.public_key])])
    assert caught.value.violations[0].kind == "rollout-started"


def test_export_is_readable_here_and_by_tile_clients(lab: Lab, clock: Clock) -> None:
    target = MemoryStorage()
    done = export_log(lab.storage, target)
    assert done.checkpoint.head.size == lab.journal.size
    report = verify_log(target, trust=TRUST)
    assert report.records == lab.journal.size
    names = set(target.list("tile/"))
    assert names == {
        f"tile/0/000.p/{lab.journal.size}", f"tile/entries/000.p/{lab.journal.size}",
    }  # fmt: skip
    append(lab.storage, clock)
    again = export_log(lab.storage, target)
    assert 0 < again.files < done.files + 2
    assert verify_log(target, trust=TRUST).records == lab.journal.size + 1


def test_export_does_not_mix_two_journals(lab: Lab, clock: Clock) -> None:
    other = MemoryStorage()
    append(other, clock)
    target = MemoryStorage()
    export_log(other, target)
    with pytest.raises(Refused, match="mix two journals"):
        export_log(lab.storage, target)
    with pytest.raises(Refused, match="mix two journals"):
        export_log(lab.storage, other_files())
    signed = read_signed_head(target)
    assert signed is not None
    assert signed.head.size == 1


def other_files() -> MemoryStorage:
    storage = MemoryStorage()
    storage.write_atomic("thesis.tex", b"mine")
    return storage
