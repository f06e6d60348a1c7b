"""`cryofw release`: the repository that says what is released, to whom, and what was revoked.

Here is what releases say; `releasesigning` has what keys sign, `releaseview` shows a repository,
`releasetrust` is a lab's first step with one. python-tuf is imported when a command runs.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import click

from cryofw.cli.file import read_file, refuse_existing, write_file
from cryofw.cli.keychoice import trusted_image_keys
from cryofw.cli.operator import operator_name
from cryofw.cli.options import PATH, force_option, json_option
from cryofw.cli.output import Output, Status
from cryofw.cli.policyhere import acting_as
from cryofw.cli.releasedesk import opened, signer_pool, signing_options
from cryofw.cli.releasesigning import init, publish, refresh, rotate, sign
from cryofw.cli.releasetrust import trust
from cryofw.cli.releaseview import list_releases, repo_directory_option, status
from cryofw.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cryofw.release import ReleaseRecord, Repository

why_option = click.option("--why", default="", help="What people will read about it.")
publish_option = click.option("--publish", "at_once", is_flag=True, help="And publish it at once.")


@click.group()
def release() -> None:
    """Publish releases, signed for the labs that trust this repository.

    A release manager stages changes (add, revoke, rotate) and publishes them; a lab pins the
    root once (trust) and takes releases with `cryofw deploy --release`. See docs/releases.md.
    """


release.add_command(list_releases)
release.add_command(status)
release.add_command(trust)
for _command in (init, rotate, refresh, sign, publish):
    release.add_command(_command)


@release.command()
@click.argument("image", type=PATH, required=False)
@click.option("--again", metavar="RELEASE", help="Release this one again instead: a rollback.")
@click.option("--host", default="", help="Versions of cryofw that may deploy it: '>=0.1, <2'.")
@click.option(
    "--from-versions", default="", help="Versions that a device may run before it: '>=1.0, <2'."
)
@click.option(
    "--commit", default="", envvar="CI_COMMIT_SHA", show_envvar=True, help="Source commit."
)
@click.option("--sbom", type=PATH, help="CycloneDX or SPDX JSON, published beside it.")
@click.option("--provenance", type=PATH, help="in-toto JSON, published beside it.")
@click.option(
    "--coefficients", type=PATH, help="Calibration coefficients that every deploy of it brings."
)
@click.option("--checkpoint", type=PATH, help="Signed checkpoint of a journal to bear witness of.")
@why_option
@publish_option
@signing_options
@json_option
def add(
    image: Path | None,
    again: str | None,
    host: str,
    from_versions: str,
    commit: str,
    sbom: Path | None,
    provenance: Path | None,
    coefficients: Path | None,
    checkpoint: Path | None,
    why: str,
    at_once: bool,
    repo: Path,
    only: tuple[str, ...],
    keyring: Path,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Stage the signed IMAGE as the next release of its board.

    The image is verified with the keyring's image keys first. `--again 2.0.0` releases an older
    one again, as the latest: labs that deploy `latest` then go back to it.
    """
    from cryofw.release import Announcement, add_release, admit, parse_release, release_again

    if (image is None) == (again is None):
        raise UsageError("give either an IMAGE or --again RELEASE")
    if again is not None and not why.strip():
        raise UsageError("a rollback needs a reason", hint="--why TEXT")
    note = read_file(checkpoint, "checkpoint").decode("utf-8", "replace") if checkpoint else ""
    documents = {"sbom": sbom, "provenance": provenance, "coefficients": coefficients}
    said = Announcement(
        acting_as("release", f"add {again or image}") or operator_name(), why, host, commit, note,
        {kind: read_file(path, kind) for kind, path in documents.items() if path is not None},
        from_versions,
    )  # fmt: skip
    with opened(repo) as repository:
        if image is not None:
            data = read_file(image, "image")
            firmware = admit(data, list(trusted_image_keys((), keyring).values()))
            record = add_release(repository, firmware, data, said)
        else:
            product, version = parse_release(again or "", repository.products)
            record = release_again(repository, product, version, said)
            _warn_of_counter(repository, record)
        _publish_or_tell(repository, at_once, keyring, passphrase_file, only)
    _report("released" if at_once else "staged", record, at_once=at_once, as_json=as_json)


@release.command()
@click.argument("name", metavar="RELEASE")
@click.option("--why", required=True, help="What people will read who want to deploy it.")
@publish_option
@signing_options
@json_option
def revoke(
    name: str,
    why: str,
    at_once: bool,
    repo: Path,
    only: tuple[str, ...],
    keyring: Path,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Stage that RELEASE must not be rolled out any more.

    It does not leave the devices that run it: deploy another release there.
    """
    from cryofw.release import parse_release, revoke_release

    with opened(repo) as repository:
        product, version = parse_release(name, repository.products)
        by = acting_as("release", f"revoke {product}/{version}") or operator_name()
        record = revoke_release(repository, product, version, by, why)
        _publish_or_tell(repository, at_once, keyring, passphrase_file, only)
    _report("revoked" if at_once else "staged", record, at_once=at_once, as_json=as_json)


@release.command()
@click.argument("path", metavar="FILE", type=PATH)
@click.option("--as", "name", metavar="NAME", help="What labs call it. [default: FILE's name]")
@publish_option
@signing_options
@json_option
def document(
    path: Path,
    name: str | None,
    at_once: bool,
    repo: Path,
    only: tuple[str, ...],
    keyring: Path,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Stage FILE as a document of the whole repository, such as a policy.

    The targets key signs it; a lab cannot be given an older one than it has seen.
    """
    from cryofw.release import put_document

    acting_as("release", f"document {name or path.name}")
    with opened(repo) as repository:
        put_document(repository, name or path.name, read_file(path, "document"))
        _publish_or_tell(repository, at_once, keyring, passphrase_file, only)
    output = Output()
    if as_json:
        output.json({"document": name or path.name, "published": at_once})
        return
    output.status(Status.OK, "published" if at_once else "staged", name or path.name)


@release.command()
@click.argument("output_path", metavar="OUT", type=PATH)
@repo_directory_option
@force_option
@json_option
def bundle(output_path: Path, repo: Path, force: bool, as_json: bool) -> None:
    """Write all that is published into one file, for labs without a network.

    A lab deploys from it with `--repo OUT`; it is verified as any other source is.
    """
    from cryofw.release import make_bundle

    refuse_existing(output_path, force=force)
    with opened(repo) as repository:
        data = make_bundle(repository)
        shown = repository.published.by_role.items()
        first, role = min((m.signed.expires, role) for role, m in shown)
    write_file(output_path, data, force=force)
    digest = hashlib.sha256(data).hexdigest()
    output = Output()
    if as_json:
        output.json({"file": str(output_path), "sha256": digest, "expires": f"{first:%FT%TZ}"})
        return
    output.status(Status.OK, "bundled", f"{output_path}  {len(data)} bytes")
    output.line(f"  sha256 {digest}")
    output.line(f"  good until {first:%Y-%m-%d}, when {role} expires")


def _warn_of_counter(repository: Repository, record: ReleaseRecord) -> None:
    from cryofw.release import records_of

    known = records_of(repository.next_targets(record.product)).values()
    highest = max((each.security_counter or 0, each.version) for each in known)
    if (record.security_counter or 0) < highest[0]:
        what = f"devices that run {highest[1]} (security counter {highest[0]}) will not boot it"
        Output().status(Status.WARNING, "counter", what)


def _publish_or_tell(
    repository: Repository,
    at_once: bool,
    keyring: Path,
    passphrase_file: Path | None,
    only: Sequence[str],
) -> None:
    if at_once:
        from cryofw.release import publish

        publish(repository, signer_pool(keyring, passphrase_file, only))


def _report(word: str, record: ReleaseRecord, *, at_once: bool, as_json: bool) -> None:
    output = Output()
    if as_json:
        output.json({"release": record.name, **record.to_custom(), "published": at_once})
        return
    counter = "none" if record.security_counter is None else record.security_counter
    back = f", takes back {record.rolls_back}" if record.rolls_back else ""
    output.status(
        Status.OK, word, f"{record.name}  number {record.number}, counter {counter}{back}"
    )
    if not at_once:
        output.line("  `cryofw release publish` makes it what labs see")
