"""What a lab measured over days: a series for each metric of each device, in time order.

`cryofw gate` replays it and `cryofw drift` looks for slow drift in it. It comes from a file
(`recorded_file.py`) or from Prometheus (`recorded_range.py`).
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from cryofw.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_SAMPLES = 30_000_000
"""Of one recording: 16 bytes each."""


class RecordingError(BadInput):
    """A recording that cannot be read; `why` begins with FILE:LINE."""


class RecordingTooLong(RecordingError):
    """More samples than are kept in memory."""


@dataclass(frozen=True)
class RecordedSeries:
    """One metric of one device; what is missing has no point.

    Attributes:
        times: seconds since 1970, strictly ascending.
        values: in the metric's unit; NaN where the source answered with no number.
        missing: times at which the source had nothing; they are no points.
        repeated: samples at a time that had one already; the first in the source is kept.
    """

    times: array[float]
    values: array[float]
    missing: int = 0
    repeated: int = 0

    def __len__(self) -> int:
        return len(self.times)

    def __iter__(self) -> Iterator[tuple[float, float]]:
        return zip(self.times, self.values, strict=True)

    @cached_property
    def invalid(self) -> int:
        """Points that are NaN."""
        return sum(map(math.isnan, self.values))

    def between(self, start_s: float, end_s: float) -> RecordedSeries:
        """The points from `start_s` until before `end_s`; maybe none."""
        first, last = bisect_left(self.times, start_s), bisect_left(self.times, end_s)
        return RecordedSeries(self.times[first:last], self.values[first:last])


class CooldownStart(NamedTuple):
    """The first sample of a cooldown of a device."""

    t_s: float
    cooldown: str


@dataclass(frozen=True)
class Recording:
    """All that was read from one source.

    Attributes:
        source: the file's name or the server, for messages.
        series: (device, metric) to its series; never an empty one.
        cooldowns: device to its cooldowns in time order; absent where the source names none.
    """

    source: str
    series: Mapping[tuple[str, str], RecordedSeries]
    cooldowns: Mapping[str, tuple[CooldownStart, ...]] = field(default_factory=dict)

    @cached_property
    def devices(self) -> tuple[str, ...]:
        """All devices, sorted."""
        return tuple(sorted({device for device, _ in self.series}))

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """All metrics, sorted."""
        return tuple(sorted({metric for _, metric in self.series}))

    @cached_property
    def samples(self) -> int:
        """Points of all series."""
        return sum(map(len, self.series.values()))

    @property
    def start_s(self) -> float:
        """Time of the first point; NaN of an empty recording."""
        return min((one.times[0] for one in self.series.values()), default=math.nan)

    @property
    def end_s(self) -> float:
        """Time of the last point; NaN of an empty recording."""
        return max((one.times[-1] for one in self.series.values()), default=math.nan)

    def between(self, start_s: float, end_s: float) -> Recording:
        """The part from `start_s` until before `end_s`, with the cooldowns of all."""
        cut = {key: one.between(start_s, end_s) for key, one in self.series.items()}
        return Recording(self.source, {k: one for k, one in cut.items() if one}, self.cooldowns)

    def cooldown(self, device: str, t_s: float) -> str:
        """The cooldown that `device` was in at `t_s`; empty where the source does not say."""
        starts = self.cooldowns.get(device, ())
        index = bisect_right(starts, t_s, key=lambda start: start.t_s)
        return starts[index - 1].cooldown if index else ""


class Recorder:
    """Collects samples in any order.

    Args:
        source: as in `Recording`.
        most: samples that are taken; more are an error.
    """

    def __init__(self, source: str, most: int = MAX_SAMPLES) -> None:
        self._source = source
        self._left = self._most = most
        self._series: dict[tuple[str, str], tuple[array[float], array[float]]] = {}
        self._missing: dict[tuple[str, str], int] = {}
        # Device to runs of samples in one cooldown: name, earliest time.
        self._runs: dict[str, list[CooldownStart]] = {}

    def add(self, device: str, metric: str, t_s: float, value: float, cooldown: str = "") -> None:
        """Take one sample; a value that is not finite is kept as NaN.

        Raises:
            RecordingTooLong: there are too many.
        """
        if not self._left:
            raise RecordingTooLong(
                f"{self._source} is too long",
                why=f"it has more than {self._most:,} samples",
                hint="take fewer days, devices or metrics",
            )
        self._left -= 1
        pair = self._series.get((device, metric))
        if pair is None:
            pair = self._series[device, metric] = (array("d"), array("d"))
        pair[0].append(t_s)
        pair[1].append(value if math.isfinite(value) else math.nan)
        if cooldown:
            self._note(device, t_s, cooldown)

    def miss(self, device: str, metric: str, count: int = 1) -> None:
        """The source was due to have `count` samples and has no value for them."""
        key = device, metric
        self._missing[key] = self._missing.get(key, 0) + count

    def _note(self, device: str, t_s: float, cooldown: str) -> None:
        runs = self._runs.setdefault(device, [])
        if not runs or runs[-1].cooldown != cooldown:
            runs.append(CooldownStart(t_s, cooldown))
        elif t_s < runs[-1].t_s:
            runs[-1] = CooldownStart(t_s, cooldown)

    def build(self) -> Recording:
        """What was collected."""
        series = {
            key: _ordered(*self._series[key], self._missing.get(key, 0))
            for key in sorted(self._series)
        }
        return Recording(
            self._source,
            series,
            {device: _changes(runs) for device, runs in self._runs.items()},
        )


def _ordered(times: array[float], values: array[float], missing: int) -> RecordedSeries:
    """Strictly ascending; the sort is stable, so the first of two at one time stays."""
    if all(a < b for a, b in pairwise(times)):
        return RecordedSeries(times, values, missing)
    order = sorted(range(len(times)), key=times.__getitem__)
    kept: list[int] = []
    for index in order:
        if not kept or times[index] > times[kept[-1]]:
            kept.append(index)
    return RecordedSeries(
        array("d", (times[i] for i in kept)),
        array("d", (values[i] for i in kept)),
        missing,
        len(times) - len(kept),
    )


def _changes(runs: list[CooldownStart]) -> tuple[CooldownStart, ...]:
    changes: list[CooldownStart] = []
    for run in sorted(runs):
        if not changes or changes[-1].cooldown != run.cooldown:
            changes.append(run)
    return tuple(changes)
