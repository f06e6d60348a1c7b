"""A lab that was flashed by hand: taken over, pinned, replaced, and rolled out to."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from typing import TYPE_CHECKING

import pytest

from cryofw.audit import find_violations
from cryofw.audit.evidence import Evidence
from cryofw.engine.home import Home
from cryofw.engine.virtual_time import run_virtual
from cryofw.journal import Entry, FileStorage, Journal, MemoryStorage, read_journal
from cryofw.rollout.lab_events import DeviceExcluded
from cryofw.simulator import SimulatedLab
from tests.flows.small_lab import DEVICES, FLEET, SmallLab, edit_fleet
from tests.flows.test_one_writer import journal_holder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_VENDOR = re.compile(r"  vendor: .*\n")
_NEW_HW = "c0ffee01"


@pytest.fixture(scope="session")
def foreign_template(tmp_path_factory: pytest.TempPathFactory) -> SmallLab:
    """Every device runs 1.0.0 of a vendor, whose key this lab does not have; no `hw` is written."""
    lab = SmallLab(tmp_path_factory.mktemp("foreign") / "lab")
    lab.directory.mkdir()
    (lab.directory / "fleet.yaml").write_text(re.sub(r', hw: "\w+"', "", FLEET))
    for key in ("firmware", "vendor"):
        lab.run("keys", "generate", key, "--purpose=image", "--no-passphrase").expect(0)
    for name in ("good", "drift", "hang", "hang-later", "hang-for-good"):
        lab.sign(name, "--key", "firmware", "--security-counter", "3")
    lab.sign("factory", "--key", "vendor", "--security-counter", "3")
    lab.run("sim", "create", "--factory", "factory.bin").expect(0)
    shutil.rmtree(lab.state / "images")
    keyring = lab.directory / "keys.yaml"
    keyring.write_text(_VENDOR.sub("", keyring.read_text()))
    return lab


@pytest.fixture
def foreign_lab(foreign_template: SmallLab, tmp_path: Path) -> SmallLab:
    return foreign_template.copy_to(tmp_path / "foreign-lab")


def replace_controller(lab: SmallLab, name: str, hw: str = _NEW_HW) -> None:
    """Solder another controller, with the same flash, to the same port."""
    path = lab.state / "sim" / "lab.json"
    spec = json.loads(path.read_text())
    (one,) = (each for each in spec["controllers"] if each["name"] == name)
    one["hw"] = hw
    path.write_text(json.dumps(spec))


def swap_controllers(lab: SmallLab, one: str, other: str) -> None:
    """Swap the cables of two controllers."""
    path = lab.state / "sim" / "lab.json"
    spec = json.loads(path.read_text())
    by_name = {each["name"]: each for each in spec["controllers"]}
    for field in ("hw", "serial_number"):
        first, second = by_name[one][field], by_name[other][field]
        by_name[one][field], by_name[other][field] = second, first
    path.write_text(json.dumps(spec))


def kinds(lab: SmallLab) -> list[str]:
    return [record["kind"] for record in lab.records()]


# --- adopt ------------------------------------------------------------------------------------


def test_a_foreign_lab_is_adopted_rolled_out_to_and_taken_back(foreign_lab: SmallLab) -> None:
    lab, before = foreign_lab, foreign_lab.see()
    lab.run("plan", "good.bin").expect(5, "no way back: no verified file of the running image")

    lab.run("adopt", "--image", "factory.bin", "--why", "taken over").expect(
        0, "adopted  rig-a: hw ", "board cc40, serial rig-a", "counter 3",
        "a foreign image, known by its hash: a way back, no release",
    )  # fmt: skip
    assert kinds(lab) == ["device-adopted"] * len(DEVICES)
    assert lab.see() == before, "adopting changes no device"
    lab.run("plan", "good.bin").expect(0, "back to an adopted foreign image")

    lab.run("deploy", "good.bin", "--yes").expect(75)
    lab.run("approve", "--stage", "fleet").expect(0)
    lab.run("resume").expect(0)
    assert set(lab.running().values()) == {"good"}
    lab.run("rollback", "--yes").expect(0)
    assert set(lab.running().values()) == {"factory"}
    lab.check_end(before)
    lab.run("audit", "verify").expect(0, "no trusted key vouches for, adopted as ways back: 1")
    shown = json.loads(lab.run("audit", "verify", "--json").expect(0).out)
    assert (shown["images"], shown["foreign_images"]) == (1, 1)


def test_a_foreign_image_is_a_way_back_and_never_a_release(foreign_lab: SmallLab) -> None:
    lab = foreign_lab
    lab.run("adopt", "--image", "factory.bin").expect(0)
    lab.run("deploy", "factory.bin", "--yes").expect(4, "not trusted")
    # Also not in a plan that was written by hand.
    lab.run("plan", "good.bin", "-o", "plan.json").expect(0)
    path = lab.directory / "plan.json"
    path.write_text(path.read_text().replace(lab.hash("good"), lab.hash("factory")))
    lab.run("deploy", "--plan", "plan.json", "--yes").expect(4, "not trusted")


def test_the_file_of_a_foreign_image_is_the_one_that_was_named(foreign_lab: SmallLab) -> None:
    lab = foreign_lab
    lab.run("adopt", "--image", "factory.bin").expect(0)
    stored = lab.state / "images" / f"{lab.hash('factory')}.bin"
    stored.write_bytes(stored.read_bytes()[:-1] + b"\0")
    lab.run("plan", "good.bin").expect(4)
    stored.unlink()
    lab.run("plan", "good.bin").expect(5, "no way back")


def test_an_image_without_a_file_is_named_as_unknown(foreign_lab: SmallLab) -> None:
    lab = foreign_lab
    adopted = lab.run("adopt", "--counter", f"{lab.hash('factory')[:8]}=4", "--json").expect(0)
    (told,) = adopted.json_lines
    assert {one["image"] for one in told["adopted"]} == {"unknown"}
    assert not any(one["way_back"] for one in told["adopted"])

    lab.run("plan", "good.bin").expect(
        5, "no way back after confirm: the file of 1.0.0", "as anna@lab said at its adoption",
        "security counter 3 is below the running 4",
    )  # fmt: skip
    lab.run("inventory").expect(0, "no way back after confirm")

    # The file turns up.
    lab.run("adopt", "rig-a", "--image", "factory.bin").expect(0, "a way back, no release")
    lab.run("adopt").expect(0, "adopted  c1-a", "unchanged  rig-a")
    lab.run("plan", "good.bin").expect(0)


def test_adopting_is_done_device_by_device_and_can_be_repeated(foreign_lab: SmallLab) -> None:
    lab = foreign_lab
    lab.run("adopt", "rig-a", "c1-a", "--image", "factory.bin").expect(0)
    size = len(lab.records())
    (told,) = lab.run("adopt", "--json").expect(0).json_lines
    assert told["unchanged"] == ["rig-a", "c1-a"]
    assert [one["device"] for one in told["adopted"]] == ["c1-b", "c2-a", "c2-b"]
    assert {one["image"] for one in told["adopted"]} == {"foreign"}, "the file is at hand by now"
    lab.run("adopt").expect(0)
    assert len(lab.records()) == size + 3
    lab.run("adopt", "rig-b").expect(2, "no device 'rig-b'", "rig-a")
    lab.run("adopt", "--image", "nowhere.bin").expect(3)
    lab.run("adopt", "--image", "fleet.yaml").expect(3)
    lab.run("adopt", "--image", "good.bin").expect(0, "not used", "no device that was read runs it")
    lab.run("adopt", "--counter", "abc=1").expect(2, "is not HASH=NUMBER")
    lab.run("adopt", "--counter", "abcdef01=1").expect(2, "no running images begin with")
    lab.run("adopt", "--replace", "--why", "x").expect(2, "is named, with the reason")


def test_a_verified_image_is_known_as_such(small_lab: SmallLab) -> None:
    lab = small_lab
    shutil.rmtree(lab.state / "images")
    lab.run("adopt", "--image", "factory.bin").expect(0, "verified, a way back")
    lab.run("plan", "good.bin").expect(0)


def test_a_damaged_or_forged_file_is_refused(foreign_lab: SmallLab) -> None:
    lab = foreign_lab
    image = bytearray((lab.directory / "factory.bin").read_bytes())
    image[600] ^= 1
    (lab.directory / "damaged.bin").write_bytes(image)
    lab.run("adopt", "--image", "damaged.bin").expect(4, "damaged")
    forged = bytearray((lab.directory / "good.bin").read_bytes())
    forged[600] ^= 1
    (lab.directory / "forged.bin").write_bytes(forged)
    lab.run("adopt", "--image", "forged.bin").expect(4)
    assert lab.records() == []


def test_a_programmers_file_is_kept_without_its_padding(foreign_lab: SmallLab) -> None:
    lab = foreign_lab
    image = (lab.directory / "factory.bin").read_bytes()
    (lab.directory / "padded.bin").write_bytes(image + b"\xff" * 4096)
    lab.run("adopt", "--image", "padded.bin").expect(0, "a foreign image")
    stored = lab.state / "images" / f"{lab.hash('factory')}.bin"
    assert stored.read_bytes() == image


def test_what_was_adopted_is_held_against_what_answers(foreign_lab: SmallLab) -> None:
    lab = foreign_lab
    lab.run("adopt", "--image", "factory.bin").expect(0)
    lab.run("plan", "good.bin", "-o", "plan.json").expect(0)
    replace_controller(lab, "rig-a")
    lab.run("plan", "good.bin").expect(5, f"hardware id {_NEW_HW}, expected")
    lab.run("deploy", "--plan", "plan.json", "--yes").expect(5, f"hardware id {_NEW_HW}, expected")
    assert "image-upload-requested" not in kinds(lab)


# --- replace ----------------------------------------------------------------------------------


def test_a_controller_is_replaced_by_name_and_reason(foreign_lab: SmallLab) -> None:
    lab = foreign_lab
    lab.run("adopt", "--image", "factory.bin").expect(0)
    old = next(r["hw"] for r in lab.records() if r["device"] == "c1-a")
    replace_controller(lab, "c1-a")

    refused = lab.run("adopt").expect(5, "c1-a is another controller than before", "--replace")
    assert "unchanged  rig-a" in refused.out, "the others are done"
    lab.run("adopt", "c1-a", "--replace").expect(2, "with the reason")
    replaced = ("adopt", "c1-a", "--replace", "--why", "ADC broke")
    lab.run(*replaced).expect(0, f"hw {_NEW_HW}", f"in place of {old}")
    lab.run(*replaced).expect(0, "unchanged  c1-a")

    lab.run("plan", "good.bin").expect(0)
    lab.run("audit", "verify").expect(0)
    (row,) = lab.run("inventory", "c1-a", "--json").expect(0).json_lines[0]
    assert row["hw"] == _NEW_HW
    assert [(one["hw"], one["why"]) for one in row["replaced"]] == [(old, "ADC broke")]


def test_quarantine_goes_with_the_hardware(foreign_lab: SmallLab) -> None:
    """A stuck controller is taken out; it turns up again in another place."""
    lab = foreign_lab
    lab.run("adopt", "--image", "factory.bin").expect(0)
    lab.run("deploy", "hang-for-good.bin", "--yes").expect(7, "rig-a")
    stuck = Home(lab.state).history().register.pinned_hw("rig-a")
    revive(lab, "rig-a")
    replace_controller(lab, "rig-a")

    lab.run("adopt", "rig-a", "--replace", "--why", "it hangs").expect(0, f"in place of {stuck}")
    lab.run("quarantine", "list").expect(0, "nobody")
    history = Home(lab.state).history()
    assert "rig-a" not in history.baselines
    lab.run("plan", "good.bin").expect(0)

    replace_controller(lab, "c2-b", stuck)
    lab.run("adopt", "c2-b", "--replace", "--why", "a spare").expect(0)
    lab.run("quarantine", "list").expect(0, "c2-b")
    lab.run("plan", "good.bin").expect(0, "c2-b: in quarantine")
    lab.run("audit", "verify").expect(0)


def revive(lab: SmallLab, name: str) -> None:
    """Cycle the power of a device that hangs in its test boot: it reverts."""

    async def cycle() -> None:
        async with SimulatedLab.load(lab.state / "sim") as simulated:
            simulated.power_cycle(name)
            await asyncio.sleep(30)

    run_virtual(cycle())


def test_two_controllers_that_changed_places_are_named_together(foreign_lab: SmallLab) -> None:
    lab = foreign_lab
    for number, name in enumerate(DEVICES):
        replace_controller(lab, name, f"aa{number:02}")
    lab.run("adopt", "--image", "factory.bin").expect(0)
    swap_controllers(lab, "c1-a", "c1-b")
    lab.run("adopt").expect(5, "c1-a: the controller on its port is known as c1-b", "swapped")
    lab.run("adopt", "c1-a", "c1-b", "--replace", "--why", "rewired").expect(0)
    lab.run("adopt").expect(0)
    lab.run("audit", "verify").expect(0)


def test_fleet_yaml_and_the_adoption_have_to_agree(foreign_lab: SmallLab) -> None:
    lab = foreign_lab
    replace_controller(lab, "rig-a", "aa01")
    lab.run("adopt", "--image", "factory.bin").expect(0)
    replace_controller(lab, "rig-a", "aa02")
    edit_fleet(lab, '"sim://rig-a"', '"sim://rig-a", hw: "aa02"')
    lab.run("plan", "good.bin").expect(
        5, "fleet.yaml names the hardware id aa02, it was adopted as aa01", "--replace"
    )
    edit_fleet(lab, 'hw: "aa02"', 'hw: "aa03"')
    lab.run("adopt", "rig-a", "--replace", "--why", "x").expect(5, "expected aa03", "fleet.yaml")


def test_a_device_of_an_open_rollout_is_not_adopted_nor_pinned(small_lab: SmallLab) -> None:
    lab = small_lab
    lab.run("deploy", "good.bin", "--yes").expect(75)
    lab.run("adopt", "c2-a").expect(5, "takes part in the open rollout", "cryofw abort")
    lab.run("pin", "c2-a", "1.0.0", "--why", "x").expect(5, "takes part in the open rollout")
    lab.run("pin", "c2-a", "--exclude", "--why", "x").expect(5, "takes part")
    lab.run("pin", "c2-a", "1.1.0", "--why", "stay").expect(0)
    lab.run("approve", "--stage", "fleet").expect(0)
    lab.run("resume").expect(0)
    lab.run("audit", "verify").expect(0)


# --- pin --------------------------------------------------------------------------------------


def test_who_is_pinned_is_left_out_and_the_plan_says_by_whom(small_lab: SmallLab) -> None:
    lab, before = small_lab, small_lab.see()
    lab.run("pin", "c2-b", "--here", "--why", "x").expect(3, "does not say which version c2-b runs")
    lab.run("adopt").expect(0)
    lab.run("pin", "c2-b", "--here", "--why", "eve calibrates").expect(0, "c2-b to 1.0.0")
    lab.run("pin", "c1-b", "--exclude", "--why", "broken").expect(0, "from every rollout")

    lab.run("plan", "good.bin").expect(
        0,
        "c2-b: pinned to 1.0.0 by anna@lab: eve calibrates",
        "c1-b: excluded from every rollout by anna@lab: broken",
    )
    lab.run("inventory").expect(0, "pinned to 1.0.0 by anna@lab: eve calibrates")
    lab.run("deploy", "good.bin", "--yes").expect(75)
    lab.run("approve", "--stage", "fleet").expect(0)
    lab.run("resume").expect(0)
    running = lab.running()
    assert {n for n, image in running.items() if image == "factory"} == {"c1-b", "c2-b"}
    assert lab.see()["c2-b"] == before["c2-b"]
    lab.run("audit", "verify").expect(0)

    lab.run("unpin", "c2-b", "--why", "done").expect(0, "unpinned")
    lab.run("unpin", "c2-b", "--why", "done").expect(3, "is not pinned", "c1-b")
    lab.run("plan", "drift.bin").expect(0)


def test_a_pinned_device_takes_part_in_rollouts_of_its_version(small_lab: SmallLab) -> None:
    lab = small_lab
    lab.run("pin", "rig-a", "1.1.0", "--why", "stay there").expect(0)
    lab.run("plan", "good.bin").expect(0)
    lab.run("plan", "drift.bin").expect(5, "stage test-rig has no device left", "pinned to 1.1.0")


def test_a_pin_after_the_plan_counts(small_lab: SmallLab) -> None:
    lab = small_lab
    lab.run("plan", "good.bin", "-o", "plan.json").expect(0)
    lab.run("pin", "c2-b", "1.0.0", "--why", "eve calibrates").expect(0)
    lab.run("deploy", "--plan", "plan.json", "--yes").expect(
        5, "c2-b may not take part in a rollout of 1.1.0", "eve calibrates", "cryofw unpin c2-b"
    )
    assert kinds(lab) == ["device-pinned"]


def test_who_was_pinned_since_is_not_taken_back(small_lab: SmallLab) -> None:
    lab = small_lab
    lab.run("deploy", "good.bin", "--yes").expect(75)
    lab.run("approve", "--stage", "fleet").expect(0)
    lab.run("resume").expect(0)
    lab.run("pin", "c1-a", "--here", "--why", "cooled down with it").expect(0, "to 1.1.0")
    lab.run("rollback", "--yes").expect(5, "c1-a would be taken back", "cooled down with it")
    assert set(lab.running().values()) == {"good"}
    lab.run("unpin", "c1-a", "--why", "agreed").expect(0)
    lab.run("rollback", "--yes").expect(0)
    assert set(lab.running().values()) == {"factory"}
    lab.run("audit", "verify").expect(0)


def test_a_pin_beside_a_running_rollout_is_left_to_it(small_lab: SmallLab) -> None:
    lab = small_lab
    lab.run("pin", "c2-b", "--exclude", "--why", "spare").expect(0)
    lab.run("deploy", "good.bin", "--yes", "--stage", "test-rig").expect(0)
    with journal_holder(lab) as pid:
        asked = lab.run("pin", "c2-b", "1.0.0", "--why", "eve").expect(0, "asked")
        assert f"process {pid}" in asked.out
    lab.run("abort", "--yes").expect(0)
    (record,) = [r for r in lab.records() if r["kind"] == "device-pinned"]
    assert (record["device"], record["version"], record.get("rollout", "")) == ("c2-b", "1.0.0", "")
    lab.run("audit", "verify").expect(0)


def test_usage_of_pin(small_lab: SmallLab) -> None:
    lab = small_lab
    lab.run("pin", "c2-b", "--why", "x").expect(2, "give a VERSION, or --here, or --exclude")
    lab.run("pin", "c2-b", "1.0.0", "--here", "--why", "x").expect(2)
    lab.run("pin", "c2-c", "1.0.0", "--why", "x").expect(2, "no device 'c2-c'")
    lab.run("pin", "c2-b", "1.0.0").expect(2, "--why")
    lab.run("pin", "c2-b", "1.0.0", "--why", " ").expect(2, "a reason")
    lab.run("pin", "c2-b", "one", "--why", "x").expect(3)
    assert lab.records() == []


# --- versions ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--from-versions", ">=1.0.1, <2"), "1.1.0 may come from >=1.0.1, <2 only, it runs 1.0.0"),
        (("--host", ">=99"), "the release needs cryofw >=99, this is"),
    ],
)
def test_a_release_may_come_from_some_versions_and_need_a_host(
    small_lab: SmallLab, options: tuple[str, str], says: str
) -> None:
    lab = small_lab
    lab.run("plan", "good.bin", *options).expect(5, says, "hint:")
    lab.run("deploy", "good.bin", "--yes", *options).expect(5, says)
    assert lab.records() == []


def test_the_plan_keeps_its_ranges(small_lab: SmallLab) -> None:
    lab = small_lab
    ranges = ("--from-versions", ">=1.0, <2", "--host", ">=0.0.1")
    lab.run("plan", "good.bin", *ranges, "-o", "plan.json").expect(0, "versions >=1.0, <2")
    plan = json.loads((lab.directory / "plan.json").read_text())
    assert (plan["from_versions"], plan["host_versions"]) == (">=1.0, <2", ">=0.0.1")
    lab.run("deploy", "--plan", "plan.json", "--host", ">=1").expect(2, "make a new plan")
    lab.run("plan", "good.bin", "--from-versions", "1.0").expect(3, "is no range of versions")
    text = (lab.directory / "plan.json").read_text()
    (lab.directory / "plan.json").write_text(text.replace(">=0.0.1", ">=99.0.1"))
    lab.run("deploy", "--plan", "plan.json", "--yes").expect(
        5, "is not for this cryofw", "the plan says host software >=99.0.1"
    )
    assert "device-check-requested" not in kinds(lab)


def test_the_audit_finds_what_was_sent_to_a_pinned_device(
    another_lab: Callable[[str], SmallLab],
) -> None:
    lab = another_lab("audited")
    lab.run("deploy", "good.bin", "--yes", "--stage", "test-rig").expect(0)
    records = read_journal(FileStorage(lab.state)).records
    storage = MemoryStorage()
    forged = DeviceExcluded("rig-a", "eve@lab", "mine")
    with Journal.open(storage, clock=Home(lab.state).clock, who="eve@lab") as journal:
        journal.append(forged.kind, device="rig-a", by=forged.by, why=forged.why)
        for record in records:
            fields = dict(record.fields)
            journal.append_many([Entry(record.kind, record.rollout, record.device, fields)])
        told = list(journal.records)
    found = [one.message for one in find_violations(told, Evidence(FileStorage(lab.state)))]
    assert "rig-a was excluded from every rollout, and takes part in one" in found
