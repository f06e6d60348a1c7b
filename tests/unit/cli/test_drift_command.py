"""`cryofw drift` on a file, on Prometheus and on the readings of rollouts."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from cryofw.cli.main import run
from cryofw.engine.reading_log import LoggedReading, ReadingLog
from cryofw.engine.virtual_time import StoppedClock
from cryofw.health import MetricSample, Phase
from cryofw.journal import FileStorage, Journal
from tests.unit.telemetry.scripted_server import Asked, Reply, ScriptedServer, json_reply

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START_S = 1_760_000_000.0
DAY_S = 86_400.0
EVERY_S = 3600.0
COUNT = 30 * 24
ONSET_S = START_S + 15 * DAY_S
OLD, NEW = "0a" * 32, "1b" * 32

FLEET = """\
schema: cryofw.fleet/v1
lab: delft
board: cc40
telemetry: {prometheus: {url: "URL"}}
defaults:
  reset: watchdog
  thermal: {stage: 4k, capacity: 1.5 W, headroom: 80 %, flash: 60 mW, max_rise: 150 mK}
  calibration:
    every: 30 s
    metrics:
      snr: {unit: dB, worse: lower, margin: 0.5, reject: 2, source: prometheus,
            query: 'snr{controller="${controller}"}'}
stages:
  - {name: all, targets: [cryo-1], soak: 20 min}
cryostats:
  cryo-1:
    controllers:
      c1-a: {port: /dev/ttyA}
      c1-b: {port: /dev/ttyB}
      c1-c: {port: /dev/ttyC}
"""


def value(device: str, t_s: float, ramp: float = 0.0) -> float:
    drift = ramp * max(0.0, t_s - ONSET_S) / DAY_S if device == "c1-a" else 0.0
    return 27 + drift + Random(f"{device} {t_s}").gauss(0, 1)


def stamp(t_s: float) -> str:
    return datetime.fromtimestamp(t_s, UTC).isoformat()


def telemetry(
    path: Path, *, ramp: float = 0.0, devices: str = "abc", warm_s: float = math.inf
) -> None:
    lines = ["time,device,metric,value,cooldown"]
    for index in range(COUNT):
        t_s = START_S + index * EVERY_S
        cooldown = "cd8" if t_s >= warm_s else "cd7"
        for name in devices:
            device = f"c1-{name}"
            lines.append(f"{stamp(t_s)},{device},snr,{value(device, t_s, ramp):.6f},{cooldown}")
    path.write_text("\n".join(lines) + "\n")


def journal(state: Path, *, new_on: str, at_s: float = ONSET_S) -> None:
    """All ran 1.0.0; from `at_s` on those of `new_on` run 1.1.0."""
    clock = StoppedClock(datetime.fromtimestamp(START_S - DAY_S, UTC))
    with Journal.open(FileStorage(state), clock=clock, who="anna@lab") as book:
        book.append("rollout-started", rollout="r-1", plan="p", release=NEW, version="1.1.0")
        for name in "abc":
            book.append(
                "device-checked", rollout="r-1", device=f"c1-{name}", hash=OLD, version="1.0.0"
            )
    later = StoppedClock(datetime.fromtimestamp(at_s, UTC))
    with Journal.open(FileStorage(state), clock=later, who="anna@lab") as book:
        for name in new_on:
            book.append("test-booted", rollout="r-1", device=f"c1-{name}", hash=NEW, t_s=at_s)
            book.append("image-confirmed", rollout="r-1", device=f"c1-{name}", hash=NEW)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    scripted = ScriptedServer()
    yield scripted
    scripted.close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fleet.yaml").write_text(FLEET.replace("URL", "http://127.0.0.1:9"))
    return tmp_path


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run(["drift", "--json", *arguments]) == 0
    loaded = json.loads(capsys.readouterr().out)
    assert isinstance(loaded, dict)
    return loaded


def row(shown: dict[str, Any], device: str | None) -> dict[str, Any]:
    (one,) = [one for one in shown["series"] if one["device"] == device]
    assert isinstance(one, dict)
    return one


def test_steady_telemetry_says_so_and_what_it_promises(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    telemetry(home / "t.csv")

    assert run(["drift", "--data", "t.csv", "--exit-code"]) == 0
    shown = capsys.readouterr().out
    assert "steady  4 series" in shown
    assert "With one false alarm in 100,000 days at most 0.0008 are expected" in shown


def test_a_drift_names_the_release_it_began_with(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    telemetry(home / "t.csv", ramp=-0.4)
    journal(home / ".cryofw", new_on="a")
    found = row(report(capsys, "--data", "t.csv"), "c1-a")

    assert (found["finding"], found["unit"]) == ("drifts", "dB")
    assert found["per_day"] == pytest.approx(-0.4, abs=0.1)
    assert found["release"]["version"] == "1.1.0"
    assert found["release_began_then"] is True
    assert found["release_before"]["version"] == "1.0.0"
    assert (found["cooldown"], found["cooldown_began_then"]) == ("cd7", False)
    assert found["proposal"] == "roll back"
    assert "back to 1.0.0 with `cryofw rollback r-1`" in found["because"]
    assert found["evidence"] > 1e5

    assert run(["drift", "--data", "t.csv", "--exit-code"]) == 5
    shown = capsys.readouterr().out
    assert "cryo-1    c1-a    snr" in shown
    assert "1.1.0 (1b1b1b1b1b1b) began then, 2025-10-24 08:53Z; before: 1.0.0" in shown
    assert "without drift a series gets to 100,000 once in 100,000 days at most" in shown


@pytest.mark.parametrize(
    ("ramp", "new_on", "at_s", "warm_s", "step", "because"),
    [
        (-0.4, "abc", ONSET_S, math.inf, "recalibrate", "only 0 of 2 other devices with it drift"),
        (-0.4, "a", ONSET_S, ONSET_S, "recalibrate", "cooldown cd8 began together"),
        (-0.4, "", ONSET_S, ONSET_S, "recalibrate", "a thermal cycle moves the working point"),
        (-0.4, "abc", START_S, math.inf, "recalibrate", "no new release and no new cooldown"),
        (0.4, "a", ONSET_S, math.inf, "look at it", "it got better"),
    ],
    ids=["others do not", "both", "cooldown", "neither", "better"],
)
def test_what_is_proposed(
    home: Path, capsys: pytest.CaptureFixture[str], ramp: float, new_on: str, at_s: float,
    warm_s: float, step: str, because: str,
) -> None:  # fmt: skip
    telemetry(home / "t.csv", ramp=ramp, warm_s=warm_s)
    journal(home / ".cryofw", new_on=new_on, at_s=at_s)
    found = row(report(capsys, "--data", "t.csv"), "c1-a")

    assert found["proposal"] == step
    assert because in found["because"]


def test_a_drift_within_the_margin_is_watched(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = (home / "fleet.yaml").read_text()
    wide = fleet.replace("margin: 0.5", "margin: 20").replace("reject: 2", "reject: 30")
    (home / "fleet.yaml").write_text(wide)
    telemetry(home / "t.csv", ramp=-0.4)
    found = row(report(capsys, "--data", "t.csv"), "c1-a")

    assert found["proposal"] == "watch"
    assert "still within the margin of 20 dB; at this rate for" in found["because"]


def test_without_a_fleet_and_a_journal_what_is_unknown_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    telemetry(tmp_path / "t.csv", ramp=-0.4)

    assert run(["drift", "--data", "t.csv", "c1-a"]) == 0
    shown = capsys.readouterr().out
    assert "each device is judged on its own" in shown
    assert "unknown: no journal says what ran" in shown
    assert "c1-b" not in shown
    assert run(["drift", "--data", "t.csv", "--fleet", "none.yaml"]) == 3


def test_silence_is_listed_and_ends_with_75(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    telemetry(home / "t.csv", devices="ab")

    assert run(["drift", "--data", "t.csv", "--exit-code"]) == 75
    shown = capsys.readouterr().out
    assert "not judged  cryo-1 c1-c: snr" in shown
    assert "no sample in the period" in shown


def test_prometheus_is_asked_for_metrics_and_cooldowns(
    home: Path, capsys: pytest.CaptureFixture[str], server: ScriptedServer
) -> None:
    end_s = START_S + 30 * DAY_S

    def answer(asked: Asked) -> Reply:
        query, step_s = asked.parameters["query"], float(asked.parameters["step"])
        first, last = float(asked.parameters["start"]), float(asked.parameters["end"])
        times = [first + step_s * i for i in range(int((last - first) / step_s + 1e-6) + 1)]
        if query.startswith("cooldown"):
            old = [(t, "1") for t in times if t < ONSET_S]
            new = [(t, "1") for t in times if t >= ONSET_S]
            result = [{"metric": {"cooldown": n}, "values": v} for n, v in (("7", old), ("8", new))]
        elif query.startswith("min(timestamp("):
            result = [{"metric": {}, "values": [(t, str(t)) for t in times]}]
        else:
            device = query.split('"')[1]
            values = [(t, f"{value(device, t, -0.4)}") for t in times]
            result = [{"metric": {}, "values": values}]
        return json_reply({"status": "success", "data": {"resultType": "matrix", "result": result}})

    server.answer = answer
    (home / "fleet.yaml").write_text(FLEET.replace("URL", server.url))
    until = datetime.fromtimestamp(end_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    shown = report(
        capsys, "--data", "prometheus", "--until", until,
        "--cooldown-query", 'cooldown{cryostat="${cryostat}"}',
    )  # fmt: skip

    found = row(shown, "c1-a")
    assert (found["finding"], found["cooldown"], found["cooldown_began_then"]) == (
        "drifts",
        "8",
        True,
    )
    assert row(shown, "c1-b")["finding"] == "steady"
    assert 'cooldown{cryostat="cryo-1"}' in {asked.parameters["query"] for asked in server.asked}
    assert len(server.asked) == 3 * 2 + 1, "days are asked for in wide steps, not every 30 s"


def test_readings_of_rollouts_are_judged_too(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal(home / ".cryofw", new_on="abc")
    log = ReadingLog(FileStorage(home / ".cryofw"), "r-1")
    for index in range(COUNT):
        for name in "abc":
            t_s = START_S + index * EVERY_S
            sample = MetricSample(t_s, {"snr": value(f"c1-{name}", t_s, -0.4)}, index)
            log.add(LoggedReading(f"c1-{name}", 1, Phase.SOAK, sample))
    log.flush()
    found = row(report(capsys), "c1-a")

    assert (found["finding"], found["cooldown"]) == ("drifts", None)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 3, "no readings of metrics"),
        (["--data", "none.csv"], 3, "cannot read none.csv"),
        (["--data", "bad.jsonl"], 3, "bad.jsonl:1: no device, metric, value"),
        (["--data", "t.csv", "c9-z"], 3, "have no device c9-z"),
        (["--data", "t.csv", "--baseline-days", "90"], 3, "leaves nothing to judge"),
        (["--data", "t.csv", "--until", "2001-01-01"], 3, "the period is empty"),
        (["--data", "t.csv", "--cooldown-query", "x${cryostat}"], 3, "outside of quotes"),
        (["--data", "t.csv", "--one-in", "0"], 2, "--one-in"),
    ],
)
def test_bad_input_is_explained(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, says: str
) -> None:
    (home / "bad.jsonl").write_text('{"time": 1}\n')
    telemetry(home / "t.csv")

    assert run(["drift", *arguments]) == code
    assert says in capsys.readouterr().err
