from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cryofw.cli.main import run
from cryofw.errors import CryofwError
from cryofw.image import Algorithm
from cryofw.keys import Purpose, load_keyring, no_passphrase

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("purpose", "algorithm"),
    [(Purpose.IMAGE, algorithm) for algorithm in Algorithm]
    + [(purpose, Algorithm.ED25519) for purpose in Purpose if purpose is not Purpose.IMAGE],
)
def test_a_generated_key_is_in_the_keyring_and_signs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    purpose: Purpose,
    algorithm: Algorithm,
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = [f"--purpose={purpose}", f"--algorithm={algorithm}", "--no-passphrase", "--json"]

    assert run(["keys", "generate", "k", *arguments]) == 0

    told = json.loads(capsys.readouterr().out)
    entry = load_keyring(tmp_path / "keys.yaml").entry("k")
    assert (entry.purpose, entry.algorithm) == (purpose, algorithm)
    assert told["fingerprint"] == entry.public_key.key_hash.hex()
    load_keyring(tmp_path / "keys.yaml").signer("k", purpose, no_passphrase)


def test_the_default_algorithm_fits_the_purpose(lab: Path) -> None:
    for name, purpose in (("i", "image"), ("a", "approval")):
        assert run(["keys", "generate", name, "--purpose", purpose, "--no-passphrase"]) == 0

    entries = load_keyring(lab / "keys.yaml").entries
    assert entries["i"].algorithm is Algorithm.ECDSA_P256
    assert entries["a"].algorithm is Algorithm.ED25519


def test_list_shows_fingerprints_and_no_secret(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ring = load_keyring(lab / "keys.yaml")

    assert run(["keys", "list"]) == 0
    text = capsys.readouterr().out
    assert run(["keys", "list", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)

    assert [each["name"] for each in told] == list(ring.entries)
    for entry in ring.entries.values():
        assert entry.public_key.key_hash.hex()[:16] in text
    assert "PRIVATE" not in text


def test_another_directorys_keyring_keeps_its_keys_beside_it(tmp_path: Path) -> None:
    ring = tmp_path / "ring" / "keys.yaml"
    ring.parent.mkdir()
    arguments = ["--purpose", "image", "--no-passphrase", "--keyring", str(ring)]

    assert run(["keys", "generate", "k", *arguments]) == 0

    assert (tmp_path / "ring/keys/k.pem").exists()
    assert (tmp_path / "ring/keys/k.pub.pem").exists()


def test_a_keyring_behind_a_link_stays_behind_it(lab: Path, tmp_path: Path) -> None:
    (tmp_path / "link.yaml").symlink_to(lab / "keys.yaml")
    arguments = ["--purpose", "approval", "--no-passphrase", "--keyring"]

    assert run(["keys", "generate", "k", *arguments, str(tmp_path / "link.yaml")]) == 0

    assert (tmp_path / "link.yaml").is_symlink()
    assert "k" in load_keyring(lab / "keys.yaml").entries


def test_a_flag_wins_over_the_environment_and_that_over_the_default(
    lab: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*arguments: str) -> list[str]:
        assert run(["keys", "list", "--json", *arguments]) == 0
        return [each["name"] for each in json.loads(capsys.readouterr().out)]

    generate = ["--purpose", "image", "--no-passphrase", "--keyring"]
    for name in ("from-environment", "from-flag"):
        assert run(["keys", "generate", name, *generate, f"{name}/keys.yaml"]) == 0
    capsys.readouterr()

    assert told() == ["firmware", "release", "journal"]
    monkeypatch.setenv("CRYOFW_KEYRING", "from-environment/keys.yaml")
    assert told() == ["from-environment"]
    assert told("--keyring", "from-flag/keys.yaml") == ["from-flag"]


def test_a_colleagues_public_half_is_entered_and_signs_nothing_here(
    lab: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    away = tmp_path / "away" / "keys.yaml"
    away.parent.mkdir()
    made = ["keys", "generate", "bart", "--purpose=release", "--no-passphrase"]
    assert run([*made, f"--keyring={away}"]) == 0
    public = away.parent / "keys" / "bart.pub.pem"
    add = ["keys", "add", "bart", "--purpose=release"]

    assert run([*add, f"--public={public}"]) == 0

    ring = load_keyring(lab / "keys.yaml")
    assert ring.entry("bart").public_key == load_keyring(away).entry("bart").public_key
    with pytest.raises(CryofwError, match="cannot read the private key"):
        ring.signer("bart", Purpose.RELEASE, no_passphrase)
    assert run([*add, f"--public={public}"]) == 3  # it has the name already
    assert run(add) == 2
    assert run([*add, "--uri=x", f"--public={public}"]) == 2
    assert "--public FILE" in capsys.readouterr().err


def test_another_public_half_of_the_same_name_is_not_overwritten(lab: Path, tmp_path: Path) -> None:
    kept = lab / "keys" / "eve.pub.pem"
    kept.write_bytes((lab / "keys" / "journal.pub.pem").read_bytes())
    before = (lab / "keys.yaml").read_bytes()
    other = lab / "keys" / "release.pub.pem"

    assert run(["keys", "add", "eve", "--purpose=release", f"--public={other}"]) != 0

    assert (lab / "keys.yaml").read_bytes() == before
    assert kept.read_bytes() == (lab / "keys" / "journal.pub.pem").read_bytes()
