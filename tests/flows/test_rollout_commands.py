"""A whole small lab through the real commands, in virtual time, seen by the flash observer."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.flows.small_lab import DEVICES, FLEET, SmallLab, edit_fleet, make_rig_tolerant

if TYPE_CHECKING:
    from pathlib import Path


def everywhere(image: str) -> dict[str, str]:
    return dict.fromkeys(DEVICES, image)


def kinds(lab: SmallLab) -> list[str]:
    return [record["kind"] for record in lab.records()]


def deploy_everywhere(lab: SmallLab, image: str) -> None:
    lab.run("deploy", f"{image}.bin", "--yes").expect(75)
    lab.run("approve", "--stage", "fleet").expect(0)
    lab.run("resume").expect(0)


# --- good and bad releases ------------------------------------------------------------------


def test_a_good_release_is_confirmed_on_every_device_after_an_approval(
    small_lab: SmallLab,
) -> None:
    lab, before = small_lab, small_lab.see()
    assert lab.running() == everywhere("factory")

    first = lab.run("deploy", "good.bin", "--yes")

    first.expect(75, "gate passed", "cryofw approve --stage fleet", "needs an approval")
    lab.check_moment(before)
    reached = {"rig-a", "c1-a", "c1-b"}
    assert lab.running() == everywhere("factory") | dict.fromkeys(reached, "good")

    # Without the approval a resume changes nothing.
    lab.run("resume").expect(75, "needs an approval")
    assert lab.running() == everywhere("factory") | dict.fromkeys(reached, "good")

    lab.run("approve", "--stage", "fleet", "--why", "soaked well").expect(0, "anna@lab")
    done = lab.run("resume").expect(0, "confirmed")

    assert lab.running() == everywhere("good")
    story = lab.check_end(before)
    assert story.stages == ["test-rig", "canary-cryostat", "fleet"]
    for name in DEVICES:
        assert re.search(rf"{name} +1\.1\.0 +✓ confirmed +300 s in one boot", done.out), done.out
    lab.run("inventory", "--read").expect(0, "1.1.0")
    lab.run("status").expect(0, "confirmed")
    lab.run("audit", "show").expect(0, "soaked well")


@pytest.mark.parametrize(
    ("image", "says", "ends"),
    [
        ("drift", "readout_snr", "rolled-back"),
        ("hang", "the last good image runs again", "self-reverted"),
        ("hang-later", "reverted", "self-reverted"),
    ],
)
def test_a_bad_release_is_taken_back_by_itself(
    small_lab: SmallLab, image: str, says: str, ends: str
) -> None:
    lab = small_lab
    deploy_everywhere(lab, "good")
    before = lab.see()

    bad = lab.run("deploy", f"{image}.bin", "--yes")

    bad.expect(6, says, ends, "rig-a", "not reached")
    assert lab.running() == everywhere("good")
    story = lab.check_end(before)
    assert story.ended == "rolled-back"
    assert story.devices["rig-a"].stands == ends
    assert set(story.devices) == {"rig-a"}, "nothing was sent beyond the rig"
    lab.run("status", "--device", "rig-a").expect(0, ends, says)
    # The lab is free for the next release.
    lab.run("deploy", "drift.bin", "--yes").expect(6)


def test_a_drift_seen_at_the_canary_takes_its_stage_back_and_leaves_the_rig(
    small_lab: SmallLab,
) -> None:
    lab, before = small_lab, small_lab.see()
    make_rig_tolerant(lab)

    bad = lab.run("deploy", "drift.bin", "--yes")

    bad.expect(6, "readout_snr")
    running = lab.running()
    assert {running["c1-a"], running["c1-b"]} == {"factory"}
    assert running["rig-a"] == "drift", "its own gate had passed"
    story = lab.check_end(before)
    assert story.gates == {"test-rig"}
    assert story.devices["c1-a"].stands == "rolled-back"
    assert story.devices["c1-b"].stands == "checked", "it was held back as the control"


def test_a_firmware_that_hangs_without_a_watchdog_is_stuck_named_and_quarantined(
    small_lab: SmallLab,
) -> None:
    lab, before = small_lab, small_lab.see()

    stuck = lab.run("deploy", "hang-for-good.bin", "--yes")

    stuck.expect(7, "rig-a", "quarantine", "power")
    story = lab.check_end(before)
    assert story.ended == "stuck"
    assert story.devices["rig-a"].quarantined
    # What runs on it is not known, and nobody may say that it is the old firmware.
    row = next(line for line in stuck.out.splitlines() if re.match(r"rig-1 +rig-a ", line))
    assert "unknown" in row
    assert "1.0.0" not in row
    lab.run("quarantine", "list").expect(0, "rig-a")
    # The rig's only device is out, so no plan is possible until a person has seen to it.
    lab.run("deploy", "good.bin", "--yes").expect(5, "no device left")
    lab.run("quarantine", "clear", "rig-a", "--why", "power cycled").expect(0, "cleared")
    lab.run("quarantine", "list").expect(0, "nobody")
    lab.run("quarantine", "clear", "rig-a").expect(3, "not in quarantine")


# --- one open rollout -----------------------------------------------------------------------


def test_deploy_of_the_image_of_an_open_rollout_continues_it(small_lab: SmallLab) -> None:
    lab, before = small_lab, small_lab.see()
    lab.run("deploy", "good.bin", "--yes", "--stage", "test-rig").expect(0, "as far as asked")
    assert lab.running() == everywhere("factory") | {"rig-a": "good"}

    lab.run("deploy", "good.bin", "--yes", "--stage", "canary-cryostat").expect(0)
    lab.run("approve", "--stage", "fleet").expect(0)
    lab.run("deploy", "good.bin", "--yes", "--stage", "fleet").expect(0)

    assert lab.running() == everywhere("good")
    assert kinds(lab).count("rollout-started") == 1
    lab.check_end(before)


def test_a_second_release_is_refused_while_a_rollout_is_open(small_lab: SmallLab) -> None:
    lab = small_lab
    lab.run("deploy", "good.bin", "--yes").expect(75)
    seen, records = lab.see(), lab.records()

    lab.run("deploy", "drift.bin", "--yes").expect(5, "is still open", "cryofw abort")

    assert lab.see() == seen
    assert lab.records() == records


def test_a_stage_that_does_not_exist_is_a_usage_error(small_lab: SmallLab) -> None:
    small_lab.run("deploy", "good.bin", "--yes", "--stage", "flet").expect(2, "did you mean")
    assert small_lab.records() == []


def test_nobody_at_the_terminal_and_no_yes_changes_nothing(small_lab: SmallLab) -> None:
    before = small_lab.see()

    small_lab.run("deploy", "good.bin").expect(2, "--yes")

    assert small_lab.records() == []
    assert small_lab.see() == before


def test_exactly_the_plan_that_was_shown_is_deployed_once(small_lab: SmallLab) -> None:
    lab = small_lab
    lab.run("plan", "good.bin", "--output", "plan.json").expect(0, "Plan r-", "planned")
    assert lab.records() == []
    digest_before = (lab.directory / "plan.json").read_bytes()

    lab.run("deploy", "--plan", "plan.json", "--yes").expect(75)
    lab.run("approve", "--stage", "fleet").expect(0)
    lab.run("deploy", "--plan", "plan.json", "--yes").expect(0)
    assert lab.running() == everywhere("good")
    assert (lab.directory / "plan.json").read_bytes() == digest_before

    again = lab.run("deploy", "--plan", "plan.json", "--yes")
    again.expect(5, "has ended", "new plan")
    assert kinds(lab)[-1] == "rollout-ended"
    assert kinds(lab).count("rollout-started") == 1


def test_a_plan_made_before_the_devices_changed_is_refused_by_the_devices(
    small_lab: SmallLab,
) -> None:
    lab = small_lab
    lab.run("plan", "drift.bin", "--output", "stale.json").expect(0)
    deploy_everywhere(lab, "good")
    before = lab.see()

    lab.run("deploy", "--plan", "stale.json", "--yes").expect(5, "made for another image")

    assert lab.see() == before
    story = lab.check_end(before)
    assert story.ended == "refused"
    assert not any(device.sent for device in story.devices.values())


# --- what is refused before anything is sent ------------------------------------------------


def refused(lab: SmallLab, *arguments: str, says: tuple[str, ...]) -> None:
    before = lab.see()
    lab.run("deploy", "good.bin", "--yes", *arguments).expect(5, *says)
    assert lab.see() == before, "something was sent"
    assert lab.records() == [], "a rollout was started"


def test_swapped_cables_are_refused(small_lab: SmallLab) -> None:
    edit_fleet(small_lab, "sim://c1-a", "sim://swap")
    edit_fleet(small_lab, "sim://c1-b", "sim://c1-a")
    edit_fleet(small_lab, "sim://swap", "sim://c1-b")

    refused(small_lab, says=("c1-a", "c1-b", "5a11", "5a12"))


def test_another_board_is_refused(small_lab: SmallLab) -> None:
    edit_fleet(small_lab, "board: cc40", "board: cc41")

    refused(small_lab, says=("cc41", "cc40"))


def test_no_way_back_is_refused_unless_accepted_by_name(small_lab: SmallLab) -> None:
    lab = small_lab
    store = lab.state / "images" / f"{lab.hash('factory')}.bin"
    store.unlink()
    refused(lab, says=("no way back", "rig-a", "c2-b", "--last-good", "--no-way-back"))
    # Accepted for one device: the others still refuse.
    refused(lab, "--no-way-back", "rig-a", says=("no way back", "c1-a"))
    before = lab.see()

    accepted = [word for name in DEVICES for word in ("--no-way-back", name)]
    ran = lab.run("deploy", "good.bin", "--yes", *accepted)

    ran.expect(75, "no way back once confirmed")
    plan = json.loads(next((lab.state / "rollouts").glob("*/plan.json")).read_bytes())
    assert sorted(plan["overrides"]["no-way-back"]) == sorted(DEVICES)
    lab.run("approve", "--stage", "fleet").expect(0)
    lab.run("resume").expect(0)
    assert lab.running() == everywhere("good")
    lab.check_end(before)


def test_the_file_of_the_running_image_is_a_way_back(small_lab: SmallLab) -> None:
    lab = small_lab
    (lab.state / "images" / f"{lab.hash('factory')}.bin").unlink()

    lab.run("plan", "good.bin", "--last-good", "factory.bin").expect(0, "Way back")


def test_no_reset_path_is_refused_unless_accepted_by_name(small_lab: SmallLab) -> None:
    edit_fleet(small_lab, "  reset: watchdog\n", "")

    refused(small_lab, says=("no reset path", "rig-a", "--no-reset-path"))
    accepted = [word for name in DEVICES for word in ("--no-reset-path", name)]
    small_lab.run("plan", "good.bin", *accepted).expect(0, "no reset path")


def test_a_downgrade_is_refused_unless_accepted(small_lab: SmallLab) -> None:
    lab = small_lab
    deploy_everywhere(lab, "good")
    before = lab.see()

    lab.run("deploy", "factory.bin", "--yes").expect(5, "older than", "--downgrade")
    assert lab.see() == before

    lab.run("deploy", "factory.bin", "--yes", "--downgrade").expect(75)
    lab.finish().expect(0)
    assert lab.running() == everywhere("factory")
    lab.check_end(before)


def test_an_image_that_does_not_verify_is_refused(small_lab: SmallLab) -> None:
    data = bytearray((small_lab.directory / "good.bin").read_bytes())
    data[0x100] ^= 1
    (small_lab.directory / "good.bin").write_bytes(data)
    before = small_lab.see()

    small_lab.run("deploy", "good.bin", "--yes").expect(4, "hash")

    assert small_lab.see() == before
    assert small_lab.records() == []


# --- what a person says ---------------------------------------------------------------------


def test_abort_keeps_what_is_confirmed_and_ends(small_lab: SmallLab) -> None:
    lab, before = small_lab, small_lab.see()
    lab.run("deploy", "good.bin", "--yes", "--stage", "test-rig").expect(0)

    lab.run("abort", "--yes", "--why", "beam time").expect(0, "aborted", "beam time")

    assert lab.running() == everywhere("factory") | {"rig-a": "good"}
    assert lab.check_end(before).ended == "aborted"
    lab.run("resume").expect(5, "has ended")
    lab.run("abort", "--yes").expect(5, "has ended")


def test_rollback_takes_a_confirmed_release_back_everywhere(small_lab: SmallLab) -> None:
    lab, before = small_lab, small_lab.see()
    deploy_everywhere(lab, "good")

    lab.run("rollback", "--yes", "--why", "qubits unhappy").expect(0, "qubits unhappy", "1.0.0")

    assert lab.running() == everywhere("factory")
    story = lab.check_end(before)
    assert story.ended == "rolled-back"
    assert {device.stands for device in story.devices.values()} == {"rolled-back"}
    deploy_everywhere(lab, "good")
    assert lab.running() == everywhere("good")


def test_rollback_of_an_older_rollout_is_refused(small_lab: SmallLab) -> None:
    lab = small_lab
    deploy_everywhere(lab, "good")
    first = lab.records()[0]["rollout"]
    lab.run("deploy", "drift.bin", "--yes").expect(6)

    lab.run("rollback", first, "--yes").expect(5, "not the latest", "--downgrade")

    assert lab.running() == everywhere("good")


def test_stop_of_a_paused_rollout_sends_nothing(small_lab: SmallLab) -> None:
    lab, before = small_lab, small_lab.see()
    lab.run("deploy", "good.bin", "--yes").expect(75)
    seen = lab.see()

    lab.run("stop", "--why", "smoke").expect(0, "stopped", "smoke")

    assert lab.see() == seen
    assert lab.check_end(before).ended == "stopped"
    lab.run("resume").expect(5, "has ended")


def test_what_is_said_about_nothing_is_bad_input(small_lab: SmallLab) -> None:
    for command in (("abort", "--yes"), ("resume",), ("status",), ("rollback", "--yes")):
        small_lab.run(*command).expect(3, "there is no rollout")
    small_lab.run("approve", "--stage", "fleet").expect(3, "there is no rollout")


def test_approval_of_an_unknown_stage_is_a_usage_error(small_lab: SmallLab) -> None:
    small_lab.run("deploy", "good.bin", "--yes").expect(75)
    small_lab.run("approve", "--stage", "flee").expect(2, "did you mean")
    assert "stage-approved" not in kinds(small_lab)


# --- what is printed ------------------------------------------------------------------------


def test_json_gives_each_record_as_a_line_and_the_state_last(small_lab: SmallLab) -> None:
    ran = small_lab.run("deploy", "good.bin", "--yes", "--json").expect(75)

    *records, state = ran.json_lines
    assert records == small_lab.records()
    assert state["paused"] == "approval"
    assert state["devices"]["c1-a"]["state"] == "confirmed"
    assert state["devices"]["c1-a"]["hash"] == small_lab.hash("good")
    assert state["devices"]["c2-a"]["state"] == "pending"
    assert state == small_lab.run("status", "--json").expect(0).json_lines[-1]
    for command in (("inventory", "--json"), ("quarantine", "list", "--json")):
        assert len(small_lab.run(*command).expect(0).json_lines) == 1


def test_no_colour_and_no_cursor_codes_without_a_terminal(small_lab: SmallLab) -> None:
    for command in (
        ("deploy", "good.bin", "--yes"),
        ("status",),
        ("inventory", "--read"),
        ("resume",),
        ("audit", "show"),
    ):
        ran = small_lab.run(*command)
        assert "\x1b" not in ran.out + ran.err
        assert "\r" not in ran.out + ran.err


def test_the_same_wish_in_the_same_lab_gives_the_same_journal(
    small_lab_template: SmallLab, tmp_path: Path
) -> None:
    """Virtual time: a seed reproduces a run to the last byte."""
    small_lab_template.run("plan", "good.bin", "-o", "same.json", "--force").expect(0)
    journals = []
    for name in ("one", "two"):
        lab = small_lab_template.copy_to(tmp_path / name)
        lab.run("deploy", "--plan", "same.json", "--yes").expect(75)
        journals.append((lab.state / "journal.jsonl").read_bytes())

    assert journals[0] == journals[1]


def test_the_lab_of_these_tests_is_small() -> None:
    assert FLEET.count("sim://") == len(DEVICES)


# --- guards of cryostats --------------------------------------------------------------------

GUARDS = """\
  guards:
    temperature: {source: simulated}
    experiment: {source: simulated}
"""


def guard_everything(lab: SmallLab) -> None:
    edit_fleet(lab, "  reset: watchdog\n", f"  reset: watchdog\n{GUARDS}")


def test_a_warm_cryostat_is_shown_and_told(small_lab: SmallLab) -> None:
    lab, before = small_lab, small_lab.see()
    guard_everything(lab)
    lab.run("plan", "good.bin").expect(0, "frozen 150 mK above base, no experiment holds it")
    warm = ("sim", "cryostat", "cryo-1", "warm-up", "10", "--after", "1400", "--for", "300")
    lab.run(*warm).expect(0, "cryo-1: warm-up 10")

    ran = lab.run("deploy", "good.bin", "--yes")

    ran.expect(75, "FROZEN", "above its base", "thawed", "calm for 120 s", "needs an approval")
    lab.check_moment(before)
    lab.run("audit", "show", "--kind", "cryostat-frozen").expect(0, "cryo-1 is FROZEN")
    lab.run("audit", "verify").expect(0, "verified")
    cryostat = lab.run("status", "--json").expect(0).json_lines[-1]["cryostats"]["cryo-1"]
    assert cryostat == {"base_k": 4.0, "frozen": None, "held_out": None}


def test_a_reading_of_a_thermometer_that_was_changed_does_not_verify(small_lab: SmallLab) -> None:
    lab = small_lab
    guard_everything(lab)
    lab.run("deploy", "good.bin", "--yes").expect(75)
    (readings,) = (lab.state / "rollouts").glob("*/readings.jsonl")
    text = readings.read_text()
    assert '"temperature_k":4.0' in text
    readings.write_text(text.replace('"temperature_k":4.0', '"temperature_k":4.1', 1))

    lab.run("audit", "verify").expect(4, "raw readings of cryostat rig-1")


def test_an_experiment_pauses_until_it_is_overridden_with_a_reason(small_lab: SmallLab) -> None:
    lab, before = small_lab, small_lab.see()
    guard_everything(lab)
    lab.run("sim", "cryostat", "cryo-1", "experiment", "eve").expect(0)

    ran = lab.run("deploy", "good.bin", "--yes")

    ran.expect(75, "held out", "eve holds it for an experiment", "cryofw resume")
    lab.run("status").expect(0, "held out", "cryo-1: eve holds it")
    override = ("resume", "--override-experiment", "cryo-1")
    lab.run(*override).expect(2, "an override needs a reason", "--why")
    lab.run("resume", "--override-experiment", "cryo-9", "--why", "x").expect(2, "cryo-9")
    lab.run(*override, "--why", "eve agreed").expect(75, "overridden by anna@lab", "an approval")
    assert lab.running()["c1-a"] == "good"
    lab.check_moment(before)
    lab.run("audit", "show", "--kind", "guard-overridden").expect(0, "eve agreed", "experiment")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("cryo-9", "warm-up", "1"), "no cryostat 'cryo-9'"),
        (("cryo-1", "warm-up"), "needs its watts"),
        (("cryo-1", "warm-up", "nan"), "needs its watts"),
        (("cryo-1", "fridge"), "needs a value"),
        (("cryo-1", "warm-up", "1", "--after", "-1"), "seconds from now"),
        (("cryo-1", "melt"), "melt"),
    ],
)
def test_what_cannot_happen_to_a_cryostat(
    small_lab: SmallLab, arguments: tuple[str, ...], says: str
) -> None:
    small_lab.run("sim", "cryostat", *arguments).expect(2, says)
