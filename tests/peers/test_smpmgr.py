"""smpmgr, unmodified, as a program, against a simulated controller on a pty."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cryofw.image import parse_image

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.peer, pytest.mark.realtime]

SMPMGR = shutil.which("smpmgr", path=str(Path(sys.executable).parent)) or shutil.which("smpmgr")


def smpmgr(port: Path, *words: str) -> str:
    assert SMPMGR is not None, "smpmgr is part of the test extra"
    # Two line buffers, as the recorded devices have: smpmgr's default.
    done = subprocess.run(
        [SMPMGR, "--port", str(port.resolve()), "--timeout", "5", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def state_when(port: Path, wanted: str) -> str:
    """Read the state until it shows `wanted`: a device takes its time to boot."""
    deadline = time.monotonic() + 20
    while True:
        state = smpmgr(port, "image", "state-read")
        if wanted in state or time.monotonic() > deadline:
            return state


def test_update_from_echo_to_confirm(
    served_device: Path, make_image: Callable[[str], bytes], tmp_path: Path
) -> None:
    image = tmp_path / "new.bin"
    image.write_bytes(make_image("1.1.0"))
    value = parse_image(image.read_bytes()).hash.hex()

    assert "hello" in smpmgr(served_device, "os", "echo", "hello")
    before = smpmgr(served_device, "image", "state-read")
    assert "1.0.0" in before
    assert "1.1.0" not in before
    smpmgr(served_device, "image", "upload", str(image))
    smpmgr(served_device, "image", "state-write", value)
    assert "pending=True" in smpmgr(served_device, "image", "state-read").replace(" ", "")
    smpmgr(served_device, "os", "reset")
    time.sleep(0.6)  # nothing may be sent while the bootloader listens
    running = state_when(served_device, "1.1.0")
    assert running.index("1.1.0") < running.index("1.0.0")
    smpmgr(served_device, "image", "state-write", "--confirm")
    smpmgr(served_device, "os", "reset")
    time.sleep(0.6)
    confirmed = state_when(served_device, "1.1.0")
    assert confirmed.index("1.1.0") < confirmed.index("1.0.0")
