"""Approvals of a plan that has not started yet: they wait beside the journal until it does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cryofw.errors import BadInput, CryofwError
from cryofw.rollout import events as e
from cryofw.trust import Proof, parse_statement

if TYPE_CHECKING:
    from datetime import datetime

    from cryofw.engine.authorization import Authorization
    from cryofw.journal import Storage
    from cryofw.trust import Statement


def approval_event(proof: Proof) -> e.StageApproved:
    """The approval that a signed statement makes.

    Raises:
        BadInput: the statement is none.
    """
    statement = parse_statement(proof.statement.encode())
    return e.StageApproved(
        statement.subject, statement.principal, statement.why, proof=proof.fields
    )


class ApprovalBox:
    """The approvals waiting in one state directory for one plan."""

    def __init__(self, storage: Storage, rollout: str) -> None:
        self._storage = storage
        self._prefix = f"approvals/{rollout}/"

    def put(self, statement: Statement, proof: Proof) -> None:
        """Keep an approval; the same one twice is kept once."""
        name = f"{self._prefix}{statement.digest[:32]}.json"
        self._storage.write_atomic(name, json.dumps(proof.fields, sort_keys=True).encode())

    def waiting(self) -> list[e.StageApproved]:
        """The approvals there are; what cannot be read is not one."""
        found = []
        for name in self._storage.list(self._prefix):
            try:
                proof = Proof.of(json.loads(self._storage.read(name)))
                if proof is not None:
                    found.append(approval_event(proof))
            except (ValueError, RecursionError, BadInput):
                continue
        return found

    def counting(self, authorization: Authorization, now: datetime) -> list[e.StageApproved]:
        """Those that the policy takes now; `authorization` knows them from here on."""
        found = []
        for approval in self.waiting():
            try:
                authorization.admit(approval, now)
            except CryofwError:
                continue
            found.append(approval)
        return found
