"""The emergency stop: of a rollout here, in another process, and in one that does not obey."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from cryofw.engine.home import Home
from tests.flows.small_lab import DEVICES, edit_fleet
from tests.flows.test_kill_and_resume import kill_deploy
from tests.flows.test_one_writer import journal_holder

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.flows.small_lab import SmallLab

_PATIENCE_S = 60.0


def kinds(lab: SmallLab) -> list[str]:
    return [record["kind"] for record in lab.records()]


def test_a_process_that_does_not_obey_is_named(small_lab: SmallLab) -> None:
    lab, before = small_lab, small_lab.see()
    lab.run("deploy", "good.bin", "--yes").expect(75)

    with journal_holder(lab) as pid:
        late = lab.run("stop", "--why", "smoke", "--wait", "0.2")
        late.expect(69, "was told to stop, and has not within 0.2 s", f"process {pid}", "kill -9")

    # It went away without having read it: the same command does it now, once.
    lab.run("stop", "--why", "smoke").expect(0, "stopped", "smoke")
    assert kinds(lab).count("stop-requested") == 1
    assert list((lab.state / "requests").rglob("*.json")) == []
    assert lab.check_end(before).ended == "stopped"
    # What was asked before it must not stop the way back.
    lab.run("rollback", "--yes").expect(0)
    assert lab.running() == dict.fromkeys(DEVICES, "factory")
    lab.run("stop").expect(5, "nothing is sent to anybody")


def test_a_stop_that_the_other_process_takes_tells_how_it_ended(
    another_lab: Callable[[str], SmallLab],
) -> None:
    lab = another_lab("running")
    edit_fleet(lab, "soak: 5 min", "soak: 20 h")
    before = lab.see()
    with lab.start("deploy", "good.bin", "--yes") as process:
        journal = lab.state / "journal.jsonl"
        until_s = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until_s and process.poll() is None:
            if journal.exists() and b"test-booted" in journal.read_bytes():
                break
        told = lab.run("stop", "--why", "helium is low", "--json", "--wait", "50")
        process.communicate(timeout=_PATIENCE_S)
    assert process.returncode == 7, "it left a device on the way"
    told.expect(7, "rig-a")
    (state,) = told.json_lines
    assert state["ended"] == "stopped"
    assert state["devices"]["rig-a"]["quarantined"]
    lab.run("quarantine", "list").expect(0, "left watched by the stop", "lease")
    after_stop = kinds(lab)[kinds(lab).index("stop-requested") :]
    assert not [kind for kind in after_stop if kind.endswith("-requested")][1:]
    lab.run("rollback", "--yes").expect(0)
    lab.check_end(before)
    assert lab.running() == dict.fromkeys(DEVICES, "factory")


def test_a_stop_of_what_nobody_runs_says_what_is_left_and_what_to_do(
    another_lab: Callable[[str], SmallLab],
) -> None:
    lab, before = kill_deploy(another_lab, "good", 10)
    seen = lab.see()
    stopped = lab.run("stop", "--why", "smoke")
    stopped.expect(7, "rig-a: left to the lease", "cryofw rollback", "cryofw quarantine list")
    assert lab.see() == seen, "nothing was sent"
    lab.run("rollback", "--yes").expect(0)
    lab.check_end(before)


def test_a_pin_that_waits_for_a_stopped_rollout_is_not_lost(small_lab: SmallLab) -> None:
    lab = small_lab
    lab.run("pin", "c2-b", "--exclude", "--why", "spare").expect(0)
    lab.run("deploy", "good.bin", "--yes", "--stage", "test-rig").expect(0)
    with journal_holder(lab):
        lab.run("unpin", "c2-b", "--why", "needed").expect(0, "asked")
    lab.run("stop").expect(0)
    assert Home(lab.state).history().register.pins == {}
    shown = json.loads(lab.run("status", "--json").expect(0).out)
    assert shown["ended"] == "stopped"
