"""The first two hundred seeds of the soak, and the same run under another PYTHONHASHSEED."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cryofw.rollout import ConfirmImage, DeviceState
from tests.soak import main, play_seed

if TYPE_CHECKING:
    from pytest_mock import MockerFixture

SEEDS = 200
_CHUNK = 10
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("first", range(0, SEEDS, _CHUNK))
def test_every_invariant_holds(first: int) -> None:
    broken = [
        f"python -m tests.soak --replay {played.seed}  # {played.broken}"
        for played in map(play_seed, range(first, first + _CHUNK))
        if played.broken
    ]

    assert broken == []


def digests(hash_seed: str) -> str:
    """The digests of a dozen seeds in a process of its own."""
    command = [sys.executable, "-m", "tests.soak", "--digests", "--seeds=12", "--jobs=1"]
    environ = os.environ | {"PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True
    )
    return done.stdout.partition("\n\n")[0]


def test_a_seed_is_the_same_run_under_another_hash_seed() -> None:
    first = digests("1")

    assert len(first.splitlines()) == 12
    assert digests("4242") == first


def test_a_game_tells_its_story(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--replay", "3"]) == 0

    told = capsys.readouterr().out
    assert "started the rollout of 1.1.0" in told
    assert "every invariant held" in told


def test_a_broken_promise_ends_with_1_and_the_command_that_replays_it(
    mocker: MockerFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Planted: an image is confirmed as soon as it runs."""
    at_once = {DeviceState.WATCHED: lambda _state, one: ConfirmImage(one.name, one.new_hash, None)}
    mocker.patch.dict("cryofw.rollout.decision._BY_STATE", at_once)

    assert main(["--seeds", "3", "--jobs", "1"]) == 1

    told = capsys.readouterr().out
    assert "invariant 3 (confirm_after_verdict)" in told
    assert "python -m tests.soak --replay" in told
