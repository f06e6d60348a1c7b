"""`cryofw gate` as people and programs see it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml

from cryofw.cli.main import run
from cryofw.engine.tune import parse_merged
from tests.unit.engine.small_recording import FLEET, START_S, record

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def healthy() -> str:
    """CSV of ten hours and a bit."""
    lines = ["time,device,metric,value"]
    for (device, metric), series in record(11).series.items():
        lines += [f"{t_s:.2f},{device},{metric},{value:.4f}" for t_s, value in series]
    return "\n".join(lines) + "\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, healthy: str) -> Path:
    (tmp_path / "fleet.yaml").write_text(FLEET)
    (tmp_path / "healthy.csv").write_text(healthy)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_one_sentence_and_tables_for_people(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["gate", "backtest", "--data", "healthy.csv", "--shift", "snr=1.5"]) == 0
    out = capsys.readouterr().out

    assert "rollouts replayed on healthy data, 0 would have been rolled back by mistake" in out
    assert "snr worse by 1.5 dB would be seen in a median of" in out
    assert "on rig" in out.splitlines()[0]
    assert "stage  wave  replays  rolled back" in out
    assert "seen on cryo" in out
    assert "to show that at most 1 % go back by mistake takes 381 rollouts" in out


def test_what_was_not_recorded_is_said_in_the_sentence(
    here: Path, capsys: pytest.CaptureFixture[str], healthy: str
) -> None:
    head, *lines = healthy.splitlines(keepends=True)
    (here / "part.csv").write_text(head + "".join(line for line in lines if ",c-a,snr," in line))
    assert run(["gate", "backtest", "--data", "part.csv"]) == 0
    out = capsys.readouterr().out

    assert out.startswith("! backtest")
    assert "(1 of 4 devices, 1 of 2 metrics)" in out.splitlines()[0]
    assert "not in the recording: rig-a, c-b, c-c" in out


def test_json_for_programs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["gate", "backtest", "--data", "healthy.csv", "--json", "--seed", "3"]
    assert run([*command, "--shift", "snr=1.5", "--shift", "snr=0.9"]) == 0
    answer = json.loads(capsys.readouterr().out)

    assert answer["rollouts"] == answer["false"][1] >= 10
    assert answer["false"][0] == 0
    assert answer["false"][3] == pytest.approx(3.8415 / (answer["rollouts"] + 3.8415), rel=1e-3)
    assert {one["shift"] for one in answer["shifts"]} == {1.5, 0.9}
    assert {one["stage"] for one in answer["waves"]} == {"rig", "cryo"}
    assert answer["rollout_s"] == 2400


def test_the_piece_that_tune_prints_goes_into_the_file(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["gate", "tune", "--data", "healthy.csv"]) == 0
    text = capsys.readouterr().out
    piece = yaml.safe_load(text)
    fleet = parse_merged(FLEET, "fleet.yaml", piece)

    assert (here / "fleet.yaml").read_text() == FLEET, "tune edits nothing"
    calibration = fleet.controllers[0].calibration
    assert calibration.baseline_samples == piece["defaults"]["calibration"]["baseline_samples"]
    assert text.startswith("# as it is: of ")
    assert "# with this: of " in text
    assert run(["gate", "tune", "--data", "healthy.csv", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["fleet"] == piece
    assert {one["setting"] for one in answer["settings"]} >= {"snr.margin", "rig.soak_s"}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--data", "absent.csv"], 3, "cannot read absent.csv"),
        (["--data", "fleet.yaml"], 3, "fleet.yaml:1: no column"),
        (["--data", "prometheus"], 3, "fleet.yaml names no Prometheus"),
        (["--data", "healthy.csv", "--shift", "snr"], 2, "'snr' is no shift"),
        (["--data", "healthy.csv", "--shift", "gain=1"], 2, "no shift can be put on gain"),
        (["--data", "healthy.csv", "--fleet", "none.yaml"], 3, "none.yaml"),
        ([], 2, "--data"),
    ],
)
def test_what_cannot_be_done_is_said(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    assert run(["gate", "backtest", *arguments]) == code
    assert said in capsys.readouterr().err


def test_too_little_data_ends_with_3_and_says_how_much_it_takes(
    here: Path, capsys: pytest.CaptureFixture[str], healthy: str
) -> None:
    head, *lines = healthy.splitlines(keepends=True)
    first = [line for line in lines if float(line.partition(",")[0]) < START_S + 3 * 3600]
    (here / "short.csv").write_text(head + "".join(first))
    assert run(["gate", "backtest", "--data", "short.csv"]) == 3
    error = capsys.readouterr().err
    assert "whole rollouts fit" in error
    assert "hint: record" in error
