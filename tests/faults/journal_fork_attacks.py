"""How journals are copied and forked, and how records and evidence lie; see `journal_attacks`."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from cryofw.rollout import events as e
from tests.faults.journal_attacks import AUDIT, RESUME, put_back
from tests.faults.recorded_lab import edited, renumbered
from tests.flows.small_lab import edit_fleet

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.recorded_lab import RecordedLab

    Command = tuple[str, ...]


# --- copies and forks -----------------------------------------------------------------------


def forked_by_the_key(lab: RecordedLab) -> Command:
    """Written anew, and signed by the right key: a checkpoint that somebody kept tells."""
    lines = lab.lines
    lines[5] = edited(lines[5], who="bert@lab")
    lab.sign(lab.write_anew(lines), lab.lab)
    return (*AUDIT, "--since", "kept")


def forked_and_resumed(lab: RecordedLab) -> Command:
    """The same, and it would go on driving the devices."""
    lines = lab.lines
    lines[5] = edited(lines[5], who="bert@lab")
    lab.sign(lab.write_anew(lines), lab.lab)
    return RESUME


def old_copy(lab: RecordedLab) -> Command:
    """A sound older journal with its own signature."""
    put_back(lab, lab.directory / "earlier")
    return (*AUDIT, "--since", "kept")


def old_copy_resumed(lab: RecordedLab) -> Command:
    """It would take the canary a second time, with a fresh alpha."""
    put_back(lab, lab.directory / "earlier")
    return RESUME


def begun_anew(lab: RecordedLab) -> Command:
    """An empty journal has spent no alpha and seen no failure."""
    put_back(lab, lab.directory / "nothing")
    return ("deploy", "good.bin", "--yes")


def journal_of_another_lab(lab: RecordedLab) -> Command:
    put_back(lab, lab.directory / "other" / ".cryofw")
    shutil.rmtree(lab.state / "rollouts")
    shutil.copytree(lab.directory / "other" / ".cryofw" / "rollouts", lab.state / "rollouts")
    return ("deploy", "good.bin", "--yes")


def memory_of_the_host_damaged(lab: RecordedLab) -> Command:
    """What the host remembers of the journal is lost: it does not simply start anew."""
    for path in (lab.state / "sim" / "homes" / "journals").iterdir():
        path.write_bytes(b"{}")
    return RESUME


def copy_went_on(lab: RecordedLab) -> Command:
    """A copy drove the same devices further; the one that was copied would repeat it."""
    copy = lab.lab.directory / "copy"
    shutil.copytree(lab.state, copy, ignore=shutil.ignore_patterns("sim"))
    (lab.state / "sim").rename(copy / "sim")
    lab.lab.run("approve", "--stage", "fleet", "--state", "copy").expect(0)
    lab.lab.run("resume", "--state", "copy").expect(0)
    (copy / "sim").rename(lab.state / "sim")
    return RESUME


def devices_of_another_host(lab: RecordedLab) -> Command:
    """A device without a lease cannot tell two hosts apart."""
    lab.lab.run("abort", "--yes").expect(0)
    old = 'port: "sim://rig-a"'
    edit_fleet(lab.lab, old, f"{old}, owner: cryo-host-9.lab")
    return ("deploy", "drift.bin", "--yes")


# --- what a record may say ------------------------------------------------------------------


def confirmed_without_a_verdict(lab: RecordedLab) -> Command:
    lab.journal(e.ImageConfirmed("c2-a", lab.lab.hash("good")))
    return AUDIT


def gate_passed_by_hand(lab: RecordedLab) -> Command:
    lab.journal(e.GatePassed("fleet", {}))
    return AUDIT


def stage_skipped(lab: RecordedLab) -> Command:
    lab.journal(e.StageStarted("fleet", "test-rig"))
    return AUDIT


def rollout_ended_by_hand(lab: RecordedLab) -> Command:
    lab.journal(e.RolloutEnded(e.Ending.CONFIRMED, "trust me"))
    return AUDIT


def records_of_another_rollout(lab: RecordedLab) -> Command:
    """Verdicts of another rollout, spliced in."""
    lines = lab.lines
    other = (lab.directory / "other" / ".cryofw" / "journal.jsonl").read_bytes()
    then = json.loads(lines[-1])["t"]
    spliced = [
        edited(line, t=then)
        for line in other.splitlines(keepends=True)
        if b"verdict-reached" in line
    ]
    lab.sign(lab.write_anew(renumbered([*lines, *spliced])), lab.lab)
    return AUDIT


def verdict_of_another_device(lab: RecordedLab) -> Command:
    """The evidence of one device lets another one be confirmed."""
    lines = lab.lines
    own = lab.find("verdict-reached", "c1-b")
    passed = lines[lab.find("verdict-reached", "c1-a")]
    lines[own] = edited(passed, n=own, t=json.loads(lines[own])["t"], device="c1-b")
    lab.sign(lab.write_anew(lines), lab.lab)
    return AUDIT


def spliced_and_resumed(lab: RecordedLab) -> Command:
    """The end of another lab's journal on the beginning of this one."""
    other = (lab.directory / "other" / ".cryofw" / "journal.jsonl").read_bytes()
    lab.write([*lab.lines[:9], *other.splitlines(keepends=True)[9:]])
    return RESUME


# --- evidence beside the journal ------------------------------------------------------------


def readings_of_another_device(lab: RecordedLab) -> Command:
    path = lab.rollout / "readings.jsonl"
    text = path.read_bytes()
    swapped = (
        text.replace(b'"c1-a"', b'"?"').replace(b'"c1-b"', b'"c1-a"').replace(b'"?"', b'"c1-b"')
    )
    path.write_bytes(swapped)
    return AUDIT


def readings_of_another_rollout(lab: RecordedLab) -> Command:
    (other,) = (lab.directory / "other" / ".cryofw" / "rollouts").iterdir()
    shutil.copy(other / "readings.jsonl", lab.rollout / "readings.jsonl")
    return AUDIT


def one_reading_changed(lab: RecordedLab) -> Command:
    path = lab.rollout / "readings.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    at = next(n for n, line in enumerate(lines) if b"readout_snr" in line)
    head, _, tail = lines[at].partition(b'"readout_snr":')
    lines[at] = head + b'"readout_snr":' + b"9" + tail[1:]
    assert b"".join(lines) != path.read_bytes()
    path.write_bytes(b"".join(lines))
    return AUDIT


def readings_gone(lab: RecordedLab) -> Command:
    (lab.rollout / "readings.jsonl").unlink()
    return AUDIT


def plan_swapped(lab: RecordedLab) -> Command:
    """A plan that asks for no approval, under the journal of one that does."""
    path = lab.rollout / "plan.json"
    text = path.read_text()
    assert '"then_approve": true' in text
    path.write_text(text.replace('"then_approve": true', '"then_approve": false'))
    return RESUME


def plan_of_another_rollout(lab: RecordedLab) -> Command:
    (other,) = (lab.directory / "other" / ".cryofw" / "rollouts").iterdir()
    shutil.copy(other / "plan.json", lab.rollout / "plan.json")
    return AUDIT


def image_swapped(lab: RecordedLab) -> Command:
    """An image of a key that nobody trusts, under the name of the release."""
    mallory = (lab.directory / "other" / "good.bin").read_bytes()
    (lab.state / "images" / f"{lab.lab.hash('good')}.bin").write_bytes(mallory)
    return AUDIT


# --- journals that follow one another -------------------------------------------------------


def retired(lab: RecordedLab) -> Path:
    """The journal is retired; where the old one lies."""
    lab.lab.run("abort", "--yes").expect(0)
    lab.lab.run("audit", "retire").expect(0)
    (found,) = (lab.state / "retired").glob("*.jsonl")
    return found


def retired_one_changed(lab: RecordedLab) -> Command:
    path = retired(lab)
    path.write_bytes(path.read_bytes().replace(b"anna", b"bnna", 1))
    return AUDIT


def retired_one_swapped(lab: RecordedLab) -> Command:
    """Another closed journal, sound in itself, under the name of the one before."""
    path = retired(lab)
    other = lab.directory / "other" / ".cryofw"
    checkpoint = (
        (other / "checkpoint.json")
        .read_bytes()
        .replace(b'"journal.jsonl"', json.dumps(f"retired/{path.name}").encode())
    )
    shutil.copy(other / "journal.jsonl", path)
    for beside in path.parent.glob(f"{path.name}.*"):
        shutil.rmtree(beside) if beside.is_dir() else beside.unlink()
    (path.parent / "new").write_bytes(checkpoint)
    name = next(p for p in (lab.state / "retired").iterdir() if p.name == "new")
    name.rename(path.parent / f"{path.stem}.checkpoint.json")
    return ("status",)


def chain_broken(lab: RecordedLab) -> Command:
    """The first record names another journal before it: quarantine and history are gone."""
    retired(lab)
    first, *rest = lab.lines
    forged = edited(first, origin="cryofw/journal/" + "ab" * 16)
    lab.sign(lab.write_anew([forged, *rest]), lab.lab)
    return ("deploy", "drift.bin", "--yes")
