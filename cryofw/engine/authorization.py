"""Signed acts of one rollout, held against its policy: before they are journaled, and again later.

What is checked here besides `prove_act`: that nobody approves what they asked for, that no
statement is used twice, that the journal grew out of the one its author saw, and that the name in
the record is the one that was proven.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from cryofw.errors import CryofwError, VerificationFailed
from cryofw.journal import TreeHead
from cryofw.rollout import Event, step_from_record
from cryofw.rollout import cryostat_events as ce
from cryofw.rollout import events as e
from cryofw.rollout.operator_events import DeviceAccepted
from cryofw.rollout.plan_check import why_fewer_approvals
from cryofw.rollout.signed_act import TAKES_BACK, expected_act, takes_risks
from cryofw.trust import (
    ActRefused,
    Expected,
    Proof,
    ProvenAct,
    Role,
    SignatureInvalid,
    parse_statement,
    prove_act,
    require_role,
    revocation_of,
)
from cryofw.trust.sshsig import parse_signature

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cryofw.journal import Record
    from cryofw.rollout import Plan
    from cryofw.trust import Policy, Statement


_PROVEN_AGAIN: dict[type[Event], str] = {
    e.RolloutStarted: "a start",
    e.StageApproved: "an approval",
    DeviceAccepted: "an acceptance",
    ce.GuardOverridden: "an override",
}


class Authorization:
    """The acts of one rollout under its policy.

    Args:
        plan: with its policy frozen in it.
        policy: that policy.
        current: the one in force now: what it revokes does not count here either.
        extends: whether the journal grew out of a tree head.
        records: the journal so far.
    """

    def __init__(
        self,
        plan: Plan,
        policy: Policy,
        current: Policy | None,
        extends: Callable[[TreeHead], bool],
        records: Sequence[Record],
    ) -> None:
        self._plan = plan
        self._policy = policy
        self._current = current
        self._extends = extends
        self._used: set[str] = set()
        self._asked = {plan.requester}
        self._speaks_for: dict[str, str] = {}
        self._standing: dict[tuple[str, str], datetime] = {}
        self._taken_back = False
        for record in records:
            if record.rollout == plan.rollout:
                self._remember(step_from_record(record))

    def _remember(self, step: object) -> None:
        if not isinstance(step, Event):
            return
        self._taken_back = self._taken_back or isinstance(step, TAKES_BACK)
        if isinstance(step, e.ApprovalVoided):
            self._standing.pop((step.stage, step.principal), None)
        proof = Proof.of(getattr(step, "proof", None))
        if proof is None:
            return
        self._used.add(_digest(proof))
        try:
            statement = parse_statement(proof.statement.encode())
            key = parse_signature(proof.signature).key.fingerprint
        except CryofwError:
            return  # of a journal that `recheck` refuses
        self._speaks_for.setdefault(key, statement.principal)
        if isinstance(step, e.StageApproved):
            self._standing[step.stage, step.by] = statement.expires_at
        if isinstance(step, e.RolloutStarted):
            self._asked.update({step.by, self._policy.by_gitlab(_login(proof))})

    def admit(self, event: Event, now: datetime) -> ProvenAct | None:
        """Check an act before it is journaled; None for events that nobody has to sign.

        Raises:
            ActRefused: the policy says no, or the statement was used before.
            SignatureInvalid: the signature does not hold, or is missing.
            BadInput: it is malformed.
        """
        expected = expected_act(event, self._plan.rollout, self._plan.digest)
        resumes_way_back = isinstance(event, e.RolloutResumed) and self._taken_back
        if expected is None or (resumes_way_back and not getattr(event, "proof", None)):
            self._remember(event)
            return None
        proven = self._prove(event, expected, now, self._current)
        self.require_fresh(proven.statement)
        self._require_others(event, proven)
        self._require_one_name(event, proven)
        self._require_first(event, now)
        if isinstance(event, e.RolloutStarted):
            self._require_start(proven)
        self._remember(event)
        return proven

    def is_known(self, event: Event) -> bool:
        """Whether its statement stands in the journal already."""
        proof = Proof.of(getattr(event, "proof", None))
        return proof is not None and _digest(proof) in self._used

    def require_fresh(self, statement: Statement) -> None:
        """A statement is used once, and its author saw this journal.

        Raises:
            ActRefused: it was used before.
            SignatureInvalid: they saw another journal.
        """
        self._require_unused(statement)
        seen = statement.checkpoint
        try:
            head = TreeHead(seen.origin, seen.size, bytes.fromhex(seen.root))
        except ValueError:
            head = TreeHead("", -1, b"")
        if head.size and not self._extends(head):
            raise SignatureInvalid(
                f"{statement.principal} has seen another journal than this one",
                why=f"{seen.size} records, tree head {seen.root[:16]}; "
                "this one did not grow out of it",
                hint="one of the two was changed or restored: keep the statement, it proves that",
            )

    def _require_unused(self, statement: Statement) -> None:
        if statement.digest in self._used:
            raise ActRefused(
                f"the statement of {statement.principal} was used before",
                why=f"it stands in the journal, with the nonce {statement.nonce[:32]}",
                hint="each one is good for once: sign a new one",
            )

    def _prove(
        self, event: Event, expected: Expected, now: datetime, current: Policy | None
    ) -> ProvenAct:
        proof = Proof.of(getattr(event, "proof", None))
        if proof is None:
            raise SignatureInvalid(
                f"nobody signed the {event.kind.removesuffix('-requested')}",
                why=f"the policy of this rollout asks for the role `{expected.role}`",
                hint="say it again with `cryofw` on a host with your ssh key",
            )
        proven = prove_act(proof, expected, self._policy, now, current)
        if getattr(event, "by", proven.principal) != proven.principal:
            raise SignatureInvalid(
                f"{proven.principal} signed what {getattr(event, 'by', '')!r} is said to have done"
            )
        return proven

    def _require_others(self, event: Event, proven: ProvenAct) -> None:
        if not isinstance(event, e.StageApproved) or self._policy.approvals.requester:
            return
        if proven.principal in self._asked:
            others = [o for o in self._policy.holders(Role.APPROVE) if o not in self._asked]
            raise ActRefused(
                f"{proven.principal} asked for this rollout and cannot approve it",
                why="the policy wants a second pair of eyes",
                hint=f"who may: {', '.join(others) or 'nobody else'}",
            )

    def _require_one_name(self, event: Event, proven: ProvenAct) -> None:
        """Certificates lend a key to people: it is still in the hands of one."""
        known = self._speaks_for.get(proven.key, proven.principal)
        if isinstance(event, e.StageApproved) and known != proven.principal:
            raise ActRefused(
                f"{proven.principal} and {known} act with one key",
                why=f"{proven.key} has acted in this rollout as {known}",
                hint="different people count: each one has a key of their own",
            )

    def _require_start(self, proven: ProvenAct) -> None:
        """Somebody known asked for it, and who starts it may take the risks that it takes.

        What the plan says of approvals is only what its maker wrote; the policy is asked again.
        """
        if why := why_fewer_approvals(self._plan, self._policy):
            raise ActRefused(
                "the plan asks for other approvals than its policy",
                why=why,
                hint="it was edited: make a new plan",
            )
        requester = self._plan.requester
        if requester not in self._policy.principals:
            raise ActRefused(
                "the plan was asked for by somebody whom the policy does not know",
                why=f"it says {requester[:60]!r}",
                hint="who asks for a rollout cannot approve it: make the plan with your own key",
            )
        if takes_risks(self._plan):
            require_role(self._policy, proven.principal, Role.OVERRIDE)

    def _require_first(self, event: Event, now: datetime) -> None:
        """A second key, or a second signature, makes nobody two people."""
        if not isinstance(event, e.StageApproved):
            return
        until = self._standing.get((event.stage, event.by))
        if until is not None and now < until:
            raise ActRefused(
                f"{event.by} has approved stage {event.stage} already",
                why="different people count, not keys or signatures",
                hint=f"it holds until {until:%Y-%m-%d %H:%M} UTC; somebody else has to approve",
            )

    def recheck(self, records: Iterable[Record]) -> list[e.ApprovalVoided]:
        """Prove start, approvals and acceptances in the journal again, before a rollout goes on.

        Returns:
            Approvals that do not count any more, because a key was revoked since.

        Raises:
            VerificationFailed: one of these could not have been written as it stands there.
        """
        again = Authorization(self._plan, self._policy, None, self._extends, ())
        standing: dict[tuple[str, str], str] = {}
        for record in records:
            step = step_from_record(record) if record.rollout == self._plan.rollout else None
            if not isinstance(step, Event):
                continue
            if type(step) in _PROVEN_AGAIN:
                again._prove_again(record, step)
            again._remember(step)
            if isinstance(step, e.ApprovalVoided):
                standing.pop((step.stage, step.principal), None)
            elif isinstance(step, e.StageApproved):
                standing[step.stage, step.by] = self._why_revoked(step)
        return [e.ApprovalVoided(stage, who, why) for (stage, who), why in standing.items() if why]

    def _prove_again(self, record: Record, step: Event) -> None:
        """By the policy of the rollout, at the time of the record."""
        expected = expected_act(step, self._plan.rollout, self._plan.digest)
        assert expected is not None
        try:
            proven = self._prove(step, expected, datetime.fromisoformat(record.t), None)
            self._require_unused(proven.statement)
            self._require_others(step, proven)
            self._require_one_name(step, proven)
            if isinstance(step, e.RolloutStarted):
                self._require_start(proven)
        except CryofwError as error:
            raise VerificationFailed(
                f"record {record.n} holds {_PROVEN_AGAIN[type(step)]} that nobody gave",
                why=f"{error.what}: {error.why}" if error.why else error.what,
                hint="`cryofw audit verify` says what else was changed",
            ) from error

    def _why_revoked(self, step: e.StageApproved) -> str:
        proof = Proof.of(step.proof)
        if proof is None or self._current is None:
            return ""
        signature = parse_signature(proof.signature)
        keys = [signature.key.fingerprint]
        if signature.certificate is not None:
            keys.append(signature.certificate.authority.fingerprint)
        revoked = revocation_of([self._current], step.by, keys)
        return revoked.text if revoked else ""


def _digest(proof: Proof) -> str:
    from hashlib import sha256

    return sha256(proof.statement.encode()).hexdigest()


def _login(proof: Proof) -> str:
    return str(proof.job.get("user_login", ""))
