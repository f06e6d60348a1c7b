"""sign, verify and inspect over real files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cryofw.cli.main import run
from cryofw.image import parse_image

if TYPE_CHECKING:
    from pathlib import Path

GOOD = "firmware/build/good.bin"


def answer(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("kind", ["bin", "hex", "elf"])
def test_all_three_forms_of_a_firmware_give_the_same_image(
    lab: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["-v", "1.2.3+4", "--board", "cc40", "--json"]

    assert run(["sign", f"firmware/build/good.{kind}", "image.bin", *arguments]) == 0
    signed = answer(capsys)
    assert run(["verify", "image.bin", "--json"]) == 0
    verified = answer(capsys)

    image = parse_image((lab / "image.bin").read_bytes())
    assert image.body == (lab / GOOD).read_bytes()
    assert signed["hash"] == verified["hash"] == image.hash.hex()
    assert verified["version"] == "1.2.3+4"
    assert verified["board"] == "cc40"
    assert signed["key"] == verified["key"]
    assert verified["key"]["name"] == "firmware"


@pytest.mark.parametrize(
    "options",
    [
        ["-H", "32"],
        ["-H", "0x400", "--pad-header"],
        ["-s", "auto"],
        ["-s", "7", "-d", "(1, 2.0.0), (2, 1.0.0+3)", "-d", "(3, 1.0.0)"],
        ["-L", "0x20000000"],
        ["-F", "0x10000"],
        ["-S", "256K", "--align", "8", "--pad"],
        ["-S", "0x40000", "--confirm"],
        ["-S", "256K", "--overwrite-only", "--pad", "-R", "0"],
        ["-S", "256K", "--align", "4", "--max-align", "32", "-M", "64", "--pad"],
        ["--board", "cc40"],
    ],
    ids=" ".join,
)
def test_what_sign_writes_verify_accepts(lab: Path, options: list[str]) -> None:
    judge = []
    for flag in ("-S", "-R"):
        if flag in options:
            judge += [flag, options[options.index(flag) + 1]]

    assert run(["sign", GOOD, "image.bin", "-v", "1.0.0", *options]) == 0
    assert run(["verify", "image.bin", *judge]) == 0
    assert run(["inspect", "image.bin"]) == 0


def test_signing_is_reproducible(lab: Path) -> None:
    for name in ("a.bin", "b.bin"):
        assert run(["sign", GOOD, name, "-v", "1.0.0"]) == 0

    assert (lab / "a.bin").read_bytes() == (lab / "b.bin").read_bytes()


def test_zeros_in_front_are_room_for_the_header(lab: Path) -> None:
    firmware = (lab / GOOD).read_bytes()
    (lab / "linked.bin").write_bytes(bytes(0x200) + firmware)

    for source, signed in (("linked.bin", "a.bin"), (GOOD, "b.bin")):
        assert run(["sign", source, signed, "-v", "1.0.0"]) == 0

        image = parse_image((lab / signed).read_bytes())
        assert (image.header_size, image.body) == (0x200, firmware)


def test_verify_trusts_only_the_keys_it_is_told(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generate = ["keys", "generate", "second", "--purpose", "image", "--no-passphrase"]
    assert run(generate) == 0
    assert run(["sign", GOOD, "image.bin", "-v", "1.0.0", "-k", "second"]) == 0

    assert run(["verify", "image.bin"]) == 0
    assert run(["verify", "image.bin", "-k", "keys/second.pub.pem"]) == 0
    assert run(["verify", "image.bin", "-k", "firmware", "-k", "second"]) == 0
    capsys.readouterr()
    assert run(["verify", "image.bin", "-k", "firmware"]) == 4
    assert capsys.readouterr().out == ""


def test_a_file_key_needs_no_keyring(lab: Path) -> None:
    (lab / "keys.yaml").unlink()

    assert run(["sign", GOOD, "image.bin", "-v", "1.0.0", "-k", "keys/firmware.pem"]) == 0
    assert run(["verify", "image.bin", "-k", "keys/firmware.pub.pem"]) == 0


def test_an_encrypted_key_opens_with_a_passphrase_from_file_or_environment(
    lab: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = lab / "secret"
    secret.touch(0o600)
    secret.write_text("open sesame\n")
    generate = ["keys", "generate", "locked", "--purpose", "image"]
    assert run([*generate, "--passphrase-file", "secret"]) == 0
    sign = ["sign", GOOD, "image.bin", "-v", "1.0.0", "-k", "locked", "--force"]

    assert run([*sign, "--passphrase-file", "secret"]) == 0
    monkeypatch.setenv("CRYOFW_PASSPHRASE_LOCKED", "open sesame")
    assert run(sign) == 0
    monkeypatch.setenv("CRYOFW_PASSPHRASE_LOCKED", "open barley")
    assert run(sign) == 3

    captured = capsys.readouterr()
    assert "the passphrase is wrong" in captured.err
    assert "barley" not in captured.out + captured.err
    assert "sesame" not in captured.out + captured.err


def test_force_overwrites_whole(lab: Path) -> None:
    (lab / "image.bin").write_bytes(b"old" * 100_000)

    assert run(["sign", GOOD, "image.bin", "-v", "1.0.0", "--force"]) == 0

    assert run(["verify", "image.bin"]) == 0
    assert not [path for path in lab.iterdir() if path.name.endswith(".new")]


def test_inspect_tells_findings_without_judging(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["sign", GOOD, "image.bin", "-v", "1.2.3"]) == 0
    data = bytearray((lab / "image.bin").read_bytes())
    data[0x300] ^= 1
    (lab / "bent.bin").write_bytes(data)
    capsys.readouterr()

    assert run(["inspect", "image.bin", "--json"]) == 0
    assert answer(capsys)["findings"] == []
    assert run(["inspect", "bent.bin", "--json"]) == 0
    assert answer(capsys)["hash_matches"] is False
    assert run(["inspect", "bent.bin"]) == 0
    assert "would be refused" in capsys.readouterr().out


@pytest.mark.parametrize("key", ["pkcs11:token=lab;object=a?module-path=/x.so", "awskms:alias/a"])
@pytest.mark.parametrize("more", [["o.bin"], ["--to-sign", "o.bin"]])
def test_a_key_uri_belongs_into_the_keyring(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    key: str,
    more: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f.bin").write_bytes(b"firmware")

    assert run(["sign", "f.bin", *more, "-v", "1.0.0", "-k", key]) == 2

    assert "not the URI" in capsys.readouterr().err
    assert not (tmp_path / "o.bin").exists()
