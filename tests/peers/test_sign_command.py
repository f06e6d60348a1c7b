"""`cryofw sign` beside imgtool, and at a terminal where a passphrase is typed."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cryofw.cli.main import run
from cryofw.image import Algorithm
from cryofw.keys import generate_key

pytestmark = pytest.mark.peer

BIN = Path(sys.executable).parent


@pytest.fixture
def firmware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CRYOFW_PASSPHRASE", raising=False)
    path = tmp_path / "firmware.bin"
    path.write_bytes(bytes(range(256)) * 40)
    return path


@pytest.mark.parametrize("algorithm", Algorithm)
def test_imgtool_verifies_what_the_command_signs(firmware: Path, algorithm: Algorithm) -> None:
    generate_key(firmware.with_name("k.pem"), algorithm, None)

    assert run(["sign", firmware.name, "image.bin", "-v", "1.2.3+4", "-k", "./k.pem"]) == 0

    done = subprocess.run(
        [BIN / "imgtool", "verify", "-k", "k.pem", "image.bin"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Image version: 1.2.3+4" in done.stdout


def test_a_key_that_imgtool_made_signs_with_us(firmware: Path) -> None:
    imgtool = [str(BIN / "imgtool"), "keygen", "-k", "k.pem", "-t", "ecdsa-p256"]
    subprocess.run(imgtool, check=True, capture_output=True)
    Path("k.pem").chmod(0o600)

    assert run(["sign", firmware.name, "image.bin", "-v", "1.0.0", "-k", "./k.pem"]) == 0

    assert shutil.which("openssl"), "openssl is missing; this check needs `apt install openssl`"
    subprocess.run(["openssl", "pkey", "-in", "k.pem", "-pubout", "-out", "k.pub.pem"], check=True)
    assert run(["verify", "image.bin", "-k", "k.pub.pem"]) == 0


@pytest.mark.parametrize(("typed", "exit_code"), [(b"right\n", 0), (b"wrong\n", 3)])
def test_a_passphrase_typed_at_a_terminal_is_not_shown(
    firmware: Path, typed: bytes, exit_code: int
) -> None:
    generate_key(firmware.with_name("k.pem"), Algorithm.ED25519, b"right")
    terminal, its_other_side = pty.openpty()
    command = [str(BIN / "cryofw"), "sign", "firmware.bin", "image.bin", "-v", "1.0.0"]

    with subprocess.Popen(
        [*command, "-k", "./k.pem"],
        stdin=its_other_side,
        stdout=subprocess.DEVNULL,
        stderr=its_other_side,
        start_new_session=True,
    ) as process:
        os.close(its_other_side)
        shown = b""
        while not shown.endswith(b"Passphrase of the key k: "):
            shown += os.read(terminal, 1)
        os.write(terminal, typed)
        shown += read_to_end(terminal)
        code = process.wait()

    assert code == exit_code
    assert typed.strip() not in shown.replace(b"the passphrase is wrong", b"")
    assert Path("image.bin").exists() is (exit_code == 0)


def read_to_end(terminal: int) -> bytes:
    data = b""
    try:
        while more := os.read(terminal, 4096):
            data += more
    except OSError:  # Linux: the other side of the terminal was closed
        pass
    finally:
        os.close(terminal)
    return data
