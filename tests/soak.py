"""Plays games by their seeds: `python -m tests.soak --seeds 10000 --jobs 2`.

Each seed is a lab, a firmware and the weather, played in virtual time while a witness holds the
invariants of docs/reliability.md against the flash itself. Exit code 1 when one did not hold; the
last lines are then the commands that replay those seeds, each with its whole story.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from cryofw.gameday import play
from cryofw.gameday.draw import draw_game
from cryofw.gameday.story import tell_game
from cryofw.journal import HostDied

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_CHUNK = 10
_GARBAGE = 20_000
_TOLD_EVERY_S = 10.0


@dataclass(frozen=True)
class Played:
    """One seed, as the parent process needs it."""

    seed: int
    firmware: str
    ended: str
    sends: int
    cpu_s: float
    digest: str
    broken: str = ""


@dataclass
class Tally:
    """All seeds so far."""

    seeds: int = 0
    sends: int = 0
    cpu_s: float = 0.0
    ends: Counter[str] = field(default_factory=Counter)
    firmwares: Counter[str] = field(default_factory=Counter)
    broken: list[Played] = field(default_factory=list)

    def add(self, played: Played) -> None:
        """Count one seed."""
        self.seeds += 1
        self.sends += played.sends
        self.cpu_s += played.cpu_s
        self.ends[played.ended] += 1
        self.firmwares[played.firmware] += 1
        if played.broken:
            self.broken.append(played)


def play_seed(seed: int) -> Played:
    """Play one seed; what cryofw must never do, such as a bug of its own, is a violation too."""
    began_s = time.process_time()
    try:
        game = draw_game(seed)
        result = play(game)
    except (Exception, HostDied) as error:  # noqa: BLE001  # whatever comes out of a game is what the soak is for
        last = traceback.extract_tb(error.__traceback__)[-1]
        words = f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"
        return Played(seed, "?", "crashed", 0, time.process_time() - began_s, "", words)
    firmware = game.name.partition(": ")[2]
    ended = result.ended.value if result.ended is not None else "never begun"
    broken = str(result.broken) if result.broken is not None else ""
    took_s = time.process_time() - began_s
    return Played(seed, firmware, ended, result.sends, took_s, result.digest, broken)


def play_seeds(first: int, count: int, jobs: int) -> Iterator[Played]:
    """Play `count` seeds from `first` on, in `jobs` processes; in any order."""
    seeds = range(first, first + count)
    if jobs == 1:
        yield from map(play_seed, seeds)
        return
    with get_context("spawn").Pool(jobs, initializer=_settle) as pool:
        yield from pool.imap_unordered(play_seed, seeds, chunksize=_CHUNK)


def replay(seed: int) -> int:
    """Play one seed and tell its story; 1 if an invariant did not hold."""
    game = draw_game(seed)
    result = play(game)
    for line in tell_game(game, result):
        print(line)
    return 1 if result.broken else 0


def main(arguments: Sequence[str]) -> int:
    """Parse the command line and play; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many (default: 200)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--digests", action="store_true", help="print the digest of each seed")
    parser.add_argument("--replay", type=int, metavar="SEED", help="play one seed and tell it")
    chosen = parser.parse_args(arguments)
    if chosen.replay is not None:
        return replay(chosen.replay)
    _settle()
    tally, began_s = Tally(), time.monotonic()
    told_s = began_s
    for played in play_seeds(chosen.first, chosen.seeds, chosen.jobs):
        tally.add(played)
        if chosen.digests:
            print(played.seed, played.digest)
        if played.broken:
            print(f"seed {played.seed} ({played.firmware}): {played.broken}", flush=True)
        if time.monotonic() - told_s > _TOLD_EVERY_S:
            told_s = time.monotonic()
            print(_progress(tally, chosen.seeds, told_s - began_s), file=sys.stderr, flush=True)
    for line in report(tally, time.monotonic() - began_s):
        print(line)
    return 1 if tally.broken else 0


def report(tally: Tally, took_s: float) -> Iterator[str]:
    """The closing table."""
    yield ""
    count = max(1, tally.seeds)
    yield f"seeds       {tally.seeds} in {took_s:.1f} s: {tally.seeds / took_s:.1f} a second"
    yield f"CPU         {1000 * tally.cpu_s / count:.0f} ms a seed"
    yield f"exchanges   {tally.sends / count:.0f} a seed"
    yield f"ends        {_counts(tally.ends)}"
    yield f"firmware    {_counts(tally.firmwares)}"
    yield f"violations  {len(tally.broken)}"
    for played in sorted(tally.broken, key=lambda one: one.seed):
        yield f"  python -m tests.soak --replay {played.seed}    # {played.broken}"


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counter.most_common())


def _progress(tally: Tally, seeds: int, took_s: float) -> str:
    speed = f"{tally.seeds / took_s:.1f} a second"
    return f"{tally.seeds} of {seeds} seeds, {speed}, {len(tally.broken)} violations"


def _settle() -> None:
    """What was imported is never garbage: the collector need not look at it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE, 20, 20)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
