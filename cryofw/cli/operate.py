"""`cryofw abort` and `rollback`: what a person says to a rollout."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import click

from cryofw.cli.authority import require_role
from cryofw.cli.options import json_option, keyring_option, state_option
from cryofw.cli.rolloutrun import ask, open_runner, tell_or_do
from cryofw.engine.home import Home
from cryofw.errors import Refused, RolledBack
from cryofw.rollout import events as e
from cryofw.rollout.signed_act import ABORT, ROLLBACK
from cryofw.trust.statement import Role

if TYPE_CHECKING:
    from pathlib import Path

    from cryofw.rollout import RolloutSummary

_Asked: TypeAlias = e.AbortRequested | e.RollbackRequested

rollout_argument = click.argument("rollout", required=False)
why_option = click.option("--why", default="", help="The reason, for the record.")
yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


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
    event = e.AbortRequested("", why)
    _do(state, rollout, keyring, event, yes=yes, as_json=as_json)


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
    event = e.RollbackRequested("", why)
    _do(state, rollout, keyring, event, yes=yes, as_json=as_json)


def _do(
    state: Path,
    rollout: str | None,
    keyring: Path,
    event: _Asked,
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

    verb = event.kind.removesuffix("-requested")
    ask(f"{verb} {summary.rollout} of {summary.version}?", verb, yes=yes)
    signed = _signed(home, summary, event)

    def act() -> None:
        runner, _, _ = open_runner(state, summary.rollout, keyring, signed.by, as_json=as_json)
        try:
            runner.report(runner.go_on([signed], ""))
        except RolledBack:
            return  # that is what was asked for

    tell_or_do(home, summary.rollout, signed, act)


def _signed(home: Home, summary: RolloutSummary, event: _Asked) -> _Asked:
    """Who asks for it, proven where a policy is in force."""
    subject = ABORT if isinstance(event, e.AbortRequested) else ROLLBACK
    plan = home.load_plan(summary)
    by = require_role(home, Role.ABORT, subject, plan=plan, why=event.why)
    return replace(event, by=by.who, proof=by.proof)


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
