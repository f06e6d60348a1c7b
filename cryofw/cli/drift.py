"""`cryofw drift`: what has slowly moved over days, since when, and under which release."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cryofw.cli.deploy import fleet_option
from cryofw.cli.options import json_option, state_option
from cryofw.cli.output import Output
from cryofw.errors import BadInput, UsageError
from cryofw.health.drift_verdict import DAY_S, ONE_IN_DAYS, DriftFinding

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from cryofw.engine.drift_search import DriftReport
    from cryofw.engine.home import Home
    from cryofw.fleet import Fleet
    from cryofw.telemetry import PrometheusClient, Recording
    from cryofw.telemetry.recording import CooldownStart

PROMETHEUS = "prometheus"
EXIT_DRIFT = 5
EXIT_NOT_JUDGED = 75

_DAYS = 30.0
_POINTS = 2_400  # of a series over the period: ten in each of its shortest blocks


@click.command()
@click.argument("device", nargs=-1)
@click.option(
    "--data",
    metavar="FILE|prometheus",
    help="JSON lines or CSV with time, device, metric, value and maybe cooldown; or the queries of "
    "fleet.yaml. [default: the readings of the rollouts in the state directory]",
)
@click.option(
    "--days",
    type=click.FloatRange(0, 3650, min_open=True),
    help="Length of the period. [default: all of a file; 30 of Prometheus]",
)
@click.option(
    "--until",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%SZ"]),
    metavar="TIME",
    help="End of the period, in UTC. [default: the last sample; now for Prometheus]",
)
@click.option(
    "--baseline-days",
    type=click.FloatRange(0, 3650, min_open=True),
    help="So much of it, at its beginning, is taken as good. [default: a third]",
)
@click.option(
    "--one-in",
    "one_in_days",
    type=click.FloatRange(1, 1e12),
    default=ONE_IN_DAYS,
    show_default="100000",
    metavar="DAYS",
    help="At most one false alarm in so many days of a device's metric.",
)
@click.option(
    "--cooldown-query",
    metavar="PROMQL",
    help="Names the cooldown of ${cryostat}: the label `cooldown` of the series, or its value.",
)
@click.option(
    "--exit-code",
    "wants_code",
    is_flag=True,
    help=f"End with {EXIT_DRIFT} when something drifts, else with {EXIT_NOT_JUDGED} when something "
    "could not be judged.",
)
@click.option("--all", "show_all", is_flag=True, help="Show what is steady too, row by row.")
@fleet_option
@state_option
@json_option
def drift(
    device: tuple[str, ...],
    data: str | None,
    days: float | None,
    until: datetime | None,
    baseline_days: float | None,
    one_in_days: float,
    cooldown_query: str | None,
    wants_code: bool,
    show_all: bool,
    fleet_path: Path,
    state: Path,
    as_json: bool,
) -> int:
    """Find metrics that slowly drift (of each DEVICE named, else of all); decides nothing.

    Each device is compared with the median of its cryostat, and that median with its own past, so
    that a drift which all share is named once. Beside each drift stand its size and rate, when it
    began, the release and the cooldown it began with, and a proposal. What has too little data is
    listed as not judged.

    Without drift the expected number of alarms, and the chance of even one in the report, is at
    most the judged days of all series over DAYS: for any noise, as long as blocks of hours are
    exchangeable.
    """
    from cryofw.cli.driftjson import drift_json
    from cryofw.cli.driftview import show_drift
    from cryofw.engine.drift_search import period, search_drift
    from cryofw.engine.home import Home
    from cryofw.engine.release_timeline import ReleaseTimeline

    fleet = _fleet(fleet_path, needed=data == PROMETHEUS)
    home = Home(state)
    timeline = ReleaseTimeline.fold(home.records())
    until_s = None if until is None else until.replace(tzinfo=UTC).timestamp()
    recording = _recording(data, fleet, home, days, until_s)
    end_s = recording.end_s if until_s is None else until_s
    start_s = recording.start_s if days is None else max(recording.start_s, end_s - days * DAY_S)
    rule = period(start_s, end_s, baseline_days and baseline_days * DAY_S, one_in_days)
    if cooldown_query is not None:
        found = asyncio.run(_cooldowns(_needed(fleet), cooldown_query, start_s, end_s))
        recording = replace(recording, cooldowns=found)
    expected = _expected(fleet, only_prometheus=data == PROMETHEUS)
    report = search_drift(recording, fleet, timeline, rule, expected)
    report = _of_devices(report, device)
    if as_json:
        Output().json(drift_json(report))
    else:
        show_drift(Output(), report, show_all=show_all)
    return _exit_code(report) if wants_code else 0


def _fleet(path: Path, *, needed: bool) -> Fleet | None:
    """The fleet; a file of telemetry can be judged without one, device by device."""
    from cryofw.fleet import load_fleet

    source = click.get_current_context().get_parameter_source("fleet_path")
    if not needed and source is click.core.ParameterSource.DEFAULT and not path.exists():
        return None
    return load_fleet(path)


def _needed(fleet: Fleet | None) -> Fleet:
    if fleet is None:
        raise UsageError("--cooldown-query needs a fleet.yaml that names cryostats")
    return fleet


def _recording(
    data: str | None, fleet: Fleet | None, home: Home, days: float | None, until_s: float | None
) -> Recording:
    from cryofw.telemetry import read_recording
    from cryofw.telemetry.recorded_file import read_own_readings

    if data == PROMETHEUS:
        return asyncio.run(_recorded(_needed(fleet), days or _DAYS, until_s))
    if data is not None:
        return read_recording(Path(data))
    recording = read_own_readings(home.directory, home.history().rollouts)
    if not recording.series:
        raise BadInput(
            f"{home.directory} has no readings of metrics",
            why="drift is looked for in the telemetry of days",
            hint="give it with --data FILE or --data prometheus",
        )
    return recording


async def _recorded(fleet: Fleet, days: float, until_s: float | None) -> Recording:
    from cryofw.telemetry import record_range

    client, now_s = _prometheus(fleet)
    end_s = now_s if until_s is None else until_s
    length_s = days * DAY_S
    return await record_range(
        fleet, client, start_s=end_s - length_s, end_s=end_s, least_step_s=length_s / _POINTS
    )


async def _cooldowns(
    fleet: Fleet, query: str, start_s: float, end_s: float
) -> Mapping[str, tuple[CooldownStart, ...]]:
    from cryofw.telemetry.recorded_cooldown import record_cooldowns

    client, _ = _prometheus(fleet)
    step_s = (end_s - start_s) / _POINTS
    return await record_cooldowns(fleet, client, query, start_s=start_s, end_s=end_s, step_s=step_s)


def _prometheus(fleet: Fleet) -> tuple[PrometheusClient, float]:
    """A client of the fleet's server, and the time in seconds since 1970."""
    from cryofw.engine.virtual_time import SystemClock
    from cryofw.telemetry import open_prometheus

    clock = SystemClock()
    client = open_prometheus(fleet, clock)
    if client is None:
        raise BadInput(
            "fleet.yaml names no Prometheus",
            why=f"{fleet.source_path} has no `telemetry.prometheus`",
            hint="add its `url`, or give a file with --data FILE",
        )
    return client, clock.now().timestamp()


def _expected(fleet: Fleet | None, *, only_prometheus: bool) -> set[tuple[str, str]]:
    """What fleet.yaml says is measured: it has a row even when nothing was recorded."""
    from cryofw.fleet import FromPrometheus

    return {
        (controller.name, name)
        for controller in (fleet.controllers if fleet else ())
        for name, metric in controller.calibration.metrics.items()
        if not only_prometheus or isinstance(metric.source, FromPrometheus)
    }


def _of_devices(report: DriftReport, devices: tuple[str, ...]) -> DriftReport:
    """The rows of `devices` and of what they share; all without any."""
    known = {row.verdict.device for row in report.rows}
    for name in devices:
        if name not in known:
            raise BadInput(f"{report.source} and fleet.yaml have no device {name}")
    if not devices:
        return report
    chosen = {*devices}
    rows = [
        row
        for row in report.rows
        if chosen & {row.verdict.device, *(row.verdict.neighbours if row.verdict.is_shared else ())}
    ]
    return replace(report, rows=tuple(rows))


def _exit_code(report: DriftReport) -> int:
    if report.of(DriftFinding.DRIFTS):
        return EXIT_DRIFT
    return EXIT_NOT_JUDGED if report.of(DriftFinding.NOT_JUDGED) else 0
