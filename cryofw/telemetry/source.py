"""One reading from one source of fleet.yaml: a number, a state or a lease, with its freshness."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from cryofw.fleet import FromPrometheus
from cryofw.telemetry.answer import read_lease, read_state, read_value
from cryofw.telemetry.command import run_json
from cryofw.telemetry.errors import SOURCE_ERRORS
from cryofw.telemetry.prometheus import the_one
from cryofw.telemetry.reading import FREE, ExperimentLease, Freshness, Observed, observed
from cryofw.telemetry.selector import selectors

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from cryofw.clock import Clock
    from cryofw.fleet import FromCommand
    from cryofw.telemetry.answer import Stamped
    from cryofw.telemetry.prometheus import PrometheusClient, Series

T = TypeVar("T")

LOOK_BACK = "1h"
"""How far back a series may have ended to count as stale and not as missing."""


class _NothingFresh(Exception):  # never leaves this module
    """The source answered, and has nothing that counts."""

    def __init__(self, freshness: Freshness, why: str) -> None:
        super().__init__(why)
        self.freshness = freshness


@dataclass(frozen=True)
class _Found:
    """The series of an answer.

    `t_s` is the time of the oldest sample behind them on the host's clock, `stamp_s` on the
    server's; None if they rest on no sample.
    """

    series: tuple[Series, ...]
    t_s: float
    stamp_s: float | None


class SourceReader:
    """Reads real sources; what fails becomes a reading that says so.

    Args:
        prometheus: None if fleet.yaml names no server.
        clock: whose time readings carry.
    """

    def __init__(self, prometheus: PrometheusClient | None, clock: Clock) -> None:
        self._prometheus = prometheus
        self._clock = clock

    async def number(
        self,
        source: FromPrometheus | FromCommand,
        name: str = "",
        *,
        run: Callable[[FromCommand], Awaitable[object]] | None = None,
    ) -> Observed[float]:
        """The number that one series has, or that a command prints.

        Args:
            source: where to read.
            name: whose number it is, where a command prints several.
            run: runs the command instead, so that several numbers can share one run.
        """
        return await self._read(
            source,
            lambda series, query: the_one(series, query).value,
            lambda document, command: read_value(document, command, name),
            run,
        )

    async def state(self, source: FromPrometheus | FromCommand, label: str | None) -> Observed[str]:
        """A state: the value, or with `label` that label of the series with the value 1."""
        return await self._read(
            source, lambda series, query: _state(series, query, label), read_state
        )

    async def lease(self, source: FromPrometheus | FromCommand) -> Observed[ExperimentLease]:
        """An experiment's lease: the expiry as value, `owner` and `token` as labels."""
        return await self._read(
            source, lambda series, query: _lease(the_one(series, query)), read_lease
        )

    async def _read(
        self,
        source: FromPrometheus | FromCommand,
        of_series: Callable[[Sequence[Series], str], T],
        of_document: Callable[[object, str], Stamped[T]],
        run: Callable[[FromCommand], Awaitable[object]] | None = None,
    ) -> Observed[T]:
        stamp_s: float | None
        asked_s = self._now_s()
        try:
            if isinstance(source, FromPrometheus):
                found = await self._found(source)
                value = of_series(found.series, source.query)
                t_s, stamp_s = found.t_s, found.stamp_s
            else:
                document = await (run or run_command)(source)
                stamped = of_document(document, " ".join(source.run))
                value, stamp_s = stamped.value, stamped.t_s
                # It may have measured at any moment since it was asked, not when it was done.
                t_s = asked_s if stamp_s is None else stamp_s
        except _NothingFresh as nothing:
            return Observed(nothing.freshness, why=str(nothing))
        except SOURCE_ERRORS as error:
            return Observed(Freshness.UNAVAILABLE, why=str(error))
        reading = observed(value, t_s, now_s=self._now_s(), stale_s=source.stale_s)
        return replace(reading, stamp_s=stamp_s)

    async def _found(self, source: FromPrometheus) -> _Found:
        """What a query gives, and how old that is."""
        assert self._prometheus is not None, "the loader wants a server for every query"
        asked_s = self._now_s()
        series = await self._prometheus.query(source.query)
        if not series:
            raise await self._absent(source)
        # All is counted on the server's clock; only the age crosses over to the host's.
        server_s = max(one.t_s for one in series)
        stamps: list[float] = []
        for part in selectors(source.query):
            oldest = await self._prometheus.query(f"min(timestamp({part.text}))", at_s=server_s)
            if oldest:
                stamps.append(oldest[0].value)
            elif part.over:
                why = f"{part.text} ended: all its samples lie back in the range [{part.over}]"
                raise _NothingFresh(Freshness.STALE, why)
        stamp_s = min(stamps, default=None)
        age_s = 0.0 if stamp_s is None else max(0.0, server_s - stamp_s)
        return _Found(series, asked_s - age_s, stamp_s)

    async def _absent(self, source: FromPrometheus) -> _NothingFresh:
        """Nothing now: a series that ended is stale, one that never was is missing."""
        assert self._prometheus is not None
        for part in selectors(source.query):
            counted = f"count(count_over_time({part.text}[{LOOK_BACK}]))"
            if await self._prometheus.query(counted):
                why = f"{part.text} ended within the last {LOOK_BACK}"
                return _NothingFresh(Freshness.STALE, why)
        return _NothingFresh(Freshness.MISSING, f"{source.query} gives no series")

    def _now_s(self) -> float:
        return self._clock.now().timestamp()


async def run_command(source: FromCommand) -> object:
    """The JSON that the command of `source` prints; raises CommandFailed."""
    return await run_json(source.run, timeout_s=source.timeout_s)


def _state(series: Sequence[Series], query: str, label: str | None) -> str:
    if label is None:
        value = the_one(series, query).value
        if not math.isfinite(value):
            raise _NothingFresh(Freshness.INVALID, f"it reads {value}")
        return f"{value:.15g}"
    chosen = [one for one in series if one.value == 1]
    if not chosen:
        raise _NothingFresh(Freshness.MISSING, f"no series of {query} has the value 1")
    state = the_one(chosen, query).labels.get(label)
    if not state:
        raise _NothingFresh(Freshness.MISSING, f"the series of {query} has no label `{label}`")
    return state


def _lease(one: Series) -> ExperimentLease:
    if not math.isfinite(one.value):
        raise _NothingFresh(Freshness.INVALID, f"the expiry reads {one.value}")
    if one.value <= 0:
        return FREE
    token = one.labels.get("token", "")
    number = int(token) if token.isascii() and token.isdigit() and len(token) < 20 else None
    # A lease counts without a name too: whoever it is, the cryostat is in use.
    return ExperimentLease(one.labels.get("owner") or "somebody", one.value, number)
