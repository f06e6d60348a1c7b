"""Commands of the lab: what they print, and every way in which they can misbehave."""

from __future__ import annotations

import asyncio
import math
import sys
from pathlib import Path
from typing import Any

import pytest

from cryofw.telemetry import FREE, CommandFailed, ExperimentLease
from cryofw.telemetry.answer import read_lease, read_state, read_value
from cryofw.telemetry.command import MAX_OUTPUT_BYTES, run_command, run_json

PYTHON = sys.executable
NOON_S = 1_795_176_000.0  # 2026-11-20T12:00:00Z


def run(*argv: str, timeout_s: float = 20.0) -> object:
    return asyncio.run(run_json(argv, timeout_s=timeout_s))


def test_arguments_meet_no_shell() -> None:
    echo = "import json, sys; print(json.dumps(sys.argv[1:]))"
    argument = "$(touch x); `id` && 'é'"
    assert run(PYTHON, "-c", echo, argument) == [argument]


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (["no-such-command-here"], "No such file"),
        ([PYTHON, "-c", "print('warm', end='')"], "it printed no JSON: warm: "),
        ([PYTHON, "-c", ""], "it printed no JSON: nothing: "),
        (["sh", "-c", "echo the bridge is off >&2; exit 3"], "exit code 3: the bridge is off"),
        (["sh", "-c", "exit 1"], "exit code 1: nothing on stderr"),
        (["sh", "-c", "kill -9 $$"], "exit code -9"),
        ([PYTHON, "-c", "print('[' * 100000)"], "it printed no JSON"),
        (["sh", "-c", "yes"], f"it printed more than {MAX_OUTPUT_BYTES:,} bytes"),
        (["sh", "-c", "yes >&2"], f"it printed more than {MAX_OUTPUT_BYTES:,} bytes"),
    ],
)
def test_a_command_that_fails_says_why(argv: list[str], why: str) -> None:
    with pytest.raises(CommandFailed) as caught:
        run(*argv)
    assert why in caught.value.why
    assert argv[0] in caught.value.what


def test_what_is_given_stands_on_its_standard_input() -> None:
    argv = [PYTHON, "-c", "import sys; print(sys.stdin.read()[::-1])"]
    given = b"gain" * 50_000  # more than a pipe holds
    assert asyncio.run(run_command(argv, timeout_s=20.0, given=given)) == given[::-1] + b"\n"
    assert asyncio.run(run_command(["true"], timeout_s=20.0, given=given)) == b""


def test_a_command_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = f"sleep 600 & echo $! > {pid_file}; wait"
    with pytest.raises(CommandFailed, match=r"not done after 0\.5 s"):
        run("sh", "-c", script, timeout_s=0.5)
    status = Path(f"/proc/{pid_file.read_text().strip()}/stat")
    # Killed: it is gone, or waits as a zombie for whoever inherited it.
    assert not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"


def test_what_a_command_leaves_behind_does_not_hold_its_answer_back() -> None:
    assert run("sh", "-c", "echo 4.2; sleep 600 &", timeout_s=30) == 4.2


@pytest.mark.parametrize(
    ("document", "value", "t_s"),
    [
        (27, 27.0, None),
        (4.2e-3, 0.0042, None),
        ({"value": 1.5}, 1.5, None),
        ({"value": 1.5, "t": NOON_S}, 1.5, NOON_S),
        ({"value": 1.5, "t": "2026-11-20T12:00:00Z"}, 1.5, NOON_S),
        ({"value": 1.5, "t": "2026-11-20T13:00:00+01:00"}, 1.5, NOON_S),
        ({"values": {"snr": 3, "enob": 4}, "t": 5}, 3.0, 5.0),
        (10**400, math.inf, None),
    ],
)
def test_a_number(document: object, value: float, t_s: float | None) -> None:
    read = read_value(document, "probe", "snr")
    assert (read.value, read.t_s) == (value, t_s)


@pytest.mark.parametrize("document", [None, {"value": None}, {"values": {"enob": 4}}])
def test_no_number_is_nan(document: object) -> None:
    assert math.isnan(read_value(document, "probe", "snr").value)


@pytest.mark.parametrize(
    "document",
    [
        "27",
        True,
        [27],
        {},
        {"value": "27"},
        {"value": {}},
        {"values": 3},
        {"value": 1, "t": "noon"},
        {"value": 1, "t": True},
        {"value": 1, "t": math.inf},
        {"values": {"snr": "3"}},
    ],
)
def test_what_is_no_number(document: object) -> None:
    with pytest.raises(CommandFailed, match="probe: ") as caught:
        read_value(document, "probe", "snr")
    assert "it prints a number" in caught.value.hint


def test_a_time_without_a_zone_means_nothing() -> None:
    with pytest.raises(CommandFailed, match="without a time zone"):
        read_value({"value": 1, "t": "2026-11-20T12:00:00"}, "probe", "snr")


@pytest.mark.parametrize(
    ("document", "state"), [("base", "base"), (3, "3"), ({"state": "base", "t": 5}, "base")]
)
def test_a_state(document: object, state: str) -> None:
    assert read_state(document, "fridge").value == state


@pytest.mark.parametrize("document", [None, True, 3.5, "", [], {}, {"state": None}])
def test_what_is_no_state(document: object) -> None:
    with pytest.raises(CommandFailed, match="something else than a reading"):
        read_state(document, "fridge")


def test_a_lease() -> None:
    document = {"owner": "anna", "expires": "2026-11-20T12:00:00Z", "token": 17, "t": NOON_S - 60}
    read = read_lease(document, "lease-of")
    assert read.value == ExperimentLease("anna", NOON_S, 17)
    assert read.t_s == NOON_S - 60
    assert read.value.is_held(NOON_S - 1)
    assert not read.value.is_held(NOON_S)
    for free in ({"owner": None}, {"owner": "", "expires": NOON_S}):
        assert read_lease(free, "lease-of").value == FREE
    assert not FREE.is_held(0)


BAD_LEASES: list[Any] = [
    None, {}, [], "anna", {"owner": "anna"}, {"owner": "anna", "expires": None},
    {"owner": 7, "expires": 5}, {"owner": "anna", "expires": 5, "token": "17"},
]  # fmt: skip


@pytest.mark.parametrize("document", BAD_LEASES)
def test_what_is_no_lease_is_not_a_free_cryostat(document: object) -> None:
    with pytest.raises(CommandFailed, match="something else than a reading"):
        read_lease(document, "lease-of")
