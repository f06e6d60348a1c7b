"""`cryofw demo`: the real commands, one after the other, on a simulated lab."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from cryofw.cli.options import PATH
from cryofw.cli.output import Output, Status
from cryofw.errors import CryofwError, Refused

_STORY: tuple[tuple[str, tuple[tuple[str, int], ...]], ...] = (
    (
        "A lab: sample firmware, fleet.yaml, new keys; every device gets its factory firmware.",
        (
            ("init .", 0),
            ("sign firmware/build/good.bin factory.bin --version 1.0.0 --board cc40", 0),
            ("sim create --factory factory.bin", 0),
        ),
    ),
    (
        "A good release: rig, canary cryostat, a person approves, fleet. Hours of soak.",
        (
            ("sign firmware/build/good.bin good.bin --version 1.1.0 --board cc40", 0),
            ("deploy good.bin --yes", 75),
            ("approve --stage fleet --why 'canary soaked well'", 0),
            ("resume", 0),
        ),
    ),
    (
        "A release whose calibration shifts after 20 minutes: the rig catches it.",
        (
            ("sign firmware/build/drift.bin drift.bin --version 1.2.0 --board cc40", 0),
            ("deploy drift.bin --yes", 6),
        ),
    ),
    (
        "A release that hangs at boot: the rig catches it.",
        (
            ("sign firmware/build/hang.bin hang.bin --version 1.3.0 --board cc40", 0),
            ("deploy hang.bin --yes", 6),
        ),
    ),
    (
        "What runs where, and the record that proves it.",
        (("inventory --read", 0), ("audit verify", 0)),
    ),
)


@click.command()
@click.option("--dir", "directory", type=PATH, help="A new directory. [default: a temporary one]")
def demo(directory: Path | None) -> None:
    """Run the main job on a simulated lab: a good release, a drifting one, one that hangs.

    Each command is shown as it is run and is the real one. The lab is left for you to look at.
    """
    output = Output()
    if directory is None:
        directory = Path(tempfile.mkdtemp(prefix="cryofw-demo-"))
    elif directory.exists() and any(directory.iterdir()):
        raise Refused(f"{directory} is not empty", hint="name a new directory")
    directory.mkdir(parents=True, exist_ok=True)
    started_s = time.monotonic()
    for title, commands in _STORY:
        output.line()
        output.line(output.style(f"# {title}", "cyan", bold=True))
        for command, expected in commands:
            _run(output, directory, command, expected)
    output.line()
    took_s = time.monotonic() - started_s
    output.status(Status.OK, "done", f"in {took_s:.0f} s; the lab is in {directory}")
    output.line(f"  cd {directory} && cryofw audit show")


def _run(output: Output, directory: Path, command: str, expected: int) -> None:
    """Run one command as a user would; its exit code is part of the story."""
    output.line()
    output.line(output.style(f"$ cryofw {command}", "blue", bold=True))
    environ = {k: v for k, v in os.environ.items() if not k.startswith("CRYOFW_")}
    environ["CRYOFW_USER"] = environ.get("USER") or "demo"
    if output.colour:
        environ.setdefault("FORCE_COLOR", "1")
    arguments = [sys.executable, "-m", "cryofw.cli", *shlex.split(command)]
    done = subprocess.run(arguments, cwd=directory, env=environ, check=False)  # noqa: S603  # our own command line
    if done.returncode != expected:
        raise CryofwError(
            f"`cryofw {command}` ended with exit code {done.returncode}",
            why=f"the demo expects {expected}",
            hint=f"look at it in {directory}",
        )
    if expected:
        output.line(output.style(f"(exit code {expected})", "dim"))
