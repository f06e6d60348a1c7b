"""How the proof of one device is attacked; see `journal_attacks`.

The proof says that `rig-a` runs 1.1.0. Who gets it has the journal's public key and nothing else.
"""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cryofw.journal import TlogProof
from tests.faults.recorded_lab import signed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.recorded_lab import RecordedLab

    Command = tuple[str, ...]

CHECK = ("audit", "verify-proof", "rig-a.tlog-proof")


def load(lab: RecordedLab) -> TlogProof:
    return TlogProof.parse((lab.lab.directory / CHECK[-1]).read_bytes())


def given(lab: RecordedLab, proof: TlogProof | bytes) -> Command:
    """Somebody is given the file."""
    data = proof.encode() if isinstance(proof, TlogProof) else proof
    (lab.lab.directory / CHECK[-1]).write_bytes(data)
    return CHECK


def carrying(lab: RecordedLab, edit: Callable[[dict[str, Any]], object]) -> Command:
    """A proof that carries something else."""
    proof = load(lab)
    extra = json.loads(proof.extra)
    edit(extra)
    return given(lab, replace(proof, extra=json.dumps(extra, separators=(",", ":")).encode()))


def record_changed(lab: RecordedLab) -> Command:
    """Another version than the one that runs."""

    def edit(extra: dict[str, Any]) -> None:
        extra["records"][-1]["line"] = extra["records"][-1]["line"].replace("1.1.0", "9.1.0")

    return carrying(lab, edit)


def of_another_device(lab: RecordedLab) -> Command:
    return carrying(lab, lambda extra: extra.update(device="c2-a"))


def verdict_left_out(lab: RecordedLab) -> Command:
    def edit(extra: dict[str, Any]) -> None:
        extra["records"] = [r for r in extra["records"] if "verdict-reached" not in r["line"]]

    return carrying(lab, edit)


def state_left_out(lab: RecordedLab) -> Command:
    def edit(extra: dict[str, Any]) -> None:
        extra["records"] = [r for r in extra["records"] if "image-confirmed" not in r["line"]]

    return carrying(lab, edit)


def approval_added(lab: RecordedLab) -> Command:
    """Somebody is said to have approved it."""

    def edit(extra: dict[str, Any]) -> None:
        start = dict(extra["records"][0])
        fields = json.loads(start["line"])
        fields |= {"n": 1, "kind": "stage-approved", "by": "carol@lab"}
        line = json.dumps(fields, separators=(",", ":"))
        extra["records"].insert(1, {**start, "n": 1, "line": line})

    return carrying(lab, edit)


def path_of_another_record(lab: RecordedLab) -> Command:
    def edit(extra: dict[str, Any]) -> None:
        extra["records"][0]["path"] = extra["records"][1]["path"]

    return carrying(lab, edit)


def numbered_otherwise(lab: RecordedLab) -> Command:
    def edit(extra: dict[str, Any]) -> None:
        extra["records"][0]["n"] = 1

    return carrying(lab, edit)


def index_moved(lab: RecordedLab) -> Command:
    """It says that an older record is the newest of the journal."""
    proof = load(lab)
    return given(lab, replace(proof, index=proof.index - 1))


def attestation_not_the_newest(lab: RecordedLab) -> Command:
    """An old attestation under a newer checkpoint: what came after is kept back."""
    old = load(lab)
    lab.lab.run("approve", "--stage", "fleet").expect(0)
    lab.lab.run("audit", "checkpoint").expect(0)
    lab.lab.run("audit", "prove", "c1-a", "--as-recorded").expect(0)
    newer = TlogProof.parse((lab.lab.directory / "c1-a.tlog-proof").read_bytes())
    return given(lab, replace(old, checkpoint=newer.checkpoint))


def signed_by_a_stranger(lab: RecordedLab) -> Command:
    proof = load(lab)
    return given(lab, replace(proof, checkpoint=signed(proof.checkpoint.head, lab.stranger())))


def of_another_journal(lab: RecordedLab) -> Command:
    """A sound proof of another lab, whose rig has the same name."""
    return given(lab, (lab.directory / "other" / CHECK[-1]).read_bytes())


def tree_head_changed(lab: RecordedLab) -> Command:
    proof = load(lab)
    root = base64.b64encode(proof.checkpoint.head.root)
    other = base64.b64encode(bytes(32))
    return given(lab, proof.encode().replace(root, other))


def cut_off(lab: RecordedLab) -> Command:
    return given(lab, load(lab).encode()[:-40])


def nothing_in_it(lab: RecordedLab) -> Command:
    return given(lab, replace(load(lab), extra=b""))


def nested_without_end(lab: RecordedLab) -> Command:
    """Nesting exhausts the reader (CVE-2026-26209)."""
    deep = b'{"v":1,"device":' + b"[" * 200_000
    return given(lab, replace(load(lab), extra=deep))


def approval_that_nobody_signed(lab: RecordedLab) -> Command:
    """The proof carries an approval; the policy that is given knows who may."""
    from tests.unit.trust.people import People

    lab.lab.run("approve", "--stage", "fleet").expect(0)
    lab.lab.run("resume").expect(0)
    lab.lab.run("audit", "prove", "c2-a").expect(0)
    (lab.lab.directory / "policy.yaml").write_bytes(People().text())
    return ("audit", "verify-proof", "c2-a.tlog-proof", "--policy", "policy.yaml")
