"""`cryofw gate`: try the gates of fleet.yaml on data that the lab recorded."""

from __future__ import annotations

import asyncio
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cryofw.cli.deploy import fleet_option
from cryofw.cli.options import json_option
from cryofw.cli.output import Output
from cryofw.errors import BadInput, UsageError
from cryofw.fleet import load_fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryofw.fleet import Fleet
    from cryofw.telemetry import Recording

PROMETHEUS = "prometheus"

data_option = click.option(
    "--data",
    required=True,
    metavar="FILE|prometheus",
    help="Healthy data: JSON lines or CSV with time, device, metric, value and maybe cooldown; "
    "a rollout's readings.jsonl; or the queries of fleet.yaml.",
)
days_option = click.option(
    "--days",
    type=click.FloatRange(0, 3650, min_open=True),
    default=14.0,
    show_default=True,
    help="How far back to ask Prometheus.",
)
seed_option = click.option(
    "--seed", type=int, default=1, show_default=True, help="Decides who is updated first."
)
jobs_option = click.option(
    "--jobs", type=click.IntRange(1, 256), help="Processes. [default: one for each processor]"
)


@click.group()
def gate() -> None:
    """Try the gates of fleet.yaml on recorded data: no device is asked, nothing is changed."""


@gate.command("backtest")
@data_option
@click.option(
    "--shift",
    "shifts",
    multiple=True,
    metavar="METRIC=VALUE",
    help="How much worse to make the updated devices, in the metric's unit; may be repeated. "
    "[default: `reject`, and the margin plus 1, 2 and 3 times the noise]",
)
@fleet_option
@days_option
@seed_option
@jobs_option
@json_option
def backtest(
    data: str,
    shifts: tuple[str, ...],
    fleet_path: Path,
    days: float,
    seed: int,
    jobs: int | None,
    as_json: bool,
) -> None:
    """How often would healthy firmware have gone back, and how soon would a bad one be seen?

    Replays rollouts of fleet.yaml, stage by stage, on data of devices that were not updated, as if
    some had been: each alarm is a mistake. Then once more with a shift on top of the updated
    ones. No sample serves two rollouts. Exit code 3 if fewer than ten rollouts fit.
    """
    from cryofw.cli.gateview import backtest_json, show_backtest
    from cryofw.engine.backtest import Backtester

    wished = _parse_shifts(shifts)
    fleet = load_fleet(fleet_path)
    recording = _recording(data, fleet, days)
    backtester = Backtester(fleet, recording, seed=seed, jobs=jobs)
    with _progress() as tell:
        result = backtester.run(wished, lambda done, of: tell(f"replayed {done} of {of} pieces"))
    output = Output()
    if as_json:
        output.json(backtest_json(fleet, result))
    else:
        show_backtest(output, fleet, result)


@gate.command("tune")
@data_option
@fleet_option
@days_option
@seed_option
@jobs_option
@json_option
def tune(
    data: str, fleet_path: Path, days: float, seed: int, jobs: int | None, as_json: bool
) -> None:
    """Propose margins, reject, soak and baseline_samples for fleet.yaml, from healthy data.

    Measures the noise and how far healthy devices wander, finds the least evidence with which
    `reject` is seen and healthy rollouts pass, and tries it on the data. Prints a piece of
    fleet.yaml with the reasons; the file itself is yours to edit.
    """
    from cryofw.cli.tuneview import tuning_json, tuning_text
    from cryofw.engine import tune as tuner

    fleet = load_fleet(fleet_path)
    recording = _recording(data, fleet, days)
    text = fleet_path.read_text(encoding="utf-8-sig")
    with _progress() as tell:
        result = tuner.tune(text, str(fleet_path), recording, seed=seed, jobs=jobs, tell=tell)
    output = Output()
    if as_json:
        output.json(tuning_json(result))
    else:
        output.line(tuning_text(fleet, result))


def _parse_shifts(texts: tuple[str, ...]) -> dict[str, list[float]]:
    shifts: dict[str, list[float]] = {}
    for text in texts:
        metric, _, value = text.partition("=")
        try:
            shifts.setdefault(metric.strip(), []).append(float(value))
        except ValueError:
            raise UsageError(
                f"{text!r} is no shift", hint="--shift METRIC=VALUE, such as readout_snr=1.5"
            ) from None
    return shifts


def _recording(data: str, fleet: Fleet, days: float) -> Recording:
    from cryofw.telemetry import read_recording

    if data != PROMETHEUS:
        return read_recording(Path(data))
    return asyncio.run(_recorded(fleet, days))


async def _recorded(fleet: Fleet, days: float) -> Recording:
    from cryofw.engine.virtual_time import SystemClock
    from cryofw.telemetry import open_prometheus, record_range

    clock = SystemClock()
    client = open_prometheus(fleet, clock)
    if client is None:
        raise BadInput(
            "fleet.yaml names no Prometheus",
            why=f"{fleet.source_path} has no `telemetry.prometheus`",
            hint="add its `url`, or give a file with --data FILE",
        )
    end_s = clock.now().timestamp()
    return await record_range(fleet, client, start_s=end_s - days * 86_400, end_s=end_s)


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """A line on stderr where a person watches; it is gone at the end."""
    shown = Output(sys.stderr).cursor

    def tell(text: str) -> None:
        if shown:
            sys.stderr.write(f"\r{text}\x1b[K")
            sys.stderr.flush()

    try:
        yield tell
    finally:
        tell("")
