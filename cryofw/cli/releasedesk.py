"""What the publisher's commands share: the repository, its keys, and how they are told."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from cryofw.cli.keychoice import passphrase_source, pin_source
from cryofw.cli.options import keyring_option, passphrase_option
from cryofw.cli.output import Output, Status
from cryofw.cli.releaseview import repo_directory_option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from cryofw.release import Repository, SignerPool

key_option = click.option(
    "-k",
    "--key",
    "only",
    metavar="NAME",
    multiple=True,
    help="Sign with this key only. May be repeated. [default: all that are at hand]",
)


def signing_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options with which metadata is signed."""
    for option in (passphrase_option, keyring_option, key_option, repo_directory_option):
        command = option(command)
    return command


@contextmanager
def opened(repo: Path, *, new: bool = False) -> Iterator[Repository]:
    """The repository, for this publisher alone; only a `new` one is made.

    Raises:
        RepositoryUnusable: there is none.
        StorageLocked: another publisher is at work.
    """
    from cryofw.journal import FileStorage
    from cryofw.release import Repository, RepositoryUnusable

    if not new and not any((repo / part).is_dir() for part in ("metadata", "staged")):
        raise RepositoryUnusable(
            f"{repo} is no release repository", hint="`cryofw release init` makes one; see --repo"
        )
    storage = FileStorage(repo, public=True)
    with storage.lock("publisher"):
        yield Repository(storage, datetime.now(UTC), str(repo))


def signer_pool(keyring: Path, passphrase_file: Path | None, only: Sequence[str]) -> SignerPool:
    """The release keys of a keyring, or only those that are named."""
    from cryofw.keys import load_keyring
    from cryofw.release import SignerPool

    return SignerPool(load_keyring(keyring), passphrase_source(passphrase_file), only, pin_source())


def tell_published(repository: Repository, *, as_json: bool) -> None:
    """What labs see now, and how long."""
    shown = repository.published.by_role
    versions: dict[str, Any] = {role: each.signed.version for role, each in shown.items()}
    first, role = min((each.signed.expires, role) for role, each in shown.items())
    output = Output()
    if as_json:
        output.json({"published": versions, "expires": f"{first:%FT%TZ}"})
        return
    words = ", ".join(f"{role} {version}" for role, version in versions.items())
    output.status(Status.OK, "published", words)
    output.line(f"  good until {first:%Y-%m-%d}, when {role} expires")
