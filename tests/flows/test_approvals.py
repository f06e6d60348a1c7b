"""Life under a policy: who may do what, when approvals count, and what a person sees."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from struct import pack
from typing import TYPE_CHECKING

import pytest

from cryofw.audit.approval_evidence import ApprovalEvidence
from cryofw.audit.ledger import RolloutLedger
from cryofw.journal import FileStorage
from cryofw.release import PinnedRoot, pin_root, put_document
from cryofw.rollout import events as e
from cryofw.simulator.lab_store import clock_seconds
from cryofw.trust import APPROVAL_NAMESPACE, Role, time_text
from tests.faults.attacked_lab import AttackedLab
from tests.faults.guarded_lab import GuardedLab
from tests.unit.trust.soft_key import SoftKey, certificate

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def waiting_lab(tmp_path_factory: pytest.TempPathFactory) -> GuardedLab:
    """A rollout that anna asked for waits for two approvals of the fleet."""
    return GuardedLab.lay_out(tmp_path_factory.mktemp("waiting") / "all")


@pytest.fixture
def lab(waiting_lab: GuardedLab, tmp_path: Path) -> GuardedLab:
    """One of a test's own."""
    return waiting_lab.copy_to(tmp_path / "all")


def as_person(lab: GuardedLab, name: str) -> GuardedLab:
    lab.person = name
    return lab


def test_two_people_approve_at_the_terminal_and_by_a_certificate(lab: GuardedLab) -> None:
    lab.lab.run("approve", "--why", "soaked well").expect(
        0, "stage fleet: 1.1.0", "asked by anna@lab", "stage fleet of", "1 more must approve it"
    )
    as_person(lab, "anna").lab.run("resume").expect(75, "1 of 2 approvals (bart@lab)")
    lent = SoftKey("ecdsa")
    blob = certificate(lab.key("ca"), lent, ("eve@lab",))
    said = lab.statement("eve@lab")
    signature = lent.sign(said.canonical, APPROVAL_NAMESPACE, public=blob)
    lab.lab.run(*lab.offer(said, signature), "--json").expect(0, '"still_needed": 0')

    lab.lab.run("resume").expect(0, "gate passed  fleet")

    assert set(lab.lab.running().values()) == {"good"}
    lab.lab.run("audit", "verify").expect(0, "signed acts 5")
    story = lab.lab.run("audit", "show", "--kind", "stage-approved").expect(0, "soaked well")
    assert story.out.count("signed with SHA256:") == 2


def test_an_approval_that_expired_while_the_rollout_waited_does_not_count(lab: GuardedLab) -> None:
    lab.approve("carol")
    soon = lab.home.now() + timedelta(minutes=10)
    lab.approve("bart", expires=time_text(soon), nonce="0022")
    clock = lab.directory / "lab" / ".cryofw" / "sim" / "clock"
    clock.write_bytes(pack("<d", clock_seconds(clock.read_bytes()) + 3600))

    ran = as_person(lab, "anna").lab.run("resume")

    ran.expect(75, "1 of 2 approvals (carol@lab); expired: bart@lab")


def test_an_approval_of_a_key_that_was_revoked_since_is_void(lab: GuardedLab) -> None:
    lab.approve("bart")
    lab.approve("carol")
    lab.revoke(key=lab.key("bart").fingerprint)

    as_person(lab, "anna").lab.run("resume").expect(
        75, "approval void", "laptop stolen", "1 of 2 approvals (carol@lab)"
    )
    lab.approve("bart-2", nonce="0022")
    lab.lab.run("resume").expect(0, "gate passed  fleet")

    lab.lab.run("audit", "verify").expect(0, "verified")


def test_an_emergency_stop_and_the_way_back_need_no_role(lab: GuardedLab) -> None:
    as_person(lab, "bart").lab.run("abort", "--why", "smells odd", "--yes").expect(0)
    as_person(lab, "stranger").lab.run("audit", "verify").expect(0, "verified")

    assert lab.lab.records()[-1]["kind"] == "rollout-ended"


def test_who_may_abort_takes_a_whole_rollout_back(lab: GuardedLab) -> None:
    lab.approve("bart")
    lab.approve("carol")
    as_person(lab, "anna").lab.run("resume").expect(0)
    lab.lab.run("rollback", "--yes").expect(5, "anna@lab may not abort")

    as_person(lab, "bart").lab.run("rollback", "--yes", "--why", "cold feet").expect(0)

    assert set(lab.lab.running().values()) == {"factory"}
    lab.lab.run("audit", "verify").expect(0, "verified")


def test_after_a_stop_who_may_abort_finishes_the_way_back(lab: GuardedLab) -> None:
    as_person(lab, "stranger").lab.run("stop", "--why", "smoke").expect(0)
    as_person(lab, "bart").lab.run("rollback", "--yes").expect(0)

    assert set(lab.lab.running().values()) == {"factory"}
    lab.lab.run("audit", "verify").expect(0, "verified")


def test_anybody_may_stop(lab: GuardedLab) -> None:
    as_person(lab, "stranger").lab.run("stop", "--why", "smoke").expect(0, "stopped  smoke")

    lab.lab.run("audit", "verify").expect(0, "verified")


def test_approvals_of_a_plan_wait_until_it_starts(lab: GuardedLab) -> None:
    as_person(lab, "bart").lab.run("abort", "--yes").expect(0)
    lab.pin(version=9, approvals={"stages": {"test-rig": 1, "fleet": 1}})
    as_person(lab, "anna").lab.run("plan", "drift.bin", "-o", "next.json").expect(
        0, "policy   version 9", "asked for by anna@lab", "1 person approves, signed"
    )
    lab.lab.run("deploy", "--plan", "next.json", "--yes", "--stage", "test-rig").expect(
        75, "stage test-rig has 0 of 1 approvals"
    )
    as_person(lab, "bart").lab.run("abort", "--yes").expect(0)
    as_person(lab, "anna").lab.run("plan", "drift.bin", "-o", "later.json").expect(0)
    as_person(lab, "bart").lab.run("approve", "later.json").expect(0, "stage test-rig")
    as_person(lab, "anna").lab.run(
        "deploy", "--plan", "later.json", "--yes", "--stage", "test-rig"
    ).expect(6, "approved     stage test-rig by bart@lab")  # and it drifts

    lab.lab.run("audit", "verify").expect(0, "verified")


def test_who_approves_a_plan_before_it_starts_hears_of_those_who_did(lab: GuardedLab) -> None:
    as_person(lab, "bart").lab.run("abort", "--yes").expect(0)
    as_person(lab, "anna").lab.run("plan", "drift.bin", "-o", "next.json").expect(0)
    lab.lab.run("approve", "next.json", "--stage", "fleet").expect(
        5, "anna@lab asked for this rollout", "who may: bart@lab, carol@lab"
    )
    lab.lab.run("approve", "nxt.json").expect(3, "cannot read the plan nxt.json")
    as_person(lab, "bart").lab.run("approve", "next.json").expect(
        0, "stage fleet", "1 more must approve it"
    )
    lab.lab.run("approve", "next.json").expect(5, "bart@lab has approved stage fleet already")

    wrote = ("approve", "next.json", "--statement", "st", "--as", "carol@lab")
    signed = "approve next.json --statement st --signature st.sig"
    lab.lab.run(*wrote).expect(0, f"then: cryofw {signed}")
    directory = lab.directory / "lab"
    signature = lab.key("carol").sign((directory / "st").read_bytes(), APPROVAL_NAMESPACE)
    (directory / "st.sig").write_text(signature)
    lab.lab.run(*signed.split()).expect(0, "carol@lab", "`cryofw deploy --plan FILE`")

    lab.lab.run("approve", "next.json").expect(2, "no stage of", "needs an approval")


def test_a_statement_is_signed_in_another_room(lab: GuardedLab) -> None:
    directory = lab.directory / "lab"
    wrote = ("approve", "--statement", "st", "--as", "carol@lab", "--why", "from home")
    lab.lab.run(*wrote).expect(0, "ssh-keygen -Y sign -n cryofw-approval@v1")
    said = (directory / "st").read_bytes()
    (directory / "st.sig").write_text(lab.key("carol").sign(said, APPROVAL_NAMESPACE))

    lab.lab.run("approve", "--statement", "st", "--signature", "st.sig").expect(
        0, "by carol@lab", "1 more"
    )

    assert json.loads(said)["checkpoint"]["size"] == len(lab.lab.records()) - 1
    lab.lab.run(*wrote).expect(5, "exists already")
    lab.lab.run("approve", "--statement", "x", "--as", "dora@lab").expect(5, "may not approve")
    lab.lab.run("approve", "--statement", "x").expect(2, "who will sign it?")
    lab.lab.run("approve", "--signature", "st.sig").expect(2, "which statement")


def test_a_running_rollout_obeys_only_what_may_be_asked(lab: GuardedLab) -> None:
    """Whoever can write into the state directory can leave a request; not a signature."""
    plan = lab.plan
    box = lab.home.requests(plan.rollout)
    box.put(e.AbortRequested("bart@lab", "I am bart"), "01")
    box.put(e.StageApproved("fleet", "carol@lab"), "02")
    proof = lab.proof(lab.statement("rita@lab", act=Role.ABORT, subject="abort"), "rita")
    box.put(e.AbortRequested("rita@lab", "", proof), "03")
    lab.approve("bart")
    lab.approve("carol")

    ran = as_person(lab, "anna").lab.run("resume").expect(0, "gate passed  fleet")

    assert ran.err.count("was refused: nobody signed") == 2
    assert "was refused" in ran.err
    assert "longer than the policy allows" in ran.err
    assert not box.waiting()


def test_who_started_a_pipeline_asked_for_its_rollout(lab: GuardedLab) -> None:
    """The job's key is the job's; the person behind it is in the token."""
    as_person(lab, "bart").lab.run("abort", "--yes").expect(0)
    token = lab.issuer.token(lab.issuer.claims(user_login="bart"))
    lab.env = {"GITLAB_CI": "true", "CRYOFW_ID_TOKEN": token}
    as_person(lab, "anna").lab.run("deploy", "good.bin", "--yes").expect(75, "0 of 2 approvals")
    lab.env = {}

    as_person(lab, "bart").lab.run("approve").expect(5, "bart@lab asked for this rollout")
    started = [r for r in lab.lab.records() if r["kind"] == "rollout-started"][-1]
    assert started["proof"]["job"]["user_login"] == "bart"
    assert token not in json.dumps(lab.lab.records())
    lab.lab.run("audit", "show", "--kind", "rollout-started").expect(0, "in job 41 of lab/firmware")


def test_the_proof_of_a_device_carries_the_signed_approvals(lab: GuardedLab) -> None:
    made = ("keys", "generate", "journal", "--purpose", "journal", "--algorithm", "ed25519")
    lab.lab.run(*made, "--no-passphrase").expect(0)
    lab.approve("bart")
    lab.approve("carol")
    as_person(lab, "anna").lab.run("resume").expect(0)
    lab.lab.run("audit", "prove", "c2-a", "-o", "c2-a.proof").expect(0)
    policy = f".cryofw/rollouts/{lab.plan.rollout}/policy.yaml"
    check = ("audit", "verify-proof", "c2-a.proof", "--key", "keys/journal.pub.pem", "--policy")

    lab.lab.run(*check, policy).expect(0, "signed approvals: bart@lab, carol@lab")
    (lab.directory / "lab" / "other.yaml").write_bytes(lab.people.text(version=8))
    lab.lab.run(*check, "other.yaml").expect(4, "the approval of fleet by bart@lab does not hold")


def test_a_plan_that_nobody_could_approve_is_not_made(lab: GuardedLab) -> None:
    roles = lab.people.document()["roles"]
    assert isinstance(roles, dict)
    lab.pin(version=9, roles={**roles, "approve": ["anna@lab", "bart@lab"]})

    as_person(lab, "anna").lab.run("plan", "drift.bin").expect(
        5, "stage fleet needs 2 approvals, and 1 can be given", "bart@lab"
    )
    lab.pin(version=10, approvals={"stages": {"flet": 2}})
    lab.lab.run("plan", "drift.bin").expect(5, "stage 'flet', which the plan does not have")


def test_people_who_may_sign_and_release(lab: GuardedLab) -> None:
    signs = ("sign", "good.raw.bin", "more.bin", "--version", "9.0.0", "--board", "cc40")

    as_person(lab, "anna").lab.run(*signs).expect(0, "signed")
    as_person(lab, "rita").lab.run("release", "add", "good.bin").expect(5, "takes no RSA keys")


def test_a_policy_comes_with_the_releases_and_follows_them(tmp_path: Path) -> None:
    repository = AttackedLab.lay_out(tmp_path / "repository")
    guarded = GuardedLab(tmp_path / "repository", person="anna")
    ssh = guarded.directory / "ssh"
    ssh.mkdir()
    for name, key in guarded.people.keys.items():
        if not key.is_fido:
            key.write(ssh / name)
    manager = repository.manager
    put_document(manager.repository(), "policy.yaml", guarded.people.text())
    manager.publish()

    guarded.lab.run("policy", "show").expect(3, "no policy is in force")
    guarded.lab.run("plan", *repository.latest).expect(0, "2 people approve, signed")
    guarded.lab.run("policy", "show").expect(0, "version 3 from releases")
    guarded.lab.run(*repository.deploy_latest, "--stage", "test-rig").expect(0, "gate passed")
    put_document(manager.repository(), "policy.yaml", guarded.people.text(version=4))
    manager.publish()
    guarded.lab.run("policy", "pin", "--release", "--repo", str(repository.repository)).expect(
        0, "version 4 from releases"
    )

    root = PinnedRoot((repository.repository / "metadata/1.root.json").read_bytes(), "")
    pin_root(FileStorage(guarded.lab.state), root)  # as it was: nothing of the policy is forgotten
    guarded.lab.run("policy", "show", "--json").expect(0, '"version": 4')


def test_without_a_policy_nothing_changes(lab: GuardedLab) -> None:
    plain = GuardedLab(lab.directory, person="stranger")
    as_person(lab, "bart").lab.run("abort", "--yes").expect(0)
    lab.lab.run("policy", "unpin", "--why", "we trust each other").expect(0, "none is in force")

    plain.lab.run("deploy", "good.bin", "--yes").expect(75, "stage fleet needs an approval")
    plain.lab.run("approve", "--stage", "fleet", "--statement", "x").expect(
        2, "recorded, not signed"
    )
    plain.lab.run("approve", "--stage", "fleet").expect(0, "by anna@lab")
    plain.lab.run("resume").expect(0)

    plain.lab.run("audit", "verify").expect(0, "verified")


def test_a_recovery_is_an_override_that_is_signed(lab: GuardedLab) -> None:
    as_person(lab, "bart").lab.run("abort", "--why", "smells odd", "--yes").expect(0)
    lab.lab.run("recover", "rig-a", "--yes").expect(5, "bart@lab may not override")
    assert lab.lab.records()[-1]["kind"] == "rollout-ended"

    as_person(lab, "anna").lab.run("recover", "rig-a", "--yes", "--why", "it is odd").expect(
        5, "its application answers"
    )

    asked, failed = lab.lab.records()[-2:]
    assert (asked["kind"], asked["by"], asked["why"]) == (
        "recovery-requested", "anna@lab", "it is odd",
    )  # fmt: skip
    assert json.loads(asked["proof"]["statement"])["subject"] == "recover rig-a"
    assert (failed["kind"], failed["sent"]) == ("recovery-failed", False)
    lab.lab.run("audit", "show", "--kind", "recovery-requested").expect(0, "signed with SHA256:")
    lab.lab.run("audit", "verify").expect(0, "verified")

    def found(**changes: object) -> list[str]:
        """What the audit says of the request, if it were another."""
        check = ApprovalEvidence(FileStorage(lab.lab.state))
        said: list[str] = []
        for record in lab.home.records():
            one = record
            if record.kind == "recovery-requested":
                device = str(changes.get("device", record.device))
                fields = {**record.fields, **{k: v for k, v in changes.items() if k != "device"}}
                one = replace(record, device=device, fields=fields)
            if record.kind in {"recovery-requested", "policy-pinned", "rollout-started"}:
                plan = lab.plan if record.rollout else None
                said += check.problems(one, RolloutLedger("", plan) if plan else None)
        return said

    assert found() == []
    assert "nobody signed it" in found(proof={})[0]
    assert "another subject" in found(device="c1-a")[0]
    assert "anna@lab signed what bart@lab is said to have done" in found(by="bart@lab")[0]
