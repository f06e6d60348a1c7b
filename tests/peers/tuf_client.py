#!/usr/bin/env python3
"""cryofw's TUF client behind the command line of the TUF conformance suite (its CLIENT-CLI.md).

Only what the suite asks for: the workflow is that of `cryofw.release`, with its fetcher and its
translation of errors.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from cryofw.errors import CryofwError
from cryofw.release.session import Session
from cryofw.release.source import HttpFetcher
from cryofw.release.translation import translated


def main() -> int:
    """Run one command of the suite; 0 if it succeeded, 1 if not."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--metadata-dir", type=Path, required=True)
    parser.add_argument("--metadata-url", default="")
    parser.add_argument("--target-name", action="append", default=[])
    parser.add_argument("--target-dir", type=Path)
    parser.add_argument("--target-base-url", default="")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("init").add_argument("trusted_root", type=Path)
    commands.add_parser("refresh")
    commands.add_parser("download")
    given = parser.parse_args()
    if given.command == "init":
        shutil.copyfile(given.trusted_root, given.metadata_dir / "root.json")
        return 0
    try:
        _update(given)
    except CryofwError as error:
        print(f"{error}\nhint: {error.hint}", file=sys.stderr)
        return 1
    return 0


def _update(given: argparse.Namespace) -> None:
    base, metadata = _split(given.metadata_url)
    targets = _split(given.target_base_url)[1] if given.target_base_url else "targets"
    with translated(base):
        session = Session(
            given.metadata_dir,
            HttpFetcher(base),
            datetime.now(UTC),
            None,
            metadata_url=metadata,
            targets_url=targets,
        )
        session.refresh()
        for name in given.target_name:
            target = session.get_targetinfo(name)
            if target is None:
                raise SystemExit(f"{name} is not in the repository")
            kept = given.target_dir / name.replace("/", "%2F")
            if session.find_cached_target(target, str(kept)) is None:
                kept.write_bytes(session.read_target(target))


def _split(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}", parts.path.strip("/")


if __name__ == "__main__":
    sys.exit(main())
