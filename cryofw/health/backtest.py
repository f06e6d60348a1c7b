"""Whole rollouts played again on a recording, and what their endings say about fleet.yaml.

Each sample of a device is used by one replay at most, so that the replays are as independent as
the days they come from: rollouts follow each other, and waves that share no device run side by
side. What is counted is a rollout: one false alarm in any of its waves takes it back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from cryofw.health.replay import replay
from cryofw.health.wave_replay import Alarm, ReplayedWave, ReplayOutcome, WaveReplay

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cryofw.health.stage_pool import StagePools
    from cryofw.health.wave_replay import Row


@dataclass(frozen=True, slots=True)
class Window:
    """A piece of the recording on the grid of a wave.

    Attributes:
        start_s: time of the first row, seconds since 1970.
        rows: one for each slot.
        is_last: the recording ends where the rows do, or soon after.
    """

    start_s: float
    rows: Sequence[Row]
    is_last: bool


class Windows(Protocol):
    """The recording, cut for waves."""

    def window(self, wave: ReplayedWave, not_before_s: float) -> Window | None:
        """The first piece that `wave` fits into, within one cooldown; None if there is none."""


class PlacedWave(NamedTuple):
    """A replayed wave and when it began."""

    start_s: float
    replay: WaveReplay


@dataclass(frozen=True, slots=True)
class RolloutReplay:
    """One rollout: all of its waves, whatever the ones before said."""

    waves: tuple[PlacedWave, ...]

    @property
    def outcome(self) -> ReplayOutcome:
        """Rolled back if any wave was; else held if any was."""
        endings = {wave.replay.outcome for wave in self.waves}
        for outcome in (ReplayOutcome.ROLLED_BACK, ReplayOutcome.HELD):
            if outcome in endings:
                return outcome
        return ReplayOutcome.PASSED

    @property
    def alarms(self) -> tuple[tuple[PlacedWave, Alarm], ...]:
        """All alarms, in the order of the waves."""
        return tuple((wave, alarm) for wave in self.waves for alarm in wave.replay.alarms)


def replay_rollouts(
    waves_of: Callable[[int], Sequence[ReplayedWave]],
    windows: Windows,
    start_s: float,
    *,
    most: int,
    shifts: Mapping[str, float] | None = None,
) -> list[RolloutReplay]:
    """As many whole rollouts as the recording holds.

    Args:
        waves_of: number of a replay to its waves; who is updated may differ from one to the next.
        windows: the recording.
        start_s: nothing before it is used.
        most: replays at most.
        shifts: put on top of the updated devices; see `replay`.
    """
    calendar = _Calendar(start_s)
    found: list[RolloutReplay] = []
    while len(found) < most:
        waves: list[PlacedWave] = []
        pools: dict[tuple[str, tuple[str, ...]], StagePools] = {}
        for wave in waves_of(len(found)):
            key = wave.stage, wave.pooled
            shared = pools[key] if key in pools else pools.setdefault(key, wave.open_pools())
            placed = _place(wave, windows, calendar.begins(wave), shifts, shared)
            if placed is None:
                return found
            calendar.keep(wave, placed.start_s + placed.replay.slots * wave.rule.every_s)
            waves.append(placed)
        if not waves:
            break
        calendar.turn()
        found.append(RolloutReplay(tuple(waves)))
    return found


def rollout_duration_s(waves: Sequence[ReplayedWave]) -> float:
    """Seconds of recording that a rollout takes when nothing is missing or held."""
    calendar = _Calendar(0.0)
    for wave in waves:
        calendar.keep(wave, calendar.begins(wave) + wave.least_slots * wave.rule.every_s)
    return calendar.turn()


class _Calendar:
    """When a wave may begin: whose samples are in use until when.

    Nobody's samples serve two rollouts. Within one, a wave takes its baseline while the wave
    before it soaks, as in a lab.
    """

    def __init__(self, start_s: float) -> None:
        self._start_s = start_s
        self._before: dict[str, float] = {}
        self._now: dict[str, float] = {}

    def begins(self, wave: ReplayedWave) -> float:
        ahead_s = wave.rule.baseline_samples * wave.rule.every_s
        return max(
            (
                max(self._before.get(name, self._start_s), self._now.get(name, 0.0) - ahead_s)
                for name in wave.members
            ),
            default=self._start_s,
        )

    def keep(self, wave: ReplayedWave, end_s: float) -> None:
        self._now.update(dict.fromkeys(wave.members, end_s))

    def turn(self) -> float:
        """The next rollout; when the last wave of this one ended."""
        self._before.update(self._now)
        return max(self._now.values(), default=self._start_s)


def _place(
    wave: ReplayedWave,
    windows: Windows,
    at_s: float,
    shifts: Mapping[str, float] | None,
    pools: StagePools,
) -> PlacedWave | None:
    while (window := windows.window(wave, at_s)) is not None:
        played = replay(wave, window.rows, shifts, pools)
        if played is not None:
            return PlacedWave(window.start_s, played)
        if window.is_last:
            break
        # A cooldown ended before the soak did: go on in the next.
        at_s = window.start_s + max(1, len(window.rows)) * wave.rule.every_s
    return None
