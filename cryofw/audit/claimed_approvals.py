"""The approvals that the proof of a device carries, held against a policy, offline."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from cryofw.errors import CryofwError, VerificationFailed
from cryofw.trust import Expected, Proof, Role, prove_act

if TYPE_CHECKING:
    from cryofw.audit.device_claim import DeviceClaim
    from cryofw.trust import Policy, ProvenAct


def prove_approvals(claim: DeviceClaim, policy: Policy) -> list[ProvenAct]:
    """Prove each approval of a claim with the keys of a policy, at the time of its record.

    Raises:
        VerificationFailed: one of them is not signed, or the policy does not let its author.
    """
    plans = {r.rollout: r.fields.get("plan") for r in claim.records if r.kind == "rollout-started"}
    proven = []
    for record in claim.approvals:
        by, stage = record.fields.get("by"), str(record.fields.get("stage", ""))
        proof = Proof.of(record.fields.get("proof"))
        if proof is None:
            raise VerificationFailed(
                f"nobody signed the approval of {stage} by {by}",
                why="its record carries no signature, so no policy can vouch for it",
                hint="without --policy the proof says what the journal says, and no more",
            )
        expected = Expected(Role.APPROVE, stage, record.rollout, str(plans.get(record.rollout)))
        try:
            act = prove_act(proof, expected, policy, datetime.fromisoformat(record.t))
        except CryofwError as error:
            raise VerificationFailed(
                f"the approval of {stage} by {by} does not hold",
                why=f"{error.what}: {error.why}" if error.why else error.what,
                hint="is it the policy of that rollout? rollouts/ID/policy.yaml beside the journal",
            ) from error
        if act.principal != by:
            raise VerificationFailed(
                f"{act.principal} signed what {by} is said to have approved",
                hint="keep this file as evidence, and ask both",
            )
        proven.append(act)
    return proven
