"""What judging costs: `python -m tests.bench.judging`.

1,000 devices x 4 metrics x 60 samples after the update, in waves of 50 with three controls each,
100 baseline samples: seconds of CPU to take the samples and to judge every device at the end.

Exit code 1 when the goal of 2 s is missed.
"""

from __future__ import annotations

import random
import sys
import time
from dataclasses import replace

from cryofw.health import MetricContract, Shift, Worse
from cryofw.health.cohort import Cohort
from cryofw.health.ledger import AlphaLedger
from cryofw.health.rule import CohortRule, wave_streams

GOAL_S = 2.0
DEVICES, WAVE, BASELINE, SAMPLES, EVERY_S = 1000, 50, 100, 60, 30.0
METRICS = tuple(
    MetricContract(f"m{i}", "dB", Worse.LOWER, margin=0.0, reject=2.5) for i in range(4)
)


def rule(waves: int) -> CohortRule:
    """A wave that shares its alpha with all the others."""
    return CohortRule(
        "fleet/1",
        tuple(f"d{i}" for i in range(WAVE)),
        ("c0", "c1", "c2"),
        METRICS,
        EVERY_S,
        BASELINE,
        20,
        SAMPLES,
        AlphaLedger.open(0.01, wave_streams(WAVE, METRICS) * waves),
        b"digest",
    )


def judge(cohort: Cohort, values: list[dict[str, dict[str, float]]]) -> float:
    """Seconds of CPU for one wave."""
    for t in range(BASELINE):
        for name, sample in values[t].items():
            cohort.observe(name, t * EVERY_S, sample)
    cohort.freeze()
    for device in cohort.rule.devices:
        cohort.begin(device, (BASELINE - 0.5) * EVERY_S)
    started = time.process_time()
    for t in range(BASELINE, BASELINE + SAMPLES):
        for name, sample in values[t].items():
            cohort.observe(name, t * EVERY_S, sample)
    found = [cohort.findings(device, soaked=True) for device in cohort.rule.devices]
    spent_s = time.process_time() - started
    assert all(finding.shift is Shift.FINE for findings in found for finding in findings)
    return spent_s


def main() -> int:
    """Judge all waves; 0 when the goal is met."""
    waves = DEVICES // WAVE
    one = rule(waves)
    names = [*one.devices, *one.controls]
    noise = random.Random(1)
    spent_s = 0.0
    for wave in range(waves):
        values = [
            {name: {m.name: noise.gauss(25, 1) for m in METRICS} for name in names}
            for _ in range(BASELINE + SAMPLES)
        ]
        spent_s += judge(Cohort(replace(one, name=f"wave-{wave}")), values)
    met = spent_s < GOAL_S
    what = f"{DEVICES:,} devices x {len(METRICS)} metrics x {SAMPLES} samples"
    print(f"{what}: {spent_s:.2f} s of CPU, goal {GOAL_S:g} s: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
