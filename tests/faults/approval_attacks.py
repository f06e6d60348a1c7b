"""How approvals, acts, policies and job identities are attacked; see `repository_attacks`."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from cryofw.rollout import events as e
from cryofw.trust import ACT_NAMESPACE, APPROVAL_NAMESPACE, Role, SeenHead, time_text
from tests.faults.guarded_lab import JobIssuer, base64url
from tests.unit.trust.soft_key import SoftKey, certificate, option

if TYPE_CHECKING:
    from cryofw.trust import Statement
    from tests.faults.guarded_lab import GuardedLab

    Command = tuple[str, ...]


def offered(lab: GuardedLab, said: Statement, key: str, namespace: str = "", **how: Any) -> Command:
    """Somebody brings a statement that a key signed."""
    signature = lab.key(key).sign(said.canonical, namespace or APPROVAL_NAMESPACE, **how)
    return lab.offer(said, signature)


# --- what was signed ------------------------------------------------------------------------


def replayed(lab: GuardedLab) -> Command:
    lab.approve("bart")
    (record,) = (r for r in lab.lab.records() if r["kind"] == "stage-approved")
    proof = record["proof"]
    return lab.offer(proof["statement"].encode(), proof["signature"])


def of_another_plan(lab: GuardedLab) -> Command:
    return offered(lab, lab.statement(plan="ab" * 32), "bart")


def of_another_rollout(lab: GuardedLab) -> Command:
    said = lab.statement(rollout="r-00000000")
    return (*offered(lab, said, "bart"), lab.plan.rollout)


def of_a_stage_that_began(lab: GuardedLab) -> Command:
    return offered(lab, lab.statement(subject="canary-cryostat"), "bart")


def of_another_stage(lab: GuardedLab) -> Command:
    return (*offered(lab, lab.statement(subject="test-rig"), "bart"), "--stage", "fleet")


def under_another_policy(lab: GuardedLab) -> Command:
    return offered(lab, lab.statement(policy="cd" * 32), "bart")


def expired(lab: GuardedLab) -> Command:
    long_ago = lab.home.now() - timedelta(days=2)
    said = lab.statement(
        issued=time_text(long_ago), expires=time_text(long_ago + timedelta(hours=8))
    )
    return offered(lab, said, "bart")


def good_for_years(lab: GuardedLab) -> Command:
    until = lab.home.now() + timedelta(days=3650)
    return offered(lab, lab.statement(expires=time_text(until)), "bart")


def issued_tomorrow(lab: GuardedLab) -> Command:
    tomorrow = lab.home.now() + timedelta(days=1)
    said = lab.statement(
        issued=time_text(tomorrow), expires=time_text(tomorrow + timedelta(hours=8))
    )
    return offered(lab, said, "bart")


def saw_another_journal(lab: GuardedLab) -> Command:
    seen = replace(lab.statement().checkpoint, root="ef" * 32)
    return offered(lab, lab.statement(checkpoint=seen), "bart")


def saw_a_longer_journal(lab: GuardedLab) -> Command:
    seen = lab.statement().checkpoint
    longer = SeenHead(seen.origin, seen.size + 100, seen.root)
    return offered(lab, lab.statement(checkpoint=longer), "bart")


def changed_after_it_was_signed(lab: GuardedLab) -> Command:
    said = lab.statement(why="only the canary")
    signature = lab.key("bart").sign(said.canonical, APPROVAL_NAMESPACE)
    return lab.offer(replace(said, why="all of them"), signature)


# --- who signed it --------------------------------------------------------------------------


def by_the_requester(lab: GuardedLab) -> Command:
    return offered(lab, lab.statement("anna@lab"), "anna")


def by_two_keys_of_one_person(lab: GuardedLab) -> Command:
    lab.approve("bart")
    return offered(lab, lab.statement(nonce="0022"), "bart-2")


def by_a_stranger(lab: GuardedLab) -> Command:
    return offered(lab, lab.statement(), "stranger")


def in_the_name_of_another(lab: GuardedLab) -> Command:
    return offered(lab, lab.statement("carol@lab"), "bart")


def without_the_role(lab: GuardedLab) -> Command:
    return offered(lab, lab.statement("dora@lab"), "dora")


def by_a_revoked_key(lab: GuardedLab) -> Command:
    lab.revoke(key=lab.key("bart").fingerprint)
    return offered(lab, lab.statement(), "bart")


def by_a_revoked_person(lab: GuardedLab) -> Command:
    lab.revoke(principal="bart@lab")
    return offered(lab, lab.statement(), "bart-2")


def at_hand_and_revoked(lab: GuardedLab) -> Command:
    lab.revoke(key=lab.key("bart").fingerprint)
    return ("approve",)


def for_another_namespace(lab: GuardedLab) -> Command:
    return offered(lab, lab.statement(), "bart", "file")


def as_another_act(lab: GuardedLab) -> Command:
    return offered(lab, lab.statement(), "bart", ACT_NAMESPACE)


def another_act_as_an_approval(lab: GuardedLab) -> Command:
    return offered(lab, lab.statement(act=Role.ABORT), "bart")


def without_a_touch(lab: GuardedLab) -> Command:
    return offered(lab, lab.statement("carol@lab"), "carol", flags=0)


def with_a_touch_added(lab: GuardedLab) -> Command:
    return offered(lab, lab.statement("carol@lab"), "carol", flags=0, said_flags=1)


def by_rsa(lab: GuardedLab) -> Command:
    return offered(lab, lab.statement("rita@lab"), "rita")


def by_rsa_with_sha1(lab: GuardedLab) -> Command:
    return offered(lab, lab.statement("rita@lab"), "rita", algorithm="ssh-rsa")


def with_another_public_key(lab: GuardedLab) -> Command:
    return offered(lab, lab.statement(), "stranger", public=lab.key("bart").blob)


# --- certificates ---------------------------------------------------------------------------


def certified(lab: GuardedLab, authority: str = "ca", who: str = "eve@lab", **how: Any) -> Command:
    """Eve has no key of her own in the policy: an authority lends her one."""
    lent = SoftKey()
    principals = how.pop("principals", (who,))
    blob = certificate(lab.key(authority), lent, principals, **how)
    said = lab.statement(who)
    return lab.offer(said, lent.sign(said.canonical, APPROVAL_NAMESPACE, public=blob))


def certificate_forged(lab: GuardedLab) -> Command:
    return certified(lab, signed_by=lab.key("stranger"))


def certificate_of_another_role(lab: GuardedLab) -> Command:
    return certified(lab, "deploy-ca")


def certificate_of_a_stranger(lab: GuardedLab) -> Command:
    return certified(lab, "stranger")


def certificate_by_a_person(lab: GuardedLab) -> Command:
    return certified(lab, "anna")


def certificate_expired(lab: GuardedLab) -> Command:
    return certified(lab, valid_before=int(lab.home.now().timestamp()) - 1)


def certificate_of_the_future(lab: GuardedLab) -> Command:
    return certified(lab, valid_after=int(lab.home.now().timestamp()) + 3600)


def certificate_of_another(lab: GuardedLab) -> Command:
    return certified(lab, principals=("mallory@lab",))


def certificate_beyond_its_authority(lab: GuardedLab) -> Command:
    return certified(lab, who="carol@lab")


def certificate_of_everybody(lab: GuardedLab) -> Command:
    return certified(lab, principals=())


def certificate_for_one_command(lab: GuardedLab) -> Command:
    return certified(lab, options=option("force-command", b"true"))


def certificate_with_an_unknown_limit(lab: GuardedLab) -> Command:
    return certified(lab, options=option("only-on-sundays@lab"))


def certificate_of_a_host(lab: GuardedLab) -> Command:
    return certified(lab, kind=2)


def certificate_of_a_revoked_authority(lab: GuardedLab) -> Command:
    lab.revoke(key=lab.key("ca").fingerprint)
    return certified(lab)


# --- acts and their roles -------------------------------------------------------------------


def start_without_the_role(lab: GuardedLab) -> Command:
    return ("resume",)  # bart's key is at hand


def start_with_an_unknown_key(lab: GuardedLab) -> Command:
    lab.person = "stranger"
    return ("resume",)


def abort_without_the_role(lab: GuardedLab) -> Command:
    lab.person = "anna"
    return ("abort", "--yes")


def rollback_without_the_role(lab: GuardedLab) -> Command:
    lab.person = "anna"
    return ("rollback", "--yes")


def sign_without_the_role(lab: GuardedLab) -> Command:
    return ("sign", "good.raw.bin", "more.bin", "--version", "9.0.0", "--board", "cc40")


def release_without_the_role(lab: GuardedLab) -> Command:
    return ("release", "add", "good.bin")


# --- policies -------------------------------------------------------------------------------


def policy_rolled_back(lab: GuardedLab) -> Command:
    file = lab.directory / "lab" / "policy.yaml"
    file.write_bytes(lab.people.text(version=2, roles={"approve": ["eve@lab", "bart@lab"]}))
    return ("policy", "pin", "policy.yaml")


def policy_changed_in_silence(lab: GuardedLab) -> Command:
    file = lab.directory / "lab" / "policy.yaml"
    file.write_bytes(lab.people.text(approvals={"stages": {"fleet": 1}}))
    return ("policy", "pin", "policy.yaml")


def policy_swapped_beside_the_rollout(lab: GuardedLab) -> Command:
    entry = f"rollouts/{lab.plan.rollout}/policy.yaml"
    lab.home.storage.write_atomic(entry, lab.people.text(approvals={"stages": {"fleet": 1}}))
    lab.person = "anna"
    return ("resume",)


def ended(lab: GuardedLab) -> None:
    """Room for another rollout: bart aborts the one that waits."""
    lab.person = "bart"
    lab.lab.run("abort", "--yes").expect(0)
    lab.person = "anna"


def plan_without_a_policy(lab: GuardedLab) -> Command:
    ended(lab)
    return ("deploy", "--plan", "free.json", "--yes")


def plan_of_another_policy(lab: GuardedLab) -> Command:
    ended(lab)
    lab.pin(version=9)
    return ("deploy", "--plan", "plan.json", "--yes")


def plan_of_nobody(lab: GuardedLab) -> Command:
    """The requester leaves their name out, to approve it later."""
    ended(lab)
    plan = json.loads((lab.directory / "lab" / "plan.json").read_text())
    plan["requester"] = "somebody"
    text = json.dumps(plan, sort_keys=True, indent=1) + "\n"
    (lab.directory / "lab" / "plan.json").write_text(text)
    return ("deploy", "--plan", "plan.json", "--yes")


def risks_without_the_role(lab: GuardedLab) -> Command:
    ended(lab)
    lab.pin(version=9, roles={**_roles(lab), "override": ["rita@lab"]})
    return ("deploy", "drift.bin", "--downgrade", "--yes")


def _roles(lab: GuardedLab) -> dict[str, object]:
    roles = lab.people.document()["roles"]
    assert isinstance(roles, dict)
    return roles


# --- the journal ----------------------------------------------------------------------------


def approval_written_by_hand(lab: GuardedLab) -> Command:
    for name in ("carol@lab", "rita@lab"):
        lab.journal(e.StageApproved("fleet", name, "trust me"))
    lab.person = "anna"
    return ("resume",)


def approval_copied_under_another_name(lab: GuardedLab) -> Command:
    lab.approve("bart")
    proof = lab.proof(lab.statement(nonce="0022"), "bart-2")
    lab.journal(e.StageApproved("fleet", "carol@lab", "", proof))
    lab.person = "anna"
    return ("resume",)


def approval_of_the_requester_by_hand(lab: GuardedLab) -> Command:
    lab.journal(
        e.StageApproved("fleet", "anna@lab", "", lab.proof(lab.statement("anna@lab"), "anna"))
    )
    lab.person = "anna"
    return ("resume",)


def start_written_by_hand(lab: GuardedLab) -> Command:
    """Another requester is put into the journal, so that anna may approve."""
    lab.journal(e.RolloutStarted(lab.plan.digest, lab.plan.release.hash, "1.1.0", "", "dora@lab"))
    lab.person = "anna"
    return ("resume",)


def audit_of_an_approval_by_hand(lab: GuardedLab) -> Command:
    lab.journal(e.StageApproved("fleet", "carol@lab", "trust me"))
    return ("audit", "verify")


def audit_of_a_start_without_approvals(lab: GuardedLab) -> Command:
    lab.approve("bart")
    lab.journal(e.StageStarted("fleet", "canary-cryostat"))
    return ("audit", "verify")


def audit_of_a_statement_used_twice(lab: GuardedLab) -> Command:
    proof = lab.proof(lab.statement(), "bart")
    lab.journal(e.StageApproved("fleet", "bart@lab", "", proof))
    lab.journal(e.StageApproved("fleet", "bart@lab", "", proof))
    return ("audit", "verify")


def audit_without_the_policy(lab: GuardedLab) -> Command:
    lab.home.storage.remove(f"rollouts/{lab.plan.rollout}/policy.yaml")
    return ("audit", "verify")


# --- who a CI job is ------------------------------------------------------------------------


def job(lab: GuardedLab, token: str) -> Command:
    lab.person = "anna"
    lab.env = {"GITLAB_CI": "true", "CRYOFW_ID_TOKEN": token}
    return ("resume",)


def job_without_identity(lab: GuardedLab) -> Command:
    return job(lab, "")


def job_token_of_no_algorithm(lab: GuardedLab) -> Command:
    return job(lab, lab.issuer.token(lab.issuer.claims(), "none"))


def job_token_signed_with_the_public_key(lab: GuardedLab) -> Command:
    """The public key, which everybody has, as the secret of an HMAC."""
    unsigned = lab.issuer.token(lab.issuer.claims(), "HS256").rpartition(".")[0]
    secret = lab.issuer.jwks["keys"][0]["n"].encode()
    raw = hmac.digest(secret, unsigned.encode(), hashlib.sha256)
    return job(lab, f"{unsigned}.{base64url(raw)}")


def job_token_of_another_kind_of_key(lab: GuardedLab) -> Command:
    return job(lab, lab.issuer.token(lab.issuer.claims(), "ES256", "r1"))


def job_token_of_an_unknown_key(lab: GuardedLab) -> Command:
    return job(lab, lab.issuer.token(lab.issuer.claims(), kid="r2"))


def job_token_with_its_own_key(lab: GuardedLab) -> Command:
    mallory = JobIssuer()
    return job(lab, mallory.token(mallory.claims(), jwk=mallory.jwks["keys"][0]))


def job_token_changed(lab: GuardedLab) -> Command:
    head, _, signature = lab.issuer.token(lab.issuer.claims()).split(".")
    claims = base64url(json.dumps(lab.issuer.claims(user_login="bart")).encode())
    return job(lab, f"{head}.{claims}.{signature}")


def job_token_for_another_audience(lab: GuardedLab) -> Command:
    return job(lab, lab.issuer.token(lab.issuer.claims(aud="https://vault.example")))


def job_token_of_another_issuer(lab: GuardedLab) -> Command:
    return job(lab, lab.issuer.token(lab.issuer.claims(iss="https://gitlab.example.evil")))


def job_token_expired(lab: GuardedLab) -> Command:
    return job(lab, lab.issuer.token(lab.issuer.claims(exp=1_700_000_000)))


def job_token_of_another_project(lab: GuardedLab) -> Command:
    return job(lab, lab.issuer.token(lab.issuer.claims(project_path="eve/firmware")))


def job_token_of_an_open_branch(lab: GuardedLab) -> Command:
    claims = lab.issuer.claims(ref="try-this", ref_protected="false")
    return job(lab, lab.issuer.token(claims, "ES256", "e1"))
