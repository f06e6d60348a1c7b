"""The shipped sample firmware is what Debian's compiler makes of the shipped sources."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import cryofw.cli

SAMPLE = Path(cryofw.cli.__file__).parent / "sample"
VARIANTS = ["good", "drift", "hang"]
MARKER = re.compile(rb"CRYOFW-SIM\x00(\{[^\x00]*\})\x00")

pytestmark = pytest.mark.peer


def make(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    for tool, package in (("arm-none-eabi-gcc", "gcc-arm-none-eabi"), ("make", "make")):
        if shutil.which(tool) is None:
            pytest.fail(f"{tool} is missing; this check needs `apt install {package}`")
    return subprocess.run(["make", *arguments], cwd=directory, capture_output=True, text=True)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SAMPLE / "firmware", tmp_path / "another place" / "firmware"))


@pytest.mark.parametrize("variant", VARIANTS)
def test_make_reproduces_the_shipped_files_byte_for_byte(sources: Path, variant: str) -> None:
    done = make(sources, f"VARIANT={variant}")

    assert done.returncode == 0, done.stderr
    for kind in ("bin", "hex", "elf"):
        built = (sources / "build" / f"{variant}.{kind}").read_bytes()
        assert built == (SAMPLE / "prebuilt" / f"{variant}.{kind}").read_bytes(), kind


def test_another_version_needs_no_clean(sources: Path) -> None:
    assert make(sources).returncode == 0
    assert make(sources, "VERSION=9.8.7").returncode == 0

    assert b"cryofw sample firmware 9.8.7 (good)\0" in (sources / "build/good.bin").read_bytes()


def test_an_unknown_variant_is_refused_by_name(sources: Path) -> None:
    done = make(sources, "VARIANT=bda")

    assert done.returncode != 0
    assert '"bda"' in done.stderr
    assert not (sources / "build").exists()


@pytest.mark.parametrize("variant", VARIANTS)
def test_vector_table_stands_first_and_points_into_the_slot(variant: str) -> None:
    data = (SAMPLE / "prebuilt" / f"{variant}.bin").read_bytes()
    stack, reset = (int.from_bytes(data[at : at + 4], "little") for at in (0, 4))

    assert stack == 0x2001_0000
    assert reset % 2 == 1, "Thumb bit"
    assert 0x1_0200 <= reset < 0x1_0200 + len(data)


@pytest.mark.parametrize(
    ("variant", "behaviour"),
    [
        ("good", b"{}"),
        (
            "drift",
            b'{"shift":{"metric":"readout_snr","by":-3.0,"after_s":1200,"ramp_s":300}}',
        ),
        ("hang", b'{"hang_s":0,"wdt":true}'),
    ],
)
def test_each_variant_carries_one_marker_for_the_simulator(variant: str, behaviour: bytes) -> None:
    data = (SAMPLE / "prebuilt" / f"{variant}.bin").read_bytes()

    assert MARKER.findall(data) == [behaviour]


def test_no_path_of_any_machine_is_in_the_shipped_files() -> None:
    for file in sorted((SAMPLE / "prebuilt").iterdir()):
        assert not re.search(rb"/(home|root|work|tmp|usr|build)/", file.read_bytes()), file.name


def test_the_pulse_is_the_one_its_comment_describes() -> None:
    text = (SAMPLE / "firmware" / "pulse.c").read_text().split("= {")[1]
    samples = [int(number) for number in re.findall(r"-?\d+", text)]

    def expected(i: int) -> int:
        at = i - 2047.5
        return round(32767 * math.exp(-((at / 512) ** 2) / 2) * math.cos(2 * math.pi * at / 64))

    assert samples == [expected(i) for i in range(4096)]
