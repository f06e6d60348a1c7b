"""What planning and running a rollout share about policies: freeze it, follow it, sign for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cryofw.cli.authority import Authority, choose_key, require_role
from cryofw.cli.operator import operator_name
from cryofw.engine.policy_change import put_in_force, require_remembered
from cryofw.engine.policy_store import POLICY_NAME, RELEASES, PolicyStore, require_in_force
from cryofw.errors import Refused
from cryofw.rollout.plan_check import gated_stages
from cryofw.rollout.signed_act import RESUME, START, override_subject
from cryofw.trust.statement import Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryofw.engine.home import Home
    from cryofw.release import ReleaseClient
    from cryofw.rollout import Event, Plan
    from cryofw.rollout.cryostat_events import GuardOverridden


def follow_policy(home: Home, client: ReleaseClient | None) -> None:
    """Put the policy that comes with the releases in force; one pinned from a file stays.

    Raises:
        PolicyError, ReleaseInvalid: it cannot be used.
        Refused: it is older than the one in force.
    """
    if client is None:
        return
    from cryofw.release import ReleaseRefused

    pinned = PolicyStore(home.storage).pinned()
    if pinned is not None and pinned.source != RELEASES:
        return
    try:
        data = client.read_document(POLICY_NAME)
    except ReleaseRefused:
        return  # the repository has none
    if pinned is None or data != pinned.data:
        put_in_force(home, data, RELEASES, operator_name())


def requester_name(home: Home) -> str:
    """Who asks for a plan: the principal whose key is at hand, or the name without a policy."""
    pinned = PolicyStore(home.storage).pinned()
    if pinned is None:
        return operator_name()
    try:
        return choose_key(pinned.policy, Role.DEPLOY)[1]
    except Refused:
        return operator_name()  # they may look at a plan, and nobody will run it


def under_policy(home: Home, made: Plan) -> Plan:
    """A plan with the policy in force frozen in it.

    Raises:
        Refused: the policy does not fit the plan's stages, or the one in force is gone.
    """
    pinned = require_remembered(home)
    if pinned is None:
        return made
    return replace(made, policy=pinned.planned(gated_stages(made), made.requester))


def authority_to_start(home: Home, made: Plan, why: str) -> Authority:
    """Who starts a rollout; raises as `require_role`, and Refused for a plan of another policy."""
    require_in_force(made, require_remembered(home))
    return require_role(home, Role.DEPLOY, START, plan=made, why=why)


def authority_to_resume(home: Home, made: Plan, why: str) -> Authority:
    """Who lets a rollout go on; one that is being taken back needs nobody's role."""
    if made.policy is None:
        return Authority(operator_name())
    readings = home.readings(made.rollout)
    if home.fold_rollout(made, home.records(), readings).state.ending is not None:
        return Authority(operator_name())
    return require_role(home, Role.DEPLOY, RESUME, plan=made, why=why)


def sign_overrides(
    home: Home, made: Plan, events: Sequence[GuardOverridden], by: Authority
) -> list[Event]:
    """Guards that a person passes over, each one signed by somebody who may."""
    if made.policy is None:
        return [replace(event, by=by.who) for event in events]
    signed: list[Event] = []
    for event in events:
        subject = override_subject(event.guard, event.cryostat)
        who = require_role(home, Role.OVERRIDE, subject, plan=made, why=event.why)
        signed.append(replace(event, by=who.who, proof=who.proof))
    return signed
