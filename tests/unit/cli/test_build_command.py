from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cryofw.cli.main import run

pytestmark = pytest.mark.peer


def needs_compiler() -> None:
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.fail("arm-none-eabi-gcc is missing; run `apt install gcc-arm-none-eabi make`")


@pytest.mark.parametrize("start", [".", "firmware"])
def test_build_makes_the_shipped_firmware_again(
    lab: Path, start: str, capsys: pytest.CaptureFixture[str]
) -> None:
    needs_compiler()
    shipped = (lab / "firmware/build/drift.bin").read_bytes()
    shutil.rmtree(lab / "firmware/build")

    assert run(["build", start, "--variant", "drift", "--json"]) == 0

    files = json.loads(capsys.readouterr().out)["files"]
    assert [Path(file).suffix for file in files] == [".bin", ".hex", ".elf"]
    assert (lab / files[0]).read_bytes() == shipped


def test_a_version_string_gets_into_the_firmware(lab: Path) -> None:
    needs_compiler()

    assert run(["build", "--firmware-version", "2.5.0-rc1"]) == 0

    assert b"firmware 2.5.0-rc1 (good)" in (lab / "firmware/build/good.bin").read_bytes()


def test_a_mistake_in_the_source_is_told_with_the_compilers_words(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needs_compiler()
    with (lab / "firmware/main.c").open("a") as file:
        file.write("int broken(\n")

    assert run(["build"]) == 3

    assert "main.c" in capsys.readouterr().err


def test_without_a_compiler_it_says_how_to_get_one(
    lab: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(lab))

    assert run(["build"]) == 69

    text = capsys.readouterr().err
    assert "make and arm-none-eabi-gcc not found" in text
    assert "hint: Debian: apt install gcc-arm-none-eabi make" in text
