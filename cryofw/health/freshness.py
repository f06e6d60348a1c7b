"""Which values of a sample count: each measurement once, and only what was measured in time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryofw.health.reading import LabValue, MetricSample


@dataclass(slots=True)
class FreshValues:
    """Passes each measurement of one device on once.

    A device and the sources of the lab grow stale by themselves: a device whose own time stands
    still hides no fresh value of the lab, and the other way round.
    """

    _last_t_s: float = float("-inf")
    _last_ms: int | None = None
    _last_lab: dict[str, LabValue] = field(default_factory=dict)

    def take(self, sample: MetricSample, after_s: float = float("-inf")) -> dict[str, float]:
        """The values of `sample` that count; a late or repeated sample has none.

        Args:
            sample: the next one.
            after_s: what was measured before that moment (seconds since 1970) does not count: it
                tells of another firmware, or of one that has not settled. A value of the lab may
                be much older than its sample.
        """
        if sample.t_s <= self._last_t_s:
            return {}
        self._last_t_s = sample.t_s
        names = self._of_lab(sample, after_s)
        if self._is_device_fresh(sample) and sample.t_s >= after_s:
            names |= sample.values.keys() - sample.lab.keys()
        values = {name: sample.fresh(name) for name in sorted(names)}
        return {name: value for name, value in values.items() if value is not None}

    def _is_device_fresh(self, sample: MetricSample) -> bool:
        if sample.device_ms is None:
            return True
        last_ms, self._last_ms = self._last_ms, sample.device_ms
        return sample.device_ms != last_ms

    def _of_lab(self, sample: MetricSample, after_s: float) -> set[str]:
        found = set()
        for name, one in sample.lab.items():
            last = self._last_lab.get(name)
            if last is not None and not _is_later(one, last):
                continue
            self._last_lab[name] = one
            if one.t_s >= after_s:
                found.add(name)
        return found


def _is_later(one: LabValue, last: LabValue) -> bool:
    """By the source's own clock if it has one: the host's reckoning of it wavers."""
    if one.stamp_s is not None and last.stamp_s is not None:
        return one.stamp_s > last.stamp_s
    return one.t_s > last.t_s
