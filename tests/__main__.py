"""All checks of the project in one command: `python -m tests`.

The static checks run first, each in a process of its own, and all of them even when one fails;
then pytest, if they passed. Ends with 0 only if everything passed.

    python -m tests           everything
    python -m tests --fast    without peers (imgtool, smpmgr, the compiler) and real time
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Check(NamedTuple):
    """A check that reads the project's files and runs none of its tests."""

    title: str
    command: str


CHECKS = (
    Check("layout of the code", "ruff format --check"),
    Check("lint", "ruff check"),
    Check("types", "mypy"),
    Check("who may import whom", "lint-imports"),
    Check(
        "the pipeline, by GitLab's schema",
        "check-jsonschema --builtin-schema vendor.gitlab-ci --data-transform gitlab-ci"
        " .gitlab-ci.yml",
    ),
    Check(
        "fleet.yaml, by the published schema",
        "check-jsonschema --schemafile docs/fleet.v1.schema.json fleet.yaml"
        " cryofw/cli/sample/fleet.yaml",
    ),
)
# A process for each core; what runs in real time stays together in one.
TESTS = "python -m pytest -n auto --dist loadgroup"
FAST = TESTS + " -m 'not peer and not realtime'"


def main(arguments: list[str]) -> int:
    """Run the checks; 0 if all passed, 1 if one did not, 2 for an unknown argument."""
    if arguments not in ([], ["--fast"]):
        print(__doc__, file=sys.stderr)
        return 2
    results = [(check, *_timed(check.command)) for check in CHECKS]
    print(flush=True)
    for check, code, took_s in results:
        print(f"{'failed' if code else 'ok':<7} {took_s:5.1f} s  {check.title}", flush=True)
    if any(code for _, code, _ in results):
        print("the tests were not run: see the failed checks above", file=sys.stderr)
        return 1
    code, _ = _timed(FAST if arguments else TESTS)
    return 1 if code else 0


def _timed(command: str) -> tuple[int, float]:
    """Run one command of this Python's environment; its exit code and seconds."""
    print(f"\n$ {command}", flush=True)
    program, *rest = shlex.split(command)
    scripts = Path(sysconfig.get_path("scripts"))
    # The interpreter that runs this file, also where it is not first on PATH.
    program = sys.executable if program == "python" else str(scripts / program)
    environ = os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
    began_s = time.monotonic()
    try:
        code = subprocess.run([program, *rest], cwd=ROOT, env=environ).returncode
        if code < 0:
            print(f"{program} was killed by signal {-code}", file=sys.stderr, flush=True)
    except FileNotFoundError:
        print(f"{program} is missing: pip install -e '.[test]'", file=sys.stderr, flush=True)
        code = 1
    return code, time.monotonic() - began_s


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
