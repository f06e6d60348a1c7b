"""`cryofw audit verify`: everything that can be checked about a journal, checked again."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from cryofw.cli.file import read_file
from cryofw.cli.journalkey import (
    has_keyring,
    key_option,
    log_trust,
    quorum_option,
    witness_key_option,
)
from cryofw.cli.keychoice import trusted_image_keys
from cryofw.cli.options import PATH, json_option, keyring_option, state_option
from cryofw.cli.output import Output, Status
from cryofw.errors import Paused

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cryofw.audit import AuditReport, LogTrust


@click.command()
@click.option(
    "--since",
    type=PATH,
    multiple=True,
    metavar="CHECKPOINT",
    help="A checkpoint that was kept elsewhere; the journal must have grown out of it. "
    "May be repeated.",
)
@key_option
@witness_key_option
@quorum_option
@click.option(
    "--image-key",
    "image_keys",
    multiple=True,
    metavar="KEY",
    help="A key that images may be signed with, besides those of the keyring. May be repeated.",
)
@keyring_option
@state_option
@json_option
def verify(
    since: tuple[Path, ...],
    keys: tuple[str, ...],
    witness_keys: tuple[str, ...],
    quorum: int,
    image_keys: tuple[str, ...],
    keyring: Path,
    state: Path,
    as_json: bool,
) -> None:
    """Check every record, the signatures, the order of events and the evidence.

    Held against each other: lines and tree head; signed and cosigned checkpoints; gates,
    verdicts and approvals before what they allow; what people signed, against the policy of
    their rollout; plans, raw readings and signed images by their digests. Each verdict is drawn
    again from the raw readings. Exit code 4 if anything was changed or breaks a rule; it names
    the first record and byte that lie. Exit code 75 if nothing lies, but the signatures of
    encrypted images could not be checked, because no key here opens them.
    """
    from cryofw.audit import ApprovalEvidence, ImageEvidence, VerdictEvidence, verify_log
    from cryofw.journal import FileStorage

    trust = log_trust(keys, witness_keys, quorum, keyring)
    kept = {str(path): read_file(path, "checkpoint") for path in since}
    storage = FileStorage(state)
    trusted = trusted_image_keys(image_keys, keyring) if image_keys else {}
    if has_keyring(keyring):
        trusted |= trusted_image_keys((), keyring)
    images = ImageEvidence(storage, list(trusted.values())) if trusted else None
    acts = ApprovalEvidence(storage)
    verdicts = VerdictEvidence(storage)
    report = verify_log(
        storage,
        trust=trust,
        since=kept,
        checks=[acts, verdicts, *([images] if images else [])],
        processes=os.cpu_count() or 1,
    )
    verified_images = images.verified if images else None
    foreign = images.foreign if images else 0
    locked = images.locked if images else ()
    output = Output()
    if as_json:
        beside = {
            "foreign_images": foreign,
            "signed_acts": acts.proven,
            "verdicts": verdicts.drawn,
            "verified": not locked,
            "unchecked_images": list(locked),
        }
        output.json({**_as_json(report, verified_images), **beside})
        _end(locked)
        return
    _render(output, report, trust, verified_images, len(kept))
    if foreign:
        note = f"images that no trusted key vouches for, adopted as ways back: {foreign}"
        output.status(Status.NOTHING, "adopted", note)
    if verdicts.drawn:
        output.line(f"  verdicts   {verdicts.drawn}, each drawn again from its raw readings")
    if acts.proven:
        note = f"{acts.proven}, each allowed by the policy of its rollout"
        output.line(f"  signed acts {note}")
    if locked:
        note = (
            f"the signatures of encrypted images: {len(locked)}. Their files are those of the "
            "plan, but no key of this host opens them: CRYOFW_DECRYPTION_KEY"
        )
        output.status(Status.WARNING, "not checked", note)
    _end(locked)


def _end(locked: Sequence[str]) -> None:
    """Unknown is not healthy, and no lie either."""
    if locked:
        raise click.exceptions.Exit(Paused.exit_code)


def _as_json(report: AuditReport, images: int | None) -> dict[str, object]:
    signatures = report.signatures
    return {
        "verified": True,
        "origin": report.origin,
        "records": report.records,
        "anchored": report.anchored,
        "root": report.root.hex(),
        "signed": signatures.signed,
        "signers": list(signatures.signers),
        "witnesses": [
            {"name": one.witness, "records": one.size, "time": _time(one.seconds)}
            for one in signatures.cosignatures
        ],
        "rollouts": report.rollouts,
        "images": images,
        "repairs": report.repairs,
        "torn_bytes": report.torn_bytes,
        "unknown_kinds": list(report.unknown_kinds),
        "continues": _as_json(report.continues, None) if report.continues else report.absent,
    }


def _time(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"{seconds} s after 1970"


def _render(
    output: Output, report: AuditReport, trust: LogTrust, images: int | None, kept: int
) -> None:
    span = f", {report.first_time} to {report.last_time}" if report.records else ""
    output.status(Status.OK, "verified", f"{report.records} records{span}")
    output.line(f"  tree head  {report.root.hex()}")
    output.line(f"  origin     {report.origin or 'none yet'}")
    output.line(f"  rollouts   {report.rollouts}")
    if images is not None:
        output.line(f"  images     {images}, signed by keys that are trusted")
    if kept:
        output.line(f"  since      it grew out of what was kept elsewhere (checkpoints: {kept})")
    _render_signatures(output, report, trust)
    loose = report.records - report.anchored
    if loose:
        note = f"the last {loose} records are not under a checkpoint yet"
        output.status(Status.WARNING, "not anchored", note)
    if report.torn_bytes:
        note = f"{report.torn_bytes} bytes of an unfinished last line; the next writer repairs it"
        output.status(Status.WARNING, "torn", note)
    if report.repairs:
        note = f"{report.repairs} torn lines were repaired; `cryofw audit show` names them"
        output.status(Status.NOTHING, "repaired", note)
    if report.unknown_kinds:
        output.status(Status.NOTHING, "no rules for", ", ".join(report.unknown_kinds))
    if images is None:
        note = "no image key is known: name one with --image-key"
        output.status(Status.NOTHING, "images not checked", note)
    _render_chain(output, report)


def _render_signatures(output: Output, report: AuditReport, trust: LogTrust) -> None:
    signatures = report.signatures
    if not trust.keys:
        note = "no journal key is known: whoever can write here could have written all of it"
        output.status(Status.WARNING, "not signed", note)
    else:
        output.line(f"  signed     {signatures.signed} records by {', '.join(signatures.signers)}")
        loose = report.records - signatures.signed
        if loose:
            note = f"records: {loose}; `cryofw audit checkpoint` signs them"
            output.status(Status.WARNING, "not signed yet", note)
    for one in signatures.cosignatures:
        output.line(f"  witness    {one.witness}: {one.size} records, {_time(one.seconds)}")


def _render_chain(output: Output, report: AuditReport) -> None:
    before = report.continues
    while before is not None:
        note = f"{before.records} records, {before.first_time} to {before.last_time}"
        output.hanging("  continues  ", f"{before.origin}: {note}, verified", 13)
        report, before = before, before.continues
    if report.absent:
        note = f"{report.absent} is not here; only how it ended is known"
        output.status(Status.WARNING, "not verified", note)
