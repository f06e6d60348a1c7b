from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from cryofw.cli.main import run

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

SIGN = ["sign", "firmware.bin", "image.bin", "-v", "1.2.3"]


def write_pair(name: str, key: PrivateKeyTypes) -> None:
    path = Path(f"{name}.pem")
    path.touch(0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    Path(f"{name}.pub.pem").write_bytes(public)


@pytest.fixture(autouse=True)
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a firmware, a P-256 image key and keys of devices."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CRYOFW_DECRYPTION_KEY", raising=False)
    Path("firmware.bin").write_bytes(b"firmware" * 50)
    assert run(["keys", "generate", "k", "--purpose", "image", "--no-passphrase"]) == 0
    write_pair("devices", ec.generate_private_key(ec.SECP256R1()))
    write_pair("others", ec.generate_private_key(ec.SECP256R1()))
    write_pair("curve", x25519.X25519PrivateKey.generate())
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    capsys.readouterr()
    assert run([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert isinstance(result, dict)
    return result


@pytest.mark.parametrize(
    ("more", "encryption"),
    [([], "aes-128, ecies-p256"), (["--encrypt-keylen", "256"], "aes-256, ecies-p256")],
)
def test_sign_verify_and_inspect_speak_of_the_encryption(
    capsys: pytest.CaptureFixture[str], more: list[str], encryption: str
) -> None:
    signed = told(capsys, *SIGN, "-E", "devices.pub.pem", *more)
    assert str(signed["encryption"]).startswith(encryption)
    assert signed["clear"] is False

    verified = told(capsys, "verify", "image.bin", "--decryption-key", "devices.pem")
    assert (verified["body"], verified["hash"]) == ("encrypted", signed["hash"])

    shut = told(capsys, "inspect", "image.bin")
    assert (shut["body"], shut["encryption"], shut["hash_matches"]) == (
        "encrypted",
        encryption,
        None,
    )
    opened = told(capsys, "inspect", "image.bin", "--decryption-key", "devices.pem")
    assert opened["hash_matches"] is True


def test_the_key_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run([*SIGN, "-E", "devices.pub.pem"]) == 0
    monkeypatch.setenv("CRYOFW_DECRYPTION_KEY", "devices.pem")

    assert run(["verify", "image.bin"]) == 0


def test_a_clear_one_verifies_with_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, *SIGN, "-E", "devices.pub.pem", "--clear")["clear"] is True

    assert run(["verify", "image.bin"]) == 0

    assert "not for a rollout" in capsys.readouterr().out
    assert told(capsys, "verify", "image.bin")["body"] == "clear"


@pytest.mark.parametrize(
    ("key", "exit_code", "part"),
    [
        ([], 4, "nothing here can open it"),
        (["--decryption-key", "others.pem"], 4, "does not open with this decryption key"),
        (["--decryption-key", "curve.pem"], 4, "does not open with this decryption key"),
        (["--decryption-key", "gone.pem"], 3, "cannot read the decryption key"),
        (["--decryption-key", "devices.pub.pem"], 5, "open to others"),
    ],
)
def test_verify_without_the_right_key_fails_and_says_why(
    capsys: pytest.CaptureFixture[str], key: list[str], exit_code: int, part: str
) -> None:
    assert run([*SIGN, "-E", "devices.pub.pem"]) == 0

    assert run(["verify", "image.bin", *key]) == exit_code

    assert part in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "exit_code", "part"),
    [
        (["--clear"], 2, "belong to --encrypt"),
        (["--encrypt-keylen", "256"], 2, "belong to --encrypt"),
        (["--encrypt-keylen", "192", "-E", "devices.pub.pem"], 2, "192"),
        (["-E", "curve.pub.pem"], 5, "do not go together"),
        (["-E", "devices.pem"], 3, "public one is expected"),
        (["-E", "gone.pub.pem"], 3, "is missing"),
        (["-E", "firmware.bin"], 3, "no public key"),
    ],
)
def test_sign_refuses_what_cannot_be_encrypted_and_writes_nothing(
    capsys: pytest.CaptureFixture[str], more: list[str], exit_code: int, part: str
) -> None:
    assert run([*SIGN, *more]) == exit_code

    assert part in capsys.readouterr().err
    assert not Path("image.bin").exists()


def test_an_encrypted_image_can_be_signed_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    shape = ["firmware.bin", "-v", "1.2.3", "-E", "devices.pub.pem"]
    assert run(["sign", *shape, "--to-sign", "t"]) == 0
    openssl = ["openssl", "dgst", "-sha256", "-sign", "keys/k.pem", "-out", "t.sig", "t"]
    subprocess.run(openssl, check=True, capture_output=True)

    assert run(["sign", *shape[:1], "image.bin", *shape[1:], "--signature", "t.sig"]) == 0

    assert run(["verify", "image.bin", "--decryption-key", "devices.pem"]) == 0


def test_the_slot_has_to_hold_the_keys_in_its_trailer_as_well(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run([*SIGN, "-S", "0x600", "-M", "4"]) == 0
    assert run([*SIGN, "-S", "0x600", "-M", "4", "-E", "devices.pub.pem", "--force"]) == 0
    capsys.readouterr()
    size = Path("image.bin").stat().st_size + 3 * 4 + 8 * 4 + 16 + 2 * 16
    # The signature's length varies by a few bytes; 8 below what is needed never fits.
    tight = ["-S", str(size - 8), "-M", "4", "-E", "devices.pub.pem", "--force"]
    assert run([*SIGN, *tight]) == 3
    assert "does not fit its slot" in capsys.readouterr().err
