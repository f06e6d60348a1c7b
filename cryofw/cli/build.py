"""`cryofw build`: the sample firmware, through its own Makefile."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import click

from cryofw.cli.options import PATH, json_option
from cryofw.cli.output import Output, Status
from cryofw.errors import BadInput, Unreachable

_COMPILER = "arm-none-eabi-gcc"
_VARIANTS = ("good", "drift", "hang")


@click.command()
@click.argument("directory", metavar="[DIR]", type=PATH, default=Path())
@click.option(
    "--variant", type=click.Choice(_VARIANTS), default="good", show_default=True, help="Behaviour."
)
@click.option("--firmware-version", metavar="TEXT", help="Version string inside the firmware.")
@json_option
def build(directory: Path, variant: str, firmware_version: str | None, as_json: bool) -> None:
    """Compile the sample firmware that `cryofw init` laid out in DIR.

    Your own firmware is built by its own build system; `cryofw sign` takes its .bin, .hex or
    .elf. `init` ships the sample built already, so no compiler is needed to try cryofw.
    """
    sources = _sources(directory)
    _check_tools(sources)
    arguments = [f"VARIANT={variant}"]
    if firmware_version is not None:
        arguments.append(f"VERSION={_plain(firmware_version)}")
    done = subprocess.run(  # noqa: S603  # the arguments are checked, and there is no shell
        ["make", "--no-print-directory", *arguments],  # noqa: S607  # make of the user's PATH
        cwd=sources,
        env=os.environ | {"LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BadInput(
            f"the firmware in {sources} does not build",
            why="\n".join((done.stderr or done.stdout).splitlines()[-20:]),
        )
    built = [sources / "build" / f"{variant}.{kind}" for kind in ("bin", "hex", "elf")]
    output = Output()
    if as_json:
        output.json({"variant": variant, "files": [str(path) for path in built]})
        return
    for path in built:
        output.status(Status.OK, "built", f"{path}  {path.stat().st_size} bytes")


def _sources(directory: Path) -> Path:
    for candidate in (directory / "firmware", directory):
        if (candidate / "Makefile").is_file() and (candidate / "linker.ld").is_file():
            return candidate
    raise BadInput(
        f"no sample firmware in {directory}",
        why="expected a Makefile and linker.ld, there or in firmware/",
        hint="`cryofw init DIR` lays it out",
    )


def _check_tools(sources: Path) -> None:
    missing = [tool for tool in ("make", _COMPILER) if shutil.which(tool) is None]
    if missing:
        raise Unreachable(
            f"cannot build: {' and '.join(missing)} not found",
            why=f"{sources / 'build'} holds the sample already built, if nothing was changed",
            hint="Debian: apt install gcc-arm-none-eabi make",
        )


def _plain(text: str) -> str:
    """Refuse what make or the compiler would read as more than a version."""
    if not text or not all(each.isalnum() or each in "._+-" for each in text) or len(text) > 32:
        raise click.UsageError(f"{text!r} is no version string: letters, digits and . _ + - only")
    return text
