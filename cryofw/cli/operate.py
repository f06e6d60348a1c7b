"""`cryofw approve`, `abort`, `stop` and `rollback`: what a person says to a rollout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cryofw.cli.operator import operator_name
from cryofw.cli.options import json_option, keyring_option, state_option
from cryofw.cli.output import Output, Status
from cryofw.cli.rolloutrun import ask, open_runner, report, tell_or_do
from cryofw.cli.suggestion import did_you_mean
from cryofw.engine.home import Home
from cryofw.errors import Refused, RolledBack, UsageError
from cryofw.rollout import events as e

if TYPE_CHECKING:
    from pathlib import Path

    from cryofw.rollout import Event, RolloutSummary

rollout_argument = click.argument("rollout", required=False)
why_option = click.option("--why", default="", help="The reason, for the record.")
yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


@click.command()
@rollout_argument
@click.option("--stage", required=True, metavar="NAME", help="The stage that may start.")
@why_option
@state_option
def approve(rollout: str | None, stage: str, why: str, state: Path) -> None:
    """Record that you approve the start of a stage of ROLLOUT (default: the latest)."""
    home = Home(state)
    summary = home.find(rollout)
    _require_open(summary)
    plan = home.load_plan(summary)
    names = [planned.name for planned in plan.stages]
    if stage not in names:
        raise UsageError(
            f"no stage {stage!r} in rollout {summary.rollout}",
            why=f"its stages are {', '.join(names)}",
            hint=did_you_mean(stage, names),
        )
    who = operator_name()
    folded = home.fold_rollout(plan, home.records(), home.readings(plan.rollout)).state
    if names.index(stage) <= folded.stage_index:
        raise Refused(f"stage {stage} of {summary.rollout} has started already")
    event = e.StageApproved(stage, who, why)

    def record() -> None:
        home.record(plan, event, who)
        Output().status(Status.OK, "approved", f"stage {stage} of {summary.rollout} by {who}")
        Output().line("  next: `cryofw resume`")

    tell_or_do(home, summary.rollout, event, record)


@click.command()
@rollout_argument
@why_option
@yes_option
@keyring_option
@state_option
@json_option
def abort(
    rollout: str | None, why: str, yes: bool, keyring: Path, state: Path, as_json: bool
) -> None:
    """End ROLLOUT (default: the latest): start nothing more, revert what is not confirmed."""
    who = operator_name()
    event = e.AbortRequested(who, why)
    _do(state, rollout, keyring, event, who, yes=yes, as_json=as_json)


@click.command()
@rollout_argument
@why_option
@yes_option
@keyring_option
@state_option
@json_option
def rollback(
    rollout: str | None, why: str, yes: bool, keyring: Path, state: Path, as_json: bool
) -> None:
    """Take every device of ROLLOUT (default: the latest) back to its last good firmware."""
    who = operator_name()
    event = e.RollbackRequested(who, why)
    _do(state, rollout, keyring, event, who, yes=yes, as_json=as_json)


@click.command()
@rollout_argument
@why_option
@keyring_option
@state_option
@json_option
def stop(rollout: str | None, why: str, keyring: Path, state: Path, as_json: bool) -> None:
    """Emergency stop of ROLLOUT (default: the latest): nothing more is sent to any device.

    Asks nothing. What is in a test boot is left to its lease, which reverts it, or is named.
    """
    who = operator_name()
    event = e.StopRequested(who, why)
    _do(state, rollout, keyring, event, who, yes=True, as_json=as_json)


def _do(
    state: Path,
    rollout: str | None,
    keyring: Path,
    event: Event,
    who: str,
    *,
    yes: bool,
    as_json: bool,
) -> None:
    home = Home(state)
    summary = home.find(rollout)
    if isinstance(event, e.RollbackRequested):
        _require_latest(home, summary)
    else:
        _require_open(summary)

    def act() -> None:
        if isinstance(event, e.StopRequested):
            stopped = home.stop(home.load_plan(summary), event, who)
            report(stopped, as_json=as_json)
            return
        runner, _, _ = open_runner(state, summary.rollout, keyring, who, as_json=as_json)
        try:
            runner.report(runner.go_on([event], ""))
        except RolledBack:
            return  # that is what was asked for

    verb = event.kind.removesuffix("-requested")
    ask(f"{verb} {summary.rollout} of {summary.version}?", verb, yes=yes)
    tell_or_do(home, summary.rollout, event, act)


def _require_open(summary: RolloutSummary) -> None:
    if summary.ended is not None:
        raise Refused(
            f"rollout {summary.rollout} has ended: {summary.ended}",
            why=summary.why,
            hint="`cryofw rollback` takes a confirmed release back",
        )


def _require_latest(home: Home, summary: RolloutSummary) -> None:
    """Only the latest rollout knows what its devices' last good firmware is."""
    latest = home.find(None)
    if latest.rollout != summary.rollout:
        raise Refused(
            f"rollout {summary.rollout} is not the latest",
            why=f"{latest.rollout} of {latest.version} came after it",
            hint="deploy the older image as a release of its own, with --downgrade",
        )
