"""`cryofw audit checkpoint`, `witness` and `accept`: others remember how far the journal was."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from cryofw.cli.file import read_file, write_file
from cryofw.cli.journalkey import (
    journal_signer,
    key_option,
    log_trust,
    named_signer,
    witness_key_option,
)
from cryofw.cli.operator import operator_name
from cryofw.cli.options import PATH, force_option, keyring_option, state_option
from cryofw.cli.output import Output, Status
from cryofw.errors import Refused, UsageError
from cryofw.keys import Purpose

if TYPE_CHECKING:
    from pathlib import Path

    from cryofw.journal import Storage

output_option = click.option("-o", "--output", "path", type=PATH, help="Write it here.")


@click.command()
@output_option
@click.option(
    "--from",
    "old",
    type=click.IntRange(min=0),
    metavar="SIZE",
    help="As the request to a witness that has seen SIZE records.",
)
@click.option("--verifier-key", is_flag=True, help="Print the key as other tools want it instead.")
@keyring_option
@state_option
@force_option
def checkpoint(
    path: Path | None,
    old: int | None,
    verifier_key: bool,
    keyring: Path,
    state: Path,
    force: bool,
) -> None:
    """Sign the journal as it is now, and print the checkpoint (C2SP tlog-checkpoint).

    Keep it where the lab cannot rewrite it: `cryofw audit verify --since FILE` finds every
    journal that did not grow out of it. If nobody here can sign, or the journal is in use, the
    latest signed one is printed.
    """
    from cryofw.audit import make_request, require_signed
    from cryofw.journal import verifier_key as encode_key

    storage = _sign_now(keyring, state)
    signed = require_signed(storage)
    if verifier_key:
        signer = journal_signer(keyring)
        if signer is None:
            raise UsageError(f"{keyring} has no journal key")
        click.echo(encode_key(signed.head.origin, signer.public_key))
        return
    data = signed.encode() if old is None else make_request(storage, old)
    if path is None:
        click.echo(data.decode(), nl=False)
        return
    write_file(path, data, force=force)
    Output().status(Status.OK, "written", f"{path}  {signed.head.short}")


def _sign_now(keyring: Path, state: Path) -> Storage:
    """Sign what is not signed yet, if that can be done; a running rollout does it by itself."""
    from cryofw.engine.home import Home

    home = Home(state)
    home.signer = journal_signer(keyring)
    home.require_records()
    if home.signer is not None and not home.holder:
        with home.open_journal(home.clock, operator_name()) as journal:
            why = journal.unsigned_why
        if why:
            raise Refused(
                "the checkpoint could not be signed",
                why=why,
                hint="`cryofw keys list` shows the journal key; mend that, and do this again",
            )
    return home.storage


@click.command()
@click.argument("request", type=PATH, required=False)
@click.option("--as", "name", metavar="KEY", help="Your witness key. [default: the only one]")
@output_option
@key_option
@keyring_option
@state_option
@force_option
def witness(
    request: Path | None,
    name: str | None,
    path: Path | None,
    keys: tuple[str, ...],
    keyring: Path,
    state: Path,
    force: bool,
) -> None:
    """Cosign a checkpoint that grew out of what you saw before (C2SP tlog-cosignature).

    REQUEST is a file of `cryofw audit checkpoint --from SIZE`; your answer goes back by
    --output. Without it the journal in --state is witnessed, and the answer is kept there.

    What you saw is remembered in CRYOFW_HOST_STATE, so be a witness on another computer than
    the one that owns the journal, with a key of your own (purpose: witness).
    """
    from cryofw.audit import WitnessMemory, accept_cosigned, make_request
    from cryofw.journal import FileStorage, SignedHead
    from cryofw.journal.host_directory import host_state_directory

    if request is not None and path is None:
        raise UsageError("where should the answer go?", hint="--output FILE")
    signer = named_signer(keyring, name, Purpose.WITNESS)
    log_keys = log_trust(keys, (), 0, keyring).keys
    memory = WitnessMemory(FileStorage(host_state_directory() / "witness"))
    storage = FileStorage(state)
    if request is None:
        from cryofw.audit import require_signed

        size = memory.size(require_signed(storage).head.origin)
        body = make_request(storage, size)
    else:
        body = read_file(request, "request")
    cosigned: SignedHead = memory.cosign(body, log_keys, signer, signer.name, int(time.time()))
    if path is not None:
        write_file(path, cosigned.encode(), force=force)
    else:
        accept_cosigned(storage, cosigned.encode(), {signer.name: signer.public_key})
    Output().status(Status.OK, "cosigned", f"{cosigned.head.short} by {signer.name}")


@click.command()
@click.argument("file", type=PATH)
@witness_key_option
@keyring_option
@state_option
def accept(file: Path, witness_keys: tuple[str, ...], keyring: Path, state: Path) -> None:
    """Keep in the state directory the checkpoint in FILE that a witness cosigned."""
    from cryofw.audit import accept_cosigned
    from cryofw.journal import FileStorage

    trust = log_trust((), witness_keys, 0, keyring)
    kept = accept_cosigned(FileStorage(state), read_file(file, "checkpoint"), trust.witnesses)
    names = [trust.name(key) for key, _ in kept.note.cosigned_by(trust.witnesses.values())]
    Output().status(Status.OK, "kept", f"{kept.head.short}, cosigned by {', '.join(names)}")
