"""One device of a wave: its baseline, its streams, and what they say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.health.finding import finding_of
from cryofw.health.shift import usable
from cryofw.health.sight import stream_sight

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Mapping

    from cryofw.health.finding import MetricFinding
    from cryofw.health.sight import Sight
    from cryofw.health.stream import CalibrationStream


@dataclass(slots=True)
class Member:
    """One device of a cohort.

    Attributes:
        streams: by metric name.
        before: by metric name, the baseline by grid slot; differences once it is fixed.
        waiting: by metric name, slots and values that wait for their controls.
        last: the latest slot.
        begun: the slot after which samples count; None until it runs the new firmware.
        out: it takes no part; nobody waits for its baseline.
    """

    streams: dict[str, CalibrationStream]
    before: dict[str, dict[int, float]]
    waiting: dict[str, deque[tuple[int, float]]]
    last: int = -1
    begun: int | None = None
    out: bool = False
    _findings: list[MetricFinding] | None = None

    def restart(self) -> None:
        """Its baseline begins anew."""
        self.last = -1
        for before in self.before.values():
            before.clear()

    def keep(self, slot: int, values: Mapping[str, float], most: int) -> None:
        """Take a sample for the baseline; the latest `most` are kept."""
        for name, before in self.before.items():
            value = values.get(name, math.nan)
            if usable(value):
                before[slot] = value
                if len(before) > most:
                    del before[next(iter(before))]

    def arm(self, metric: str, before: dict[int, float], shared: int) -> None:
        """Fix the baseline of a metric, less the controls; `shared` is its wave's block length."""
        self.before[metric] = before
        for slot, value in before.items():
            self.streams[metric].baseline(slot, value)
        self.streams[metric].freeze(shared)

    def renew(self, streams: dict[str, CalibrationStream], shared: Mapping[str, int]) -> None:
        """New bets against the same baseline."""
        self.streams, self.out, self.begun, self._findings = streams, False, None, None
        for name in streams:
            self.waiting[name].clear()
            self.arm(name, self.before[name], shared[name])

    def observe(self, metric: str, slot: int, value: float, raw: float) -> None:
        """Take a sample from after the update, with and without the controls taken off."""
        self.streams[metric].observe(slot, value, raw)
        self._findings = None

    def look(self) -> None:
        """Take the planned look of each stream, if one is due."""
        for stream in self.streams.values():
            stream.look()
        self._findings = None

    def own_findings(self) -> list[MetricFinding]:
        """What each metric says, whatever became of the controls."""
        if self._findings is None:
            self._findings = [finding_of(stream) for stream in self.streams.values()]
        return self._findings

    def sight(self, metric: str) -> tuple[Sight, float]:
        """What a stream sees, and the deviation that this is in."""
        return stream_sight(self.streams[metric])
