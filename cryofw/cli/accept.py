"""`cryofw accept`: a person takes a held device on themselves, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cryofw.cli.authority import require_role
from cryofw.cli.options import json_option, state_option
from cryofw.cli.output import Output, Status
from cryofw.cli.rolloutrun import tell_or_do
from cryofw.cli.suggestion import did_you_mean
from cryofw.engine.home import Home
from cryofw.errors import Refused, UsageError
from cryofw.health import in_short
from cryofw.rollout.operator_events import DeviceAccepted
from cryofw.rollout.operator_state import why_not_acceptable
from cryofw.trust.statement import Role

if TYPE_CHECKING:
    from pathlib import Path

    from cryofw.rollout import DeviceProgress, Plan, RolloutSummary


@click.command()
@click.argument("device")
@click.option("--why", required=True, help="What you know that the evidence does not, for good.")
@click.option(
    "--control", is_flag=True, help="Let others be compared with it: its readout is right."
)
@click.option("--rollout", help="The rollout. [default: the latest]")
@state_option
@json_option
def accept(
    device: str, why: str, control: bool, rollout: str | None, state: Path, as_json: bool
) -> None:
    """Accept DEVICE, which is held: its evidence decides nothing, so you do, by name.

    It is read afresh and confirmed, if it still runs the firmware on trial in the boot that was
    watched; watched on it is all the same, and a later failure takes it back. The journal, the
    gate of its stage and the proof of the device say that a person accepted it, who, and why.

    Later waves are not compared with it, unless you say with --control that its readout is right.

    Only a held device can be accepted: one that failed goes back, one that is silent cannot be
    read. In a paused rollout the confirm follows with `cryofw resume`.
    """
    if not why.strip():
        raise UsageError("an acceptance needs a reason", hint="--why TEXT goes into the record")
    home = Home(state)
    summary = home.find(rollout)
    if summary.ended is not None:
        raise Refused(
            f"rollout {summary.rollout} has ended: {summary.ended}",
            why=f"nothing of {device} waits for anybody",
        )
    plan = home.load_plan(summary)
    progress = _held(home, plan, device)
    authority = require_role(home, Role.ACCEPT, device, plan=plan, why=why)
    event = DeviceAccepted(device, authority.who, why, authority.role, authority.proof, control)

    def record() -> None:
        home.record(plan, event, authority.who)

    running = bool(home.holder)
    tell_or_do(home, summary.rollout, event, record, as_json=as_json)
    _tell(summary, progress, event, running=running, as_json=as_json)


def _held(home: Home, plan: Plan, device: str) -> DeviceProgress:
    """The device, if it may be accepted as it stands in the journal.

    Raises:
        UsageError: the plan does not have it.
        Refused: it is not held, or it failed.
    """
    if device not in plan.devices:
        raise UsageError(
            f"no device {device!r} in rollout {plan.rollout}",
            hint=did_you_mean(device, list(plan.devices)),
        )
    folded = home.fold_rollout(plan, home.records(), home.readings(plan.rollout)).state
    progress = folded.devices[device]
    if problem := why_not_acceptable(progress):
        raise Refused(
            f"{device} cannot be accepted", why=problem, hint="`cryofw status` shows who is held"
        )
    return progress


def _tell(
    summary: RolloutSummary,
    progress: DeviceProgress,
    event: DeviceAccepted,
    *,
    running: bool,
    as_json: bool,
) -> None:
    output = Output()
    if as_json:
        output.json({
            "accepted": event.device, "rollout": summary.rollout, "by": event.by,
            "role": event.role or None, "why": event.why, "held": progress.why,
            "control": event.control, "running": running,
        })  # fmt: skip
        return
    output.line(f"  {event.device} was held: {in_short(progress.why)}")
    if running:
        output.line("  it is read afresh and confirmed, if it is still held when that is read")
        return
    output.status(Status.OK, "accepted", f"{event.device} by {event.by}")
    output.line("  next: `cryofw resume` reads it afresh and confirms it")
