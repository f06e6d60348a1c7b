"""OpenSSH's own ssh-keygen and ssh-agent: what it signs we verify, what we make it verifies."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from cryofw.cli.sshkeygen import own_keys, ssh_sign
from cryofw.trust import (
    APPROVAL_NAMESPACE,
    SignatureInvalid,
    is_certificate,
    parse_certificate,
    parse_key_line,
    parse_signature,
)
from cryofw.trust.ssh_key import decoded
from tests.unit.trust.soft_key import SoftKey, certificate, option

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.peer

MESSAGE = b"what a person approves\n"
SOFT = ("ed25519", "ecdsa", "sk-ed25519", "sk-ecdsa", "rsa")


def keygen(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["ssh-keygen", *arguments], input=stdin, capture_output=True)


def generate(path: Path, *options: str) -> Path:
    made = keygen("-q", "-N", "", "-f", str(path), *options)
    assert made.returncode == 0, made.stderr
    return path


def sign(key: Path, namespace: str = APPROVAL_NAMESPACE) -> str:
    made = keygen("-Y", "sign", "-f", str(key), "-n", namespace, stdin=MESSAGE)
    assert made.returncode == 0, made.stderr
    return made.stdout.decode()


def peer_verifies(
    directory: Path, allowed: str, signature: str, message: bytes = MESSAGE
) -> subprocess.CompletedProcess[bytes]:
    signers = directory / "allowed_signers"
    signers.write_text(allowed + "\n")
    file = directory / "signature"
    file.write_text(signature)
    arguments = ("-Y", "verify", "-f", str(signers), "-I", "bart@lab", "-n", APPROVAL_NAMESPACE)
    return keygen(*arguments, "-s", str(file), stdin=message)


@pytest.mark.parametrize(
    "options", [("-t", "ed25519"), ("-t", "ecdsa", "-b", "256"), ("-t", "rsa", "-b", "3072")]
)
def test_what_ssh_keygen_signs_verifies_here(tmp_path: Path, options: tuple[str, ...]) -> None:
    key = generate(tmp_path / "key", *options)

    parsed = parse_signature(sign(key))

    assert parsed.key == parse_key_line((tmp_path / "key.pub").read_text())
    listed = keygen("-l", "-f", str(tmp_path / "key.pub")).stdout.decode()
    assert parsed.key.fingerprint in listed
    assert parsed.verify(MESSAGE, APPROVAL_NAMESPACE) == 0
    with pytest.raises(SignatureInvalid):
        parsed.verify(MESSAGE + b" ", APPROVAL_NAMESPACE)
    with pytest.raises(SignatureInvalid, match="another purpose"):
        parsed.verify(MESSAGE, "file")


@pytest.mark.parametrize("kind", SOFT)
def test_what_the_tests_sign_ssh_keygen_takes_and_so_do_we(tmp_path: Path, kind: str) -> None:
    key = SoftKey(kind)
    text = key.sign(MESSAGE, APPROVAL_NAMESPACE)

    verified = peer_verifies(tmp_path, f"bart@lab {key.line}", text)

    assert verified.returncode == 0, verified.stderr
    assert parse_signature(text).verify(MESSAGE, APPROVAL_NAMESPACE) == int(key.is_fido)
    assert peer_verifies(tmp_path, f"bart@lab {key.line}", text, b"other").returncode != 0


def test_ssh_keygen_takes_a_fido_signature_that_nobody_touched_and_we_see_that(
    tmp_path: Path,
) -> None:
    key = SoftKey("sk-ed25519")
    text = key.sign(MESSAGE, APPROVAL_NAMESPACE, flags=0)

    assert peer_verifies(tmp_path, f"bart@lab {key.line}", text).returncode == 0
    assert parse_signature(text).verify(MESSAGE, APPROVAL_NAMESPACE) == 0


def test_a_certificate_of_ssh_keygen(tmp_path: Path) -> None:
    authority = generate(tmp_path / "ca", "-t", "ecdsa", "-b", "256")
    generate(tmp_path / "key", "-t", "ed25519")
    certified = keygen(
        "-q", "-s", str(authority), "-I", "lent", "-n", "bart@lab,carol@lab", "-z", "9",
        "-V", "20261120090000Z:20261120170000Z", str(tmp_path / "key.pub"),
    )  # fmt: skip
    assert certified.returncode == 0, certified.stderr

    found = parse_signature(sign(tmp_path / "key-cert.pub"))

    assert found.verify(MESSAGE, APPROVAL_NAMESPACE) == 0
    assert found.key == parse_key_line((tmp_path / "key.pub").read_text())
    assert found.certificate is not None
    assert found.certificate.authority == parse_key_line((tmp_path / "ca.pub").read_text())
    assert found.certificate.principals == ("bart@lab", "carol@lab")
    assert (found.certificate.serial, found.certificate.identity) == (9, "lent")
    assert found.certificate.valid_before - found.certificate.valid_after == 8 * 3600


def test_a_certificate_with_an_option_that_ssh_keygen_wrote_is_not_taken(tmp_path: Path) -> None:
    authority = generate(tmp_path / "ca", "-t", "ed25519")
    generate(tmp_path / "key", "-t", "ed25519")
    keygen(
        "-q", "-s", str(authority), "-I", "lent", "-n", "bart@lab", "-O", "force-command=true",
        str(tmp_path / "key.pub"),
    )  # fmt: skip
    blob = decoded((tmp_path / "key-cert.pub").read_text().split()[1], "it")

    assert is_certificate(blob)
    with pytest.raises(SignatureInvalid, match="limited"):
        parse_certificate(blob)


@pytest.mark.parametrize("kind", SOFT)
def test_ssh_keygen_takes_the_certificates_of_the_tests(tmp_path: Path, kind: str) -> None:
    authority, key = SoftKey("ecdsa"), SoftKey(kind)
    blob = certificate(authority, key, ("bart@lab",), options=option("verify-required"))
    text = key.sign(MESSAGE, APPROVAL_NAMESPACE, public=blob)

    verified = peer_verifies(tmp_path, f"bart@lab cert-authority {authority.line}", text)

    assert verified.returncode == 0, verified.stderr
    parsed = parse_signature(text)
    parsed.verify(MESSAGE, APPROVAL_NAMESPACE)
    assert parsed.certificate is not None
    assert parsed.certificate.verify_required


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A real ssh-agent, alone with its keys."""
    socket = tmp_path / "agent"
    started = subprocess.run(["ssh-agent", "-s", "-a", str(socket)], capture_output=True, text=True)
    found = re.search(r"SSH_AGENT_PID=(\d+);", started.stdout)
    assert found is not None, started.stderr
    try:
        for name in [name for name in os.environ if name.startswith("CRYOFW_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        monkeypatch.setenv("HOME", str(tmp_path))
        yield
    finally:
        os.kill(int(found[1]), signal.SIGTERM)


@pytest.mark.usefixtures("agent")
def test_a_key_that_only_the_agent_has_signs(tmp_path: Path) -> None:
    generate(tmp_path / "key", "-t", "ed25519")
    added = subprocess.run(["ssh-add", "-q", str(tmp_path / "key")], capture_output=True)
    assert added.returncode == 0, added.stderr
    (tmp_path / "key").unlink()

    (own,) = own_keys()
    text = ssh_sign(own, APPROVAL_NAMESPACE, MESSAGE)

    assert own.path is None
    assert parse_signature(text).verify(MESSAGE, APPROVAL_NAMESPACE) == 0
    assert parse_signature(text).key == own.key
