"""`cryofw stop`: the emergency stop, also of a rollout that another process runs."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

import click

from cryofw.cli.journalkey import sign_at_once
from cryofw.cli.operator import operator_name
from cryofw.cli.options import json_option, state_option
from cryofw.cli.output import Output, Status
from cryofw.cli.rolloutrun import raise_for
from cryofw.cli.rolloutview import show_summary, state_json
from cryofw.engine.home import Home
from cryofw.errors import Refused, Unreachable
from cryofw.rollout import DeviceState
from cryofw.rollout import events as e
from cryofw.rollout.device_state import SETTLED

if TYPE_CHECKING:
    from pathlib import Path

    from cryofw.rollout import RolloutState, RolloutSummary

_LOOK_S = 0.1
_ON_TRIAL = (DeviceState.TESTING, DeviceState.WATCHED, DeviceState.HELD, DeviceState.FROZEN)


@click.command()
@click.argument("rollout", required=False)
@click.option("--why", default="", help="The reason, for the record.")
@click.option(
    "--wait",
    "patience_s",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="So long another process may take to obey.",
)
@state_option
@json_option
def stop(rollout: str | None, why: str, patience_s: float, state: Path, as_json: bool) -> None:
    """Emergency stop of ROLLOUT (default: the latest): nothing more is sent to any device.

    Asks nothing, opens no port, needs no key and no role. A rollout that another process runs is
    stopped by that one, within a second; if it does not obey, its process id is told, to end it.
    What is in a test boot is left to its lease, which reverts it, and is named.
    """
    home = Home(state)
    summary = home.find(rollout)
    if summary.ended is not None:
        raise Refused(
            f"rollout {summary.rollout} has ended: {summary.ended}; nothing is sent to anybody",
            why=summary.why,
            hint="`cryofw rollback` takes a confirmed release back",
        )
    event = e.StopRequested(operator_name(), why)
    stopped = _stop_elsewhere(home, summary, event, patience_s)
    if stopped is None:
        sign_at_once(home)
        stopped = home.stop(home.load_plan(summary), event, event.by)
    if as_json:
        Output().json(state_json(stopped))
    else:
        show_summary(Output(), stopped)
        _say_next(stopped)
    raise_for(stopped)


def _stop_elsewhere(
    home: Home, summary: RolloutSummary, event: e.StopRequested, patience_s: float
) -> RolloutState | None:
    """Let the process that runs it stop it, and see that it did; None if there is no such process.

    Raises:
        Unreachable: it does not obey in time.
    """
    if not home.holder:
        return None
    box = home.requests(summary.rollout)
    name = box.put(event, secrets.token_hex(4))
    until_s = time.monotonic() + patience_s
    while holder := home.holder:
        if not home.storage.exists(name):  # it is in the journal
            break
        if time.monotonic() >= until_s:
            raise Unreachable(
                f"rollout {summary.rollout} was told to stop, and has not within {patience_s:g} s",
                why=f"{holder} runs it",
                hint="end that process (`kill`, then `kill -9`), and give `cryofw stop` again: "
                "without it nothing is sent, and what is in a test boot goes back with its lease",
            )
        time.sleep(_LOOK_S)
    found = home.find(summary.rollout)
    if found.ended is None:  # it went away before it had read it
        box.remove(name)
        return None
    plan = home.load_plan(found)
    return home.fold_rollout(plan, home.records(), home.readings(plan.rollout)).state


def _say_next(state: RolloutState) -> None:
    """What is left to do, in order."""
    output = Output()
    trial = [p for p in state.devices.values() if p.state in _ON_TRIAL]
    if trial:
        ttl_s = max(p.planned.lease_ttl_s for p in trial)
        what = f"{' '.join(p.name for p in trial)}: left to the lease, which takes it back within"
        output.status(Status.WARNING, "on trial", f"{what} {ttl_s:.0f} s; without one, cycle power")
    unsettled = [p for p in state.devices.values() if p.sent and p.state not in SETTLED]
    kept = [p for p in state.devices.values() if p.state is DeviceState.CONFIRMED]
    if unsettled:
        output.line("  then: `cryofw inventory --read` shows what runs; `cryofw rollback` brings")
        output.line("        every device back in order, or `cryofw quarantine clear DEVICE`")
    elif kept:
        output.line("  `cryofw rollback` takes back what was confirmed, if it has to be")
