"""What a contract can see, before anything is flashed: the smallest shift found in nine of ten.

The streams' own bets are played on seeded Gaussian blocks, with the same numbers at each shift.
All is in units of a sample's standard deviation, which the baseline tells; so the plan can say
"1.3 sigma", and once the baseline is taken the device can be refused in its own unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from cryofw.health.blocks import block_deviation, expected_length
from cryofw.health.onset import Onset
from cryofw.health.ranks import RankBook
from cryofw.health.ranksum import lower_p
from cryofw.health.rule import BETA, look_level
from cryofw.health.tiebreak import TieBreaker
from cryofw.health.wager import Wager

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cryofw.health.contract import MetricContract
    from cryofw.health.stream import CalibrationStream

FOUND = 0.9
PASSED = 0.95
_RUNS = 150
_MOST = 12.0  # block deviations; what is not found there is not found
_STEP = 0.05
_MOST_BLOCKS = 400


@dataclass(frozen=True, slots=True)
class Sight:
    """What one stream sees, in standard deviations of one sample.

    Attributes:
        finds: excess over the margin that is found in 90 % of cases within the soak; None if
            no shift is, however large.
        clears: distance from reject at which a healthy device passes in 95 % of cases; None if
            it never does.
        block: samples in a block.
        blocks_before: blocks of the baseline.
        blocks_after: blocks of the soak.
    """

    finds: float | None
    clears: float | None
    block: int
    blocks_before: int
    blocks_after: int

    def smallest_shift(self, metric: MetricContract, sd: float) -> float | None:
        """Smallest shift found in 90 % of cases, in the metric's unit; None if none is.

        Args:
            metric: the contract.
            sd: standard deviation of a sample as it is judged (`judged_deviation`).
        """
        return None if self.finds is None else metric.margin + self.finds * sd

    def refusal(self, metric: MetricContract, sd: float) -> str:
        """Why a contract must be refused: it cannot see its own `reject`; empty if it can."""
        return self.blindness(metric, sd) or self.inconclusive(metric, sd)

    def blindness(self, metric: MetricContract, sd: float) -> str:
        """Why a firmware that is worse by `reject` would not be found; empty if it would."""
        shift = self.smallest_shift(metric, sd)
        if shift is None:
            return f"{metric.name}: {self._blocks} see no shift at all"
        if shift > metric.reject:
            return (
                f"{metric.name}: the smallest shift found in 90 % of cases is {shift:.3g} "
                f"{metric.unit}, but reject is {metric.reject:g}"
            )
        return ""

    def inconclusive(self, metric: MetricContract, sd: float) -> str:
        """Why a healthy device would not pass; empty if it would, in 95 % of cases."""
        if self.clears is None:
            return f"{metric.name}: {self._blocks} can prove nothing"
        if self.clears * sd > metric.reject:
            return (
                f"{metric.name}: a healthy device is cleared of {self.clears * sd:.3g} "
                f"{metric.unit} worse at best, but reject is {metric.reject:g}"
            )
        return ""

    @property
    def _blocks(self) -> str:
        if not self.block:
            return "too few samples for a noise that remembers for so long"
        after = f"{self.blocks_after} in the soak"
        return f"{self.blocks_before} blocks of {self.block} in the baseline and {after}"


def judged_deviation(sd: float, controls: int, devices: int = 1) -> float:
    """Standard deviation of what is judged: a mean of devices less a mean of controls.

    The noise of shared controls does not average out over the devices.
    """
    return sd * math.sqrt(1 / devices + (1 / controls if controls else 0.0))


def sight(
    baseline_samples: int,
    planned_samples: int,
    threshold: float,
    rho: float = 0.0,
    beta: float = BETA,
) -> Sight:
    """What a stream sees.

    Args:
        baseline_samples: from before the update.
        planned_samples: expected in the soak; soak / every.
        threshold: wealth at which its bet is won; from the ledger.
        rho: lag-1 autocorrelation to expect (0 to below 1).
        beta: probability to pass a metric that is worse by `reject`.
    """
    block = expected_length(baseline_samples, rho)
    if not block or planned_samples < block:
        return Sight(None, None, block, baseline_samples // max(1, block), 0)
    before, after = _cut(baseline_samples // block), _cut(planned_samples // block)
    deviation = block_deviation(rho, block)
    finds, clears = _finds(before, after, threshold), _clears(before, after, beta)
    return Sight(
        None if finds is None else finds * deviation,
        None if clears is None else clears * deviation,
        block,
        before,
        after,
    )


def stream_sight(stream: CalibrationStream) -> tuple[Sight, float]:
    """What a frozen stream sees, from its own baseline, and the deviation that this is in.

    The deviation is that of a block's mean, in the metric's unit.
    """
    rule, shift = stream.rule, stream.shift
    if shift is None or not shift.length or rule.planned_samples < shift.length:
        return Sight(None, None, 0, len(shift.base_blocks) if shift else 0, 0), stream.noise
    blocks = shift.base_blocks
    mean = math.fsum(blocks) / len(blocks)
    deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in blocks) / max(1, len(blocks) - 1))
    before, after = _cut(len(blocks)), _cut(rule.planned_samples // shift.length)
    finds = _finds(before, after, rule.shift_threshold)
    clears = _clears(before, after, rule.beta)
    return Sight(finds, clears, shift.length, before, after), deviation


def _cut(blocks: int) -> int:
    """More blocks see more, and playing them through takes long: what is said holds for these."""
    return min(blocks, _MOST_BLOCKS)


def typical_blindness(metric: MetricContract, seen: Sequence[tuple[Sight, float]]) -> str:
    """Why the middle one of several devices would not find `reject`; empty if it would.

    Args:
        metric: the contract.
        seen: of each device, what its stream sees and the deviation that this is in.
    """
    shifts = ((s.smallest_shift(metric, sd), s, sd) for s, sd in seen)
    ranked = sorted(shifts, key=lambda one: math.inf if one[0] is None else one[0])
    if not ranked:
        return ""
    _, middle, deviation = ranked[(len(ranked) - 1) // 2]
    return middle.blindness(metric, deviation)


@lru_cache(maxsize=64)
def _runs(before: int, after: int) -> tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]:
    """Seeded standard normal blocks: (sorted baseline, after) of each run (Box and Muller 1958)."""
    numbers = TieBreaker(b"what a contract can see")
    index = 0
    runs = []
    for _ in range(_RUNS):
        values: list[float] = []
        while len(values) < before + after:
            radius = math.sqrt(-2 * math.log(numbers.uniform(index)))
            angle = 2 * math.pi * numbers.uniform(index + 1)
            values += (radius * math.cos(angle), radius * math.sin(angle))
            index += 2
        runs.append((tuple(sorted(values[:before])), tuple(values[before : before + after])))
    return tuple(runs)


@lru_cache(maxsize=256)
def _finds(before: int, after: int, threshold: float) -> float | None:
    runs, ties, onset = _runs(before, after), TieBreaker(b""), Onset(after)

    def found(shift: float) -> bool:
        left = len(runs) - math.ceil(FOUND * len(runs))
        for baseline, later in runs:
            book, wager = RankBook(baseline), Wager(onset)
            for i, value in enumerate(later):
                share = book.place(value + shift, (0.0,), ties.uniform(i))[0]
                if wager.pay(share) >= threshold:
                    break
            else:
                left -= 1
                if left < 0:
                    return False
        return True

    return _smallest(found)


@lru_cache(maxsize=256)
def _clears(before: int, after: int, beta: float) -> float | None:
    runs = _runs(before, after)
    level = look_level(beta, 1)

    def passed(reject: float) -> bool:
        count = sum(lower_p(later, baseline, reject) <= level for baseline, later in runs)
        return count >= PASSED * len(runs)

    return _smallest(passed)


def _smallest(holds: Callable[[float], bool]) -> float | None:
    """The smallest shift for which `holds`, which is monotone, to `_STEP`."""
    if not holds(_MOST):
        return None
    low, high = 0.0, _MOST
    while high - low > _STEP:
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
