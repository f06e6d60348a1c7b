"""Which cooldown each cryostat was in, from a query of Prometheus over days."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from cryofw.errors import BadInput
from cryofw.fleet import PromqlError, fill_promql
from cryofw.telemetry.recording import CooldownStart

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryofw.fleet import Fleet
    from cryofw.telemetry.prometheus import PrometheusClient, Series

LABEL = "cooldown"


async def record_cooldowns(
    fleet: Fleet,
    client: PrometheusClient,
    query: str,
    *,
    start_s: float,
    end_s: float,
    step_s: float,
) -> Mapping[str, tuple[CooldownStart, ...]]:
    """Device to its cooldowns, as `Recording.cooldowns` has them.

    The name of a cooldown is the label `cooldown` of a series, else its value.

    Args:
        fleet: its cryostats are asked for one by one.
        client: of the server.
        query: PromQL with `${cryostat}`.
        start_s: seconds since 1970; `end_s` likewise.
        step_s: how finely to ask.

    Raises:
        BadInput: the query cannot be filled in.
        QueryRejected, SourceUnavailable, SourceTimeout, AccessDenied, RedirectRefused,
        AnswerUnusable: as `PrometheusClient`.
    """
    try:
        queries = {name: fill_promql(query, {"cryostat": name}) for name in fleet.cryostats}
    except PromqlError as error:
        raise BadInput(
            "the query for cooldowns cannot be asked", why=f"{query}: {error}", hint=error.hint
        ) from None

    answers = await asyncio.gather(
        *(
            client.query_range(one, start_s=start_s, end_s=end_s, step_s=step_s)
            for one in queries.values()
        )
    )
    found = {name: cooldown_starts(series) for name, series in zip(queries, answers, strict=True)}
    return {
        controller.name: found[controller.cryostat]
        for controller in fleet.controllers
        if found[controller.cryostat]
    }


def cooldown_starts(answer: Sequence[Series]) -> tuple[CooldownStart, ...]:
    """The cooldowns that the series of one cryostat name, in time order."""
    points = sorted(
        (t_s, one.labels.get(LABEL) or f"{value:.15g}")
        for one in answer
        for t_s, value in one.points
        if math.isfinite(value)
    )
    starts: list[CooldownStart] = []
    for t_s, name in points:
        if not starts or starts[-1].cooldown != name:
            starts.append(CooldownStart(t_s, name))
    return tuple(starts)
