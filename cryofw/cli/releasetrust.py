"""`cryofw release trust`: the one moment of belief, in a person and not in a server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cryofw.cli.file import read_file
from cryofw.cli.options import PATH, force_option, json_option, state_option
from cryofw.cli.output import Output, Status
from cryofw.errors import Refused, UsageError

if TYPE_CHECKING:
    from cryofw.release import PinnedRoot
    from cryofw.release.metadata import Root


@click.command()
@click.argument("root_file", metavar="ROOT", type=PATH)
@click.option("--repo", "source", default="", help="Where its releases usually come from.")
@click.option("--fingerprint", default="", help="SHA-256 that the release manager told you.")
@click.option("-y", "--yes", is_flag=True, help="The fingerprint was compared already.")
@state_option
@force_option
@json_option
def trust(
    root_file: Path,
    source: str,
    fingerprint: str,
    yes: bool,
    state: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Trust the repository with this ROOT file from now on.

    The file comes from the release manager by another way than the repository. Compare its
    fingerprint with what they tell you; nothing is ever trusted because a server said so.
    """
    from cryofw.journal import FileStorage
    from cryofw.release import PinnedRoot, pin_root, read_root

    pinned = PinnedRoot(read_file(root_file, "root file"), _absolute(source))
    root = read_root(pinned.data, str(root_file))
    output = Output()
    if not as_json:
        _show(output, pinned, root)
    if fingerprint:
        _compare(pinned, fingerprint)
    elif not yes:
        _ask()
    pin_root(FileStorage(state), pinned, replace=force)
    if as_json:
        output.json({"root": pinned.fingerprint, "version": root.version, "source": pinned.source})
        return
    output.status(Status.OK, "trusted", f"{state}/releases/root.json")


def _show(output: Output, pinned: PinnedRoot, root: Root) -> None:
    from cryofw.release import keys_of_role

    output.line(f"Root {root.version}, until {root.expires:%Y-%m-%d}")
    output.line(f"  fingerprint {pinned.fingerprint}")
    for role in root.roles:
        names, threshold = keys_of_role(role, {"root": root})
        output.line(f"  {role:<10}  {threshold} of {', '.join(names)}")


def _ask() -> None:
    if not sys.stdin.isatty():
        raise UsageError(
            "nobody is at the terminal to compare the fingerprint",
            hint="--fingerprint SHA256 compares it; --yes says that you did",
        )
    question = "Is this the fingerprint that the release manager told you? Type 'yes' to trust it"
    if click.prompt(question, default="", show_default=False).strip() != "yes":
        raise Refused("nobody vouched for the fingerprint; nothing was trusted")


def _compare(pinned: PinnedRoot, fingerprint: str) -> None:
    told = "".join(fingerprint.split()).replace(":", "").lower()
    if told != pinned.fingerprint:
        raise Refused(
            "this is not the root file that you were told of",
            why=f"its fingerprint is {pinned.fingerprint}, you were told {told[:64]}",
            hint="ask the release manager again; nothing was trusted",
        )


def _absolute(source: str) -> str:
    """A path is remembered from wherever it was given."""
    return source if not source or "://" in source else str(Path(source).resolve())
