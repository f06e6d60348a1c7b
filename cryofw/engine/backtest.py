"""Backtest of fleet.yaml on a recording: cut in time, replayed in several processes, counted.

The result depends on the fleet, the recording and the seed, not on the number of processes.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from cryofw.engine.replay_pieces import Piece, replay_pieces
from cryofw.engine.replayed_plan import false_rollback_of, replayed_waves
from cryofw.errors import BadInput, UsageError
from cryofw.health.backtest import RolloutReplay, rollout_duration_s
from cryofw.health.backtest_summary import Detection, detections, noise_of
from cryofw.health.ledger import StreamKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cryofw.fleet import Fleet
    from cryofw.health.wave_replay import ReplayedWave
    from cryofw.telemetry import Recording

FEWEST = 10
"""Replays below which a backtest says nothing worth reading."""
_SHIFTED = 100  # replays with a shift: enough for a median and a share
_OF_NOISE = (1.0, 2.0, 3.0)
_PER_PIECE = 8
_PIECES = 64
_COARSE = 1.5
_SMALL = 300_000  # samples that one process replays sooner than others start


def say_nothing(_done: int, _total: int) -> None:
    """For callers that show no progress."""


class RecordingTooShort(BadInput):
    """Too few rollouts fit into the recording."""


class RecordingTooCoarse(BadInput):
    """The recording has fewer samples than fleet.yaml asks for."""


class NothingToReplay(BadInput):
    """The recording has nothing of what fleet.yaml names."""


@dataclass(frozen=True)
class Scenario:
    """Shifts put on the updated devices; `label` says what they are, such as "reject"."""

    label: str
    shifts: Mapping[str, float]


@dataclass(frozen=True)
class Backtest:
    """What the replays gave.

    Attributes:
        rollouts: of the data as they are.
        shifted: of the data with a shift on the updated devices.
        noise: metric to the median standard deviation of a sample as it is judged.
        false_rollback: what fleet.yaml allows.
        rollout_s: seconds of recording that one rollout takes when nothing is held.
        recorded_s: seconds from the first to the last sample.
        devices: of the fleet, with a recording; absent: without one.
        metrics: likewise.
    """

    rollouts: tuple[RolloutReplay, ...]
    shifted: tuple[tuple[Scenario, tuple[Detection, ...]], ...]
    noise: Mapping[str, float]
    false_rollback: float
    rollout_s: float
    recorded_s: float
    devices: tuple[str, ...]
    absent_devices: tuple[str, ...]
    absent_metrics: tuple[str, ...]


class Backtester:
    """Replays one recording against one fleet.

    Args:
        fleet: fleet.yaml.
        recording: of healthy devices.
        seed: decides who is updated first.
        jobs: processes; None: one for each processor.

    Raises:
        NothingToReplay: no device or metric of the fleet is in the recording.
        RecordingTooCoarse: it has fewer samples than the contracts ask for.
    """

    def __init__(
        self, fleet: Fleet, recording: Recording, *, seed: int = 1, jobs: int | None = None
    ) -> None:
        self._fleet, self._recording, self._seed = fleet, recording, seed
        self._jobs = jobs
        named = {metric for one in fleet.controllers for metric in one.calibration.metrics}
        staged = [c.name for stage in fleet.stages for c in fleet.stage_controllers(stage)]
        self.metrics = tuple(sorted(named & set(recording.metrics)))
        self.absent_metrics = tuple(sorted(named - set(recording.metrics)))
        there = {device for device, metric in recording.series if metric in named}
        self.devices = tuple(name for name in staged if name in there)
        self.absent_devices = tuple(name for name in staged if name not in there)
        self._refuse_strangers()
        self._refuse_coarse()
        waves = self._waves(f"{seed}/0/0")
        self.rollout_s = rollout_duration_s(waves)
        self.shift_threshold = waves[0].rule.ledger.threshold(StreamKind.SHIFT)

    def _waves(self, seed: str) -> tuple[ReplayedWave, ...]:
        return replayed_waves(self._fleet, self.devices, self.metrics, seed)

    def _refuse_strangers(self) -> None:
        recording = self._recording
        if self.devices and self.metrics:
            return
        what = "metric" if self.devices or not self.metrics else "device"
        has = recording.devices if what == "device" else recording.metrics
        raise NothingToReplay(
            f"{recording.source} has no {what} of fleet.yaml",
            why=f"it has {', '.join(has[:6])}{', ...' if len(has) > 6 else ''}",
            hint=f"name the {what}s as fleet.yaml does",
        )

    def _refuse_coarse(self) -> None:
        for (device, metric), one in self._recording.series.items():
            if device not in self.devices or metric not in self.metrics or len(one) < 3:
                continue
            every_s = self._fleet.by_name[device].calibration.every_s
            typical_s = median(b - a for a, b in pairwise(one.times))
            if typical_s > _COARSE * every_s:
                raise RecordingTooCoarse(
                    f"{self._recording.source} has fewer samples than fleet.yaml asks for",
                    why=f"{metric} of {device} every {typical_s:g} s, `every` is {every_s:g} s",
                    hint=f"record more often, or try a fleet.yaml with `every: {typical_s:g} s`",
                )

    # --- replays ------------------------------------------------------------------------

    def run(
        self,
        shifts: Mapping[str, Sequence[float]] | None = None,
        tell: Callable[[int, int], None] = say_nothing,
    ) -> Backtest:
        """Replay the data as they are, and with shifts on top.

        Args:
            shifts: metric to how much worse it is made; without any, by `reject` and by one, two
                and three standard deviations of a sample more than the margin.
            tell: called with the pieces done and all pieces.

        Raises:
            UsageError: `shifts` names a metric that is not replayed, or makes it no worse.
            RecordingTooShort: fewer than ten rollouts fit.
        """
        for metric, values in (shifts or {}).items():
            self._check_shift(metric, values)
        healthy = self._jobs_of({}, None)
        total = 2 * len(healthy)
        rollouts = [one for part in self._played(healthy, tell, 0, total) for one in part]
        if len(rollouts) < FEWEST:
            raise self._too_short(len(rollouts))
        noise = noise_of(rollouts)
        scenarios = self._scenarios(shifts, noise)
        most = math.ceil(min(_SHIFTED, len(rollouts)) / len(healthy))
        jobs = [job for one in scenarios for job in self._jobs_of(one.shifts, most)]
        parts = list(self._played(jobs, tell, len(healthy), len(healthy) + len(jobs)))
        shifted = []
        for index, scenario in enumerate(scenarios):
            mine = parts[index * len(healthy) : (index + 1) * len(healthy)]
            played = [one for part in mine for one in part]
            shifted.append((scenario, tuple(detections(played, scenario.shifts))))
        recording = self._recording
        return Backtest(
            tuple(rollouts), tuple(shifted), noise, false_rollback_of(self._fleet),
            self.rollout_s, recording.end_s - recording.start_s,
            self.devices, self.absent_devices, self.absent_metrics,
        )  # fmt: skip

    def healthy(self, most: int | None = None) -> list[RolloutReplay]:
        """Only the replays of the data as they are, about `most` of them at most.

        Raises:
            RecordingTooShort: fewer than ten rollouts fit.
        """
        jobs = self._jobs_of({}, None)
        if most is not None:
            jobs = self._jobs_of({}, math.ceil(most / len(jobs)))
        rollouts = [one for part in self._played(jobs) for one in part]
        if len(rollouts) < FEWEST:
            raise self._too_short(len(rollouts))
        return rollouts

    def _check_shift(self, metric: str, values: Sequence[float]) -> None:
        if metric not in self.metrics:
            raise UsageError(
                f"no shift can be put on {metric}",
                why=f"replayed are {', '.join(self.metrics)}",
                hint="--shift METRIC=VALUE",
            )
        for value in values:
            if not (math.isfinite(value) and value > 0):
                raise UsageError(
                    f"a shift of {value:g} makes {metric} no worse",
                    hint="a positive number in its unit; `worse` of fleet.yaml says which way",
                )

    def _scenarios(
        self, shifts: Mapping[str, Sequence[float]] | None, noise: Mapping[str, float]
    ) -> list[Scenario]:
        if shifts:
            longest = max(len(values) for values in shifts.values())
            return [
                Scenario("--shift", {m: v[turn] for m, v in shifts.items() if turn < len(v)})
                for turn in range(longest)
            ]
        contracts = {
            name: metric
            for one in self._fleet.controllers
            for name, metric in one.calibration.metrics.items()
            if name in self.metrics
        }
        found = [Scenario("reject", {name: one.reject for name, one in contracts.items()})]
        for factor in _OF_NOISE:
            sizes = {n: contracts[n].margin + factor * sd for n, sd in noise.items() if sd > 0}
            if sizes:
                found.append(Scenario(f"margin + {factor:g} x noise", sizes))
        return found

    def _jobs_of(self, shifts: Mapping[str, float], most: int | None) -> list[Piece]:
        return [
            Piece(
                self._fleet, part, self.metrics, self.devices, f"{self._seed}/{index}",
                a, b, most or 1_000_000, shifts,
            )
            for index, (a, b, part) in enumerate(self._parts)
        ]  # fmt: skip

    @cached_property
    def _parts(self) -> list[tuple[float, float, Recording]]:
        """Cut once, however often it is replayed."""
        recording = self._recording
        start_s, end_s = recording.start_s, recording.end_s + self._every_s
        room = (end_s - start_s) / self.rollout_s
        pieces = max(1, min(_PIECES, int(room / _PER_PIECE)))
        edges = [start_s + (end_s - start_s) * i / pieces for i in range(pieces + 1)]
        return [(a, b, recording.between(a, b)) for a, b in pairwise(edges)]

    @property
    def _every_s(self) -> float:
        return max(self._fleet.by_name[name].calibration.every_s for name in self.devices)

    def _played(
        self,
        pieces: Sequence[Piece],
        tell: Callable[[int, int], None] = say_nothing,
        before: int = 0,
        total: int = 0,
    ) -> list[list[RolloutReplay]]:
        jobs = self._jobs
        if jobs is None:
            small = self._recording.samples < _SMALL
            jobs = 1 if small else os.cpu_count() or 1
        return replay_pieces(pieces, jobs, lambda done: tell(before + done, total))

    def _too_short(self, count: int) -> RecordingTooShort:
        recorded_s = self._recording.end_s - self._recording.start_s
        return RecordingTooShort(
            f"{self._recording.source} is too short for a backtest",
            why=f"{count} whole rollouts fit into its {hours(recorded_s)} of samples; one takes "
            f"{hours(self.rollout_s)} and {FEWEST} are the least",
            hint=f"record {hours(1.2 * FEWEST * self.rollout_s)} or more",
        )


def hours(seconds: float) -> str:
    """A time in the unit that people would choose."""
    for size, unit in ((86_400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.0f} s"
