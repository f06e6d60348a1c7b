"""`cryofw audit`: prove the journal, read it, and let others prove it."""

from __future__ import annotations

import click

from cryofw.cli.commands import LazyCommand, LazyGroup

_READ, _PROVE, _KEEP = "Read and verify", "Prove to others", "Keep"
_COMMANDS = (
    LazyCommand("verify", "auditverify:verify", _READ, "Check journal, signatures and evidence."),
    LazyCommand("show", "auditshow:show", _READ, "Tell who did what, when and why."),
    LazyCommand("prove", "auditproof:prove", _PROVE, "Write a proof of what one device runs."),
    LazyCommand("verify-proof", "auditproof:verify_proof", _PROVE, "Check such a proof, offline."),
    LazyCommand("checkpoint", "auditwitness:checkpoint", _PROVE, "Sign and print a checkpoint."),
    LazyCommand("witness", "auditwitness:witness", _PROVE, "Cosign a checkpoint as a witness."),
    LazyCommand("accept", "auditwitness:accept", _PROVE, "Keep what a witness cosigned."),
    LazyCommand("export", "auditproof:export", _PROVE, "Copy journal, tiles and evidence."),
    LazyCommand("retire", "auditkeep:retire", _KEEP, "Close the journal and begin the next."),
    LazyCommand("rehome", "auditkeep:rehome", _KEEP, "Go on from a backup, by name."),
)


@click.group(cls=LazyGroup, table=_COMMANDS)
def audit() -> None:
    """Prove that the journal is whole and honest, and read it as a story."""
