"""The last resort: a device without an application gets one through its bootloader."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from cryofw.simulator import FileStorage
from cryofw.simulator.lab_file import read_description
from tests.flows.small_lab import SmallLab, edit_fleet

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "rig-a"


def ruin(lab: SmallLab, name: str = NAME) -> None:
    """Damage the running image, as cosmic rays or a torn swap do, and take the power away."""
    spec, _ = read_description(lab.state / "sim" / "lab.json")
    size = next(one.slot_size for one in spec.controllers if one.name == name)
    chip = FileStorage(lab.state / "sim" / "devices" / f"{name}.flash", 2 * size)
    try:
        chip.write(64, bytes(64))
    finally:
        chip.close()
    set_ram(lab, name, mode="off", timers={"power": 0.0})


def set_ram(lab: SmallLab, name: str, **fields: object) -> None:
    """Change what a device has in RAM while nobody looks."""
    lab.run("inventory", "--read", name).expect(0)
    path = lab.state / "sim" / "devices" / f"{name}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def kinds(lab: SmallLab) -> list[str]:
    return [str(record["kind"]) for record in lab.records()]


def adopted(lab: SmallLab) -> SmallLab:
    """A lab whose journal knows what ran well."""
    lab.run("adopt", NAME, "--image", "factory.bin", "--why", "as delivered").expect(0)
    return lab


@pytest.fixture
def lab(another_lab: Callable[[str], SmallLab]) -> SmallLab:
    return another_lab("recovery")


def test_its_last_good_image_comes_back_and_is_read_back(lab: SmallLab) -> None:
    adopted(lab)
    ruin(lab)
    ran = lab.run("recover", NAME, "--yes", "--why", "torn flash")

    ran.expect(0, "its last good image", "runs 1.0.0, read back; 3 heartbeats followed")
    assert lab.running()[NAME] == "factory"
    assert kinds(lab)[-2:] == ["recovery-requested", "device-recovered"]
    asked, done = lab.records()[-2:]
    assert asked["hash"] == done["hash"] == lab.hash("factory")
    assert (asked["image"], asked["why"], asked["by"]) == ("last-good", "torn flash", "anna@lab")
    assert (done["hw"], done["beats"], done["starts"]) == ("5a01", 3, 1)
    lab.run("audit", "verify").expect(0, "verified")
    lab.run("audit", "show", "--device", NAME).expect(0, "rig-a runs 1.0.0 again")
    lab.run("inventory").expect(0, "recovered")


def test_it_is_refused_while_an_application_answers(lab: SmallLab) -> None:
    adopted(lab)
    before = lab.see()
    lab.run("recover", NAME, "--yes").expect(5, "its application answers")
    assert lab.see() == before
    assert kinds(lab)[-2:] == ["recovery-requested", "recovery-failed"]
    assert lab.records()[-1]["sent"] is False
    lab.run("audit", "verify").expect(0, "verified")


def test_who_only_sits_in_recovery_is_let_out_of_it(lab: SmallLab) -> None:
    """Something spoke too early: the reset frees it, and nothing is overwritten."""
    adopted(lab)
    before = lab.see()
    set_ram(lab, NAME, mode="recovery", timers={})
    lab.run("recover", NAME, "--yes").expect(5, "its application answers")
    assert lab.see() == before


def test_nothing_is_known_and_nothing_is_given(lab: SmallLab) -> None:
    ruin(lab)
    lab.run("recover", NAME, "--yes").expect(5, "knows no image that ran well", "--image FILE")
    lab.run("recover", NAME, "--yes", "--image", "good.bin").expect(0, "runs 1.1.0")
    assert lab.running()[NAME] == "good"


def test_an_image_that_is_not_for_it_never_reaches_it(lab: SmallLab) -> None:
    adopted(lab)
    ruin(lab)
    before, records = lab.see(), len(lab.records())
    words = ("recover", NAME, "--yes", "--image")
    damaged = bytearray((lab.directory / "good.bin").read_bytes())
    damaged[200] ^= 1
    (lab.directory / "damaged.bin").write_bytes(damaged)
    lab.run(*words, "damaged.bin").expect(4, "damaged")
    lab.run("sign", "good.raw.bin", "other.bin", "-v", "1.1.0", "--board", "cc77").expect(0)
    lab.run(*words, "other.bin").expect(5, "it is for board cc77")
    assert lab.see() == before
    assert len(lab.records()) == records
    lab.run("recover", "rig-x", "--yes").expect(2, "no device 'rig-x'")
    lab.run("recover", NAME).expect(2, "--yes agrees beforehand")


def test_a_compressed_image_is_given_unpacked(lab: SmallLab) -> None:
    ruin(lab)
    lab.sign("good", "--compress", "lzma2")
    lab.run("recover", NAME, "--yes", "--image", "good.bin").expect(0, "runs 1.1.0")
    assert lab.see()[NAME].confirmed
    assert lab.records()[-1]["hash"] != lab.hash("good")


def test_a_firmware_that_hangs_for_good_is_met_in_its_bootloader(lab: SmallLab) -> None:
    """It overwrites, so nothing reverts it: the one way is the moment after a reset."""
    edit_fleet(lab, "reset: watchdog", 'reset: {hook: [cycle, "${controller}"]}')
    edit_fleet(lab, "  retries:", "  bootloader: {mode: overwrite-only}\n  retries:")
    shutil.rmtree(lab.state)
    lab.run("sim", "create", "--factory", "factory.bin").expect(0)
    names = [w for n in ("rig-a", "c1-a", "c1-b", "c2-a", "c2-b") for w in ("--no-way-back", n)]
    lab.run("deploy", "hang-for-good.bin", "--yes", *names).expect(7, "cryofw recover rig-a")
    assert lab.see()[NAME].active == lab.hash("hang-for-good")

    lab.run("recover", NAME, "--yes").expect(0, "runs 1.0.0", "quarantine clear")

    assert lab.running()[NAME] == "factory"
    lab.run("audit", "verify").expect(0, "verified")
    lab.run("quarantine", "list").expect(0, NAME)


def test_no_rollout_is_crossed(lab: SmallLab) -> None:
    lab.run("deploy", "good.bin", "--yes").expect(75)
    lab.run("recover", NAME, "--yes").expect(5, "takes part in the open rollout", "cryofw abort")


def test_an_image_that_its_bootloader_does_not_trust_is_told_and_can_be_mended(
    lab: SmallLab,
) -> None:
    adopted(lab)
    ruin(lab)
    lab.run("keys", "generate", "other", "--purpose", "image", "--no-passphrase").expect(0)
    lab.run("sign", "good.raw.bin", "other.bin", "-v", "1.1.0", "-k", "other").expect(0)

    lab.run("recover", NAME, "--yes", "--image", "other.bin").expect(5, "would not start")

    failed = lab.records()[-1]
    assert (failed["kind"], failed["sent"]) == ("recovery-failed", True)
    lab.run("inventory").expect(0, "not recovered")
    lab.run("recover", NAME, "--yes").expect(0, "runs 1.0.0")
    lab.run("audit", "verify").expect(0, "verified")
