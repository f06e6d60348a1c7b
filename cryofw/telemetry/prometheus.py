"""Prometheus' HTTP API: instant and range queries, every failure in words.

Source: Prometheus, "HTTP API" (stable v1). Works with what speaks it too: Thanos, Mimir,
VictoriaMetrics.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from cryofw.telemetry.errors import (
    AnswerUnusable,
    NoSeries,
    QueryRejected,
    SeveralSeries,
    SourceUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryofw.clock import Clock
    from cryofw.telemetry.http_client import Answer, HttpClient

MAX_POINTS = 10_000
"""Points of a series in one range query; a server refuses more than 11,000."""

AT_ONCE = 8
"""Requests under way together: a fleet of a thousand controllers is no reason for as many."""

_PLACE = re.compile(r"(?:^|[^0-9])(\d+):(\d+): parse error|parse error at char (\d+)")


@dataclass(frozen=True)
class Series:
    """One series of an answer; `points` are (seconds since 1970 of the server, value)."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]

    @property
    def t_s(self) -> float:
        """Time of the last point."""
        return self.points[-1][0]

    @property
    def value(self) -> float:
        """Value of the last point."""
        return self.points[-1][1]


@dataclass(frozen=True)
class RetryRule:
    """How often a request that found nobody is repeated; the pause doubles each time."""

    count: int = 1
    first_wait_s: float = 0.5


class PrometheusClient:
    """Asks one server.

    Args:
        http: the way to it.
        clock: whose sleep separates the attempts.
        retries: for failures that pass: refused, timed out, 429, 5xx.
    """

    def __init__(self, http: HttpClient, clock: Clock, *, retries: RetryRule | None = None) -> None:
        self._http = http
        self._clock = clock
        self._retries = retries or RetryRule()
        self._places = asyncio.Semaphore(AT_ONCE)

    async def query(self, promql: str, *, at_s: float | None = None) -> tuple[Series, ...]:
        """The value of an expression now, or at `at_s`: each series with one point.

        A scalar is a series without labels.

        Raises:
            QueryRejected: the server cannot parse or evaluate it.
            SourceUnavailable, SourceTimeout, AccessDenied, RedirectRefused, AnswerUnusable: see
                `HttpClient.get`.
        """
        parameters = {"query": promql}
        if at_s is not None:
            parameters["time"] = _seconds(at_s)
        data = await self._ask("/api/v1/query", parameters)
        result: Any = data.get("result")
        try:
            if data.get("resultType") == "scalar":
                return (Series({}, (_point(result),)),)
            if data.get("resultType") == "vector":
                return tuple(_series(one, [one["value"]]) for one in result)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise self._unusable("its result is none of Prometheus' kinds") from None
        raise QueryRejected(
            "the query gives no numbers",
            why=f"{promql}: a {data.get('resultType')}",
            hint="a query gives an instant vector: take a range such as [5m] into a function",
        )

    async def one(self, promql: str, *, at_s: float | None = None) -> Series:
        """As `query`, for an expression that gives one series.

        Raises:
            NoSeries, SeveralSeries: it does not.
        """
        return the_one(await self.query(promql, at_s=at_s), promql)

    async def query_range(
        self, promql: str, *, start_s: float, end_s: float, step_s: float
    ) -> tuple[Series, ...]:
        """The values of an expression from `start_s` to `end_s`, every `step_s` seconds.

        Long times are asked for in pieces. Errors as `query`.
        """
        joined: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
        steps = math.floor((end_s - start_s) / step_s + 1e-9)
        for first in range(0, steps + 1, MAX_POINTS):
            last = min(first + MAX_POINTS - 1, steps)
            parameters = {
                "query": promql,
                "start": _seconds(start_s + first * step_s),
                "end": _seconds(start_s + last * step_s),
                "step": _seconds(step_s),
            }
            data = await self._ask("/api/v1/query_range", parameters)
            try:
                for one in data["result"]:
                    series = _series(one, one["values"])
                    key = tuple(sorted(series.labels.items()))
                    joined.setdefault(key, []).extend(series.points)
            except (KeyError, TypeError, ValueError, AttributeError):
                raise self._unusable("its result is no matrix") from None
        return tuple(Series(dict(key), tuple(points)) for key, points in joined.items())

    async def _ask(self, path: str, parameters: dict[str, str]) -> Mapping[str, Any]:
        from tenacity import (
            AsyncRetrying,
            retry_if_exception_type,
            stop_after_attempt,
            wait_exponential,
        )

        retrying = AsyncRetrying(
            sleep=self._clock.sleep,
            wait=wait_exponential(multiplier=self._retries.first_wait_s),
            stop=stop_after_attempt(self._retries.count + 1),
            retry=retry_if_exception_type(SourceUnavailable),
            reraise=True,
        )
        async with self._places:
            answer: Answer = await retrying(self._http.get, path, urlencode(parameters))
        return self._data(answer, parameters["query"])

    def _data(self, answer: Answer, promql: str) -> Mapping[str, Any]:
        document: object = None
        with contextlib.suppress(ValueError, RecursionError):
            document = json.loads(answer.body)
        if not isinstance(document, dict):
            kind = answer.content_type or "no content type"
            raise self._unusable(f"HTTP {answer.status} with {kind} instead of JSON")
        if document.get("status") == "error":
            raise rejected(promql, str(document.get("error", "")), str(document.get("errorType")))
        data = document.get("data")
        if (
            answer.status != 200
            or document.get("status") != "success"
            or not isinstance(data, dict)
        ):
            raise self._unusable(f"HTTP {answer.status}, JSON without Prometheus' status and data")
        return data

    def _unusable(self, why: str) -> AnswerUnusable:
        hint = "`url` under telemetry.prometheus names Prometheus itself, without /api/v1"
        return AnswerUnusable(
            f"{self._http.server} did not answer as Prometheus", why=why, hint=hint
        )


def the_one(series: Sequence[Series], promql: str) -> Series:
    """The only one of `series`.

    Raises:
        NoSeries, SeveralSeries: there is none, or a choice.
    """
    if not series:
        hint = "does the metric exist, with these labels? ask Prometheus without the matchers"
        raise NoSeries("the query gives no series", why=promql, hint=hint)
    if len(series) > 1:
        shown = "\n".join(f"  {_labels(one.labels)}" for one in series[:5])
        more = f"\n  and {len(series) - 5} more" if len(series) > 5 else ""
        raise SeveralSeries(
            f"the query gives {len(series)} series where one is needed",
            why=f"{promql}\n{shown}{more}",
            hint="match more labels, or aggregate: avg(...), max(...)",
        )
    return series[0]


def rejected(promql: str, message: str, kind: str) -> QueryRejected:
    """The server's complaint about `promql`, with a caret where it says so."""
    message = "".join(char if char.isprintable() else " " for char in message)
    place = _PLACE.search(message)
    hint = "try it on Prometheus' own page; `${...}` is filled in already"
    if place is None:
        return QueryRejected(
            "Prometheus refuses the query", why=f"{promql}\n{message} ({kind})", hint=hint
        )
    line, column = int(place[1] or 1), int(place[2] or place[3])
    said = message[place.end() :].lstrip(": ") or message
    why = f"{said}\n{_caret(promql, line, column)}"
    return QueryRejected("Prometheus cannot parse the query", why=why, hint=hint)


def _caret(promql: str, line: int, column: int) -> str:
    """The lines of `promql` up to the complaint, and a caret below its column."""
    lines = promql.split("\n")
    line = min(max(line, 1), len(lines))
    # Prometheus counts bytes.
    before = lines[line - 1].encode()[: max(column - 1, 0)].decode("utf-8", "ignore")
    shown = [f"  {one}" for one in lines]
    shown.insert(line, f"  {' ' * len(before)}^")
    return "\n".join(shown)


def _series(one: Mapping[str, Any], points: object) -> Series:
    labels = one["metric"]
    if not isinstance(labels, dict) or not isinstance(points, list) or not points:
        raise ValueError("not a series")
    return Series({str(k): str(v) for k, v in labels.items()}, tuple(map(_point, points)))


def _point(pair: object) -> tuple[float, float]:
    """Prometheus writes the time as a number and the value as text: "NaN", "+Inf", "1e3"."""
    if not isinstance(pair, list):
        raise TypeError("not a point")
    t_s, value = pair
    return float(t_s), float(value)


def _seconds(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _labels(labels: Mapping[str, str]) -> str:
    name = labels.get("__name__", "")
    rest = ", ".join(f'{k}="{v}"' for k, v in sorted(labels.items()) if k != "__name__")
    return f"{name}{{{rest}}}"
