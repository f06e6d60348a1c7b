"""Who approved which stage, and for how long: distinct principals, never signatures."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryofw.errors import BadInput
from cryofw.trust.statement import parse_statement

if TYPE_CHECKING:
    from cryofw.rollout import events as e
    from cryofw.rollout.plan import Plan, PlannedStage

_UNSIGNED = ""


@dataclass(slots=True)
class Approvals:
    """The approvals of one rollout, by stage and principal; each one ends at a time.

    That a signature is right was seen before its record was written, and is seen again before a
    rollout goes on.
    """

    plan: Plan
    given: dict[str, dict[str, float]] = field(default_factory=dict)
    heard_s: float = -math.inf
    """The latest time heard of: a clock that is set back brings back no approval that expired."""

    def hear(self, t_s: float) -> None:
        """It was `t_s` (seconds since 1970)."""
        self.heard_s = max(self.heard_s, t_s)

    def take(self, event: e.StageApproved) -> None:
        """An approval was recorded; what is not signed counts where no policy is in force."""
        if self.plan.policy is None:
            self.given.setdefault(event.stage, {})[event.by or _UNSIGNED] = math.inf
            return
        text = event.proof.get("statement")
        try:
            statement = parse_statement(str(text).encode())
        except BadInput:
            return
        until = statement.expires_at.timestamp()
        named = self.given.setdefault(event.stage, {})
        named[statement.principal] = max(until, named.get(statement.principal, 0.0))

    def void(self, event: e.ApprovalVoided) -> None:
        """One of them does not count any more."""
        self.given.get(event.stage, {}).pop(event.principal, None)

    def needed(self, stage: PlannedStage, before: PlannedStage | None) -> int:
        """How many the start of a stage needs."""
        wanted = int(before is not None and before.then_approve)
        if self.plan.policy is None:
            return wanted
        return max(wanted, self.plan.policy.approvals.get(stage.name, 0))

    def standing(self, stage: str, now_s: float | None) -> list[str]:
        """Whose approvals of a stage hold now; all, if the time is not known."""
        named, known_s = self.given.get(stage, {}), self.heard_s if now_s is None else now_s
        return [who for who, until in named.items() if max(known_s, self.heard_s) < until]

    def missing(self, stage: PlannedStage, before: PlannedStage | None, now_s: float | None) -> str:
        """Why a stage may not start; empty if it may."""
        needed = self.needed(stage, before)
        standing = self.standing(stage.name, now_s)
        if len(standing) >= needed:
            return ""
        if self.plan.policy is None:
            return f"stage {stage.name} needs an approval"
        who = f" ({', '.join(standing)})" if standing else ""
        expired = sorted(self.given.get(stage.name, {}).keys() - set(standing))
        late = f"; expired: {', '.join(expired)}" if expired else ""
        return f"stage {stage.name} has {len(standing)} of {needed} approvals{who}{late}"
