"""`cryofw audit retire` and `rehome`: a journal ends well, or a backup takes its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cryofw.cli.journalkey import journal_signer
from cryofw.cli.operator import operator_name
from cryofw.cli.options import keyring_option, state_option
from cryofw.cli.output import Output, Status
from cryofw.errors import Refused, UsageError

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.option("--why", default="", help="The reason, for the record.")
@keyring_option
@state_option
def retire(why: str, keyring: Path, state: Path) -> None:
    """Close the journal with a checkpoint, and begin the next one with it.

    The closed journal moves to `retired/` in the state directory, where it still counts: it is
    verified with the one that follows, and quarantine and history are read from it. Refused
    while a rollout is open.
    """
    from cryofw.engine.home import Home
    from cryofw.journal.chain import retire as retire_journal

    home = Home(state)
    home.signer = journal_signer(keyring)
    home.require_records()
    opened = home.history().open_rollout
    if opened is not None:
        raise Refused(
            f"rollout {opened.rollout} of {opened.version} is still open",
            why=opened.why or f"it is {opened.word}",
            hint=f"finish it with `cryofw resume {opened.rollout}`, or abort it",
        )
    before = retire_journal(
        home.storage, clock=home.clock, who=operator_name(), why=why, signer=home.signer
    )
    output = Output()
    output.status(Status.OK, "retired", f"{before.name}  {before.head.short}")
    output.line("  the next journal begins with it; keep both in the backup")


@click.command()
@click.argument("lost")
@click.option("--why", required=True, help="What happened to the lost journal, for the record.")
@keyring_option
@state_option
def rehome(lost: str, why: str, keyring: Path, state: Path) -> None:
    """Take the journal in --state for the right one, in place of the LOST one, by name.

    When this host refuses a journal because another one, or a later state of it, drove its
    devices, and that one is lost, this records who says so and what was lost; the message of
    the refusal names it. Read the devices first: `cryofw inventory --read`.
    """
    from cryofw.engine.home import Home
    from cryofw.engine.journal_home import find_lost
    from cryofw.engine.journal_home import rehome as rehome_journal

    if not why.strip():
        raise UsageError(
            "giving up a journal needs a reason", hint="--why TEXT goes into the record"
        )
    home = Home(state)
    home.signer = journal_signer(keyring)
    head = find_lost(home.storage, home.host, lost)
    who = operator_name()
    with home.open_journal(home.clock, who) as journal:
        record = rehome_journal(journal, head, who, why)
    what = f"in place of {head.origin}, {head.short}; record {record.n} says so"
    Output().status(Status.OK, "rehomed", what)
