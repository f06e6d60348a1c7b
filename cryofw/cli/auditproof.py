"""`cryofw audit prove`, `verify-proof` and `export`: what others can check without this host."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cryofw.cli.file import read_file, refuse_existing, write_file
from cryofw.cli.journalkey import (
    journal_signer,
    key_option,
    log_trust,
    quorum_option,
    witness_key_option,
)
from cryofw.cli.operator import operator_name
from cryofw.cli.options import PATH, force_option, json_option, keyring_option, state_option
from cryofw.cli.output import Output, Status

if TYPE_CHECKING:
    from cryofw.audit import DeviceClaim


@click.command()
@click.argument("device")
@click.option("-o", "--output", "path", type=PATH, help="[default: DEVICE.tlog-proof]")
@click.option(
    "--as-recorded",
    is_flag=True,
    help="Write nothing to the journal: prove what stands under its latest signed checkpoint.",
)
@keyring_option
@state_option
@force_option
@json_option
def prove(
    device: str,
    path: Path | None,
    as_recorded: bool,
    keyring: Path,
    state: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Write a small file that proves what DEVICE runs, on whose approval.

    Its firmware, the verdict it passed, the start of the rollout and the approvals: each with
    its path to a signed checkpoint. Anybody can check it with the journal's public key alone:
    `cryofw audit verify-proof FILE --key journal.pub.pem`.

    That nothing newer is known of the device is proven by a record that attests it, as the
    newest of the journal, so this writes one. With --as-recorded it does not.
    """
    from cryofw.audit import attest_device, prove_device
    from cryofw.engine.home import Home

    target = path or Path(f"{device}.tlog-proof")
    refuse_existing(target, force=force)
    home = Home(state)
    if not as_recorded:
        who = operator_name()
        home.signer = journal_signer(keyring)
        home.require_records()
        with home.open_journal(home.clock, who) as journal:
            attest_device(journal, device, who)
    proof = prove_device(home.storage, device)
    data = proof.encode()
    write_file(target, data, force=force)
    if as_json:
        head = proof.checkpoint.head
        Output().json({"proof": str(target), "record": proof.index, "records": head.size})
        return
    output = Output()
    output.status(Status.OK, "proven", f"{target}  {len(data)} bytes, record {proof.index}")
    output.line(f"  check it with  cryofw audit verify-proof {target} --key keys/journal.pub.pem")


@click.command("verify-proof")
@click.argument("file", type=PATH)
@key_option
@witness_key_option
@quorum_option
@click.option(
    "--policy",
    "policy_path",
    type=PATH,
    metavar="FILE",
    help="Prove the approvals too, with the keys of this policy.",
)
@keyring_option
@json_option
def verify_proof(
    file: Path,
    keys: tuple[str, ...],
    witness_keys: tuple[str, ...],
    quorum: int,
    policy_path: Path | None,
    keyring: Path,
    as_json: bool,
) -> None:
    """Check the proof in FILE and say what it proves; needs public keys and nothing else.

    The policy under which a rollout ran lies beside its plan (rollouts/ID/policy.yaml). Exit
    code 4 if it proves nothing.
    """
    from cryofw.audit import verify_device_proof

    trust = log_trust(keys, witness_keys, quorum, keyring)
    claim = verify_device_proof(read_file(file, "proof"), trust)
    signed = None if policy_path is None else _approved_by(claim, policy_path)
    if as_json:
        Output().json({**_as_json(claim), "approvals_signed_by": signed})
        return
    _render(Output(), claim)
    if signed:
        Output().line(f"  signed approvals: {', '.join(signed)}")


def _approved_by(claim: DeviceClaim, path: Path) -> list[str]:
    """Whose signed approvals the proof carries, each one proven."""
    from cryofw.audit.claimed_approvals import prove_approvals
    from cryofw.trust import parse_policy

    policy = parse_policy(read_file(path, "policy"), str(path))
    return [act.principal for act in prove_approvals(claim, policy)]


def _as_json(claim: DeviceClaim) -> dict[str, object]:
    head = claim.checkpoint.head
    return {
        "device": claim.device,
        "state": claim.state,
        "hash": claim.hash,
        "version": claim.version,
        "since": claim.seen.t,
        "rollout": claim.seen.rollout,
        "attested": claim.attested.t if claim.attested else None,
        "approvals": [
            {"by": record.fields.get("by"), "why": record.fields.get("why"), "time": record.t}
            for record in claim.approvals
        ],
        "origin": head.origin,
        "records": head.size,
        "root": head.root.hex(),
        "signers": list(claim.signers),
        "witnesses": list(claim.witnesses),
    }


def _render(output: Output, claim: DeviceClaim) -> None:
    from cryofw.audit import Filter, tell
    from cryofw.rollout.story import printable

    head = claim.checkpoint.head
    image = f"{claim.version or 'an image without a version'}  {claim.hash}"
    what = (
        f"{claim.device} runs {image}" if claim.hash else f"what {claim.device} runs is not known"
    )
    output.status(Status.OK, "proven", printable(what))
    output.line(f"  state      {claim.state}, since {claim.seen.t}")
    if claim.attested is not None:
        output.line(f"  attested   {claim.attested.t}, as the newest of {head.size} records")
    output.hanging("  journal    ", f"{printable(head.origin)}, {head.short}", 13)
    output.line(f"  signed by  {', '.join(claim.signers)}")
    if claim.witnesses:
        output.line(f"  witnesses  {', '.join(claim.witnesses)}")
    output.line()
    for line in tell(claim.records, Filter()):
        when = f"  {line.day} {line.time}  {line.n:>5}  "
        output.hanging(when, f"{line.who}: {line.text}", len(when))
        for reason in line.reasons:
            output.hanging(f"{'':30}", reason, 30, "dim")
    if claim.attested is None:
        note = f"that nothing followed on record {claim.seen.n}; a proof with an attestation does"
        output.status(Status.WARNING, "not proven", note)
    if not claim.approvals:
        note = "the proof carries none; whether the plan asked for one, it does not say"
        output.status(Status.NOTHING, "no approval", note)


@click.command()
@click.argument("directory", metavar="DIR", type=PATH)
@state_option
@json_option
def export(directory: Path, state: Path, as_json: bool) -> None:
    """Copy the journal up to its latest signed checkpoint to DIR, for others to read.

    DIR holds the tree as tiles (C2SP tlog-tiles), which any web server can serve and any log
    client read, and beside them what `cryofw audit verify --state DIR` needs. An export of the
    same journal is continued. No rollout can be: it is a copy.
    """
    from cryofw.audit import export_log
    from cryofw.journal import FileStorage

    done = export_log(FileStorage(state), FileStorage(directory, public=True))
    head = done.checkpoint.head
    if as_json:
        Output().json({"origin": head.origin, "records": head.size, "files": done.files})
        return
    note = f"{directory}  {head.size} records; files written: {done.files}"
    Output().status(Status.OK, "exported", note)
