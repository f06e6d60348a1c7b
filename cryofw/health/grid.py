"""The grid of planned samples that the devices of a cohort share.

Devices are sampled one by one, each at a phase of its own that a boot or a busy line moves, and a
little early or late each time. Rounded to one common grid, a device whose phase lies halfway
would fall now into one slot and now into its neighbour, and lose every second sample as a repeat.
So each keeps its own phase, which follows it slowly.
"""

from __future__ import annotations

import math

_FOLLOW = 0.25
_MOST = 0.75
"""Slots that a phase may lie off the common grid: who samples too fast does not run ahead."""
_GAP = 1.5


class SampleGrid:
    """Time to slot, for each device by name.

    Args:
        every_s: planned seconds between samples.
    """

    __slots__ = ("_every_s", "_phases", "_start_s")

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._start_s: float | None = None
        self._phases: dict[str, tuple[float, float]] = {}

    def slot(self, name: str, t_s: float) -> int | None:
        """The slot of a sample; None if it is not after the latest of `name`, or before the first.

        Args:
            name: of the device.
            t_s: seconds since 1970.
        """
        if self._start_s is None:
            self._start_s = t_s
        place = (t_s - self._start_s) / self._every_s
        last, phase = self._phases.get(name, (-math.inf, 0.0))
        if place <= last or place < -0.5:
            return None
        if place - last > _GAP:
            phase = round(place) - place
        slot = round(place + phase)
        phase += _FOLLOW * (slot - place - phase)
        self._phases[name] = place, min(max(phase, -_MOST), _MOST)
        return slot

    def before(self, t_s: float) -> int:
        """The slot that has begun by `t_s`."""
        if self._start_s is None:
            self._start_s = t_s
        return math.floor((t_s - self._start_s) / self._every_s)
