"""How often good firmware goes back, and how soon bad: `python -m tests.bench.health`.

Every row simulates rollouts: baseline samples, then 60 samples after the update, with noise as
named. Each rule sees the same numbers and decides after every sample; a rollout is rolled back
when any of its streams says so. For healthy rows that share is the false rollback rate; for
faulty ones it is the share found. `delay` counts samples from the onset of the fault to the
decision, given that there was one; `passed` is a miss; `open` ends Inconclusive and is held.

Rules: a 3-sigma limit on single samples that fails at the first (argo-0) or the third excess
(argo-2, failureLimit 2); Kayenta's Mann-Whitney rule (98 % interval, tolerance 25 % of the
Hodges-Lehmann estimate); CUSUM (k 0.5, h 5); cryofw as deployed, with its ledger shared by
heartbeats, noise and pools; the t-mixture e-process in the same place. Where a row has controls,
cryofw takes their mean off; Mann-Whitney compares with the controls' samples in the row
"device offsets" and with the device's own baseline elsewhere. The last healthy rows have no goal:
noise that lasts longer than its first lag tells breaks the choice of blocks, ours too.

Exit code 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import sys
import time
import zlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from cryofw.health.cohort import Cohort
from cryofw.health.contract import Method, MetricContract, Worse
from cryofw.health.finding import Shift
from cryofw.health.ledger import AlphaLedger
from cryofw.health.rule import CohortRule, wave_streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

ALPHA = 0.01
AFTER = 60
MIN_SAMPLES = 20
CHUNK = 50


@dataclass(frozen=True)
class Row:
    """One line of the grid; noise has the standard deviation (of its core) 1.

    Attributes:
        shift: the fault's size; 0 with growth 1 is a healthy row.
        growth: factor on the noise after the onset.
        onset: samples after the update before the fault begins.
        all_devices: the fault is on every device, not just the first.
        drift: height of a ramp that devices and controls share.
        offsets: standard deviation of the devices' own levels.
        gaps: share of samples that are NaN.
        at_margin: the healthy shift; worse by the margin is still healthy.
        slow: the noise is half white, half slow (rho .9): the first lag tells too little.
        goal: cryofw shall hold alpha here; the rows where it may not say so.
    """

    name: str
    devices: int = 1
    metrics: int = 1
    controls: int = 0
    baseline: int = 100
    rho: float = 0.0
    tails: str = ""
    drift: float = 0.0
    offsets: float = 0.0
    gaps: float = 0.0
    shift: float = 0.0
    growth: float = 1.0
    onset: int = 0
    all_devices: bool = False
    margin: float = 0.0
    at_margin: float = 0.0
    slow: bool = False
    goal: bool = True
    reject: float = 2.5

    @property
    def healthy(self) -> bool:
        """Nothing is worse than the margin."""
        return self.shift == 0 and self.growth == 1


HEALTHY = (
    Row("independent, 30 baseline", baseline=30),
    Row("independent"),
    Row("rho .2", rho=0.2),
    Row("rho .5, 40 baseline", rho=0.5, baseline=40),
    Row("rho .5", rho=0.5),
    Row("rho .8, 40 baseline", rho=0.8, baseline=40),
    Row("rho .8", rho=0.8),
    Row("rho .8, 120 baseline", rho=0.8, baseline=120),
    Row("t4 noise", tails="t4"),
    Row("t2.2 noise", tails="t2.2"),
    Row("2 % spikes of 8 sigma", tails="spikes"),
    Row("20 % NaN gaps", gaps=0.2),
    Row("worse by the margin of .5", margin=0.5, at_margin=0.5),
    Row("shared drift of 1 sigma", controls=3, drift=1.0),
    Row("device offsets of 2 sigma", controls=3, offsets=2.0),
    Row("NaN gaps, drift, offsets", controls=3, drift=1.0, offsets=2.0, gaps=0.1),
    Row("10 x 4", devices=10, metrics=4, controls=3),
    Row("10 x 4, t2.2 noise", devices=10, metrics=4, controls=3, tails="t2.2"),
    Row("10 x 4, rho .5", devices=10, metrics=4, controls=3, rho=0.5),
    Row("50 x 4", devices=50, metrics=4, controls=3),
    Row("slow under white noise", slow=True, goal=False),
    Row("slow under white, 300 baseline", slow=True, baseline=300, goal=False),
    Row("rho .95", rho=0.95, goal=False),
)
_TEN = Row("", devices=10, metrics=1, controls=3, shift=1.0, all_devices=True)
FAULTY = (
    Row("1 sigma, 30 baseline", shift=1.0, baseline=30),
    Row("1 sigma", shift=1.0),
    Row("2 sigma, 30 baseline", shift=2.0, baseline=30),
    Row("2 sigma", shift=2.0),
    Row("3 sigma", shift=3.0),
    Row("2 sigma, three controls", shift=2.0, controls=3),
    Row("2 sigma, rho .5", shift=2.0, rho=0.5),
    Row("2 sigma, rho .8", shift=2.0, rho=0.8),
    Row("3 sigma, rho .8", shift=3.0, rho=0.8),
    Row("2 sigma, t4 noise", shift=2.0, tails="t4"),
    Row("2 sigma, spikes", shift=2.0, tails="spikes"),
    Row("2 sigma, 20 % NaN gaps", shift=2.0, gaps=0.2),
    Row("2 sigma after 30 samples", shift=2.0, onset=30),
    Row("3 sigma after 45 samples", shift=3.0, onset=45),
    Row("noise x 2, no shift", growth=2.0),
    Row("noise x 3, no shift", growth=3.0),
    Row("2 sigma on one of 10 x 4", shift=2.0, devices=10, metrics=4, controls=3),
    replace(_TEN, name="1 sigma on 10, 1 control", controls=1),
    replace(_TEN, name="1 sigma on 10, 3 controls"),
    replace(_TEN, name="1 sigma on 10, 30 baseline", baseline=30),
    replace(_TEN, name="1 sigma on 10, margin .5", margin=0.5),
    replace(_TEN, name="1 sigma on 10, margin .5, 1 c.", margin=0.5, controls=1),
    replace(_TEN, name="1 sigma on 10 x 4", metrics=4),
)


# --- the noise ------------------------------------------------------------------------------


def simulate(row: Row, rng: np.random.Generator) -> Array:
    """Samples of one rollout: [devices then controls, metric, time]; higher is worse."""
    units, total = row.devices + row.controls, row.baseline + AFTER
    shape = (units, row.metrics, total)
    if row.tails.startswith("t"):
        noise = rng.standard_t(float(row.tails[1:]), shape)
    else:
        noise = rng.standard_normal(shape)
    if row.tails == "spikes":
        signs = np.where(rng.random(shape) < 0.5, -8.0, 8.0)
        noise += np.where(rng.random(shape) < 0.02, signs, 0.0)
    if row.rho:
        scale = math.sqrt(1 - row.rho**2)
        for t in range(1, total):
            noise[..., t] = row.rho * noise[..., t - 1] + scale * noise[..., t]
    if row.slow:
        slow = rng.standard_normal(shape)
        for t in range(1, total):
            slow[..., t] = 0.9 * slow[..., t - 1] + math.sqrt(1 - 0.9**2) * slow[..., t]
        noise = math.sqrt(0.5) * (noise + slow)
    begin = row.baseline + row.onset
    faulty = slice(0, row.devices if row.all_devices else 1)
    which = slice(None) if row.all_devices else slice(0, 1)
    noise[faulty, which, begin:] *= row.growth
    noise[faulty, which, begin:] += row.shift
    noise[: row.devices, :, row.baseline :] += row.at_margin
    noise += np.linspace(0, row.drift, total)
    if row.offsets:
        noise += rng.normal(0, row.offsets, (units, row.metrics, 1))
    if row.gaps:
        noise[rng.random(shape) < row.gaps] = np.nan
    return noise


# --- the rivals: each answers the number of samples until it fails, or 0 ---------------------


def first(alarms: NDArray[np.bool_]) -> int:
    """The first sample, from 1, at which any of [stream, time] is raised; 0 if none."""
    raised = np.flatnonzero(alarms.any(axis=0))
    return int(raised[0]) + 1 if raised.size else 0


def moments(base: Array) -> tuple[Array, Array]:
    return np.nanmean(base, axis=1)[:, None], np.nanstd(base, axis=1, ddof=1)[:, None]


def three_sigma(limit: int) -> Callable[[Row, Array], int]:
    def rule(row: Row, x: Array) -> int:
        base, post = streams(row, x)
        mean, sd = moments(base)
        return first(np.cumsum(post > mean + row.margin + 3 * sd, axis=1) > limit)

    return rule


def cusum(row: Row, x: Array) -> int:
    base, post = streams(row, x)
    mean, sd = moments(base)
    z = np.nan_to_num((post - mean - row.margin) / sd)
    total = np.zeros(len(post))
    for t in range(post.shape[1]):
        total = np.maximum(0.0, total + z[:, t] - 0.5)
        if (total > 5).any():
            return t + 1
    return 0


def mann_whitney(row: Row, x: Array) -> int:
    """Kayenta: fail when the 98 % interval lies above a quarter of the estimated shift."""
    base, post = streams(row, x)
    if row.name.startswith("device offsets"):
        controls = x[row.devices :, :, row.baseline :]
        base = np.concatenate([controls.swapaxes(0, 1).reshape(row.metrics, -1)] * row.devices)
    post = post - row.margin
    below = (post[:, :, None] <= base[:, None, :]).sum(axis=2).cumsum(axis=1)
    m = (~np.isnan(base)).sum(axis=1)[:, None]
    n = (~np.isnan(post)).cumsum(axis=1)
    cut = m * n / 2 - 2.326 * np.sqrt(m * n * (m + n + 1) / 12)
    for t in range(post.shape[1]):
        for s in np.flatnonzero(below[:, t] < cut[:, t]):
            differences = (post[s, : t + 1, None] - base[s][None, :]).ravel()
            differences = np.sort(differences[~np.isnan(differences)])
            if differences[int(cut[s, t])] > 0.25 * np.median(differences):
                return t + 1
    return 0


def streams(row: Row, x: Array) -> tuple[Array, Array]:
    """[stream, time] before and after."""
    flat = x[: row.devices].reshape(-1, x.shape[2])
    return flat[:, : row.baseline], flat[:, row.baseline :]


# --- cryofw ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ending:
    """How one rollout ended: samples until it failed (0: not), devices passed of all."""

    failed: int
    passed: int
    devices: int


def cryofw(row: Row, x: Array, seed: int, method: Method = Method.RANKS) -> Ending:
    names = [f"m{i}" for i in range(row.metrics)]
    metrics = tuple(MetricContract(n, "sigma", Worse.HIGHER, row.margin, row.reject) for n in names)
    devices = tuple(f"d{i}" for i in range(row.devices))
    controls = tuple(f"c{i}" for i in range(row.controls))
    rule = CohortRule(
        "wave", devices, controls, metrics, 1.0, _samples(row), MIN_SAMPLES, AFTER,
        AlphaLedger.open(ALPHA, wave_streams(row.devices, metrics)),
        seed.to_bytes(8, "little"), method=method,
    )  # fmt: skip
    cohort = Cohort(rule)
    everyone = devices + controls
    values = x.tolist()
    for t in range(row.baseline):
        _sample(cohort, everyone, names, values, t)
    for device in devices:
        cohort.begin(device, row.baseline - 0.5)
    watched = [s for d in devices for s in cohort.streams(d).values()]
    pools = list(cohort.pools.values())
    for t in range(row.baseline, row.baseline + AFTER):
        _sample(cohort, everyone, names, values, t)
        if any(s.regressed for s in watched) or any(p.regressed for p in pools):
            found = [f for d in devices for f in cohort.findings(d, soaked=False)]
            if any(f.shift is Shift.REGRESSED for f in found):
                return Ending(t - row.baseline + 1, 0, row.devices)
    passed = sum(
        all(f.shift is Shift.FINE for f in cohort.findings(d, soaked=True)) for d in devices
    )
    return Ending(0, passed, row.devices)


def _samples(row: Row) -> int:
    """Fresh baseline samples to ask for: gaps of the device and its controls are not fresh."""
    return int(row.baseline * (1 - row.gaps) ** 2 * 0.9) if row.gaps else row.baseline


def _sample(
    cohort: Cohort, everyone: Sequence[str], names: Sequence[str],
    values: list[list[list[float]]], t: int,
) -> None:  # fmt: skip
    for name, rows in zip(everyone, values, strict=True):
        cohort.observe(name, t, {n: r[t] for n, r in zip(names, rows, strict=True)})


# --- the grid -------------------------------------------------------------------------------


@dataclass
class Tally:
    """One rule in one row."""

    runs: int = 0
    early: int = 0
    delays: list[int] = field(default_factory=list)
    passed: int = 0
    open: int = 0
    devices: int = 0
    open_devices: int = 0

    def add(self, ending: Ending, onset: int) -> None:
        self.runs += 1
        self.devices += ending.devices
        if ending.failed > onset:
            self.delays.append(ending.failed - onset)
        elif ending.failed:
            self.early += 1
        elif ending.passed == ending.devices:
            self.passed += 1
        else:
            self.open += 1
            self.open_devices += ending.devices - ending.passed

    def merge(self, other: Tally) -> None:
        self.runs += other.runs
        self.early += other.early
        self.delays += other.delays
        self.passed += other.passed
        self.open += other.open
        self.devices += other.devices
        self.open_devices += other.open_devices

    @property
    def found(self) -> float:
        return len(self.delays) / self.runs if self.runs else math.nan

    def delay(self, share: float) -> float:
        return float(np.quantile(self.delays, share)) if self.delays else math.nan


RIVALS: dict[str, Callable[[Row, Array], int]] = {
    "argo-0": three_sigma(0),
    "argo-2": three_sigma(2),
    "mann-whitney": mann_whitney,
    "cusum": cusum,
}
RULES = (*RIVALS, "t-mixture", "cryofw")


def run_chunk(job: tuple[Row, int, int, int]) -> tuple[str, dict[str, Tally]]:
    """A few rollouts of one row; the same seed gives the same rollouts in any order of chunks."""
    row, seed, chunk, runs = job
    rng = np.random.default_rng([seed, zlib.crc32(row.name.encode()), chunk])
    tallies = {rule: Tally() for rule in RULES}
    for i in range(runs):
        x = simulate(row, rng)
        for name, rival in RIVALS.items():
            failed = rival(row, x)
            tallies[name].add(Ending(failed, row.devices, row.devices), row.onset)
        number = chunk * CHUNK + i
        tallies["cryofw"].add(cryofw(row, x, number), row.onset)
        if row.devices == 1:
            tallies["t-mixture"].add(cryofw(row, x, number, Method.T_MIXTURE), row.onset)
    return row.name, tallies


def run_grid(
    rows: Iterable[Row], runs: int, jobs: int = 1, seed: int = 1
) -> dict[str, dict[str, Tally]]:
    """All rows; the result does not depend on `jobs`."""
    rows = list(rows)
    work = [
        (row, seed, chunk, min(CHUNK, runs - chunk * CHUNK))
        for row in sorted(rows, key=lambda r: -r.devices * r.metrics)
        for chunk in range(math.ceil(runs / CHUNK))
    ]
    grid = {row.name: {rule: Tally() for rule in RULES} for row in rows}
    if jobs == 1:
        _collect(grid, map(run_chunk, work))
    else:
        with multiprocessing.get_context("spawn").Pool(jobs) as pool:
            _collect(grid, pool.imap(run_chunk, work))
    return grid


def _collect(
    grid: dict[str, dict[str, Tally]], results: Iterable[tuple[str, dict[str, Tally]]]
) -> None:
    for name, tallies in results:
        for rule, tally in tallies.items():
            grid[name][rule].merge(tally)


def wilson(count: int, runs: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95 % interval of a share (Wilson, JASA 1927)."""
    p = count / runs
    middle = p + z * z / (2 * runs)
    half = z * math.sqrt(p * (1 - p) / runs + z * z / (4 * runs * runs))
    scale = 1 + z * z / runs
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


# --- the report -----------------------------------------------------------------------------


def print_row(row: Row, tallies: dict[str, Tally]) -> None:
    for i, (rule, tally) in enumerate(tallies.items()):
        if not tally.runs:
            continue
        count = len(tally.delays) + (tally.early if row.healthy else 0)
        low, high = wilson(count, tally.runs)
        share = f"{100 * count / tally.runs:5.1f} % [{100 * low:4.1f}, {100 * high:5.1f}]"
        delays = " " * 11
        if tally.delays and not row.healthy:
            delays = f"{tally.delay(0.5):5.0f} {tally.delay(0.9):5.0f}"
        rest = ""
        if rule in {"cryofw", "t-mixture"}:
            rest = (
                f"{100 * tally.passed / tally.runs:6.1f} % {100 * tally.open / tally.runs:6.1f} %"
            )
        elif not row.healthy:
            rest = f"{100 * tally.passed / tally.runs:6.1f} %"
        print(f"{row.name if i == 0 else '':32} {rule:13} {share} {delays} {rest}".rstrip())


def goals(grid: dict[str, dict[str, Tally]]) -> list[tuple[bool, str]]:
    """What the grid has to show: (met, sentence)."""
    found = []
    for row in HEALTHY:
        if row.name not in grid or not row.goal:
            continue
        tally = grid[row.name]["cryofw"]
        count = len(tally.delays)
        low, _ = wilson(count, tally.runs)
        found.append(
            (low <= ALPHA, f"{row.name}: {count} of {tally.runs} false, at least {low:.2%}")
        )
        if row.baseline >= 100:
            share = tally.open / tally.runs
            found.append((share <= 0.05, f"{row.name}: {share:.1%} of healthy rollouts held"))
    if "2 sigma" in grid:
        ours, whitney, argo = (
            grid["2 sigma"][rule].delay(0.5) for rule in ("cryofw", "mann-whitney", "argo-2")
        )
        words = f"2 sigma: median {ours:g}, Mann-Whitney {whitney:g}, 3-sigma limit 2 {argo:g}"
        found.append((ours <= whitney + 2 and ours < argo, words))
    if "1 sigma on 10, 3 controls" in grid:
        share = grid["1 sigma on 10, 3 controls"]["cryofw"].found
        found.append((share >= 0.9, f"1 sigma on 10, 3 controls: {share:.1%} found"))
    return found


def main() -> int:
    """Run the grid; 0 when all goals are met."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rows", default="", help="only rows whose name contains this")
    options = parser.parse_args()
    started = time.monotonic()
    rows = [row for row in (*HEALTHY, *FAULTY) if options.rows in row.name]
    grid = run_grid(rows, options.runs, options.jobs, options.seed)
    for title, healthy in (("false rollback", True), ("found", False)):
        print(f"\n{'row':32} {'rule':13} {title} [95 %]      delay   p90   passed     open")
        for row in rows:
            if row.healthy is healthy:
                print_row(row, grid[row.name])
    reached = goals(grid)
    print(f"\ngoals ({options.runs} runs a row, alpha {ALPHA:g}):")
    for met, words in reached:
        print(f"  {'met   ' if met else 'MISSED'} {words}")
    print(f"{time.monotonic() - started:.0f} s")
    return 0 if all(met for met, _ in reached) else 1


if __name__ == "__main__":
    sys.exit(main())
