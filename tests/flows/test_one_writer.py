"""One writer for each device and each journal, between processes; others are told who it is."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
import time
import tty
from typing import TYPE_CHECKING

import pytest

from tests.flows.small_lab import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.flows.small_lab import SmallLab

_PATIENCE_S = 30.0

_HOLD = """\
import sys
from cryofw.journal import FileStorage
with FileStorage(sys.argv[1]).lock("journal.jsonl"):
    print("held", flush=True)
    sys.stdin.read()
"""

_REAL = """\
schema: cryofw.fleet/v1
lab: bench
board: cc40
defaults:
  heartbeat: {{every: 2 s}}
  reset: watchdog
  thermal: {{stage: 4k, capacity: 1.5 W, headroom: 80 %, flash: 60 mW, max_rise: 150 mK}}
stages: [{{name: bench, targets: [bench-1], soak: 10 s}}]
cryostats: {{bench-1: {{controllers: {{b1: {{port: "{port}", hw: "5c01"}}}}}}}}
"""


@contextlib.contextmanager
def journal_holder(lab: SmallLab) -> Iterator[int]:
    """Another process that writes the lab's journal; its id."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(lab.state)],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process.pid
        process.communicate("")
    assert process.returncode == 0


@pytest.fixture
def silent_port() -> Iterator[str]:
    """A serial port on which nobody answers."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    try:
        yield os.ttyname(slave)
    finally:
        os.close(slave)
        os.close(master)


def test_a_device_belongs_to_one_process(
    another_lab: Callable[[str], SmallLab], silent_port: str, tmp_path: Path
) -> None:
    one, other = another_lab("one"), another_lab("other")
    for lab in (one, other):
        (lab.directory / "fleet.yaml").write_text(_REAL.format(port=silent_port))
    locks = tmp_path / "run"
    locks.mkdir(mode=0o700)
    first = one.start("deploy", "good.bin", "--yes", XDG_RUNTIME_DIR=str(locks))
    try:
        holder = wait_for_holder(locks, first)
        second = other.start("deploy", "good.bin", "--yes", XDG_RUNTIME_DIR=str(locks))
        out, err = second.communicate(timeout=_PATIENCE_S)
    finally:
        first.kill()
        first.communicate()

    assert second.returncode == 5, out + err
    assert f"process {holder}" in err
    assert "deploy good.bin --yes" in err
    assert silent_port in err
    assert other.records() == []

    # The kernel frees what a killed process held.
    third = other.start("inventory", "--read", XDG_RUNTIME_DIR=str(locks))
    try:
        assert wait_for_holder(locks, third) == third.pid
    finally:
        third.kill()
        third.communicate()


def wait_for_holder(locks: Path, process: subprocess.Popen[str]) -> int:
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        assert process.poll() is None, process.communicate()
        for path in locks.rglob("*.lock"):
            with contextlib.suppress(ValueError):
                if json.loads(path.read_bytes())["pid"] == process.pid:
                    return process.pid
        time.sleep(0.01)
    raise AssertionError("it never took the port")


def test_a_journal_has_one_writer(small_lab: SmallLab) -> None:
    lab = small_lab
    lab.run("deploy", "good.bin", "--yes").expect(75)
    seen, records = lab.see(), lab.records()

    with journal_holder(lab) as pid:
        lab.run("resume").expect(5, "journal.jsonl is in use", f"process {pid}", "one writer")
        lab.run("deploy", "good.bin", "--yes").expect(5, f"process {pid}")
        # Reading needs no lock.
        lab.run("status").expect(0, "paused")
        lab.run("audit", "verify").expect(0)

    assert lab.see() == seen
    assert lab.records() == records
    lab.run("approve", "--stage", "fleet").expect(0)
    lab.run("resume").expect(0)


def test_a_request_to_a_running_rollout_is_kept_until_it_is_obeyed(small_lab: SmallLab) -> None:
    lab, before = small_lab, small_lab.see()
    lab.run("deploy", "good.bin", "--yes", "--stage", "test-rig").expect(0)

    with journal_holder(lab) as pid:
        lab.run("abort", "--yes", "--why", "helium is low").expect(0, "asked", f"process {pid}")
        assert "abort-requested" not in [record["kind"] for record in lab.records()]

    lab.run("resume").expect(6, "helium is low")
    assert lab.check_end(before).ended == "aborted"
    assert list((lab.state / "requests").rglob("*.json")) == [], "it would be obeyed twice"


def test_a_served_lab_is_not_driven_behind_its_back(small_lab: SmallLab) -> None:
    lab = small_lab
    serving = lab.start("sim", "serve")
    try:
        assert serving.stdout is not None
        assert "serving" in serving.stdout.readline()
        lab.run("deploy", "good.bin", "--yes").expect(
            5, "simulated lab is in use", f"process {serving.pid}"
        )
    finally:
        serving.kill()
        serving.communicate()
    assert lab.records() == []
