"""`cryofw release init`, `rotate`, `refresh`, `sign` and `publish`: everything that keys sign."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import click

from cryofw.cli.options import json_option
from cryofw.cli.output import Output, Status
from cryofw.cli.policyhere import acting_as
from cryofw.cli.releasedesk import opened, signer_pool, signing_options, tell_published
from cryofw.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@click.command()
@signing_options
@click.option("--root", "roots", metavar="NAME", multiple=True, required=True, help="A root key.")
@click.option("--threshold", type=int, default=2, show_default=True, help="Root keys that sign.")
@click.option("--targets", metavar="NAME", required=True, help="Key that names the products' keys.")
@click.option("--online", metavar="NAME", required=True, help="Key that says what is current.")
@click.option(
    "--product", "products", metavar="BOARD=NAME", multiple=True, required=True,
    help="A board, and the key that releases for it. May be repeated.",
)  # fmt: skip
@click.option("--days", metavar="ROLE=N", multiple=True, help="How long a role's word holds.")
@json_option
def init(
    repo: Path,
    roots: tuple[str, ...],
    threshold: int,
    targets: str,
    online: str,
    products: tuple[str, ...],
    days: tuple[str, ...],
    only: tuple[str, ...],
    keyring: Path,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Make a repository.

    The keys are names of the keyring, of purpose `release`. Each root is signed by --threshold of
    the --root keys; keep them offline and apart. A holder who is not here signs later, with
    `release sign`.
    """
    from cryofw.release import FirstKeys, publish, stage_first

    with opened(repo, new=True) as repository:
        pool = signer_pool(keyring, passphrase_file, only)
        keys = FirstKeys(
            [pool.key(name) for name in roots],
            threshold,
            pool.key(targets),
            pool.key(online),
            {board: pool.key(name) for board, name in _pairs(products, "BOARD=NAME").items()},
        )
        counts = {role: _days(count) for role, count in _pairs(days, "ROLE=N").items()}
        stage_first(repository, keys, counts)
        publish(repository, pool)
        root = repository.storage.read("metadata/1.root.json")
    fingerprint = hashlib.sha256(root).hexdigest()
    output = Output()
    if as_json:
        output.json({"repository": str(repo), "root": fingerprint})
        return
    output.status(Status.OK, "made", f"{repo}: root {threshold} of {', '.join(roots)}")
    output.line(f"  fingerprint {fingerprint}")
    output.line(
        f"  hand {repo}/metadata/1.root.json to each lab by another way than the repository"
    )


@click.command()
@click.argument("role")
@click.option("--add", "added", metavar="NAME", multiple=True, help="Key that gets the role.")
@click.option("--remove", metavar="NAME|ID", multiple=True, help="Key that loses it.")
@click.option("--threshold", type=int, help="How many of its keys must sign from now on.")
@click.option("--new-product", is_flag=True, help="ROLE is a board the repository lacks yet.")
@signing_options
@json_option
def rotate(
    role: str,
    added: tuple[str, ...],
    remove: tuple[str, ...],
    threshold: int | None,
    new_product: bool,
    repo: Path,
    only: tuple[str, ...],
    keyring: Path,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Stage other keys for ROLE: root, targets, online, or a board.

    `release publish` then has it signed, by the holders of the root or the targets key, and
    leads every client over without a moment in which one would refuse the repository.
    """
    from cryofw.release import rotate as stage_rotation

    acting_as("release", f"rotate {role}")
    with opened(repo) as repository:
        pool = signer_pool(keyring, passphrase_file, only)
        keys = [pool.key(name) for name in added]
        waiting = stage_rotation(repository, role, keys, remove, threshold, new_product=new_product)
    output = Output()
    if as_json:
        output.json({"role": role, "to_sign": waiting})
        return
    output.status(Status.OK, "staged", f"new keys of {role}; to be signed: {', '.join(waiting)}")
    output.line("  `cryofw release publish` publishes it, after `release sign` of absent holders")


@click.command()
@click.argument("roles", metavar="[ROLE]...", nargs=-1)
@signing_options
@json_option
def refresh(
    roles: tuple[str, ...],
    repo: Path,
    only: tuple[str, ...],
    keyring: Path,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Renew what expires, and publish: snapshot and timestamp, and the named ROLEs too."""
    from cryofw.release import publish, renew

    with opened(repo) as repository:
        renew(repository, roles)
        publish(repository, signer_pool(keyring, passphrase_file, only))
        tell_published(repository, as_json=as_json)


@click.command()
@signing_options
@json_option
def publish(
    repo: Path,
    only: tuple[str, ...],
    keyring: Path,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Sign what is staged and make it what labs see, all of it in one moment.

    Killed in the middle, labs see the old or the new repository; the same command goes on.
    """
    from cryofw.release import publish as publish_staged
    from cryofw.release import require_staged

    acting_as("release", "publish")
    with opened(repo) as repository:
        require_staged(repository)
        publish_staged(repository, signer_pool(keyring, passphrase_file, only))
        tell_published(repository, as_json=as_json)


@click.command()
@signing_options
@json_option
def sign(
    repo: Path,
    only: tuple[str, ...],
    keyring: Path,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Sign what is staged with the keys at hand, and publish nothing.

    For a holder of a key at another computer, on a copy of the repository's directory.
    """
    from cryofw.release import require_staged, sign_staged

    with opened(repo) as repository:
        require_staged(repository)
        shortages = sign_staged(repository, signer_pool(keyring, passphrase_file, only))
    output = Output()
    if as_json:
        output.json({"missing": [str(shortage) for shortage in shortages]})
        return
    for shortage in shortages:
        output.status(Status.WARNING, "missing", str(shortage))
    if not shortages:
        output.status(Status.OK, "signed", "nothing is missing; `cryofw release publish`")


def _pairs(texts: Sequence[str], form: str) -> dict[str, str]:
    pairs = dict(text.partition("=")[::2] for text in texts)
    if len(pairs) != len(texts) or not all(pairs.values()):
        raise UsageError(f"{' '.join(texts)!r} is not of the form {form}, each name once")
    return pairs


def _days(text: str) -> int:
    if not text.isdecimal():
        raise UsageError(f"{text!r} is no number of days")
    return int(text)
