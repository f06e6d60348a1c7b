"""Compressed images on bootloaders that overwrite: out, refused, taken back, and what cannot be."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.flows.small_lab import BEHAVIOUR, DEVICES, Ran, SmallLab, edit_fleet

if TYPE_CHECKING:
    from collections.abc import Callable

ACCEPTED = tuple(word for name in DEVICES for word in ("--no-way-back", name))


class OverwritingLab(SmallLab):
    """A lab whose bootloaders overwrite and unpack; all images but the factory's are compressed."""

    def running_hash(self, name: str) -> str:
        told = self.run("inspect", f"{name}.bin", "--json").expect(0)
        return str(json.loads(told.out)["running_hash"])

    def running(self) -> dict[str, str]:
        names = {self.running_hash(name): name for name in BEHAVIOUR}
        return {name: names.get(chip.active, "nothing") for name, chip in self.see().items()}

    def deploy(self, name: str, *more: str) -> Ran:
        return self.run("deploy", f"{name}.bin", "--yes", *ACCEPTED, *more)


@pytest.fixture
def lab(another_lab: Callable[[str], SmallLab]) -> OverwritingLab:
    lab = OverwritingLab(another_lab("overwriting").directory)
    shutil.rmtree(lab.state)
    edit_fleet(lab, "  retries:", "  bootloader: {compressed: lzma2}\n  retries:")
    for name in BEHAVIOUR:
        lab.sign(name, *(() if name == "factory" else ("--compress", "lzma2")))
    lab.run("sim", "create", "--factory", "factory.bin").expect(0)
    return lab


def test_a_compressed_image_goes_out_under_two_hashes_and_a_bad_one_is_taken_back(
    lab: OverwritingLab,
) -> None:
    assert lab.running() == dict.fromkeys(DEVICES, "factory")

    lab.deploy("good").expect(75, "compressed (lzma2)", "no test boot", "needs an approval")
    lab.run("approve", "--stage", "fleet").expect(0)
    lab.run("resume").expect(0, "confirmed")

    assert lab.running() == dict.fromkeys(DEVICES, "good")
    uploaded = [r for r in lab.records() if r["kind"] == "image-uploaded"]
    assert {(r["uploaded_hash"], r["hash"]) for r in uploaded} == {
        (lab.hash("good"), lab.running_hash("good"))
    }

    lab.deploy("drift").expect(6, "readout_snr")

    assert lab.running() == dict.fromkeys(DEVICES, "good")
    back = [r for r in lab.records() if r["kind"] == "device-rolled-back"]
    assert [(r["device"], r["how"]) for r in back] == [("rig-a", "uploaded and confirmed")]
    assert back[0]["hash"] == lab.running_hash("good")
    lab.run("audit", "verify").expect(0, "verified")


def test_a_firmware_that_hangs_stays_and_says_so(lab: OverwritingLab) -> None:
    ran = lab.deploy("hang")
    ran.expect(7, "cryofw recover rig-a")
    running = lab.running()
    assert running.pop("rig-a") == "hang"
    assert set(running.values()) == {"factory"}
    lab.run("audit", "verify").expect(0, "verified")


def test_what_a_device_printed_before_it_failed_is_kept_and_proven(lab: OverwritingLab) -> None:
    lab.deploy("hang").expect(7)

    (stuck,) = (r for r in lab.records() if r["kind"] == "device-stuck")
    path = lab.state / "logs" / f"{stuck['log']['sha256']}.log"
    text = path.read_text()
    assert "*** Booting MCUboot ***" in text
    assert text.count("\n") == stuck["log"]["lines"]
    lab.run("status", "--device", "rig-a").expect(0, "| 2026-01-01T", "Booting MCUboot")
    lab.run("audit", "show", "--kind", "device-stuck").expect(0, f"lines: logs/{path.name}")
    lab.run("audit", "verify").expect(0, "verified")
    path.write_text(text.replace("MCUboot", "McuBoot"))
    lab.run("audit", "verify").expect(4, "is not the log that was kept")
    path.unlink()
    lab.run("audit", "verify").expect(4, "the log of the device is missing")


def test_without_a_name_for_each_device_there_is_no_plan(lab: OverwritingLab) -> None:
    refused = lab.run("deploy", "good.bin", "--yes", "--no-way-back", "rig-a")
    refused.expect(5, "no way back: its bootloader overwrites", "c1-a, c1-b, c2-a, c2-b")
    assert not (lab.state / "journal.jsonl").exists()


def test_who_is_not_said_to_unpack_gets_nothing_compressed(lab: OverwritingLab) -> None:
    edit_fleet(lab, "bootloader: {compressed: lzma2}", "bootloader: {mode: overwrite-only}")
    lab.deploy("good").expect(5, "does not say that its bootloader unpacks")
    lab.sign("good", "--compress", "lzma2-arm-thumb")
    edit_fleet(lab, "{mode: overwrite-only}", "{compressed: lzma2}")
    lab.deploy("good").expect(5, "compressed (lzma2-arm-thumb)")
    assert lab.running() == dict.fromkeys(DEVICES, "factory")


def test_a_declaration_that_the_device_denies_is_refused(
    another_lab: Callable[[str], SmallLab],
) -> None:
    lab = OverwritingLab(another_lab("swapping").directory)
    edit_fleet(lab, "  retries:", "  bootloader: {compressed: lzma2}\n  retries:")
    lab.sign("good", "--compress", "lzma2")
    lab.deploy("good").expect(5, "says that its bootloader overwrites; it swaps")
