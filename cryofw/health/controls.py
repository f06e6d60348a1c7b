"""The control group: devices not yet updated that share the cryostat's weather.

What moves all of them alike, a drift of the stage or of the reference, cancels when their mean is
taken off. The group is fixed before the first look. A grid slot needs two thirds of its controls;
each is centred on its own baseline, so that one that is missing for a while does not move the mean.

A difference hides what moves both sides: crosstalk, or heat from the flash itself. So the group,
and each member, is tested against its own baseline too; one that left it forbids to pass.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cryofw.health.shift import ShiftTest, usable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.health.contract import MetricContract

LEVEL = 0.01
_LAG = 2  # slots after which a control that has not reported is missing


class ControlGroup:
    """One metric of one group of controls.

    Args:
        metric: the contract.
        names: the controls, fixed.
        baseline_slots: slots needed before `freeze`; up to twice as many are kept.
        planned: slots that are expected after it.
        seed: breaks ties; names the group and the metric.
        tolerance: a drift of the group up to this, up or down, is weather; the mean of margin and
            reject if not given.

    Attributes:
        closed: the last slot that is settled; later reports for it change nothing.
    """

    __slots__ = (
        "_baseline", "_centres", "_groups", "_last", "_levels", "_newest", "_open", "_planned",
        "_seed", "_singles", "_tolerance", "closed", "metric", "names", "need",
    )  # fmt: skip

    def __init__(
        self,
        metric: MetricContract,
        names: tuple[str, ...],
        baseline_slots: int,
        planned: int,
        seed: bytes,
        tolerance: float | None = None,
    ) -> None:
        self.metric, self.names = metric, names
        self.need = max(1, math.ceil(2 * len(names) / 3))
        self._baseline, self._planned, self._seed = baseline_slots, planned, seed
        self._tolerance = (metric.margin + metric.reject) / 2 if tolerance is None else tolerance
        self._last = dict.fromkeys(names, -1)
        self._newest = self.closed = -1
        self._open: dict[int, dict[str, float]] = {}
        self._levels: dict[int, float | None] = {}
        self._centres: dict[str, float] | None = None
        self._groups: ShiftTest | None = None
        self._singles: dict[str, ShiftTest] = {}

    def observe(self, name: str, slot: int, value: float) -> None:
        """Take a control's sample; late, repeated and non-finite ones change nothing.

        Raises:
            KeyError: `name` is not in the group.
        """
        if slot <= self._last[name] or slot <= self.closed:
            return
        self._last[name] = slot
        if usable(value):
            self._open.setdefault(slot, {})[name] = value
        self.reach(slot)

    def reach(self, slot: int) -> None:
        """Some device's sample of `slot` came: what lies well before it is settled."""
        self._newest = max(self._newest, slot)
        closed = max(min(self._last.values()), self._newest - _LAG)
        if closed > self.closed:
            first, self.closed = self.closed + 1, closed
            if self._centres is not None:
                for passed in range(first, closed + 1):
                    self._settle(passed)
            else:
                self._forget()

    def _forget(self) -> None:
        """Keep what may still be baseline."""
        for slot in [s for s in self._open if s <= self.closed - 2 * self._baseline]:
            del self._open[slot]

    def freeze(self) -> None:
        """The first device of the group's wave is about to be touched."""
        if self._centres is not None:
            return
        self.closed = max(self.closed, self._newest)
        slots = sorted(self._open)
        self._centres = {}
        for name in self.names:
            values = [self._open[s][name] for s in slots if name in self._open[s]]
            self._centres[name] = math.fsum(values) / len(values) if values else math.nan
            self._singles[name] = self._test(values, name)
        self._levels = {slot: self._level(self._open[slot]) for slot in slots}
        known = [level for level in self._levels.values() if level is not None]
        self._groups = self._test(known, "")
        self._open.clear()

    def _test(self, values: list[float], name: str) -> ShiftTest:
        questions = ((self._tolerance, 1), (-self._tolerance, -1))
        return ShiftTest(values, questions, self._planned, self._seed + name.encode())

    def _level(self, values: Mapping[str, float]) -> float | None:
        assert self._centres is not None
        centred = [v - self._centres[n] for n, v in values.items()]
        centred = [v for v in centred if math.isfinite(v)]
        return math.fsum(centred) / len(centred) if len(centred) >= self.need else None

    def _settle(self, slot: int) -> None:
        values = self._open.pop(slot, {})
        self._levels[slot] = level = self._level(values)
        self._levels.pop(slot - 4 * _LAG, None)
        if level is not None and self._groups is not None:
            self._groups.observe(level)
        for name, value in values.items():
            self._singles[name].observe(value)

    def level(self, slot: int) -> float | None:
        """The controls' mean at a settled slot, about their baselines; None: too few reported."""
        return self._levels.get(slot)

    def has_baseline(self, slot: int) -> bool:
        """Before `freeze`: enough controls reported in this slot."""
        return len(self._open.get(slot, ())) >= self.need

    @property
    def left(self) -> str:
        """Which control, or "the group", left its own baseline; empty while none did."""
        threshold = 2 * (len(self.names) + 1) / LEVEL
        tests = {"the control group": self._groups, **self._singles}
        for name, test in tests.items():
            if test is not None and any(w.peak >= threshold for w in test.wagers):
                return name
        return ""

    def evidence(self) -> dict[str, object]:
        """What a verdict shows about the group; plain JSON."""
        highest = max((w.peak for w in self._groups.wagers), default=1.0) if self._groups else 1.0
        return {
            "controls": list(self.names),
            "needed": self.need,
            "drift_tolerance": self._tolerance,
            "drift_e": float(f"{highest:.6g}"),
            "drift_e_needed": 2 * (len(self.names) + 1) / LEVEL,
            "left": self.left,
        }
