"""`ssh-keygen -Y sign`, with the keys that a person has: files, an agent, FIDO tokens."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cryofw.errors import BadInput, CryofwError, Refused
from cryofw.trust import SshKey, is_certificate, parse_certificate, parse_key
from cryofw.trust.ssh_key import decoded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryofw.trust import SshCertificate

SSH_KEY = "CRYOFW_SSH_KEY"
_TIMEOUT_S = 120
_USUAL = ("id_ed25519_sk", "id_ecdsa_sk", "id_ed25519", "id_ecdsa", "id_rsa")


@dataclass(frozen=True)
class OwnKey:
    """A key that is at hand, and what `ssh-keygen -f` takes for it.

    Attributes:
        path: its file; None for a key of the agent, which needs its public half only.
        line: the public half, or the certificate.
    """

    key: SshKey
    certificate: SshCertificate | None
    path: Path | None
    line: str


def own_keys() -> Iterator[OwnKey]:
    """The keys at hand: CRYOFW_SSH_KEY alone if it is set, else the agent's, then ~/.ssh."""
    named = os.environ.get(SSH_KEY, "").strip()
    if named:
        yield _named(Path(named).expanduser())
        return
    yield from _of_agent()
    directory = Path.home() / ".ssh"
    for name in _USUAL:
        for public in (f"{name}-cert.pub", f"{name}.pub"):
            if (directory / public).is_file() and (directory / name).is_file():
                yield from _read(directory / public, directory / public)


def _named(path: Path) -> OwnKey:
    """The key that a person names: its private file, its public one, or its certificate."""
    public = path if path.suffix == ".pub" else path.with_name(f"{path.name}.pub")
    if not path.exists():
        raise BadInput(f"there is no ssh key {path}", hint=f"{SSH_KEY} names it")
    if not public.exists():
        raise BadInput(
            f"there is no {public}",
            why="its public half says whose key it is",
            hint=f"`ssh-keygen -y -f {path} > {public}` makes it",
        )
    for found in _read(public, path):
        return found
    raise BadInput(
        f"{public} is no public ssh key that is known here",
        hint="Ed25519, ECDSA P-256, FIDO (sk-) and RSA keys are, and certificates of them",
    )


def _of_agent() -> Iterator[OwnKey]:
    if not os.environ.get("SSH_AUTH_SOCK"):
        return
    try:
        listed = subprocess.run(
            ["ssh-add", "-L"],  # noqa: S607  # the person's own OpenSSH, wherever it is
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return
    if listed.returncode == 0:
        for line in listed.stdout.splitlines():
            yield from _parse(line, None)


def _read(public: Path, path: Path) -> Iterator[OwnKey]:
    try:
        text = public.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return
    yield from _parse(text.strip(), path)


def _parse(line: str, path: Path | None) -> Iterator[OwnKey]:
    """The key of a line; nothing for kinds that are not known here."""
    try:
        blob = decoded([*line.split(), "", ""][1], "the key")
        certificate = parse_certificate(blob) if is_certificate(blob) else None
        key = certificate.key if certificate else parse_key(blob)
    except CryofwError:
        return
    yield OwnKey(key, certificate, path, line)


def ssh_sign(own: OwnKey, namespace: str, message: bytes) -> str:
    """The armored signature of a message; a FIDO key is touched, a passphrase is asked for.

    Raises:
        Refused: ssh-keygen did not sign.
    """
    with tempfile.TemporaryDirectory(prefix="cryofw-ssh-") as scratch:
        path = own.path
        if path is None:
            path = Path(scratch, "key.pub")
            path.write_text(own.line + "\n")
        return _run(own, ["ssh-keygen", "-Y", "sign", "-f", str(path), "-n", namespace], message)


def _run(own: OwnKey, command: list[str], message: bytes) -> str:
    _tell(own)
    try:
        # It asks for a passphrase or a PIN at the terminal itself, not on these streams.
        done = subprocess.run(  # noqa: S603  # no shell, and only our own arguments
            command, input=message, capture_output=True, check=False, timeout=_TIMEOUT_S
        )
    except FileNotFoundError:
        why = "ssh-keygen is not installed"
    except subprocess.TimeoutExpired:
        why = f"it took longer than {_TIMEOUT_S} s"
    else:
        if done.returncode == 0 and done.stdout:
            return done.stdout.decode("ascii", "replace")
        why = done.stderr.decode("utf-8", "replace").strip()
    raise Refused(
        f"the ssh key {own.key.fingerprint} did not sign",
        why=why,
        hint="`ssh-add -l` shows what the agent has; for a key elsewhere: "
        "`cryofw approve --statement FILE`",
    )


def _tell(own: OwnKey) -> None:
    """Which key is about to be used, for whoever types its passphrase or touches it."""
    if sys.stderr.isatty():
        touch = "; touch it when it blinks" if own.key.type.is_fido else ""
        where = f" ({own.path})" if own.path else ""
        sys.stderr.write(f"signing with {own.key.fingerprint}{where}{touch}\n")
        sys.stderr.flush()
