"""Recordings: what is kept of a file or of Prometheus, and what is said about a bad one."""

from __future__ import annotations

import asyncio
import json
import math
import random
from typing import TYPE_CHECKING

import pytest

from cryofw.fleet import parse_fleet
from cryofw.health import Heartbeat, LabValue, MetricSample, reading_to_json
from cryofw.telemetry import (
    HttpClient,
    NoSeries,
    PrometheusClient,
    QueryRejected,
    Recorder,
    RecordingError,
    RecordingTooLong,
    read_recording,
    record_range,
)
from tests.unit.telemetry.scripted_server import Asked, Reply, ScriptedServer, json_reply

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from cryofw.health import Reading
    from cryofw.telemetry import Recording

CSV = """\
device,time,metric,value,cooldown
d1,2026-11-20T10:00:30Z,snr,27.5,cd7
d1,2026-11-20T11:00:00+01:00,snr,27.25,cd7
d1,1763632860,snr,nan,cd8
d1,1763632890,snr,,cd8
d2,1763632860,snr,26,
"""


def write(folder: Path, text: str, name: str = "data") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_in_any_order_of_columns_and_lines(tmp_path: Path) -> None:
    lines = CSV.replace("1763632860", "1795169460").replace("1763632890", "1795169490")
    recording = read_recording(write(tmp_path, lines))

    series = recording.series["d1", "snr"]
    start = 1795168800.0
    assert list(series.times) == [start, start + 30, start + 660]
    assert list(series.values)[:2] == [27.25, 27.5]
    assert (len(series), series.invalid, series.missing) == (3, 1, 1), "NaN and empty told apart"
    assert recording.cooldown("d1", start + 30) == "cd7"
    assert recording.cooldown("d1", start + 660) == "cd8"
    assert recording.cooldown("d1", start - 1) == recording.cooldown("d2", start + 660) == ""
    assert (recording.devices, recording.metrics, recording.samples) == (("d1", "d2"), ("snr",), 4)
    assert (recording.start_s, recording.end_s) == (start, start + 660)


def test_json_lines_say_the_same(tmp_path: Path) -> None:
    lines = [
        {"time": 60, "device": "d1", "metric": "snr", "value": 27, "cooldown": "cd7"},
        {"time": "1970-01-01T00:00:30Z", "device": "d1", "metric": "snr", "value": 26.5},
        {"time": 90, "device": "d1", "metric": "snr", "value": None},
        {"time": 60.0, "device": "d1", "metric": "snr", "value": 11.0},
    ]
    text = "\n".join(map(json.dumps, lines)) + '\n{"time": 1, "device": "d1", "metric": "snr", "va'
    series = read_recording(write(tmp_path, text)).series["d1", "snr"]

    assert list(series) == [(30.0, 26.5), (60.0, 27.0)], "the torn last line is passed over"
    assert (series.missing, series.repeated) == (1, 1)
    assert list(series.between(30, 60)) == [(30.0, 26.5)]
    recording = read_recording(tmp_path / "data")
    assert recording.between(31, 61).samples == 1
    assert not recording.between(61, 99).series


def test_the_readings_of_a_rollout(tmp_path: Path) -> None:
    readings: list[Reading] = [
        Heartbeat(10.0, "ab"),
        MetricSample(30.0, {"snr": 27.0, "enob": math.nan}, 4000),
        MetricSample(60.0, {"snr": 27.0, "enob": 10.0}, 4000),
        MetricSample(
            90.0,
            {"snr": 26.0, "enob": 10.0},
            5000,
            {"gain": LabValue(3.0, 85.0)},
            {"noise": "stale: 90 s old"},
        ),
        MetricSample(120.0, lab={"noise": LabValue(1.0, 119.0)}),
    ]
    lines = [{"d": "d1", "a": 1, "p": "soak", "n": 3} | reading_to_json(one) for one in readings]
    lines.insert(1, {"c": "cryo-1", "n": 3, "t": 11.0})
    recording = read_recording(write(tmp_path, "\n".join(map(json.dumps, lines)) + "\n"))

    assert list(recording.series["d1", "snr"]) == [(30.0, 27.0), (90.0, 26.0)]
    enob = recording.series["d1", "enob"]
    assert (len(enob), enob.invalid, enob.missing) == (2, 1, 1), "a repeated sample is stale"
    assert list(recording.series["d1", "gain"]) == [(85.0, 3.0)], "the lab's have their own time"
    assert recording.series["d1", "noise"].missing == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no line with a value"),
        ("time,device,metric\n", ":1: no column value"),
        ("time,device,metric,value\n1,d,m\n", ":2: 3 fields, but 4 columns"),
        ('time,device,metric,value\n1,"d,m,1\n', ":2: no CSV"),
        ("time,device,metric,value\n\n1,d,m,warm\n", ":3: `value` is 'warm'"),
        ("time,device,metric,value\nnow,d,m,1\n", ":2: `time` is 'now'"),
        ("time,device,metric,value\n2026-11-20T10:00:00,d,m,1\n", ":2: `time` is 2026-11-20T10"),
        ("time,device,metric,value\n1763632860000,d,m,1\n", "milliseconds?"),
        ("time,device,metric,value\nnan,d,m,1\n", ":2: `time` is nan"),
        ("time,device,metric,value\n1,,m,1\n", ":2: `device` is '', not a name"),
        ('{"time": 1}\n', ":1: no device, metric, value"),
        ('{"time": 1\n{}\n', ":1: no JSON"),
        ('{"time": true, "device": "d", "metric": "m", "value": 1}\n', ":1: `time` is True"),
        ('{"time": 1, "device": "d", "metric": "m", "value": "9"}\n', ":1: `value` is '9'"),
        ('{"d": "d1", "t": "x", "m": {}}\n', ":1: not a number: 'x'"),
        ("{" * 100_000, ":1: longer than 65,536 characters"),
    ],
)
def test_a_line_that_makes_no_sense_is_named(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(RecordingError) as caught:
        read_recording(write(tmp_path, text))
    assert why in caught.value.why
    assert str(tmp_path / "data") in caught.value.why


def test_what_is_no_text_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"\x3d\xb8\xf3\x96")
    with pytest.raises(RecordingError, match="not UTF-8"):
        read_recording(tmp_path / "image")
    with pytest.raises(RecordingError, match="No such file"):
        read_recording(tmp_path / "absent")


def test_memory_is_bounded(tmp_path: Path) -> None:
    path = write(tmp_path, "time,device,metric,value\n" + "1,d,m,1\n" * 11)
    assert read_recording(path, most=11).samples == 1
    with pytest.raises(RecordingTooLong, match="more than 10 samples"):
        read_recording(path, most=10)


def test_the_order_of_lines_does_not_matter() -> None:
    lines = [("d", "m", t, t / 7, "warm" if t < 50 else "cold") for t in range(100)]
    recorders = [Recorder("a"), Recorder("a")]
    for line in lines:
        recorders[0].add(*line)
    random.Random(1).shuffle(lines)
    for line in lines:
        recorders[1].add(*line)
    assert recorders[0].build() == recorders[1].build()


# --- Prometheus -----------------------------------------------------------------------------

FLEET = """\
schema: cryofw.fleet/v1
lab: lab
board: cc40
telemetry: {prometheus: {url: "http://localhost:9090"}}
defaults:
  reset: watchdog
  thermal: {stage: 4k, capacity: 1.5 W, headroom: 80 %, flash: 60 mW, max_rise: 150 mK}
  calibration:
    every: 30 s
    metrics:
      snr: {unit: dB, worse: lower, margin: 0.5, reject: 1.5}
stages: [{name: rig, targets: [rig], soak: 10 min}]
cryostats:
  rig: {controllers: {rig-a: {port: "sim://rig-a"}, rig-b: {port: "sim://rig-b"}}}
"""
FROM_PROMETHEUS = FLEET.replace(
    "reject: 1.5}",
    "reject: 1.5, source: prometheus, query: 'snr{c=\"${controller}\"}'}",
)


class StillClock:
    def now(self) -> datetime:
        raise NotImplementedError

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        """Nobody waits here."""


def record(server: ScriptedServer, fleet: str) -> Recording:
    client = PrometheusClient(HttpClient(server.url, timeout_s=5), StillClock())
    lab = parse_fleet(fleet, "fleet.yaml")
    return asyncio.run(record_range(lab, client, start_s=1000, end_s=1180))


def matrix(points: list[tuple[float, str]]) -> Reply:
    result = [{"metric": {}, "values": points}] if points else []
    data = {"resultType": "matrix", "result": result}
    return json_reply({"status": "success", "data": data})


def test_stale_and_repeated_samples_of_prometheus_do_not_count(server: ScriptedServer) -> None:
    grid = [1000.0 + 30 * i for i in range(7)]

    def answer(asked: Asked) -> Reply:
        if "rig-b" in asked.parameters["query"]:
            return matrix([])
        if asked.parameters["query"].startswith("min(timestamp("):
            # One scrape a minute, at 960 and 1020; then the series is gone.
            return matrix([(t, "960" if t < 1020 else "1020") for t in grid])
        return matrix([(t, "NaN" if t == 1000 else "27") for t in grid])

    server.answer = answer
    recording = record(server, FROM_PROMETHEUS)

    assert recording.devices == ("rig-a",)
    series = recording.series["rig-a", "snr"]
    assert list(series.times) == [1000, 1030], "no scrape twice, and none that is a minute old"
    assert math.isnan(series.values[0])
    assert series.missing == 5


def test_a_complaint_of_the_server_arrives_as_it_is(server: ScriptedServer) -> None:
    error = {"status": "error", "errorType": "bad_data", "error": "too many points"}
    server.answer = lambda _: json_reply(error, 400)
    with pytest.raises(QueryRejected, match="too many points"):
        record(server, FROM_PROMETHEUS)


def test_a_fleet_or_a_time_without_any_sample(server: ScriptedServer) -> None:
    server.answer = lambda _: matrix([])
    with pytest.raises(NoSeries, match="Prometheus has no sample"):
        record(server, FROM_PROMETHEUS)
    with pytest.raises(NoSeries, match=r"no metric of fleet\.yaml comes from Prometheus"):
        record(server, FLEET)
