"""The TUF conformance suite against our client: every case of it.

The suite is no package of a registry. Where a checkout of theupdateframework/tuf-conformance is at
hand, and Debian's `faketime`:

    TUF_CONFORMANCE=path/to/tuf-conformance python -m pytest tests/peers/test_tuf_conformance.py
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.peer

CHECKOUT = os.environ.get("TUF_CONFORMANCE", "")
CLIENT = Path(__file__).with_name("tuf_client.py")
LEAST_CASES = 100  # of 113 when this was written: a suite that runs nothing proves nothing


@pytest.mark.skipif(not CHECKOUT, reason="TUF_CONFORMANCE names no checkout of the suite")
def test_every_case_of_the_conformance_suite_passes(tmp_path: Path) -> None:
    assert shutil.which("faketime"), "the suite needs Debian's faketime"
    entry = tmp_path / "client"
    entry.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{CLIENT}" "$@"\n')
    entry.chmod(0o755)
    suite = Path(CHECKOUT).resolve()
    command = [sys.executable, "-m", "pytest", "tuf_conformance", "-q", "-p", "no:cacheprovider"]

    ran = subprocess.run(
        [*command, "--entrypoint", str(entry)], cwd=suite, capture_output=True, text=True
    )

    assert ran.returncode == 0, ran.stdout[-5000:] + ran.stderr[-2000:]
    passed = re.search(r"(\d+) passed", ran.stdout)
    assert passed is not None
    assert int(passed[1]) >= LEAST_CASES
    assert not re.search(r"skipped|xfailed|deselected", ran.stdout), ran.stdout[-2000:]
