"""Pieces of a recording, replayed in several processes."""

from __future__ import annotations

import signal
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import TYPE_CHECKING

from cryofw.engine.recorded_windows import RecordedWindows
from cryofw.engine.replayed_plan import replayed_waves
from cryofw.health.backtest import RolloutReplay, replay_rollouts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cryofw.fleet import Fleet
    from cryofw.health.wave_replay import ReplayedWave
    from cryofw.telemetry import Recording


@dataclass(frozen=True)
class Piece:
    """One piece of the recording, for one process; `most` rollouts are replayed on it."""

    fleet: Fleet
    recording: Recording
    metrics: tuple[str, ...]
    devices: tuple[str, ...]
    seed: str
    start_s: float
    end_s: float
    most: int
    shifts: Mapping[str, float] = field(default_factory=dict)


def replay_pieces(
    pieces: Sequence[Piece], jobs: int, tell: Callable[[int], None]
) -> list[list[RolloutReplay]]:
    """The rollouts of each piece, in order; `tell` is called with the number of those done."""
    found = []
    if jobs == 1 or len(pieces) == 1:
        for piece in pieces:
            found.append(_replay_piece(piece))
            tell(len(found))
        return found
    # Not forked: a fork of a process with threads may hang.
    context = get_context("spawn")
    workers = min(jobs, len(pieces))
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_ignore_ctrl_c) as pool:
        try:
            for part in pool.map(_replay_piece, pieces):
                found.append(part)
                tell(len(found))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return found


def _replay_piece(piece: Piece) -> list[RolloutReplay]:
    def waves_of(number: int) -> tuple[ReplayedWave, ...]:
        return replayed_waves(piece.fleet, piece.devices, piece.metrics, f"{piece.seed}/{number}")

    windows = RecordedWindows(piece.recording, piece.start_s, piece.end_s)
    return replay_rollouts(
        waves_of, windows, piece.start_s, most=piece.most, shifts=piece.shifts or None
    )


def _ignore_ctrl_c() -> None:
    """The parent hears it too and ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
