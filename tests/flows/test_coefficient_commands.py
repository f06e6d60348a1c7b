"""Coefficients on the command line: planned, shown, deployed, taken back, refused."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import pytest

from tests.flows.small_lab import FLEET, SmallLab

if TYPE_CHECKING:
    from pathlib import Path

GAIN = "readout/gain"
FILE: dict[str, Any] = {
    "schema": "cryofw.coefficients/v1",
    "defaults": {GAIN: {"type": "f32", "value": 2.1}},
    "controllers": {"c1-a": {GAIN: {"type": "f32", "value": 2.25}}},
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> SmallLab:
    """The small lab, whose devices have settings."""
    text = FLEET.replace("  seed: 7\n", "  seed: 7\n  coefficients: {readout/gain: 1.0}\n")
    assert text != FLEET
    return SmallLab.lay_out(tmp_path_factory.mktemp("coefficients") / "lab", text)


@pytest.fixture
def lab(template: SmallLab, tmp_path: Path) -> SmallLab:
    lab = template.copy_to(tmp_path / "lab")
    (lab.directory / "gains.json").write_text(json.dumps(FILE, indent=1))
    return lab


def stored(lab: SmallLab, device: str) -> dict[str, float]:
    """What lies in a simulated device's storage."""
    ram = json.loads((lab.state / "sim" / "devices" / f"{device}.json").read_text())
    kept = ram["settings"]["stored"]
    return {name: struct.unpack("<f", bytes.fromhex(text))[0] for name, text in kept.items()}


def test_a_plan_names_them_and_covers_them(lab: SmallLab) -> None:
    shown = lab.run("plan", "good.bin", "--coefficients", "gains.json", "-o", "plan.json")
    shown.expect(0, "readout/gain = 2.1 (f32) on rig-a c1-b", "readout/gain = 2.25 (f32) on c1-a")
    plan = json.loads((lab.directory / "plan.json").read_text())
    assert plan["devices"]["c1-a"]["coefficients"] == {GAIN: {"hex": "00001040", "type": "f32"}}
    assert len(plan["coefficients_digest"]) == 64
    (lab.directory / "gains.json").unlink()  # the plan holds everything
    lab.run("deploy", "--plan", "plan.json", "--stage", "test-rig", "-y").expect(
        0, "given to the image on trial", "kept, as read back from its storage"
    )
    assert stored(lab, "rig-a") == {GAIN: pytest.approx(2.1)}


def test_deployed_and_taken_back_with_the_firmware(lab: SmallLab) -> None:
    before = lab.see()
    lab.run(
        "deploy", "good.bin", "--coefficients", "gains.json", "--stage", "test-rig", "-y"
    ).expect(0)
    assert lab.running()["rig-a"] == "good"
    assert stored(lab, "rig-a") == {GAIN: pytest.approx(2.1)}

    other = {**FILE, "defaults": {GAIN: {"type": "f32", "value": 3.0}}}
    (lab.directory / "other.json").write_text(json.dumps(other))
    lab.run("deploy", "good.bin", "--coefficients", "other.json", "-y").expect(
        5, "was planned with other coefficients"
    )

    lab.run("rollback", "--why", "the gain is wrong", "-y").expect(0, "with its old coefficients")
    assert set(lab.running().values()) == {"factory"}
    assert stored(lab, "rig-a") == {GAIN: 1.0}
    lab.check_end(before)
    lab.run("audit", "show", "--device", "rig-a").expect(0, "rig-a keeps its coefficients")


@pytest.mark.parametrize(
    ("change", "exit_code", "says"),
    [
        ({"defaults": {GAIN: {"type": "f32", "value": "2.1"}}}, 3, "expected a number, got `2.1`"),
        ({"controllers": {"c9-z": {}}}, 5, "c9-z: has coefficients, but is no controller"),
        ({"defaults": {}}, 5, "rig-a, c1-b, c2-a, c2-b: the release brings coefficients, but none"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    lab: SmallLab, change: dict[str, Any], exit_code: int, says: str
) -> None:
    (lab.directory / "gains.json").write_text(json.dumps({**FILE, **change}))
    lab.run("plan", "good.bin", "--coefficients", "gains.json").expect(exit_code, says)
    assert not (lab.state / "journal.jsonl").exists()


def test_usage(lab: SmallLab) -> None:
    lab.run("plan", "good.bin", "--coefficients", "none.json").expect(3, "none.json")
    lab.run("deploy", "--plan", "plan.json", "--coefficients", "gains.json").expect(
        2, "a plan holds its coefficients"
    )
    lab.run("schema", "coefficients").expect(0, "urn:cryofw:coefficients:v1")
