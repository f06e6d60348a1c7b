"""Who runs a command, and may they: proven by a signature over the act where a policy asks for it.

Without a policy everybody is who they say, and acts are recorded, not signed.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryofw.cli.operator import operator_name
from cryofw.errors import Refused
from cryofw.trust.statement import Role, SeenHead, Statement, time_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.cli.sshkeygen import OwnKey
    from cryofw.engine.home import Home
    from cryofw.rollout import Plan
    from cryofw.trust import Policy

PRINCIPAL = "CRYOFW_PRINCIPAL"
ID_TOKEN = "CRYOFW_ID_TOKEN"  # noqa: S105  # the name of a variable


@dataclass(frozen=True)
class Authority:
    """Who acts.

    Attributes:
        who: the principal of the policy; without a policy, the name that the journal always had.
        role: as what; empty without a policy.
        proof: for the record's field `proof`: the signed statement; empty without a policy.
    """

    who: str
    role: str = ""
    proof: Mapping[str, object] = field(default_factory=dict)


def require_role(
    home: Home, role: Role, subject: str, *, plan: Plan | None = None, why: str = ""
) -> Authority:
    """Let the person at the keyboard prove who they are, by signing what they are about to do.

    Args:
        home: where the policy lies.
        role: that the act needs.
        subject: what it is about, as `signed_act.expected_act` or the caller will ask for it
            again: the stage, the device, the guard.
        plan: of the rollout that it is about; its own policy is then the one in force.
        why: the reason, which is signed with it.

    Raises:
        ActRefused: the policy does not give them the role, or revoked their key.
        Refused: no key at hand, or it did not sign; in CI, the job has no identity.
        SignatureInvalid: the job's identity does not verify.
    """
    from cryofw.engine.policy_store import PolicyStore

    store = PolicyStore(home.storage)
    if plan is not None:
        policy = store.of_plan(plan)
    else:
        pinned = store.pinned()
        policy = pinned.policy if pinned else None
    if policy is None:
        return Authority(operator_name())
    pinned = store.pinned()
    now = home.now()
    own, principal = choose_key(policy, role, pinned.policy if pinned else None)
    statement = make_statement(home, policy, role, subject, principal, plan=plan, why=why, now=now)
    return _sign(own, statement, policy, pinned.policy if pinned else None, now)


def require_role_here(policy: Policy, role: Role, subject: str) -> str:
    """As `require_role`, for acts that no journal records, such as signing an image; who it is."""
    own, principal = choose_key(policy, role)
    now = datetime.now(UTC)
    statement = make_statement(None, policy, role, subject, principal, now=now)
    return _sign(own, statement, policy, None, now).who


def make_statement(
    home: Home | None,
    policy: Policy,
    role: Role,
    subject: str,
    principal: str,
    *,
    now: datetime,
    plan: Plan | None = None,
    why: str = "",
) -> Statement:
    """What is about to be signed, with the journal as it stands now."""
    lifetime_s = policy.approvals.lifetime_s if role is Role.APPROVE else policy.act_lifetime_s
    head = home.head() if home is not None else None
    return Statement(
        act=role,
        subject=subject,
        rollout=plan.rollout if plan else "",
        plan=plan.digest if plan else "",
        principal=principal,
        policy=policy.digest,
        issued=time_text(now),
        expires=time_text(now + timedelta(seconds=lifetime_s)),
        nonce=secrets.token_hex(8),
        why=" ".join(why.split())[:500],
        checkpoint=SeenHead(head.origin, head.size, head.root.hex()) if head else SeenHead(),
    )


def _sign(
    own: OwnKey, statement: Statement, policy: Policy, current: Policy | None, now: datetime
) -> Authority:
    from cryofw.cli.sshkeygen import ssh_sign
    from cryofw.trust import Expected, Proof, prove_act

    job = job_identity(policy)
    signature = ssh_sign(own, statement.act.namespace, statement.canonical)
    proof = Proof(statement.canonical.decode(), signature, own.key.fingerprint, job)
    expected = Expected(statement.act, statement.subject, statement.rollout, statement.plan)
    proven = prove_act(proof, expected, policy, now, current)
    return Authority(proven.principal, statement.act, proof.fields)


def choose_key(
    policy: Policy, role: Role, current: Policy | None = None, principal: str = ""
) -> tuple[OwnKey, str]:
    """The first key at hand with which somebody may do this, and who that is.

    Args:
        principal: only keys of this one; CRYOFW_PRINCIPAL by default.

    Raises:
        Refused: there is no such key.
        ActRefused: keys at hand are of people who may not, or were revoked.
    """
    from cryofw.cli.sshkeygen import SSH_KEY, own_keys
    from cryofw.trust import ActRefused, revocation_of
    from cryofw.trust import require_role as require_holder

    wanted = principal or os.environ.get(PRINCIPAL, "").strip()
    refused: Refused | None = None
    seen: list[str] = []
    for own in own_keys():
        seen.append(own.key.fingerprint)
        for name in _principals(own, policy):
            if wanted and name != wanted:
                continue
            known = [policy, *([current] if current else [])]
            revoked = revocation_of(known, name, [own.key.fingerprint])
            try:
                require_holder(policy, name, role)
            except ActRefused as error:
                refused = refused or error
                continue
            if revoked is None:
                return own, name
            refused = ActRefused(
                f"the key of {name} does not count any more",
                why=revoked.text,
                hint="use another key, or ask somebody else",
            )
    if refused is not None:
        raise refused
    raise Refused(
        "no ssh key at hand is one that the policy knows",
        why=f"seen: {', '.join(seen) or 'none'}" + (f"; asked for {wanted}" if wanted else ""),
        hint=f"{SSH_KEY} names a key; `ssh-add -l` shows the agent's; `cryofw policy show` "
        "says whose keys count",
    )


def _principals(own: OwnKey, policy: Policy) -> list[str]:
    """For whom a key at hand speaks, by the policy."""
    if own.certificate is None:
        owner = policy.owner_of(own.key)
        return [owner.name] if owner else []
    authority = policy.authority(own.certificate.authority)
    if authority is None:
        return []
    return [name for name in own.certificate.principals if name in authority.principals]


def job_identity(policy: Policy) -> dict[str, object]:
    """The verified claims of the CI job that runs this; empty outside of one.

    Raises:
        Refused: the policy knows a GitLab, this is one of its jobs, and it has no token.
        SignatureInvalid, ActRefused: the token does not verify, or is not for this.
    """
    if policy.gitlab is None:
        return {}
    token = os.environ.get(ID_TOKEN, "").strip()
    if not token:
        if not os.environ.get("GITLAB_CI"):
            return {}
        raise Refused(
            "this CI job does not say who it is",
            why=f"the policy knows {policy.gitlab.issuer}, and {ID_TOKEN} is empty",
            hint=f"id_tokens: {{{ID_TOKEN}: {{aud: {policy.gitlab.audience}}}}} in .gitlab-ci.yml",
        )
    from cryofw.trust import verify_job_token

    return verify_job_token(token, policy.gitlab, datetime.now(UTC))
