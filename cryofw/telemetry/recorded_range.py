"""A recording of what Prometheus kept: the metric queries of fleet.yaml over days.

A range query repeats the last sample for five minutes after a series ended, and as often as it is
asked between two scrapes. So the time of the samples behind each point is asked for too, and
what a rollout would not have counted is no point here either: stale is missing, a repeated sample
counts once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cryofw.fleet import FromPrometheus
from cryofw.telemetry.errors import NoSeries
from cryofw.telemetry.prometheus import the_one
from cryofw.telemetry.recording import Recorder, Recording
from cryofw.telemetry.selector import selectors

if TYPE_CHECKING:
    from cryofw.fleet import Fleet
    from cryofw.telemetry.prometheus import PrometheusClient


async def record_range(
    fleet: Fleet,
    client: PrometheusClient,
    *,
    start_s: float,
    end_s: float,
    least_step_s: float = 0.0,
) -> Recording:
    """The metrics of all controllers whose source is Prometheus, from `start_s` to `end_s`.

    Each is asked for every `every` of its calibration. Metrics of other sources are not there.

    Args:
        fleet: names the queries.
        client: of the fleet's server.
        start_s: seconds since 1970 of the server's clock; `end_s` likewise.
        least_step_s: ask no more often than this, over weeks.

    Raises:
        NoSeries: no metric comes from Prometheus, or none has a sample in that time.
        RecordingTooLong: there are too many samples.
        QueryRejected, SeveralSeries, SourceUnavailable, SourceTimeout, AccessDenied,
        RedirectRefused, AnswerUnusable: as `PrometheusClient`.
    """
    asked = [
        (controller.name, name, metric.source, max(controller.calibration.every_s, least_step_s))
        for controller in fleet.controllers
        for name, metric in controller.calibration.metrics.items()
        if isinstance(metric.source, FromPrometheus)
    ]
    if not asked:
        raise NoSeries(
            "no metric of fleet.yaml comes from Prometheus",
            why=f"{fleet.source_path}: no metric has `source: prometheus` and a `query`",
            hint="give a file instead: JSON lines or CSV with time, device, metric, value",
        )
    recorder = Recorder("prometheus")

    async def record(device: str, metric: str, source: FromPrometheus, step_s: float) -> None:
        """Points are taken as they come, so that the answers are not all held at once."""
        points = await _points(client, source, start_s, end_s, step_s)
        for t_s, value in points:
            recorder.add(device, metric, t_s, value)
        due = int((end_s - start_s) / step_s + 1e-9) + 1
        recorder.miss(device, metric, due - len(points))

    await asyncio.gather(*(record(*one) for one in asked))
    recording = recorder.build()
    if not recording.series:
        raise NoSeries(
            "Prometheus has no sample of any metric in that time",
            why="\n".join(source.query for _, _, source, _ in asked[:3]),
            hint="ask for other days with --since, or try the query on Prometheus' own page",
        )
    return recording


async def _points(
    client: PrometheusClient, source: FromPrometheus, start_s: float, end_s: float, step_s: float
) -> list[tuple[float, float]]:
    """What a rollout would have counted as fresh."""
    query = source.query
    found = await client.query_range(query, start_s=start_s, end_s=end_s, step_s=step_s)
    if not found:
        return []
    points = the_one(found, query).points
    stamps: dict[float, float] = {}
    parts = selectors(query)
    for index, part in enumerate(parts):
        oldest = await client.query_range(
            f"min(timestamp({part.text}))", start_s=start_s, end_s=end_s, step_s=step_s
        )
        times = dict(oldest[0].points) if oldest else {}
        # A point rests on all of its selectors, and is as old as the oldest.
        stamps = (
            {t: min(stamps[t], stamp) for t, stamp in times.items() if t in stamps}
            if index
            else times
        )
    if not parts:
        return list(points)
    fresh: list[tuple[float, float]] = []
    last_s = float("-inf")
    for t_s, value in points:
        stamp_s = stamps.get(t_s)
        if stamp_s is None or t_s - stamp_s > source.stale_s or stamp_s <= last_s:
            continue
        last_s = stamp_s
        fresh.append((t_s, value))
    return fresh
