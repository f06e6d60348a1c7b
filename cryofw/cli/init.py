"""`cryofw init`: a lab to try cryofw on, and to replace piece by piece with one's own."""

from __future__ import annotations

import json
import shutil
import tempfile
from importlib.resources import as_file, files
from pathlib import Path

import click

from cryofw.cli.newkey import add_key, default_algorithm
from cryofw.cli.options import PATH, json_option
from cryofw.cli.output import Output, Status
from cryofw.errors import BadInput, Refused
from cryofw.keys import Purpose, environment_passphrase

_KEYS = {"firmware": Purpose.IMAGE, "release": Purpose.RELEASE, "journal": Purpose.JOURNAL}
_IGNORED = """\
# Private keys and what cryofw keeps while it works; public halves may be committed.
keys/*.pem
!keys/*.pub.pem
.cryofw/
"""


@click.command()
@click.argument("directory", metavar="DIR", type=PATH)
@json_option
def init(directory: Path, as_json: bool) -> None:
    """Lay out a lab in DIR: sample firmware, fleet.yaml, a keyring with new keys.

    DIR must be new or empty. With CRYOFW_PASSPHRASE set, the private keys are encrypted.
    """
    _check_target(directory)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        parent = directory if directory.is_dir() else directory.parent
        with tempfile.TemporaryDirectory(prefix=".cryofw-init-", dir=parent) as staging:
            _lay_out(Path(staging))
            directory.mkdir(exist_ok=True)
            for item in sorted(Path(staging).iterdir()):
                item.rename(directory / item.name)
    except OSError as error:
        raise BadInput(f"cannot lay out {directory}", why=error.strerror or str(error)) from error
    if as_json:
        Output().json({"directory": str(directory), "keyring": "keys.yaml", "fleet": "fleet.yaml"})
    else:
        _say_next(directory)


def _check_target(directory: Path) -> None:
    if not directory.exists() and not directory.is_symlink():
        return
    if not directory.is_dir():
        raise Refused(f"{directory} is not a directory", hint="name a new one")
    if any(directory.iterdir()):
        raise Refused(
            f"{directory} is not empty",
            why=f"it holds {min(path.name for path in directory.iterdir())!r}",
            hint="name a new directory; nothing was written",
        )


def _lay_out(target: Path) -> None:
    with as_file(files("cryofw.cli") / "sample") as sample:
        shutil.copytree(sample / "firmware", target / "firmware")
        shutil.copytree(sample / "prebuilt", target / "firmware" / "build")
        shutil.copyfile(sample / "fleet.yaml", target / "fleet.yaml")
    _write_schema(target / "docs" / "fleet.v1.schema.json")
    passphrase = environment_passphrase()
    for name, purpose in _KEYS.items():
        add_key(target / "keys.yaml", name, purpose, default_algorithm(purpose), passphrase(name))
    (target / ".gitignore").write_text(_IGNORED, "utf-8")


def _write_schema(path: Path) -> None:
    """Write the JSON Schema that the first line of fleet.yaml points editors to."""
    from cryofw.fleet import fleet_json_schema

    path.parent.mkdir()
    path.write_text(json.dumps(fleet_json_schema(), indent=2) + "\n", "utf-8")


def _say_next(directory: Path) -> None:
    output = Output()
    output.status(Status.OK, "laid out", str(directory))
    for path, meaning in (
        ("firmware/", "sample firmware, built in variants good, drift and hang"),
        ("fleet.yaml", "a simulated lab: replace its ports by your own"),
        ("keys.yaml", "which key signs what; the keys are new and in keys/"),
    ):
        output.line(f"  {path:<12} {meaning}")
    output.line()
    output.line("Next:")
    output.line(f"  cd {directory}")
    output.line("  cryofw sign firmware/build/good.bin good.bin --version 1.0.0 --board cc40")
    output.line("  cryofw verify good.bin")
