"""A journal by somebody who wants to steer the terminal of whoever reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cryofw.cli.main import run
from cryofw.errors import BadInput
from cryofw.journal import FileStorage, Journal, verifier_key
from tests.unit.audit.test_audit_signatures import LOG

if TYPE_CHECKING:
    from pathlib import Path

    from cryofw.clock import Clock

EVIL = "\x1b[2J\x9b31m\u202eevil\x7f"
DEVICE = f"c1{EVIL}"
NEW = "ab" * 32


@pytest.fixture
def state(tmp_path: Path, clock: Clock) -> Path:
    directory = tmp_path / "state"
    with Journal.open(FileStorage(directory), clock=clock, who=EVIL, signer=LOG) as journal:
        journal.append(
            "device-adopted", device=DEVICE, hash=NEW, version=EVIL, board=EVIL, image=EVIL,
            by=EVIL, why=EVIL, hw=EVIL, serial=EVIL,
        )  # fmt: skip
        evidence = {"metrics": {EVIL: {"shift": EVIL}}, "heartbeats": {"beats": EVIL}}
        journal.append(
            "verdict-reached", rollout=EVIL, device=DEVICE, outcome=EVIL, why=EVIL,
            evidence=evidence,
        )  # fmt: skip
    return directory


def calm(capsys: pytest.CaptureFixture[str]) -> str:
    """What was printed, once it is seen that nothing in it steers a terminal."""
    captured = capsys.readouterr()
    shown = captured.out + captured.err
    assert shown
    assert all(char.isprintable() for line in shown.splitlines() for char in line), repr(shown)
    return shown


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["show"], 0),
        (["show", "--evidence"], 0),
        (["show", "--json"], 0),
        (["show", "--device", "nobody"], 2),
        (["show", "--who", EVIL + "x"], 2),
        (["show", "--rollout", EVIL + "x"], 2),
        (["verify"], 4),
        (["prove", "nobody", "--as-recorded"], 3),
        (["prove", EVIL, "--as-recorded"], 3),
        (["rehome", EVIL + "12345678", "--why", "x"], 3),
    ],
)
def test_nothing_steers_the_terminal(
    state: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
) -> None:
    monkeypatch.chdir(state.parent)
    monkeypatch.setenv("CRYOFW_HOST_STATE", str(state.parent / "host"))
    assert run(["audit", *arguments, "--state", str(state)]) == code
    calm(capsys)


@pytest.mark.parametrize("how", [[], ["--json"]])
def test_proof_does_not_steer_the_terminal_either(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, how: list[str]
) -> None:
    from cryofw.audit import prove_device

    monkeypatch.chdir(state.parent)
    (state.parent / "proof").write_bytes(prove_device(FileStorage(state), DEVICE).encode())
    key = verifier_key("journal", LOG.public_key)
    assert run(["audit", "verify-proof", "proof", "--key", key, *how]) == 0
    shown = calm(capsys)
    assert "evil" in shown
    if not how:
        assert "the proof carries none" in shown


def test_error_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    from cryofw.cli.main import _report

    error = BadInput(EVIL, why=f"{EVIL}\n{EVIL}", hint=EVIL)
    _report(error.what, error.why, error.hint)
    assert calm(capsys).count("evil") == 4
