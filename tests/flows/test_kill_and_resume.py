"""kill -9 of a real deploy, and a resume that keeps every invariant.

The kill is given from outside once the journal has so many lines, so it hits wherever the process
then is. Before the resume and after its end the chips themselves are looked at.
"""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.flows.small_lab import DEVICES, edit_fleet, make_rig_tolerant

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from cryofw.gameday import SeenChip
    from tests.flows.small_lab import SmallLab

_PATIENCE_S = 60.0
_TRIES = 12

# Release, lines after which the process is killed. Twenty points over four rollouts.
POINTS = [
    *(("good", lines) for lines in (1, 3, 5, 8, 9, 11, 15, 20, 26, 31, 35)),
    *(("drift", lines) for lines in (16, 22, 25, 28)),
    *(("hang", lines) for lines in (4, 8)),
    *(("hang-later", lines) for lines in (6, 7, 9)),
]


def kill_at(process: subprocess.Popen[str], journal: Path, lines: int) -> bool:
    """SIGKILL once the journal has so many lines; False if it ended before."""
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until and process.poll() is None:
        if journal.exists() and journal.read_bytes().count(b"\n") >= lines:
            process.send_signal(signal.SIGKILL)
            break
    process.communicate(timeout=_PATIENCE_S)
    return process.returncode == -signal.SIGKILL


def kill_deploy(
    labs: Callable[[str], SmallLab], image: str, lines: int
) -> tuple[SmallLab, dict[str, SeenChip]]:
    """A lab whose deploy was killed on its way, and how its chips were before.

    On a busy machine the kill may come too late to prove anything; then another lab is taken.
    """
    for attempt in range(_TRIES):
        lab = labs(f"{image}-{lines}-{attempt}")
        edit_fleet(lab, "soak: 5 min", "soak: 20 min")
        if image == "drift":  # so that the canary finds it, after the rig has passed
            make_rig_tolerant(lab)
        before = lab.see()
        process = lab.start("deploy", f"{image}.bin", "--yes")
        if not kill_at(process, lab.state / "journal.jsonl", lines):
            continue
        at_kill = lab.check_moment(before)
        assert at_kill is not None, "it was killed before it began"
        if not at_kill.ended:
            return lab, before
    raise AssertionError(f"no kill came in time in {_TRIES} tries")


@pytest.mark.parametrize(("image", "lines"), POINTS)
def test_a_killed_deploy_is_resumed_to_an_end_that_keeps_every_invariant(
    another_lab: Callable[[str], SmallLab], image: str, lines: int
) -> None:
    lab, before = kill_deploy(another_lab, image, lines)
    lab.run("status").expect(0, "r-")

    resumed = lab.finish()

    lab.check_end(before)
    resumed.expect(0 if image == "good" else 6)
    running = lab.running()
    if image == "drift":
        assert running.pop("rig-a") == "drift", "its own gate had passed"
    assert set(running.values()) == {"good" if image == "good" else "factory"}
    assert "rollout-resumed" in {record["kind"] for record in lab.records()}


def test_there_are_twenty_points_and_no_stage_is_left_out() -> None:
    assert len(set(POINTS)) == 20


def test_a_resume_that_is_killed_too_is_resumed(
    another_lab: Callable[[str], SmallLab],
) -> None:
    lab, before = kill_deploy(another_lab, "good", 7)
    killed = 0
    for lines in (14, 22, 30):
        killed += kill_at(lab.start("resume"), lab.state / "journal.jsonl", lines)
        lab.check_moment(before)
    assert killed

    lab.finish().expect(0)

    lab.check_end(before)
    assert lab.running() == dict.fromkeys(DEVICES, "good")


@pytest.mark.parametrize("order", ["abort", "rollback"])
def test_a_killed_deploy_can_be_ended_instead(
    another_lab: Callable[[str], SmallLab], order: str
) -> None:
    """The device is in its test boot, and a person decides that it was enough."""
    lab, before = kill_deploy(another_lab, "good", 10)

    lab.run(order, "--yes").expect(0)

    lab.check_end(before)
    assert lab.running() == dict.fromkeys(DEVICES, "factory")
