"""The people behind a rollout: each signed act, proven again under the policy of its time.

A policy lies beside its rollout, under the digest in the plan. What it revoked, and what expired,
is judged at the time of the record, not of the audit.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from cryofw.audit.register import POLICY_KINDS, RECOVERY
from cryofw.errors import CryofwError
from cryofw.journal import JOURNAL_NAME, MerkleTree, origin_of, read_journal
from cryofw.journal.chain import predecessor, retired_journals
from cryofw.rollout import events as e
from cryofw.rollout import step_from_record
from cryofw.rollout.signed_act import TAKES_BACK, expected_act, takes_risks
from cryofw.trust import Expected, Proof, ProvenAct, Role, parse_policy, prove_act, require_role

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cryofw.audit.ledger import RolloutLedger
    from cryofw.journal import Record, Storage
    from cryofw.rollout import Plan
    from cryofw.trust import Policy, SeenHead


_PINNED = "policy/policy.yaml"


@dataclass
class _Acts:
    """What was signed in one rollout so far."""

    plan: Plan
    policy: Policy
    asked: set[str]
    until: dict[str, dict[str, datetime]] = field(default_factory=dict)
    speaks_for: dict[str, str] = field(default_factory=dict)
    """Fingerprint of a key to the principal who acted with it first."""
    taken_back: bool = False


class ApprovalEvidence:
    """Proves the signed acts of each rollout that has a policy. A `Check`.

    Args:
        storage: the state directory.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._rollouts: dict[str, _Acts] = {}
        self._used: dict[str, int] = {}
        self._trees: dict[str, Sequence[bytes]] | None = None
        self._absent = False
        self._in_force = ""
        self.proven = 0
        """How many signed acts were proven so far."""

    def problems(self, record: Record, rollout: RolloutLedger | None) -> Iterable[str]:
        """See `Check`."""
        if record.kind in POLICY_KINDS:
            self._in_force = str(record.fields.get("digest", ""))
        if record.kind == RECOVERY:
            yield from self._recovery(record)
        plan = rollout.plan if rollout is not None else None
        if plan is None or plan.policy is None:
            return
        if record.kind == e.RolloutStarted.kind:
            self._in_force = self._in_force or plan.policy.digest
            yield from self._open(record.rollout, plan)
        acts = self._rollouts.get(record.rollout)
        if acts is None:
            return
        try:
            step = step_from_record(record)
        except CryofwError:
            return  # the rules say what it lacks
        if isinstance(step, e.StageStarted):
            yield from _enough(acts, step, record)
        if isinstance(step, e.ApprovalVoided):
            acts.until.get(step.stage, {}).pop(step.principal, None)
        if isinstance(step, e.Event):
            yield from self._act(acts, step, record)
            acts.taken_back = acts.taken_back or isinstance(step, TAKES_BACK)

    def _recovery(self, record: Record) -> Iterator[str]:
        """Of no rollout: held against the policy that was pinned then, if that is at hand."""
        if not self._in_force:
            return
        proof = Proof.of(record.fields.get("proof"))
        if proof is None:
            yield f"nobody signed it, and the policy asks for the role `{Role.OVERRIDE}`"
            return
        policy = self._policy_in_force()
        if policy is None:
            return
        expected = Expected(Role.OVERRIDE, f"recover {record.device}")
        try:
            proven = prove_act(proof, expected, policy, datetime.fromisoformat(record.t))
        except CryofwError as error:
            yield f"{error.what}: {error.why}" if error.why else error.what
            return
        self.proven += 1
        who, digest = proven.principal, proven.statement.digest
        if record.fields.get("by") != who:
            yield f"{who} signed what {record.fields.get('by')} is said to have done"
        if digest in self._used:
            yield f"the statement of {who} was used before, in record {self._used[digest]}"
        self._used.setdefault(digest, record.n)

    def _policy_in_force(self) -> Policy | None:
        """The one with the digest that was pinned last; it may have been replaced since."""
        known = [acts.policy for acts in self._rollouts.values()]
        if self._storage.exists(_PINNED):
            with contextlib.suppress(CryofwError):
                known.append(parse_policy(self._storage.read(_PINNED), _PINNED))
        return next((policy for policy in known if policy.digest == self._in_force), None)

    def _open(self, rollout: str, plan: Plan) -> Iterator[str]:
        """The policy that the plan froze, as it lies beside it."""
        name = f"rollouts/{rollout}/policy.yaml"
        assert plan.policy is not None
        if not self._storage.exists(name):
            yield f"{name} is missing: nobody can say who might do what"
            return
        data = self._storage.read(name)
        if hashlib.sha256(data).hexdigest() != plan.policy.digest:
            yield f"{name} is not the policy that the plan froze"
            return
        try:
            policy = parse_policy(data, name)
        except CryofwError as error:
            yield str(error)
            return
        self._rollouts[rollout] = _Acts(plan, policy, {plan.requester})
        before = [None, *plan.stages]
        wanted = policy.needed(
            (stage.name, earlier is not None and earlier.then_approve)
            for earlier, stage in zip(before, plan.stages, strict=False)
        )
        if dict(plan.policy.approvals) != wanted:
            yield "the plan asks for other approvals than its policy"

    def _act(self, acts: _Acts, step: e.Event, record: Record) -> Iterator[str]:
        expected = expected_act(step, record.rollout, acts.plan.digest)
        proof = Proof.of(getattr(step, "proof", None))
        way_back = isinstance(step, e.RolloutResumed) and acts.taken_back and proof is None
        if expected is None or way_back:
            return
        if proof is None:
            yield f"nobody signed it, and the policy asks for the role `{expected.role}`"
            return
        try:
            proven = self._prove(acts, step, proof, expected, record)
        except CryofwError as error:
            yield f"{error.what}: {error.why}" if error.why else error.what
            return
        self.proven += 1
        yield from self._about(acts, step, proven, record)
        if isinstance(step, e.RolloutStarted):
            login = str(proof.job.get("user_login", ""))
            acts.asked |= {proven.principal, acts.policy.by_gitlab(login)}
        if isinstance(step, e.StageApproved):
            named = acts.until.setdefault(step.stage, {})
            named[proven.principal] = proven.statement.expires_at

    def _prove(
        self, acts: _Acts, step: e.Event, proof: Proof, expected: Expected, record: Record
    ) -> ProvenAct:
        proven = prove_act(proof, expected, acts.policy, datetime.fromisoformat(record.t))
        if isinstance(step, e.RolloutStarted) and takes_risks(acts.plan):
            require_role(acts.policy, proven.principal, Role.OVERRIDE)
        return proven

    def _about(
        self, acts: _Acts, step: e.Event, proven: ProvenAct, record: Record
    ) -> Iterator[str]:
        """What a signature alone does not say."""
        who, digest = proven.principal, proven.statement.digest
        if getattr(step, "by", who) != who:
            yield f"{who} signed what {getattr(step, 'by', '')} is said to have done"
        if digest in self._used:
            yield f"the statement of {who} was used before, in record {self._used[digest]}"
        self._used.setdefault(digest, record.n)
        may = acts.policy.approvals.requester
        if isinstance(step, e.StageApproved) and not may and who in acts.asked:
            yield f"{who} asked for this rollout and approved it"
        known = acts.speaks_for.setdefault(proven.key, who)
        if isinstance(step, e.StageApproved) and known != who:
            yield f"{known} and {who} act with one key, {proven.key}"
        if why := self._unseen(proven.statement.checkpoint, record):
            yield f"{who} saw another journal: {why}"

    def _unseen(self, seen: SeenHead, record: Record) -> str:
        """Why the journal did not grow out of the one that somebody saw; empty if it did."""
        if not seen.size:
            return ""
        if self._trees is None:
            self._trees = self._read_trees()
        leaves = self._trees.get(seen.origin)
        if leaves is None:
            return "" if self._absent else f"{seen.origin} is none of these"
        is_this = bool(leaves) and seen.origin == next(iter(self._trees))
        if seen.size > len(leaves) or (is_this and seen.size > record.n):
            return f"it had {seen.size} records before this one was written"
        root = MerkleTree.of_hashes(leaves[: seen.size]).root()
        return "" if root.hex() == seen.root else f"its first {seen.size} records were others"

    def _read_trees(self) -> dict[str, Sequence[bytes]]:
        """Origin to leaf hashes, of this journal and those that it continues."""
        loaded = read_journal(self._storage, JOURNAL_NAME)
        found: dict[str, Sequence[bytes]] = {origin_of(loaded.leaves[0]): loaded.leaves}
        last = loaded.records[0]
        for _, before in retired_journals(self._storage, last):
            found[origin_of(before.leaves[0])] = before.leaves
            last = before.records[0]
        self._absent = predecessor(last) is not None
        return found


def _enough(acts: _Acts, step: e.StageStarted, record: Record) -> Iterator[str]:
    needed = acts.plan.policy.approvals.get(step.stage, 0) if acts.plan.policy else 0
    now = datetime.fromisoformat(record.t)
    standing = [who for who, until in acts.until.get(step.stage, {}).items() if now < until]
    if len(standing) < needed:
        who = ", ".join(standing) or "nobody"
        yield f"stage {step.stage} needs {needed} approvals; it had {len(standing)} ({who})"
