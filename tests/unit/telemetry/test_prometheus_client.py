"""Prometheus' HTTP API as the client reads it, and what it says when it cannot."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from cryofw.telemetry import (
    AnswerUnusable,
    HttpClient,
    NoSeries,
    PrometheusClient,
    QueryRejected,
    RetryRule,
    Series,
    SeveralSeries,
    SourceUnavailable,
)
from cryofw.telemetry.prometheus import MAX_POINTS, rejected
from tests.unit.telemetry.scripted_server import Asked, Reply, ScriptedServer, json_reply, vector

if TYPE_CHECKING:
    from collections.abc import Callable


class CountingClock:
    """Time stands still; sleeps are written down."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> datetime:
        return datetime(2026, 11, 20, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
def pauses() -> CountingClock:
    return CountingClock()


@pytest.fixture
def client(server: ScriptedServer, pauses: CountingClock) -> PrometheusClient:
    return PrometheusClient(HttpClient(server.url, timeout_s=5), pauses)


def test_a_vector(server: ScriptedServer, client: PrometheusClient) -> None:
    server.answer = lambda _: vector(
        ({"__name__": "t", "c": "1"}, "4.2"), ({"c": "2"}, "NaN"), ({"c": "3"}, "-Inf"), at_s=5.5
    )
    first, second, third = asyncio.run(client.query('t{c=~".+"} # é', at_s=1.25))
    assert first == Series({"__name__": "t", "c": "1"}, ((5.5, 4.2),))
    assert math.isnan(second.value)
    assert third.value == -math.inf
    assert server.asked[0].path == "/api/v1/query"
    assert server.asked[0].parameters == {"query": 't{c=~".+"} # é', "time": "1.25"}


def test_a_scalar_is_a_series_without_labels(
    server: ScriptedServer, client: PrometheusClient
) -> None:
    data = {"resultType": "scalar", "result": [7, "+Inf"]}
    server.answer = lambda _: json_reply({"status": "success", "data": data})
    assert asyncio.run(client.one("scalar(x)")) == Series({}, ((7.0, math.inf),))


@pytest.mark.parametrize("kind", ["string", "matrix"])
def test_what_is_no_number_is_refused(
    server: ScriptedServer, client: PrometheusClient, kind: str
) -> None:
    data = {"resultType": kind, "result": []}
    server.answer = lambda _: json_reply({"status": "success", "data": data})
    with pytest.raises(QueryRejected, match=f"x: a {kind}"):
        asyncio.run(client.query("x"))


BAD_RESULTS: list[Any] = [
    None,
    "x",
    [1],
    [{}],
    [{"metric": [], "value": [1, "2"]}],
    [{"metric": {}, "value": [1]}],
    [{"metric": {}, "value": [1, None]}],
    [{"metric": {}, "value": [1, "x"]}],
    [{"metric": {}, "value": "12"}],
]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, b"<html>please log in</html>", {"Content-Type": "text/html; charset=utf-8"}),
        Reply(200, b""),
        Reply(200, b'{"status":"success","da'),
        Reply(200, b"[" * 100_000),
        Reply(200, b"\xff\xfe"),
        Reply(404, b"404 page not found"),
        Reply(302, b""),
        json_reply([]),
        json_reply({"status": "success"}),
        json_reply({"status": "success", "data": {"resultType": "vector"}}, status=204),
        *(
            json_reply({"status": "success", "data": {"resultType": "vector", "result": bad}})
            for bad in BAD_RESULTS
        ),
    ],
)
def test_what_is_not_prometheus(
    server: ScriptedServer, client: PrometheusClient, reply: Reply
) -> None:
    server.answer = lambda _: reply
    with pytest.raises(AnswerUnusable, match="did not answer as Prometheus") as caught:
        asyncio.run(client.query("up"))
    assert "without /api/v1" in caught.value.hint


def test_an_error_of_the_server_shows_the_query_with_a_caret(
    server: ScriptedServer, client: PrometheusClient, pauses: CountingClock
) -> None:
    error = 'invalid parameter "query": 1:16: parse error: unclosed left parenthesis'
    document = {"status": "error", "errorType": "bad_data", "error": error}
    server.answer = lambda _: json_reply(document, status=400)
    with pytest.raises(QueryRejected) as caught:
        asyncio.run(client.query("sum(rate(x[5m])"))
    assert caught.value.why.splitlines() == [
        "unclosed left parenthesis",
        "  sum(rate(x[5m])",
        "                 ^",
    ]
    assert pauses.slept == []


# Answers of Prometheus 2.42 to these queries, word for word.
@pytest.mark.parametrize(
    ("query", "error", "shown"),
    [
        (
            'a{b="éé"} + é',
            "invalid parameter \"query\": 1:15: parse error: unexpected character: 'é'",
            ["unexpected character: 'é'", '  a{b="éé"} + é', "              ^"],
        ),
        (
            "a +\n  b )",
            "invalid parameter \"query\": 2:5: parse error: unexpected right parenthesis ')'",
            ["unexpected right parenthesis ')'", "  a +", "    b )", "      ^"],
        ),
        ("x", "parse error at char 1: oh", ["oh", "  x", "  ^"]),
        ("x", "1:900: parse error: far", ["far", "  x", "   ^"]),
        ("x", "9:1: parse error: far", ["far", "  x", "  ^"]),
        ("x", "query timed out\x1b[2J", ["x", "query timed out [2J (bad_data)"]),
    ],
)
def test_the_caret_stands_below_the_column(query: str, error: str, shown: list[str]) -> None:
    assert rejected(query, error, "bad_data").why.splitlines() == shown


def test_one_series_is_needed(server: ScriptedServer, client: PrometheusClient) -> None:
    server.answer = lambda _: vector(at_s=1)
    with pytest.raises(NoSeries, match="gives no series: up"):
        asyncio.run(client.one("up"))
    server.answer = lambda _: vector(
        *(({"__name__": "up", "i": str(i)}, "1") for i in range(7)), at_s=1
    )
    with pytest.raises(SeveralSeries) as caught:
        asyncio.run(client.one("up"))
    assert 'up{i="0"}' in caught.value.why
    assert "and 2 more" in caught.value.why


def test_what_passes_is_tried_again_on_our_clock(
    server: ScriptedServer, pauses: CountingClock
) -> None:
    replies = [Reply(503), Reply(502), vector(({}, "1"), at_s=1)]
    server.answer = lambda _: replies.pop(0)
    client = PrometheusClient(HttpClient(server.url), pauses, retries=RetryRule(2, 0.5))
    assert asyncio.run(client.one("up")).value == 1
    assert pauses.slept == [0.5, 1.0]


def test_trying_ends(server: ScriptedServer, pauses: CountingClock) -> None:
    server.answer = lambda _: Reply(503)
    client = PrometheusClient(HttpClient(server.url), pauses, retries=RetryRule(3, 0.1))
    with pytest.raises(SourceUnavailable):
        asyncio.run(client.query("up"))
    assert len(server.asked) == 4


def matrix(value_at: Callable[[float], str]) -> Callable[[Asked], Reply]:
    """A server that evaluates a range as Prometheus does, its limit included."""

    def answer(asked: Asked) -> Reply:
        start, end, step = (float(asked.parameters[key]) for key in ("start", "end", "step"))
        count = math.floor((end - start) / step + 1e-9) + 1
        if count > 11_000:
            document = {"status": "error", "errorType": "bad_data", "error": "too many points"}
            return json_reply(document, status=400)
        values = [[start + i * step, value_at(start + i * step)] for i in range(count)]
        result = [{"metric": {"c": "1"}, "values": values}]
        data = {"resultType": "matrix", "result": result}
        return json_reply({"status": "success", "data": data})

    return answer


@pytest.mark.parametrize("steps", [0, 1, MAX_POINTS - 1, MAX_POINTS, 2 * MAX_POINTS + 5])
def test_a_long_range_comes_in_pieces_without_seam(
    server: ScriptedServer, client: PrometheusClient, steps: int
) -> None:
    server.answer = matrix(lambda t_s: str(t_s / 30))
    end_s = 900.0 + 30 * steps
    [series] = asyncio.run(client.query_range("x", start_s=900, end_s=end_s, step_s=30))
    assert [t_s for t_s, _ in series.points] == [900.0 + 30 * i for i in range(steps + 1)]
    assert series.labels == {"c": "1"}
    assert series.value == end_s / 30
    assert len(server.asked) == steps // MAX_POINTS + 1


def test_a_matrix_that_is_none(server: ScriptedServer, client: PrometheusClient) -> None:
    data = {"resultType": "matrix", "result": [{"metric": {}, "values": [[1]]}]}
    server.answer = lambda _: json_reply({"status": "success", "data": data})
    with pytest.raises(AnswerUnusable, match="no matrix"):
        asyncio.run(client.query_range("x", start_s=0, end_s=60, step_s=30))
