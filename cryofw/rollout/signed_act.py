"""Which events are acts that a policy wants signed, with which role, and about what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.rollout import cryostat_events as ce
from cryofw.rollout import events as e
from cryofw.rollout import operator_events as oe
from cryofw.trust.act import Expected
from cryofw.trust.statement import Role

if TYPE_CHECKING:
    from cryofw.rollout.plan import Plan

START = "start"
RESUME = "resume"
ABORT = "abort"
ROLLBACK = "rollback"

TAKES_BACK = (e.AbortRequested, e.RollbackRequested, e.StopRequested)
"""After one of these a rollout may be brought to its end by anybody who can run it."""


def expected_act(event: e.Event, rollout: str, plan: str) -> Expected | None:
    """What the statement beside an event has to say; None where nothing is signed.

    Nobody signs for the emergency stop or for a pause: what makes a lab safer must not wait for a
    key.
    """
    match event:
        case e.RolloutStarted():
            what = (Role.DEPLOY, START)
        case e.RolloutResumed():
            what = (Role.DEPLOY, RESUME)
        case e.StageApproved():
            what = (Role.APPROVE, event.stage)
        case e.AbortRequested():
            what = (Role.ABORT, ABORT)
        case e.RollbackRequested():
            what = (Role.ABORT, ROLLBACK)
        case oe.DeviceAccepted():
            what = (Role.ACCEPT, event.device)
        case ce.GuardOverridden():
            what = (Role.OVERRIDE, override_subject(event.guard, event.cryostat))
        case _:
            return None
    return Expected(*what, rollout, plan)


def override_subject(guard: str, cryostat: str) -> str:
    """What the statement of an override is about."""
    return f"{guard} {cryostat}".rstrip()


def takes_risks(plan: Plan) -> bool:
    """Whether somebody took something on themselves when the plan was made.

    Who starts it needs the role of overriding as well; the digest that they sign covers the risks.
    """
    forgiven = plan.origin is not None and bool(plan.origin.forgiven)
    return bool(plan.overrides) or forgiven
