"""Debian's Prometheus, started here on loopback, scrapes what the test serves and is asked by us.

What no fake can promise: that its errors, its staleness and its quoting are what we take them for.
"""

from __future__ import annotations

import asyncio
import math
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from cryofw.engine.cryostat_eyes import open_plan_telemetry
from cryofw.engine.lab_metrics import LabMetrics
from cryofw.engine.site import Site
from cryofw.engine.virtual_time import SystemClock
from cryofw.fleet import FromPrometheus, fill_promql
from cryofw.fleet import Prometheus as Server
from cryofw.health import FreshValues, MetricSample
from cryofw.rollout import Plan, PlannedSource
from cryofw.telemetry import (
    Freshness,
    HttpClient,
    Observed,
    PrometheusClient,
    QueryRejected,
    SourceReader,
    the_one,
)
from cryofw.telemetry.selector import selectors
from cryofw.transport import PortOpener
from tests.unit.rollout.perfect_lab import a_plan
from tests.unit.telemetry.scripted_server import Asked, Reply, ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.peer, pytest.mark.realtime]

HOSTILE = 'a"} or up{x="\'`\\.*(é)\n'
STEP_S = 30
BACKFILLED = 120


@dataclass
class Exporter:
    """What the scrape target shows: lines of the text format, changed by the tests."""

    lines: dict[str, str] = field(default_factory=dict)

    def __call__(self, _asked: Asked) -> Reply:
        text = "".join(f"{name} {value}\n" for name, value in self.lines.items())
        return Reply(200, text.encode(), {"Content-Type": "text/plain; version=0.0.4"})


@dataclass
class Running:
    url: str
    exporter: Exporter
    began_s: float

    def ask(self, promql: str) -> list[float]:
        return [one.value for one in asyncio.run(self.client.query(promql))]

    @property
    def client(self) -> PrometheusClient:
        return PrometheusClient(HttpClient(self.url), SystemClock())

    def number(self, query: str, stale_s: float = 60) -> Observed[float]:
        reader = SourceReader(self.client, SystemClock())
        return asyncio.run(reader.number(FromPrometheus(query, stale_s)))


def wait_for(what: Callable[[], object], patience_s: float = 30) -> None:
    """Another program needs real time: look again until `what` is true."""
    deadline_s = time.monotonic() + patience_s
    while not what():
        assert time.monotonic() < deadline_s, "Prometheus did not come so far in time"
        time.sleep(0.05)


def escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def write_history(directory: Path, now_s: int) -> float:
    """Blocks of an hour of history, written by promtool; the time of the first sample."""
    end_s = now_s - now_s % STEP_S - 600
    begin_s = end_s - STEP_S * (BACKFILLED - 1)
    lines = ["# TYPE past gauge"]
    lines += [f'past{{c="1"}} {i} {begin_s + STEP_S * i}' for i in range(BACKFILLED)]
    source = directory / "history.txt"
    source.write_text("\n".join([*lines, "# EOF", ""]))
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", source, directory / "data"],
        check=True,
        capture_output=True,
    )
    return begin_s


def is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    for tool in ("prometheus", "promtool"):
        assert shutil.which(tool), f"{tool} is missing; this check needs `apt install prometheus`"
    directory = tmp_path_factory.mktemp("prometheus")
    exporter = Exporter(
        {
            'snr{controller="c1"}': "27.5",
            'snr{controller="c1x"}': "1",
            f'named{{controller="{escaped(HOSTILE)}"}}': "7",
            "broken": "NaN",
            "hot": "+Inf",
            "leaving": "1",
            "leaving_total": "1",
        }
    )
    target = ScriptedServer()
    target.answer = exporter
    (directory / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
        f"scrape_configs: [{{job_name: lab, static_configs: "
        f"[{{targets: ['127.0.0.1:{target.port}']}}]}}]\n"
    )
    began_s = write_history(directory, int(time.time()))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={directory / 'prometheus.yml'}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        running = Running(url, exporter, began_s)
        wait_for(lambda: process.poll() is not None or is_ready(url))
        assert process.poll() is None, (directory / "log").read_text()
        # `rate` needs two samples.
        wait_for(lambda: running.ask("rate(leaving_total[1m])"))
        yield running
    finally:
        process.terminate()
        process.wait(10)
        target.close()


def test_a_scraped_value_is_fresh_and_as_old_as_its_scrape(prometheus: Running) -> None:
    before_s = time.time()
    for query in ('snr{controller="c1"}', 'max(snr{controller=~"c1.*"})'):
        reading = prometheus.number(query)
        assert reading.fresh == 27.5
        assert reading.t_s is not None
        assert before_s - 10 < reading.t_s <= time.time()
        assert reading.stamp_s is not None


def test_the_same_scrape_has_the_same_stamp(prometheus: Running) -> None:
    """Asked faster than it scrapes, it repeats a sample; its stamp tells."""

    def stamp() -> float:
        found = prometheus.number("snr{controller='c1'}").stamp_s
        assert found is not None
        return found

    first = stamp()
    wait_for(lambda: stamp() == stamp())
    wait_for(lambda: stamp() > first)


def measured_plan(url: str) -> Plan:
    """One device, all of whose metrics this server has; asked five times a second."""
    query = PlannedSource("prometheus", query='snr{controller="c1"}')
    plan = a_plan()
    device = plan.devices["r1"]
    device = replace(
        device,
        evidence=replace(device.evidence, sample_every_s=0.2),
        connection=replace(device.connection, port="/dev/ttyUSB9"),
        sources={"snr": query, "gain": replace(query, query="no_such_metric")},
    )
    return replace(plan, devices={"r1": device}, prometheus=Server(url))


def test_the_samples_of_a_rollout_hold_each_scrape_once(prometheus: Running) -> None:
    """The server scrapes once a second and is asked more often: repeated is not fresh."""

    async def main() -> list[MetricSample]:
        plan, site = measured_plan(prometheus.url), Site(SystemClock(), PortOpener(), None)
        telemetry = open_plan_telemetry(plan, site)
        assert telemetry is not None
        lab, samples = LabMetrics(plan, telemetry.metrics, site.clock), list[MetricSample]()
        async with asyncio.timeout(60):
            while sum(bool(one.lab) for one in samples) < 3:
                samples.append(await lab.sample("r1"))
        await lab.close()
        return samples

    samples = asyncio.run(main())
    values = [one.lab["snr"] for one in samples if one.lab]
    assert {one.value for one in values} == {27.5}
    stamps = [one.stamp_s for one in values if one.stamp_s is not None]
    assert len(stamps) == 3
    assert all(b - a > 0.5 for a, b in pairwise(stamps))
    gaps = {one.gaps["snr"].partition(":")[0] for one in samples if "snr" in one.gaps}
    assert "repeated" in gaps
    assert gaps <= {"repeated", "unavailable"}, "a slow machine answers later"
    assert any(one.gaps["gain"].startswith("missing: ") for one in samples)
    fresh = FreshValues()
    assert sum(bool(fresh.take(one)) for one in samples) == 3


def test_nan_and_infinity_are_not_fresh(prometheus: Running) -> None:
    for query in ("broken", "hot", "avg(broken)", "snr{controller='c1'} / 0"):
        assert prometheus.number(query).freshness is Freshness.INVALID, query


def test_what_never_was_is_missing(prometheus: Running) -> None:
    assert prometheus.number("no_such_metric").freshness is Freshness.MISSING
    assert prometheus.number('snr{controller="c9"}').freshness is Freshness.MISSING


def test_what_ended_long_ago_is_stale(prometheus: Running) -> None:
    for query in ("past", "avg(past)"):
        reading = prometheus.number(query)
        assert reading.freshness is Freshness.STALE, query
        assert "ended within the last 1h" in reading.why


def test_a_sample_older_than_its_source_may_be_is_stale(prometheus: Running) -> None:
    """Prometheus itself takes samples of the last five minutes for the value now."""
    query = "snr{controller='c1'}"
    wait_for(lambda: prometheus.number(query, stale_s=0.1).freshness is Freshness.STALE)
    assert prometheus.number(query, stale_s=60).fresh == 27.5


def test_an_exporter_that_drops_a_series_makes_it_stale_at_once(prometheus: Running) -> None:
    assert prometheus.number("leaving").fresh == 1
    assert prometheus.number("rate(leaving_total[1m])").fresh == 0
    del prometheus.exporter.lines["leaving"]
    del prometheus.exporter.lines["leaving_total"]
    wait_for(lambda: not prometheus.ask("leaving"))
    assert prometheus.number("leaving").freshness is Freshness.STALE
    # The range still gives a value, out of samples of the past minute.
    assert prometheus.ask("rate(leaving_total[1m])") == [0]
    reading = prometheus.number("rate(leaving_total[1m])")
    assert reading.freshness is Freshness.STALE
    assert reading.fresh is None


def test_a_range_query_gives_the_history(prometheus: Running) -> None:
    begin_s = prometheus.began_s
    end_s = begin_s + STEP_S * (BACKFILLED - 1)
    found = asyncio.run(
        prometheus.client.query_range("past", start_s=begin_s, end_s=end_s, step_s=STEP_S)
    )
    series = the_one(found, "past")
    assert series.labels["c"] == "1"
    assert series.points == tuple((begin_s + STEP_S * i, float(i)) for i in range(BACKFILLED))


def test_a_range_of_more_points_than_the_server_gives_at_once(prometheus: Running) -> None:
    begin_s = prometheus.began_s
    found = asyncio.run(
        prometheus.client.query_range("time()", start_s=begin_s, end_s=begin_s + 12_000, step_s=1)
    )
    assert [t_s for t_s, _ in the_one(found, "time()").points] == [
        begin_s + i for i in range(12_001)
    ]


@pytest.mark.parametrize(
    ("query", "caret_under", "said"),
    [
        ("sum(rate(snr[5m])", len("sum(rate(snr[5m])"), "unclosed left parenthesis"),
        ('snr{controller="é"} + é', len('snr{controller="é"} + '), "unexpected character"),
        ("rate(snr)", len("rate("), "expected type range vector"),
        ("snr +\n  ", None, "unexpected end of input"),
        ("nonsense(snr)", 0, "unknown function"),
    ],
)
def test_an_error_stands_under_the_query(
    prometheus: Running, query: str, caret_under: int | None, said: str
) -> None:
    with pytest.raises(QueryRejected) as caught:
        asyncio.run(prometheus.client.query(query))
    first, *shown = caught.value.why.splitlines()
    assert said in first
    assert query.splitlines()[0] in shown[0]
    [caret] = [line for line in shown if line.strip() == "^"]
    if caret_under is not None:
        assert caret.index("^") == len("  ") + caret_under


def test_an_error_without_a_place_shows_the_query(prometheus: Running) -> None:
    with pytest.raises(QueryRejected, match="snr"):
        asyncio.run(prometheus.client.query("snr / on() snr"))
    with pytest.raises(QueryRejected, match="a matrix"):
        asyncio.run(prometheus.client.query("snr[5m]"))


@pytest.mark.parametrize("matcher", ["=", "=~"])
@pytest.mark.parametrize("quote", ["'", '"'])
def test_a_name_is_matched_as_it_is_whatever_it_contains(
    prometheus: Running, matcher: str, quote: str
) -> None:
    template = f"named{{controller{matcher}{quote}${{controller}}{quote}}}"
    query = fill_promql(template, {"controller": HOSTILE})
    series = asyncio.run(prometheus.client.one(query))
    assert series.labels["controller"] == HOSTILE
    assert series.value == 7
    assert prometheus.number(query).fresh == 7


def test_a_dot_in_a_name_is_a_dot(prometheus: Running) -> None:
    query = fill_promql('snr{controller=~"${controller}"}', {"controller": "c."})
    assert prometheus.ask(query) == []


@pytest.mark.parametrize(
    "query",
    [
        'avg(snr{controller="c1"})',
        "sum by (controller) (rate(leaving_total[5m])) / on (controller) group_left () snr",
        "max_over_time(snr[1m:10s]) > bool 3 or on() vector(0)",
        "quantile(0.9, snr) and snr > -Inf",
        'label_replace(snr, "a", "$1", "controller", "(.*)") # comment {',
        "snr offset 1m + snr @ 1609746000",
        '{__name__=~"sn.", job!="x"}',
        "count without (controller) (snr) unless absent(snr)",
        "1 - sum(increase(leaving_total[28d])) / sum(increase(leaving_total[28d]))",
        "time() - timestamp(snr)",
        "(snr)",
        "-snr ^ 2",
    ],
)
def test_the_series_behind_an_expression_can_be_dated(prometheus: Running, query: str) -> None:
    asyncio.run(prometheus.client.query(query))
    found = selectors(query)
    assert found
    for one in found:
        for stamp_s in prometheus.ask(f"min(timestamp({one.text}))"):
            assert math.isclose(stamp_s, time.time(), abs_tol=60)
