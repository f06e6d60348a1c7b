from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

import cryofw.cli
from cryofw.cli.main import run
from cryofw.fleet import load_fleet
from cryofw.keys import Purpose, environment_passphrase, load_keyring, no_passphrase

if TYPE_CHECKING:
    import pytest

SAMPLE = Path(cryofw.cli.__file__).parent / "sample"
ROOT = Path(__file__).parents[3]


def test_the_shipped_fleet_is_the_one_at_the_top_level() -> None:
    assert (SAMPLE / "fleet.yaml").read_bytes() == (ROOT / "fleet.yaml").read_bytes()


def test_what_init_lays_out_is_read_by_the_rooms(lab: Path) -> None:
    ring = load_keyring(lab / "keys.yaml")

    assert load_fleet(lab / "fleet.yaml").lab == "delft-b12"
    assert [entry.purpose for entry in ring.entries.values()] == [
        Purpose.IMAGE,
        Purpose.RELEASE,
        Purpose.JOURNAL,
    ]
    for entry in ring.entries.values():
        private = lab / "keys" / f"{entry.name}.pem"
        assert stat.S_IMODE(private.stat().st_mode) == 0o600
        ring.signer(entry.name, entry.purpose, no_passphrase)
    for source in (SAMPLE / "firmware").iterdir():
        assert (lab / "firmware" / source.name).read_bytes() == source.read_bytes()
    for built in (SAMPLE / "prebuilt").iterdir():
        assert (lab / "firmware" / "build" / built.name).read_bytes() == built.read_bytes()


def test_each_lab_has_keys_of_its_own(lab: Path, tmp_path: Path) -> None:
    assert run(["init", str(tmp_path / "second")]) == 0

    assert (tmp_path / "second/keys/firmware.pem").read_bytes() != (
        lab / "keys/firmware.pem"
    ).read_bytes()


def test_private_keys_are_kept_from_version_control(lab: Path) -> None:
    lines = (lab / ".gitignore").read_text().splitlines()

    assert lines.index("keys/*.pem") < lines.index("!keys/*.pub.pem")
    assert ".cryofw/" in lines


def test_a_passphrase_in_the_environment_encrypts_the_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYOFW_PASSPHRASE", "open sesame")

    assert run(["init", str(tmp_path / "lab")]) == 0

    for name in ("firmware", "release", "journal"):
        assert b"ENCRYPTED" in (tmp_path / f"lab/keys/{name}.pem").read_bytes()
    ring = load_keyring(tmp_path / "lab/keys.yaml")
    assert ring.signer("firmware", Purpose.IMAGE, environment_passphrase()).sign(b"")


def test_an_empty_directory_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert run(["init", "."]) == 0

    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [".gitignore", "docs", "firmware", "fleet.yaml", "keys", "keys.yaml"]


def test_the_next_steps_it_names_work(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["init", str(lab / "another")]) == 0
    steps = capsys.readouterr().out.split("Next:\n")[1].splitlines()
    commands = [line.split()[1:] for line in steps if line.startswith("  cryofw")]

    assert [run(command) for command in commands] == [0, 0]
