"""What a plan that cryofw made always has; one that was edited afterwards may lack it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.image import Version
from cryofw.rollout.planner import DOWNGRADE, NO_RESET_PATH, NO_WAY_BACK, boots_after

if TYPE_CHECKING:
    from cryofw.rollout.plan import Plan, PlannedDevice
    from cryofw.trust import Policy


def gated_stages(plan: Plan) -> list[tuple[str, bool]]:
    """The stages by name, and whether the one before it says `then: approve`."""
    before = [None, *plan.stages]
    return [
        (stage.name, earlier is not None and earlier.then_approve)
        for earlier, stage in zip(before, plan.stages, strict=False)
    ]


def why_fewer_approvals(plan: Plan, policy: Policy) -> str:
    """How a plan differs from its policy in who must approve what; empty if it does not."""
    stages = gated_stages(plan)
    names = {name for name, _ in stages}
    if unknown := [name for name in policy.approvals.stages if name not in names]:
        return f"the policy counts approvals of {', '.join(unknown)}, which the plan does not have"
    wanted = policy.needed(stages)
    said = dict(plan.policy.approvals) if plan.policy else {}
    if said == wanted:
        return ""
    return f"the policy asks for {_counts(wanted)}, the plan says {_counts(said)}"


def _counts(approvals: dict[str, int]) -> str:
    return ", ".join(f"{count} for {stage}" for stage, count in approvals.items()) or "none"


def untold_risks(plan: Plan) -> list[str]:
    """The risks that a plan takes and that nobody has accepted in it, in words."""
    found: list[str] = []
    for name, device in plan.devices.items():
        for risk, words in _risks(plan, device).items():
            accepted = plan.overrides.get(risk, ())
            if name not in accepted and "*" not in accepted:
                found.append(f"{name}: {words}")
    return found


def _risks(plan: Plan, device: PlannedDevice) -> dict[str, str]:
    found: dict[str, str] = {}
    release, last_good = plan.release, device.last_good
    if not device.connection.has_reset_path:
        found[NO_RESET_PATH] = "no reset path"
    if device.running_hash in ("", release.hash):
        return found
    overwritten = device.connection.overwrites
    if overwritten or last_good is None or not boots_after(release, last_good):
        found[NO_WAY_BACK] = "no way back after confirm"
    if last_good is not None and Version.parse(release.version) < Version.parse(last_good.version):
        found[DOWNGRADE] = f"{release.version} is older than the running {last_good.version}"
    return found
