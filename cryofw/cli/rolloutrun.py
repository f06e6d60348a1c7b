"""What `deploy`, `resume` and the operator's commands share: run, show, and end with a code."""

from __future__ import annotations

import secrets
import sys
from typing import TYPE_CHECKING

import click

from cryofw.cli.journalkey import journal_signer, sign_at_once
from cryofw.cli.keychoice import trusted_image_keys
from cryofw.cli.output import Output, Status
from cryofw.cli.rolloutview import RolloutView, show_summary, state_json
from cryofw.engine.deployment import Deployment
from cryofw.engine.home import Home
from cryofw.engine.site import run_on_site
from cryofw.errors import (
    CryofwError,
    DeviceStuck,
    Interrupted,
    Paused,
    Refused,
    RolledBack,
    UsageError,
)
from cryofw.health import in_short
from cryofw.rollout import Ending, Plan, RolloutState
from cryofw.rollout import events as e
from cryofw.rollout.story import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from cryofw.engine.site import Site
    from cryofw.image import PublicKey
    from cryofw.rollout import Event, RolloutSummary

    Proof = Mapping[str, object]
    Use = Callable[[Site], Coroutine[Any, Any, RolloutState]]


class Runner:
    """Runs one rollout for a command and reports how it went."""

    def __init__(
        self, home: Home, plan: Plan, keys: Sequence[PublicKey], who: str, *, as_json: bool
    ) -> None:
        self._home = home
        self._plan = plan
        self._as_json = as_json
        self._who = who
        self._view = RolloutView(plan, as_json=as_json)
        self._sign_journal()
        self._deployment = Deployment(
            home,
            plan,
            keys,
            who,
            self._view.record,
            self._view.progress,
            self._view.watching,
            _tell_refused,
        )

    def _sign_journal(self) -> None:
        """Open the journal's key now: a passphrase is asked for before anything is sent.

        A key that cannot be opened stops no rollout; what it did not sign, the next one does.
        """
        keyring = click.get_current_context().params.get("keyring")
        try:
            signer = journal_signer(keyring) if keyring else None
            if signer is not None:
                signer.open()
            self._home.signer = signer
        except Interrupted:
            raise
        except CryofwError as error:
            click.echo(f"the journal will not be signed: {error}", err=True)

    def start(
        self, until: str, overrides: Sequence[Event] = (), proof: Proof | None = None
    ) -> RolloutState:
        """Start the plan's rollout, with the guards that a person passes over.

        Args:
            until: the last stage; empty: all.
            overrides: those guards, as events.
            proof: what the person signed, where a policy asks for it.
        """
        return self._run(lambda site: self._deployment.start(site, until, overrides, proof))

    def go_on(
        self, events: Sequence[Event], until: str, proof: Proof | None = None
    ) -> RolloutState:
        """Continue it, with what was asked for meanwhile."""
        all_events = [*events, e.RolloutResumed(until, self._who, proof or {})]
        return self._run(lambda site: self._deployment.go_on(site, all_events))

    def _run(self, use: Use) -> RolloutState:
        try:
            return run_on_site(
                self._home.directory, self._plan.ports.values(), use, self._interrupt
            )
        except KeyboardInterrupt:
            self._view.finish()
            click.echo(
                f"detached from {self._plan.rollout}; `cryofw resume` goes on where it was",
                err=True,
            )
            raise
        finally:
            self._view.finish()

    def _interrupt(self) -> bool:
        """Ctrl-C: the first one pauses at the next safe point, the second one detaches."""
        asked = self._deployment.pause()
        if asked:
            click.echo("\npausing at the next safe point; Ctrl-C again detaches", err=True)
        return asked

    def report(self, state: RolloutState) -> None:
        """Show the summary, and leave with the documented exit code.

        Raises:
            RolledBack, DeviceStuck, Refused, Paused: as it ended.
        """
        report(state, as_json=self._as_json)


def _tell_refused(event: Event, error: CryofwError) -> None:
    """Somebody asked a running rollout for what the policy does not let them."""
    about = f"a request ({event.kind}) of {getattr(event, 'by', 'somebody')} was refused"
    click.echo(printable(f"{about}: {error}"), err=True)


def report(state: RolloutState, *, as_json: bool) -> None:
    """Show the summary, and leave with the documented exit code.

    Raises:
        RolledBack, DeviceStuck, Refused, Paused: as it ended.
    """
    output = Output()
    if as_json:
        output.json(state_json(state))
    else:
        show_summary(output, state)
    raise_for(state)


def raise_for(state: RolloutState) -> None:
    """Raise what the end of a rollout means to a caller; nothing for a good one.

    Raises:
        RolledBack, DeviceStuck, Refused, Paused.
    """
    rollout, why = state.plan.rollout, in_short(state.why)
    see = f"`cryofw audit show --rollout {rollout}` tells the whole story"
    match state.ended:
        case Ending.CONFIRMED:
            return
        case Ending.ROLLED_BACK | Ending.ABORTED:
            raise RolledBack(f"rollout {rollout} was {state.ended}", why=why, hint=see)
        case Ending.STOPPED if not any(p.quarantined for p in state.devices.values()):
            return
        case Ending.STUCK | Ending.STOPPED:
            names = " ".join(p.name for p in state.devices.values() if p.quarantined)
            what = f"rollout {rollout} ended {state.ended}"
            raise DeviceStuck(what, why=names or why, hint="see `cryofw quarantine list`")
        case Ending.REFUSED:
            raise Refused(f"rollout {rollout} was refused", why=why, hint=see)
        case None:
            if state.paused == "stage":
                return
            hint = "`cryofw resume` continues it"
            if state.paused == "approval":
                hint = "`cryofw approve --stage NAME`, then `cryofw resume`"
            elif state.paused == "device":
                hint = "see `cryofw quarantine list`; clear the device, then `cryofw resume`"
            elif state.paused == "cryostat":
                hint = "see to the cryostat, then `cryofw resume`"
            raise Paused(f"rollout {rollout} is paused", why=state.paused_why, hint=hint)


def open_runner(
    state: Path, rollout: str | None, keyring: Path, who: str, *, as_json: bool
) -> tuple[Runner, RolloutSummary, Plan]:
    """A runner for a rollout that is in the journal."""
    home = Home(state)
    summary = home.find(rollout)
    plan = home.load_plan(summary)
    keys = list(trusted_image_keys((), keyring).values())
    return Runner(home, plan, keys, who, as_json=as_json), summary, plan


def tell_or_do(
    home: Home, rollout: str, event: Event, do: Callable[[], None], *, as_json: bool = False
) -> None:
    """Do it here, or leave it as a request when another process has the journal.

    Looked at first, because the other process holds the ports too, and theirs is another refusal.
    """
    holder = home.holder
    if not holder:
        sign_at_once(home)
        do()
        return
    home.requests(rollout).put(event, secrets.token_hex(4))
    words = f"{rollout} runs in another process ({holder}); it was told"
    Output(sys.stderr if as_json else None).status(Status.OK, "asked", words)


def ask(question: str, answer: str, *, yes: bool) -> None:
    """Let a person agree by typing `answer`; never asks without a terminal.

    Raises:
        Refused: they typed something else.
        UsageError: there is no terminal and `--yes` was not given.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("nobody is at the terminal to agree", hint="--yes agrees beforehand")
    typed = click.prompt(f"{question} Type {answer!r} to go on", default="", show_default=False)
    if typed.strip() != answer:
        raise Refused("it was not agreed to; nothing was sent to any device")
