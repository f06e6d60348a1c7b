"""The devices of one cryostat beside each other: one metric, in blocks of equal time."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

from cryofw.health.blocks import autocorrelation
from cryofw.health.drift_blocks import (
    LEAST_BASELINE,
    BlockGrid,
    DriftSeries,
    candidate_lengths,
    is_independent,
    is_unsteady,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.health.drift_verdict import DriftRule


class Neighbours:
    """Blocks of all devices on one grid, each less the median of its baseline.

    Args:
        members: device to its series.
        rule: the period.

    Attributes:
        grid: of the blocks; of no length until `choose_grid` found one.
        centred: device to its blocks, of those that have enough baseline.
        unsteady: devices that drift or wander in their baseline already.
    """

    def __init__(self, members: Mapping[str, DriftSeries], rule: DriftRule) -> None:
        self._members, self._rule = members, rule
        self.grid = BlockGrid(math.nan, 0, 0, 0)
        self.centred: dict[str, dict[int, float]] = {}
        self.unsteady: set[str] = set()
        self._counts: dict[str, int] = {}

    def baseline_blocks(self, device: str) -> int:
        """How many blocks of baseline `device` has."""
        return self._counts.get(device, 0)

    def choose_grid(self) -> bool:
        """The shortest blocks that no longer resemble each other in the baseline."""
        rule = self._rule
        for length in candidate_lengths(self._members, rule.start_s, rule.judged_s, rule.end_s):
            self.grid = BlockGrid.over(length, rule.start_s, rule.judged_s, rule.end_s)
            self._fill()
            self._leave_out_unsteady()
            if 2 * len(self.unsteady) > len(self.centred):
                continue
            still = self.still
            streams = [self.against(name, still) for name in sorted(still)]
            if len(still) > 1:
                streams.append(self.middle(still))
            if is_independent([base for one in streams if (base := self.baseline_of(one))]):
                return True
        return False

    @property
    def still(self) -> set[str]:
        """Devices that can be judged: with a baseline, and steady in it."""
        return {*self.centred} - self.unsteady

    def _leave_out_unsteady(self) -> None:
        """Who drifts in the baseline already moves the median of the others: the worst first."""
        self.unsteady = set()
        while still := self.still:
            bases = {name: self.baseline_of(self.against(name, still)) for name in sorted(still)}
            worst = max(bases, key=lambda name: autocorrelation(bases[name]))
            if not is_unsteady(bases[worst]):
                break
            self.unsteady.add(worst)

    def _fill(self) -> None:
        self._counts, self.centred = {}, {}
        for name, series in self._members.items():
            interval_s = series.interval_s(self._rule.start_s, self._rule.judged_s)
            if math.isnan(interval_s):
                continue
            blocks = self.grid.blocks(series, interval_s)
            self._counts[name] = len(self.baseline_of(blocks))
            if len(base := self.baseline_of(blocks)) >= LEAST_BASELINE:
                centre = median(base)
                self.centred[name] = {index: v - centre for index, v in blocks.items()}

    def baseline_of(self, blocks: Mapping[int, float]) -> list[float]:
        """The values of `blocks` that lie in the baseline, in time order."""
        return [blocks[index] for index in sorted(blocks) if index < self.grid.judged]

    def middle(self, names: set[str]) -> dict[int, float]:
        """The median over `names`, of each block that at least half of them have."""
        rows: dict[int, list[float]] = {}
        for name in sorted(names):
            for index, value in self.centred[name].items():
                rows.setdefault(index, []).append(value)
        return {index: median(row) for index, row in rows.items() if 2 * len(row) >= len(names)}

    def against(self, device: str, names: set[str]) -> dict[int, float]:
        """`device` less the median of the others of `names`; as it is when there are none."""
        others = names - {device}
        if not others:
            return self.centred[device]
        middle = self.middle(others)
        return {i: v - middle[i] for i, v in self.centred[device].items() if i in middle}
