"""The policies of a state directory: the one in force, and the one that each rollout froze.

policy/policy.yaml           in force for what begins now
policy/source                where it came from
rollouts/<id>/policy.yaml    in force for that rollout, by the digest in its plan
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.errors import Refused, VerificationFailed
from cryofw.rollout.plan import PlannedPolicy
from cryofw.trust.policy_file import parse_policy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryofw.journal import Storage
    from cryofw.rollout import Plan
    from cryofw.rollout.history import PolicyMemory
    from cryofw.trust import Policy

POLICY_NAME = "policy.yaml"
RELEASES = "releases"
"""The source of a policy that comes with the releases, and is replaced by the next one there."""

_ENTRY = "policy/policy.yaml"
_SOURCE = "policy/source"


@dataclass(frozen=True)
class PinnedPolicy:
    """A policy with its exact bytes and where they came from."""

    policy: Policy
    data: bytes
    source: str

    def planned(self, stages: Iterable[tuple[str, bool]], requester: str) -> PlannedPolicy:
        """What a plan freezes of it.

        Args:
            stages: name, and whether fleet.yaml wants its start approved.
            requester: who asks for it.

        Raises:
            Refused: it counts approvals of a stage that the plan does not have, or asks for more
                than there are people to give them.
        """
        known = list(stages)
        names = [name for name, _ in known]
        for name in self.policy.approvals.stages:
            if name not in names:
                raise Refused(
                    f"the policy counts approvals of stage {name!r}, which the plan does not have",
                    why=f"its stages are {', '.join(names)}",
                    hint="a misspelt stage would be protected by nobody: correct the policy",
                )
        policy = self.policy
        needed = policy.needed(known)
        able = policy.approvers(requester)
        for name, count in needed.items():
            if count > len(able):
                raise Refused(
                    f"stage {name} needs {count} approvals, and {len(able)} can be given",
                    why=f"besides {requester}, who asks for it: {', '.join(able) or 'nobody'}",
                    hint="somebody else asks for it, or the policy names more approvers",
                )
        return PlannedPolicy(policy.digest, policy.version, self.source, needed)


def policy_entry(rollout: str) -> str:
    """The entry of the policy that a rollout froze."""
    return f"rollouts/{rollout}/{POLICY_NAME}"


class PolicyStore:
    """The policies in one state directory."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def pinned(self) -> PinnedPolicy | None:
        """The policy in force; None if there is none.

        Raises:
            PolicyError: it cannot be read any more.
        """
        if not self._storage.exists(_ENTRY):
            return None
        data = self._storage.read(_ENTRY)
        source = self._storage.read(_SOURCE).decode("utf-8", "replace")
        return PinnedPolicy(parse_policy(data, _ENTRY), data, source)

    def read(self, data: bytes, source: str) -> PinnedPolicy:
        """A policy that could be put in force; raises PolicyError if it cannot be used."""
        return PinnedPolicy(parse_policy(data, source), data, source)

    def pin(self, data: bytes, source: str, *, replace: bool = False) -> PinnedPolicy:
        """Put a policy in force.

        Args:
            data: the file.
            source: where it comes from, for people; `RELEASES` for the repository's.
            replace: it may be older than the one in force, or another one of the same version.

        Raises:
            PolicyError: it cannot be used.
            Refused: it is older than what was in force here.
        """
        made = self.read(data, source)
        if not replace and (before := self.pinned()) is not None:
            require_newer(made.policy, before.policy)
        self._storage.write_atomic(_SOURCE, source.encode())
        self._storage.write_atomic(_ENTRY, data)
        return made

    def unpin(self) -> None:
        """No policy is in force any more."""
        for name in (_ENTRY, _SOURCE):
            if self._storage.exists(name):
                self._storage.remove(name)

    def keep(self, plan: Plan) -> None:
        """Keep the policy in force beside a plan that is about to start.

        Raises:
            Refused: the plan was made under another policy, or without one.
        """
        pinned = self.pinned()
        require_in_force(plan, pinned)
        if pinned is not None:
            self._storage.write_atomic(policy_entry(plan.rollout), pinned.data)

    def of_plan(self, plan: Plan) -> Policy | None:
        """The policy of a rollout; None if it has none. Of one that did not start, the pinned one.

        Raises:
            VerificationFailed: it is missing, or not the one that the plan froze.
            Refused: the plan did not start, and another policy is in force.
        """
        if plan.policy is None:
            return None
        entry = policy_entry(plan.rollout)
        if not self._storage.exists(entry):
            pinned = self.pinned()
            require_in_force(plan, pinned)
            assert pinned is not None
            return pinned.policy
        data = self._storage.read(entry)
        if hashlib.sha256(data).hexdigest() != plan.policy.digest:
            raise VerificationFailed(
                f"{entry} is not the policy that the plan froze",
                why=f"the plan says {plan.policy.digest[:16]}",
                hint="restore the state directory from its backup",
            )
        return parse_policy(data, entry)


def require_newer(new: Policy, old: Policy | PolicyMemory | None) -> None:
    """A policy takes the place of an older one, or of itself.

    Raises:
        Refused: it is older, or another one of the same version.
    """
    if old is None or new.digest == old.digest or new.version > old.version:
        return
    raise Refused(
        f"this host has seen version {old.version} of the policy; this is version {new.version}",
        why="an older policy may know keys that were revoked since",
        hint="a change needs a higher `version`; --force takes it all the same",
    )


def require_in_force(plan: Plan, pinned: PinnedPolicy | None) -> None:
    """A plan starts under the policy in force, and under no other.

    Raises:
        Refused: it was made under another one, or without one.
    """
    found = plan.policy.digest if plan.policy else ""
    wanted = pinned.policy.digest if pinned else ""
    if found == wanted:
        return
    hint = "make a new plan; a plan is never edited"
    if not found:
        raise Refused(
            "the plan was made without the policy that is in force here",
            why=f"in force is version {pinned.policy.version if pinned else '?'}",
            hint=hint,
        )
    if pinned is None:
        raise Refused(
            "the plan was made under a policy that is not in force here",
            why=f"its digest is {found[:16]}",
            hint="`cryofw policy pin FILE` puts it in force",
        )
    version = plan.policy.version if plan.policy else "?"
    raise Refused(
        "the plan was made under another policy than the one in force",
        why=f"version {version} ({found[:16]}), in force is version {pinned.policy.version} "
        f"({wanted[:16]})",
        hint=hint,
    )
