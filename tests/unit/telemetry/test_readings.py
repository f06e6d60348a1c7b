"""Readings of metrics, cryostats and budgets: fresh, stale, missing and NaN are told apart."""

from __future__ import annotations

import asyncio
import json
import math
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cryofw.engine.virtual_time import run_virtual
from cryofw.fleet import Fleet, parse_fleet
from cryofw.health import LabValue
from cryofw.telemetry import (
    FREE,
    AccessDenied,
    BudgetState,
    CryostatReading,
    ExperimentLease,
    Freshness,
    MetricReadings,
    Observed,
    Telemetry,
    external_metrics,
    open_telemetry,
    simulated_telemetry,
)
from tests.unit.telemetry.scripted_server import Asked, Reply, ScriptedServer, vector

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.conftest import HandClock

SERVER_S = 1_000_000.0  # the server's clock is decades behind ours: only ages may cross over

FLEET = """\
schema: cryofw.fleet/v1
lab: delft
telemetry: {prometheus: {url: "URL", stale: 60 s, timeout: 2 s}}
error_budget:
  - {name: uptime, query: 'avg(beats)', at_least: 0.99}
  - {name: failures, query: 'failures', at_most: 3}
defaults:
  reset: watchdog
  thermal: {stage: 4k, capacity: 1.5 W, flash: 60 mW, max_rise: 150 mK}
  guards:
    temperature: {source: prometheus, query: 'temp{c="${cryostat}"}', limit: 5 K}
    fridge: {source: prometheus, query: 'state{c="${cryostat}"}', label: s, base_stable: [base]}
    experiment: {source: prometheus, query: 'lease{c="${cryostat}"}'}
  calibration:
    metrics:
      snr: {unit: dB, worse: lower, margin: 1, reject: 2, source: prometheus, query: 'avg(snr)'}
      gain: {unit: dB, worse: lower, margin: 1, reject: 2, source: prometheus, query: 'gain'}
      own: {unit: dB, worse: lower, margin: 1, reject: 2}
stages: [{name: all, targets: [cryo], soak: 1 h}]
cryostats: {cryo: {controllers: {c1: {port: /dev/ttyUSB0}}}}
"""


class FakePrometheus:
    """The few queries of these tests, over real HTTP: samples by selector, with their ages."""

    def __init__(self) -> None:
        self.series: dict[str, list[tuple[Mapping[str, str], str]]] = {}
        self.ages_s: dict[str, float] = {}
        self.ended: set[str] = set()

    def put(self, selector: str, value: str, age_s: float = 5.0, **labels: str) -> None:
        self.series.setdefault(selector, []).append((labels, value))
        self.ages_s[selector] = age_s

    def __call__(self, asked: Asked) -> Reply:
        query = asked.parameters["query"]
        at_s = float(asked.parameters.get("time", SERVER_S))
        if query.startswith("min(timestamp("):
            selector = query.removeprefix("min(timestamp(").removesuffix("))")
            if selector not in self.series:
                return vector(at_s=at_s)
            return vector(({}, str(SERVER_S - self.ages_s[selector])), at_s=at_s)
        if query.startswith("count(count_over_time("):
            selector = query.removeprefix("count(count_over_time(").removesuffix("[1h]))")
            return vector(*([({}, "1")] if selector in self.ended else []), at_s=at_s)
        selector = query[len("avg(") : -1] if query.startswith("avg(") else query
        found = [(dict(labels), value) for labels, value in self.series.get(selector, [])]
        return vector(*found, at_s=at_s)


@pytest.fixture
def prometheus(server: ScriptedServer) -> FakePrometheus:
    fake = FakePrometheus()
    server.answer = fake
    return fake


@pytest.fixture
def fleet(server: ScriptedServer) -> Fleet:
    return parse_fleet(FLEET.replace("URL", server.url))


@pytest.fixture
def telemetry(fleet: Fleet, clock: HandClock) -> Telemetry:
    return open_telemetry(fleet, clock, environ={})


async def sample(telemetry: Telemetry, fleet: Fleet) -> MetricReadings:
    return await telemetry.metrics.sample("c1", external_metrics(fleet.by_name["c1"]))


def values(readings: MetricReadings) -> dict[str, float]:
    return {name: one.value for name, one in readings.sample.lab.items()}


def gaps(telemetry: Telemetry, fleet: Fleet) -> Mapping[str, str]:
    readings = asyncio.run(sample(telemetry, fleet))
    assert readings.gaps == readings.sample.gaps
    return readings.gaps


def test_fresh_metrics_become_a_sample(
    prometheus: FakePrometheus, telemetry: Telemetry, fleet: Fleet, clock: HandClock
) -> None:
    prometheus.put("snr", "27.5", age_s=10)
    prometheus.put("gain", "3")
    readings = asyncio.run(sample(telemetry, fleet))
    now_s = clock.now().timestamp()
    assert set(external_metrics(fleet.by_name["c1"])) == {"snr", "gain"}
    assert readings.metrics["snr"] == Observed(
        Freshness.FRESH, 27.5, now_s - 10, stamp_s=SERVER_S - 10
    )
    assert values(readings) == {"snr": 27.5, "gain": 3.0}
    assert readings.sample.lab["snr"] == LabValue(27.5, now_s - 10, SERVER_S - 10)
    assert readings.sample.t_s == now_s
    assert readings.gaps == {}


def test_what_does_not_count_says_why(
    prometheus: FakePrometheus, telemetry: Telemetry, fleet: Fleet
) -> None:
    prometheus.put("snr", "27.5", age_s=61)
    prometheus.put("gain", "NaN")
    readings = asyncio.run(sample(telemetry, fleet))
    assert readings.gaps == {
        "snr": "stale: 61 s old, more than 60 s",
        "gain": "invalid: it reads nan",
    }
    assert readings.sample.fresh("snr") is None
    assert math.isnan(values(readings)["gain"])
    assert "snr" not in readings.sample.lab


def test_a_series_that_ended_is_stale_and_one_that_never_was_is_missing(
    prometheus: FakePrometheus, telemetry: Telemetry, fleet: Fleet
) -> None:
    prometheus.ended.add("snr")
    assert gaps(telemetry, fleet) == {
        "snr": "stale: snr ended within the last 1h",
        "gain": "missing: gain gives no series",
    }


def test_a_sample_counts_once(
    prometheus: FakePrometheus, telemetry: Telemetry, fleet: Fleet
) -> None:
    """Prometheus asks the exporter every minute; asking it twice a minute makes no second one."""
    prometheus.put("snr", "27.5")
    prometheus.put("gain", "3")
    assert gaps(telemetry, fleet) == {}
    assert gaps(telemetry, fleet)["snr"].startswith("repeated: the same sample")
    prometheus.ages_s["snr"] = 1
    assert list(gaps(telemetry, fleet)) == ["gain"]


def test_several_series_and_a_dead_server_are_readings_too(
    prometheus: FakePrometheus, telemetry: Telemetry, fleet: Fleet, server: ScriptedServer
) -> None:
    prometheus.put("gain", "3", i="1")
    prometheus.put("gain", "4", i="2")
    assert gaps(telemetry, fleet)["gain"].startswith("unavailable: the query gives 2 series")
    server.answer = lambda _: Reply(503, b"starting up")
    found = gaps(telemetry, fleet)
    assert set(found) == {"snr", "gain"}
    assert all("starting up" in why for why in found.values())


def read(telemetry: Telemetry, fleet: Fleet) -> CryostatReading:
    return asyncio.run(telemetry.cryostats.read(fleet.cryostats["cryo"]))


TEMPERATURE, STATE, LEASE = (f'{name}{{c="cryo"}}' for name in ("temp", "state", "lease"))


def test_a_cryostat(
    prometheus: FakePrometheus, telemetry: Telemetry, fleet: Fleet, clock: HandClock
) -> None:
    now_s = clock.now().timestamp()
    prometheus.put(TEMPERATURE, "4.2")
    prometheus.put(STATE, "0", s="cooldown")
    prometheus.put(STATE, "1", s="base")
    prometheus.put(LEASE, str(now_s + 60), owner="anna", token="17")
    reading = read(telemetry, fleet)
    assert reading.temperature_k is not None
    assert reading.temperature_k.fresh == 4.2
    assert reading.fridge_state is not None
    assert reading.fridge_state.fresh == "base"
    assert reading.experiment is not None
    lease = reading.experiment.fresh
    assert lease == ExperimentLease("anna", now_s + 60, 17)
    assert lease.is_held(now_s)


@pytest.mark.parametrize("value", ["0", "-1", "NaN", "+Inf"])
def test_a_broken_sensor_reads_no_temperature(
    prometheus: FakePrometheus, telemetry: Telemetry, fleet: Fleet, value: str
) -> None:
    prometheus.put(TEMPERATURE, value)
    temperature = read(telemetry, fleet).temperature_k
    assert temperature is not None
    assert temperature.freshness is Freshness.INVALID
    assert temperature.fresh is None


def test_no_answer_is_neither_base_stable_nor_free(
    prometheus: FakePrometheus, telemetry: Telemetry, fleet: Fleet
) -> None:
    reading = read(telemetry, fleet)
    assert reading.fridge_state is not None
    assert reading.experiment is not None
    assert reading.fridge_state.freshness is Freshness.MISSING
    assert reading.experiment.freshness is Freshness.MISSING
    assert reading.experiment.fresh is None


def test_a_state_set_names_exactly_one_state(
    prometheus: FakePrometheus, telemetry: Telemetry, fleet: Fleet
) -> None:
    prometheus.put(STATE, "0", s="base")
    reading = read(telemetry, fleet)
    assert reading.fridge_state is not None
    assert reading.fridge_state.freshness is Freshness.MISSING
    prometheus.put(STATE, "1", s="base")
    prometheus.put(STATE, "1", s="warm-up")
    reading = read(telemetry, fleet)
    assert reading.fridge_state is not None
    assert reading.fridge_state.freshness is Freshness.UNAVAILABLE
    prometheus.series[STATE] = [({"other": "x"}, "1")]
    reading = read(telemetry, fleet)
    assert reading.fridge_state is not None
    assert "no label `s`" in reading.fridge_state.why


def test_a_state_may_be_a_number(
    prometheus: FakePrometheus, server: ScriptedServer, clock: HandClock
) -> None:
    text = FLEET.replace("URL", server.url).replace(
        "label: s, base_stable: [base]", "base_stable: [3]"
    )
    fleet = parse_fleet(text)
    telemetry = open_telemetry(fleet, clock, environ={})
    for value, state in [("3", "3"), ("3.5", "3.5"), ("NaN", None)]:
        prometheus.series.pop(STATE, None)
        prometheus.put(STATE, value)
        reading = read(telemetry, fleet).fridge_state
        assert reading is not None
        assert reading.fresh == state


@pytest.mark.parametrize(
    ("value", "labels", "lease"),
    [
        ("0", {}, FREE),
        ("2000000000", {}, ExperimentLease("somebody", 2e9)),
        ("2000000000", {"owner": "bo", "token": "x"}, ExperimentLease("bo", 2e9)),
        ("NaN", {"owner": "bo"}, None),
    ],
)
def test_a_lease_by_query(
    prometheus: FakePrometheus,
    telemetry: Telemetry,
    fleet: Fleet,
    value: str,
    labels: dict[str, str],
    lease: ExperimentLease | None,
) -> None:
    prometheus.put(LEASE, value, 5.0, **labels)
    reading = read(telemetry, fleet).experiment
    assert reading is not None
    assert reading.fresh == lease


def test_a_range_whose_series_ended_is_stale(
    prometheus: FakePrometheus, server: ScriptedServer, clock: HandClock
) -> None:
    """`rate` answers for minutes after the last sample; nobody measures any more."""
    text = FLEET.replace("URL", server.url).replace("'gain'", "'rate(gain[5m])'")
    fleet = parse_fleet(text)
    prometheus.put("rate(gain[5m])", "3")
    telemetry = open_telemetry(fleet, clock, environ={})
    assert gaps(telemetry, fleet)["gain"].startswith("stale: gain ended")
    prometheus.put("gain", "1", age_s=3)
    assert "gain" not in gaps(telemetry, fleet)


@pytest.mark.parametrize(
    ("uptime", "failures", "states"),
    [
        ("0.995", "3", [BudgetState.KEPT, BudgetState.KEPT]),
        ("0.9", "4", [BudgetState.SPENT, BudgetState.SPENT]),
        ("NaN", None, [BudgetState.UNKNOWN, BudgetState.UNKNOWN]),
    ],
)
def test_error_budgets(
    prometheus: FakePrometheus,
    telemetry: Telemetry,
    uptime: str,
    failures: str | None,
    states: list[BudgetState],
) -> None:
    prometheus.put("beats", uptime)
    if failures is not None:
        prometheus.put("failures", failures)
    readings = asyncio.run(telemetry.budgets.read())
    assert [one.state for one in readings] == states
    assert [(one.name, one.bound) for one in readings] == [
        ("uptime", "at least 0.99"),
        ("failures", "at most 3"),
    ]


def test_a_missing_token_is_found_before_anything_is_asked(
    fleet: Fleet, clock: HandClock, server: ScriptedServer
) -> None:
    assert fleet.prometheus is not None
    wanting = replace(fleet, prometheus=replace(fleet.prometheus, token_env="PROM_TOKEN"))
    with pytest.raises(AccessDenied, match="PROM_TOKEN is not set"):
        open_telemetry(wanting, clock, environ={})
    open_telemetry(wanting, clock, environ={"PROM_TOKEN": "x"})
    assert server.asked == []


def command_fleet(tmp_path: Path, script: str) -> Fleet:
    program = tmp_path / "probe.py"
    program.write_text(script)
    run = json.dumps([sys.executable, str(program), "${cryostat}"])
    command = f"source: command, run: {run}, stale: 30 s"
    text = FLEET.replace("source: prometheus, query: 'avg(snr)'", command)
    text = text.replace("source: prometheus, query: 'gain'", command)
    for name in ("temp", "state", "lease"):
        old = f"source: prometheus, query: '{name}{{c=\"${{cryostat}}\"}}'"
        assert old in text
        text = text.replace(old, command)
    return parse_fleet(text.replace("URL", "http://127.0.0.1:9"))


def test_metrics_of_one_command_share_one_run(tmp_path: Path, clock: HandClock) -> None:
    log = tmp_path / "runs"
    answer = json.dumps({"values": {"snr": 27, "gain": None}})
    script = f"print({answer!r})\nopen({str(log)!r}, 'a').write('x')\n"
    fleet = command_fleet(tmp_path, script)
    readings = asyncio.run(sample(open_telemetry(fleet, clock), fleet))
    assert readings.sample.fresh("snr") == 27
    assert readings.metrics["gain"].freshness is Freshness.INVALID
    assert log.read_text() == "x"


def test_a_command_tells_how_old_its_reading_is(tmp_path: Path, clock: HandClock) -> None:
    now_s = clock.now().timestamp()
    for age_s, freshness in [(10, Freshness.FRESH), (31, Freshness.STALE), (-31, Freshness.STALE)]:
        document = {"value": 4.2, "state": "base", "owner": None, "t": now_s - age_s}
        fleet = command_fleet(tmp_path, f"print({json.dumps(json.dumps(document))})")
        reading = read(open_telemetry(fleet, clock), fleet)
        for one in (reading.temperature_k, reading.fridge_state, reading.experiment):
            assert one is not None
            assert one.freshness is freshness
            assert one.t_s == now_s - age_s


def test_a_command_that_fails_is_unavailable(tmp_path: Path, clock: HandClock) -> None:
    fleet = command_fleet(tmp_path, "raise SystemExit('the bridge is off')")
    reading = read(open_telemetry(fleet, clock), fleet)
    for one in (reading.temperature_k, reading.fridge_state, reading.experiment):
        assert one is not None
        assert one.freshness is Freshness.UNAVAILABLE
        assert "the bridge is off" in one.why


class Lab:
    """A simulated lab that knows only half of what is asked."""

    def temperature_k(self, cryostat: str) -> float | None:
        return 4.1

    def fridge_state(self, cryostat: str) -> str | None:
        return "base"

    def experiment(self, cryostat: str) -> ExperimentLease | None:
        return None

    def metrics(self, controller: str) -> Mapping[str, float]:
        return {"snr": 27.0}

    def error_budget(self, name: str) -> float | None:
        return 1.0 if name == "uptime" else None


def test_in_virtual_time_the_lab_stands_for_every_source(
    fleet: Fleet, clock: HandClock, server: ScriptedServer
) -> None:
    telemetry = simulated_telemetry(fleet, clock, Lab())

    async def main() -> None:
        reading = await telemetry.cryostats.read(fleet.cryostats["cryo"])
        assert reading.temperature_k == Observed(Freshness.FRESH, 4.1, reading.t_s)
        assert reading.experiment is not None
        assert reading.experiment.freshness is Freshness.MISSING
        readings = await sample(telemetry, fleet)
        assert values(readings) == {"snr": 27.0}
        assert readings.gaps == {"gain": "missing: the simulated lab has no such reading"}
        states = [one.state for one in await telemetry.budgets.read()]
        assert states == [BudgetState.KEPT, BudgetState.UNKNOWN]

    run_virtual(main())
    assert server.asked == []


def test_a_simulated_guard_beside_real_sources(clock: HandClock) -> None:
    text = FLEET.replace("URL", "http://127.0.0.1:9").replace("/dev/ttyUSB0", '"sim://c1"')
    text = text.replace("source: prometheus, query: 'temp{c=\"${cryostat}\"}'", "source: simulated")
    begin, end = text.index("    fridge:"), text.index("  calibration:")
    fleet = parse_fleet(text[:begin] + text[end:])
    for lab, freshness in [(Lab(), Freshness.FRESH), (None, Freshness.MISSING)]:
        reading = read(open_telemetry(fleet, clock, lab=lab), fleet)
        assert reading.temperature_k is not None
        assert reading.temperature_k.freshness is freshness
        assert (reading.fridge_state, reading.experiment) == (None, None)
