"""`cryofw sign --to-sign` and `--signature`, with OpenSSL as the room where the key is."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cryofw.cli.main import run
from cryofw.image import Algorithm, parse_image
from cryofw.keys import generate_key

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.peer

SHAPE = ["-v", "1.2.3", "--board", "cc40", "-s", "auto", "-S", "0x10000"]


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a firmware; the private keys lie in its folder `vault`."""
    assert shutil.which("openssl"), "openssl is missing; this check needs `apt install openssl`"
    monkeypatch.chdir(tmp_path)
    Path("firmware.bin").write_bytes(bytes(range(256)) * 40)
    return tmp_path


def make_key(algorithm: Algorithm) -> None:
    generate_key(Path("vault/k.pem"), algorithm, None)
    shutil.move("vault/k.pub.pem", "k.pub.pem")


def to_sign(capsys: pytest.CaptureFixture[str], *more: str) -> Mapping[str, str]:
    words = ["sign", "firmware.bin", "--to-sign", "to.sign", "-k", "k.pub.pem", *SHAPE, *more]
    capsys.readouterr()
    assert run([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert isinstance(told, dict)
    return told


def openssl(told: Mapping[str, str]) -> None:
    """Run the very command that cryofw printed."""
    words = shlex.split(told["openssl"].replace("PRIVATE.pem", "vault/k.pem"))
    subprocess.run(words, check=True, capture_output=True)


def attach(*more: str) -> int:
    words = ["sign", "firmware.bin", "image.bin", "-k", "k.pub.pem", *SHAPE]
    return run([*words, "--signature", "to.sign.sig", *more])


@pytest.mark.parametrize("algorithm", Algorithm)
def test_what_openssl_signs_by_our_recipe_becomes_an_image(
    room: Path, capsys: pytest.CaptureFixture[str], algorithm: Algorithm
) -> None:
    make_key(algorithm)
    told = to_sign(capsys)
    openssl(told)

    assert attach() == 0

    image = parse_image(Path("image.bin").read_bytes())
    assert image.hash.hex() == told["hash"]
    signed = Path("to.sign").read_bytes()
    assert signed == (image.digest if algorithm is Algorithm.ED25519 else image.hashed_region)
    assert run(["verify", "image.bin", "-k", "k.pub.pem"]) == 0
    imgtool = [str(Path(sys.executable).parent / "imgtool"), "verify", "-k", "vault/k.pem"]
    subprocess.run([*imgtool, "image.bin"], check=True, capture_output=True)


def test_a_key_of_the_keyring_needs_its_public_half_only(
    room: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["keys", "generate", "k", "--purpose", "image", "--no-passphrase"]) == 0
    Path("vault").mkdir()
    shutil.move("keys/k.pem", "vault/k.pem")

    assert run(["sign", "firmware.bin", "--to-sign", "to.sign", *SHAPE]) == 0
    openssl({"openssl": "openssl dgst -sha256 -sign PRIVATE.pem -out to.sign.sig to.sign"})

    assert run(["sign", "firmware.bin", "i.bin", "--signature", "to.sign.sig", *SHAPE]) == 0
    assert run(["verify", "i.bin"]) == 0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: bytes([*data[:-1], data[-1] ^ 1]),
        lambda data: data[:-1],
        lambda data: data + b"\n",
        lambda _data: b"-",
        lambda _data: bytes(64),
    ],
)
@pytest.mark.parametrize("algorithm", [Algorithm.ECDSA_P256, Algorithm.ED25519])
def test_a_signature_that_does_not_fit_leaves_no_image(
    room: Path, capsys: pytest.CaptureFixture[str], algorithm: Algorithm, spoil: object
) -> None:
    assert callable(spoil)
    make_key(algorithm)
    openssl(to_sign(capsys))
    path = Path("to.sign.sig")
    path.write_bytes(spoil(path.read_bytes()))

    assert attach() == 4

    assert "sign as it said" in capsys.readouterr().err
    assert not Path("image.bin").exists()


@pytest.mark.parametrize("other", [["-v", "1.2.4"], ["--board", "cc41"], ["-H", "0x400"]])
def test_other_options_than_those_that_were_signed_are_refused(
    room: Path, capsys: pytest.CaptureFixture[str], other: list[str]
) -> None:
    make_key(Algorithm.ED25519)
    openssl(to_sign(capsys))

    assert attach(*other) == 4

    assert "the options that --to-sign had" in capsys.readouterr().err
    assert not Path("image.bin").exists()


def test_an_image_that_stands_there_is_kept_when_the_signature_is_wrong(
    room: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_key(Algorithm.ED25519)
    to_sign(capsys)
    Path("to.sign.sig").write_bytes(bytes(64))
    Path("image.bin").write_bytes(b"the old one")

    assert attach("--force") == 4

    assert Path("image.bin").read_bytes() == b"the old one"


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["firmware.bin", "out.bin", "--to-sign", "x"], "writes no image"),
        (["firmware.bin", "--to-sign", "x", "--signature", "y"], "writes no image"),
        (["firmware.bin"], "which image shall be written"),
        (["firmware.bin", "out.hex", "--signature", "y"], "written in binary"),
    ],
)
def test_two_wishes_at_once_are_refused(
    room: Path, capsys: pytest.CaptureFixture[str], words: list[str], part: str
) -> None:
    assert run(["sign", *words, *SHAPE]) == 2

    assert part in capsys.readouterr().err
    assert sorted(path.name for path in room.iterdir()) == ["firmware.bin"]


def test_a_private_key_is_not_taken_for_its_public_half(
    room: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_key(Algorithm.ED25519)

    assert run(["sign", "firmware.bin", "--to-sign", "x", "-k", "vault/k.pem", *SHAPE]) == 3

    assert "public one is expected" in capsys.readouterr().err
