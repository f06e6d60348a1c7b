"""A recording cut for waves: on their grid, within one cooldown, past what nobody recorded."""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import TYPE_CHECKING

from cryofw.health.backtest import Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from cryofw.health.wave_replay import ReplayedWave, Row
    from cryofw.telemetry import RecordedSeries, Recording


class RecordedWindows:
    """The `Windows` of a recording from `start_s` until before `end_s`."""

    def __init__(self, recording: Recording, start_s: float, end_s: float) -> None:
        self._recording = recording
        self._start_s, self._end_s = start_s, end_s

    def window(self, wave: ReplayedWave, not_before_s: float) -> Window | None:
        """See `Windows.window`."""
        series = dict(self._series(wave))
        least_s = wave.least_slots * wave.rule.every_s
        at_s: float | None = max(not_before_s, self._start_s)
        while at_s is not None and at_s + least_s <= self._end_s:
            at_s = _first_sample(series.values(), at_s)
            if at_s is None:
                break
            change_s = self._next_change(wave, at_s)
            if at_s + least_s <= change_s:
                return self._cut(wave, series, at_s, min(change_s, self._end_s))
            at_s = change_s
        return None

    def _series(self, wave: ReplayedWave) -> Iterator[tuple[tuple[str, str], RecordedSeries]]:
        for device in wave.members:
            for metric in wave.rule.metrics:
                key = device, metric.name
                if key in self._recording.series:
                    yield key, self._recording.series[key]

    def _next_change(self, wave: ReplayedWave, at_s: float) -> float:
        """When the next cooldown of anybody in the wave begins."""
        return min(
            (
                start.t_s
                for device in wave.members
                for start in self._recording.cooldowns.get(device, ())[1:]
                if start.t_s > at_s
            ),
            default=math.inf,
        )

    def _cut(
        self,
        wave: ReplayedWave,
        series: Mapping[tuple[str, str], RecordedSeries],
        start_s: float,
        end_s: float,
    ) -> Window | None:
        every_s = wave.rule.every_s
        whole = int((end_s - start_s) / every_s + 1e-9)
        slots = min(wave.most_slots, whole)
        rows = on_grid(series, start_s, every_s, slots)
        return Window(start_s, rows, is_last=end_s >= self._end_s)


def on_grid(
    series: Mapping[tuple[str, str], RecordedSeries], start_s: float, every_s: float, slots: int
) -> Sequence[Row]:
    """`slots` rows, one for each `every_s` from `start_s` on, with the first sample of each slot.

    The slots of a series lie about its own samples, so that a little jitter puts no two of them
    into one slot and none into the next.
    """
    rows: list[dict[str, dict[str, float]]] = [{} for _ in range(slots)]
    for (device, metric), one in series.items():
        first = bisect_left(one.times, start_s)
        last = bisect_left(one.times, start_s + slots * every_s)
        times = one.times[first:last]
        phase_s = _phase(times, start_s, every_s)
        for t_s, value in zip(times, one.values[first:last], strict=True):
            slot = math.floor((t_s - start_s - phase_s) / every_s + 0.5)
            if 0 <= slot < slots:
                rows[slot].setdefault(device, {}).setdefault(metric, value)
    return rows


def _phase(times: Sequence[float], start_s: float, every_s: float) -> float:
    """Where in a slot the samples lie: their circular mean, 0 to below `every_s`."""
    turn = 2 * math.pi / every_s
    angles = [(t_s - start_s) * turn for t_s in times[:200]]
    x, y = math.fsum(map(math.cos, angles)), math.fsum(map(math.sin, angles))
    return math.atan2(y, x) / turn % every_s


def _first_sample(series: Iterable[RecordedSeries], at_s: float) -> float | None:
    """Time of the first sample of anybody from `at_s` on."""
    found = [
        one.times[index]
        for one in series
        if (index := bisect_left(one.times, at_s)) < len(one.times)
    ]
    return min(found, default=None)
