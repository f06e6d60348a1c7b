"""Keys that certificates lend: the audit counts people as the rollout does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cryofw.rollout import events as e
from cryofw.trust import APPROVAL_NAMESPACE, Proof
from tests.faults.guarded_lab import GuardedLab
from tests.unit.trust.soft_key import SoftKey, certificate

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def lab(tmp_path: Path) -> GuardedLab:
    """The authority vouches for two people, of whom the fleet needs two."""
    made = GuardedLab.lay_out(tmp_path / "all")
    made.lab.run("abort", "--yes").expect(0)
    key = made.key("ca").line
    names = ["eve@lab", "carol@lab"]
    made.pin(version=9, authorities=[{"key": key, "principals": names, "roles": ["approve"]}])
    made.person = "anna"
    made.lab.run("deploy", "good.bin", "--yes").expect(75, "0 of 2 approvals")
    return made


def test_one_key_with_two_names_is_found_by_the_audit(lab: GuardedLab) -> None:
    lent = SoftKey()
    for number, who in enumerate(("eve@lab", "carol@lab")):
        blob = certificate(lab.key("ca"), lent, (who,))
        said = lab.statement(who, nonce=f"00{number}1")
        signature = lent.sign(said.canonical, APPROVAL_NAMESPACE, public=blob)
        proof = Proof(said.canonical.decode(), signature, lent.fingerprint)
        lab.journal(e.StageApproved("fleet", who, "", proof.fields))

    lab.lab.run("audit", "verify").expect(4, "eve@lab and carol@lab act with one key")
    lab.lab.run("resume").expect(4, "holds an approval that nobody gave")
