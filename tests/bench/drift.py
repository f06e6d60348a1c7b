"""How often steady devices are called drifting, and how soon drifting ones: `-m tests.bench.drift`.

Every run simulates one cryostat of four devices for 30 days, sampled every 10 minutes (or as the
row says), of which the first 10 days are the baseline; noise has the standard deviation (of its
core) 1. Steady rows count alarms of a series (a device, or the median of the cryostat) with their
Wilson interval, beside what is promised: judged days over N. It is asked at N = 1,000 too, where a
broken promise would show. Drifting rows have a ramp on one device from day 15 on: the share found,
the days until then (median, 90 %), how often a neighbour is blamed or the drift is called shared,
and how often the true beginning lies in the range that is named.

Rules beside it see the same blocks, less the median of the neighbours, in units of the baseline's
standard deviation: CUSUM (k 0.5, h 5), and Shewhart's 3-sigma limit on single blocks.

Exit code 1 when a promise is broken: a Wilson lower bound above it.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import sys
import warnings
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from cryofw.health.drift import look_for_drift
from cryofw.health.drift_blocks import BlockGrid, DriftSeries
from cryofw.health.drift_verdict import DAY_S, DriftFinding, DriftRule, DriftVerdict
from tests.bench.health import wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

DAYS, BASELINE_DAYS, ONSET_DAY = 30.0, 10.0, 15.0
START_S = 1_760_000_000.0
DEVICES = 4
PROMISES = (1_000.0, 100_000.0)


@dataclass(frozen=True)
class Row:
    """One line: noise, and what drifts.

    Attributes:
        shared: share of the variance that all devices have in common.
        ramp: standard deviations a day on the first device; on all with `together`.
        gaps: share of samples that are NaN; as many are not there at all.
    """

    name: str
    rho: float = 0.0
    tails: str = ""
    shared: float = 0.0
    ramp: float = 0.0
    together: bool = False
    gaps: float = 0.0
    every_s: float = 600.0


STEADY = (
    Row("white"),
    Row("rho .5", rho=0.5),
    Row("rho .8", rho=0.8),
    Row("rho .8, every 20 min", rho=0.8, every_s=1200.0),
    Row("rho .95, every 3 min", rho=0.95, every_s=180.0),
    Row("t2.2 noise", tails="t2.2"),
    Row("2 % spikes of 8 sigma", tails="spikes"),
    Row("shared noise, rho .8", rho=0.8, shared=0.8),
    Row("half of it missing", gaps=0.3),
)
DRIFTING = (
    Row("0.02 a day", ramp=0.02),
    Row("0.05 a day", ramp=0.05),
    Row("0.1 a day", ramp=0.1),
    Row("0.2 a day", ramp=0.2),
    Row("1 a day", ramp=1.0),
    Row("0.1 a day, rho .8", ramp=0.1, rho=0.8),
    Row("0.1 a day, t2.2", ramp=0.1, tails="t2.2"),
    Row("0.1 a day, shared noise", ramp=0.1, shared=0.8),
    Row("0.1 a day, all devices", ramp=0.1, together=True),
)


@dataclass
class Tally:
    """What one rule did in the runs of a row."""

    series: int = 0
    judged_days: float = 0.0
    false: int = 0
    not_judged: int = 0
    runs: int = 0
    found: int = 0
    blamed: int = 0
    in_range: int = 0
    delays: list[float] = field(default_factory=list)


def noise(row: Row, rng: np.random.Generator, count: int) -> Array:
    match row.tails:
        case "t2.2":
            fresh = rng.standard_t(2.2, count)
        case "spikes":
            fresh = rng.normal(size=count)
            fresh += 8 * rng.choice((-1.0, 1.0), count) * (rng.random(count) < 0.02)
        case _:
            fresh = rng.normal(size=count)
    if not row.rho:
        return fresh
    scale, last = math.sqrt(1 - row.rho**2), fresh[0]
    values = np.empty(count)
    for index in range(count):
        values[index] = last
        last = row.rho * last + scale * fresh[index]
    return values


def lab(row: Row, seed: int) -> dict[str, DriftSeries]:
    """One cryostat for 30 days."""
    rng = np.random.default_rng((zlib.crc32(row.name.encode()), seed))
    times = START_S + np.arange(0.0, DAYS * DAY_S, row.every_s)
    ramp = row.ramp * np.maximum(0.0, (times - START_S) / DAY_S - ONSET_DAY)
    common = math.sqrt(row.shared) * noise(row, rng, times.size)
    members = {}
    for index in range(DEVICES):
        own = math.sqrt(1 - row.shared) * noise(row, rng, times.size)
        values = 27.0 + index + common + own
        if row.together or index == 0:
            values = values + ramp
        values[rng.random(times.size) < row.gaps] = math.nan
        there = rng.random(times.size) >= row.gaps
        members[f"d{index}"] = DriftSeries(times[there].tolist(), values[there].tolist())
    return members


def rule_of(one_in_days: float) -> DriftRule:
    end_s = START_S + DAYS * DAY_S
    return DriftRule(START_S, START_S + BASELINE_DAYS * DAY_S, end_s, one_in_days)


def delay(alarm_s: float) -> float:
    return (alarm_s - START_S) / DAY_S - ONSET_DAY


def count_ours(row: Row, verdicts: Sequence[DriftVerdict], tally: Tally) -> None:
    target = "" if row.together else "d0"
    tally.runs += 1
    for one in verdicts:
        tally.not_judged += one.finding is DriftFinding.NOT_JUDGED
        late = one.drift is None or not row.ramp or delay(one.drift.alarm_s) > 0
        if row.ramp and one.device == target and late:
            if one.drift is not None:
                tally.found += 1
                tally.delays.append(delay(one.drift.alarm_s))
                onset_s = START_S + ONSET_DAY * DAY_S
                tally.in_range += one.drift.earliest_s <= onset_s <= one.drift.latest_s
            continue
        tally.series += 1
        tally.judged_days += one.judged_days
        tally.false += one.finding is DriftFinding.DRIFTS


def differences(members: dict[str, DriftSeries], block_s: float) -> tuple[BlockGrid, list[Array]]:
    """Blocks of each device less the median of its neighbours; NaN where there is none."""
    rule = rule_of(1.0)
    grid = BlockGrid.over(block_s, rule.start_s, rule.judged_s, rule.end_s)
    table = np.full((len(members), grid.end - grid.first), math.nan)
    for index, series in enumerate(members.values()):
        for block, value in grid.blocks(series, series.interval_s(0.0, rule.judged_s)).items():
            table[index, block - grid.first] = value
    table -= np.nanmedian(table[:, : grid.judged - grid.first], axis=1, keepdims=True)
    rest = [np.delete(table, index, axis=0) for index in range(len(members))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a block that nobody has
        return grid, [table[i] - np.nanmedian(rest[i], axis=0) for i in range(len(members))]


def first_alarm(values: Array, count: int, name: str) -> int | None:
    """Position of the first block at which CUSUM or Shewhart says so."""
    base = values[:count][np.isfinite(values[:count])]
    scores = (values[count:] - base.mean()) / base.std(ddof=1)
    up = down = 0.0
    for index, score in enumerate(scores):
        if not math.isfinite(score):
            continue
        up, down = max(0.0, up + score - 0.5), max(0.0, down - score - 0.5)
        if (abs(score) > 3) if name == "shewhart" else (max(up, down) > 5):
            return count + index
    return None


def count_others(row: Row, members: dict[str, DriftSeries], block_s: float, name: str,
                 tally: Tally) -> None:  # fmt: skip
    grid, streams = differences(members, block_s)
    count = grid.judged - grid.first
    tally.runs += 1
    for index, values in enumerate(streams):
        alarm = first_alarm(values, count, name)
        drifting = bool(row.ramp) and index == 0 and not row.together
        if alarm is not None and drifting:
            days = delay((grid.first + alarm + 1) * block_s)
            tally.found += days > 0
            if days > 0:
                tally.delays.append(days)
        elif not drifting:
            tally.series += 1
            tally.judged_days += (values.size - count) * block_s / DAY_S
            tally.false += alarm is not None


def run_row(job: tuple[Row, int, int]) -> dict[str, Tally]:
    """Runs `first` to `last` of a row, by every rule."""
    row, first, last = job
    names = [f"1 in {n:,.0f}" for n in PROMISES]
    tallies = {name: Tally() for name in (*names, "cusum", "shewhart")}
    for seed in range(first, last):
        members = lab(row, seed)
        block_s = 0.0
        for name, promise in zip(names, PROMISES, strict=True):
            verdicts = look_for_drift("cryo", "snr", members, rule_of(promise))
            count_ours(row, verdicts, tallies[name])
            block_s = verdicts[-1].block_s
        for name in ("cusum", "shewhart"):
            if block_s:
                count_others(row, members, block_s, name, tallies[name])
    return tallies


def merge(parts: Sequence[dict[str, Tally]]) -> dict[str, Tally]:
    """The sum of several."""
    merged = {name: Tally() for name in parts[0]}
    for part in parts:
        for name, one in part.items():
            for key, value in vars(one).items():
                setattr(merged[name], key, getattr(merged[name], key) + value)
    return merged


def broken(tallies: dict[str, Tally]) -> list[str]:
    """Promises that the counts of a steady row contradict."""
    found = []
    for promise in PROMISES:
        one = tallies[f"1 in {promise:,.0f}"]
        low, _ = wilson(one.false, one.series)
        if low > one.judged_days / one.series / promise:
            found.append(f"1 in {promise:,.0f}: {one.false} of {one.series}")
    return found


def show_steady(row: Row, tallies: dict[str, Tally]) -> None:
    for name, one in tallies.items():
        low, high = wilson(one.false, one.series)
        promised = ""
        for promise in PROMISES:
            if name == f"1 in {promise:,.0f}" and one.series:
                promised = f"promised {100 * one.judged_days / one.series / promise:.3f} %"
        unknown = f"{100 * one.not_judged / max(1, one.series):.1f} % not judged"
        rate = f"{one.false}/{one.series} = {100 * one.false / max(1, one.series):.3f} %"
        print(f"{row.name:24} {name:12} {rate:22} [{100 * low:.3f}, {100 * high:.3f}]  "
              f"{promised:18} {unknown}")  # fmt: skip


def show_drifting(row: Row, tallies: dict[str, Tally]) -> None:
    for name, one in tallies.items():
        if row.together and "1 in" not in name:
            continue
        low, high = wilson(one.found, one.runs)
        delays = np.percentile(one.delays, (50, 90)) if one.delays else (math.nan, math.nan)
        range_ = f"{100 * one.in_range / one.found:.0f} %" if one.in_range else "-"
        print(f"{row.name:24} {name:12} found {100 * one.found / one.runs:5.1f} % "
              f"[{100 * low:.1f}, {100 * high:.1f}]  days {delays[0]:.1f} / {delays[1]:.1f}  "
              f"others blamed {one.false}/{one.series}  range {range_}")  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="False alarms and delays of cryofw drift.")
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args(arguments)
    failures: list[str] = []
    with multiprocessing.get_context("spawn").Pool(chosen.workers) as pool:
        for row in (*STEADY, *DRIFTING):
            jobs = [(row, i, min(i + 25, chosen.runs)) for i in range(0, chosen.runs, 25)]
            tallies = merge(pool.map(run_row, jobs))
            if row.ramp:
                show_drifting(row, tallies)
            else:
                show_steady(row, tallies)
                failures += [f"{row.name}: {one}" for one in broken(tallies)]
            sys.stdout.flush()
    for one in failures:
        print(f"promise broken: {one}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
