"""Draws what happens in a game: which faults, to whom, and after which record."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cryofw.gameday import happening as h
from cryofw.simulator import (
    CorruptBytes,
    CutPower,
    DelayBytes,
    DropBytes,
    DuplicateBytes,
    FillBuffers,
    Hang,
    LoopBoots,
    LoseHeartbeats,
    PullCable,
    ShiftCalibration,
    SlowErase,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from cryofw.fleet import Fleet

_MOMENTS = (
    "rollout-started",
    "device-checked",
    "cohort-frozen",
    "baseline-taken",
    "image-upload-requested",
    "image-uploaded",
    "image-test-requested",
    "test-booted",
    "verdict-reached",
    "image-confirm-requested",
    "image-confirmed",
    "gate-passed",
    "stage-started",
    "device-rollback-requested",
    "rollout-paused",
    "rollout-resumed",
    "wave-started",
    "cryostat-frozen",
    "cryostat-held-out",
)
MOST = 5
_SWAP_CUTS = 0.05


def draw_weather(chance: random.Random, fleet: Fleet) -> tuple[h.Happening, ...]:
    """From a calm evening to `MOST` things that happen."""
    count = chance.choices(range(MOST + 1), (2, 4, 4, 3, 2, 1))[0]
    return tuple(_draw_one(chance, fleet) for _ in range(count))


def _draw_one(chance: random.Random, fleet: Fleet) -> h.Happening:
    if chance.random() < _SWAP_CUTS:
        return _swap_cut(chance, fleet)
    kinds, weights = zip(*((draw, weight) for weight, draw in _CATALOGUE), strict=True)
    what = chance.choices(kinds, weights)[0](chance, fleet)
    nth = chance.choices((1, 2, 3, 5), (6, 3, 2, 1))[0]
    delay_s = chance.choice((0.0, 0.0, chance.uniform(0.0, 3.0), chance.uniform(0.0, 120.0)))
    return h.Happening(h.Moment(chance.choice(_MOMENTS), nth, delay_s=round(delay_s, 3)), what)


def _device(chance: random.Random, fleet: Fleet) -> str:
    return chance.choice([one.name for one in fleet.controllers])


def _cryostat(chance: random.Random, fleet: Fleet) -> str:
    return chance.choice(list(fleet.cryostats))


def _seconds(chance: random.Random, longest_s: float) -> float:
    return round(chance.uniform(0.5, longest_s), 2)


def _line(chance: random.Random, fleet: Fleet) -> h.What:
    share, for_s = chance.choice((0.01, 0.1, 0.3)), _seconds(chance, 60)
    fault = chance.choice((CorruptBytes, DropBytes, DuplicateBytes))
    return h.DeviceFault(_device(chance, fleet), fault(share=share, for_s=for_s))


def _late(chance: random.Random, fleet: Fleet) -> h.What:
    late = DelayBytes(chance.choice((0.1, 0.5)), _seconds(chance, 8), _seconds(chance, 60))
    return h.DeviceFault(_device(chance, fleet), late)


def _full(chance: random.Random, fleet: Fleet) -> h.What:
    return h.DeviceFault(_device(chance, fleet), FillBuffers(1, _seconds(chance, 20)))


def _cable(chance: random.Random, fleet: Fleet) -> h.What:
    return h.DeviceFault(_device(chance, fleet), PullCable(_seconds(chance, 120)))


def _power(chance: random.Random, fleet: Fleet) -> h.What:
    cut = CutPower(chance.randrange(80), round(chance.random(), 2), _seconds(chance, 10))
    return h.DeviceFault(_device(chance, fleet), cut)


def _hang(chance: random.Random, fleet: Fleet) -> h.What:
    return h.DeviceFault(_device(chance, fleet), Hang())


def _loop(chance: random.Random, fleet: Fleet) -> h.What:
    return h.DeviceFault(_device(chance, fleet), LoopBoots(chance.randrange(1, 4)))


def _gap(chance: random.Random, fleet: Fleet) -> h.What:
    gap = LoseHeartbeats(chance.choice((0.2, 1.0)), _seconds(chance, 60))
    return h.DeviceFault(_device(chance, fleet), gap)


def _slow(chance: random.Random, fleet: Fleet) -> h.What:
    return h.DeviceFault(_device(chance, fleet), SlowErase())


def _hub(chance: random.Random, fleet: Fleet) -> h.What:
    return h.HubSilent(_cryostat(chance, fleet), _seconds(chance, 120))


def _brown_out(chance: random.Random, fleet: Fleet) -> h.What:
    return h.BrownOut(_cryostat(chance, fleet), _seconds(chance, 5))


def _warm(chance: random.Random, fleet: Fleet) -> h.What:
    return h.WarmUp(_cryostat(chance, fleet), chance.uniform(0.5, 30.0), _seconds(chance, 300))


def _blind(chance: random.Random, fleet: Fleet) -> h.What:
    return h.NoThermometer(_cryostat(chance, fleet), _seconds(chance, 300))


def _swap(chance: random.Random, fleet: Fleet) -> h.What:
    names = [one.name for one in fleet.controllers]
    if len(names) < 2:
        return _cable(chance, fleet)
    one, other = chance.sample(names, 2)
    return h.CablesSwapped(one, other, _seconds(chance, 120))


def _death(chance: random.Random, _fleet: Fleet) -> h.What:
    where = chance.choice(list(h.Death))
    count = chance.randrange(30 if where in (h.Death.SEND, h.Death.SENT) else 8)
    kept = chance.choice((0, 1, 40, 200, 1 << 20))
    return h.HostDies(where, count, kept, _seconds(chance, chance.choice((2, 60, 400))))


def _disk(chance: random.Random, _fleet: Fleet) -> h.What:
    return h.DiskFails(chance.randrange(5), chance.choice((0, 10, 1 << 20)))


def _full_disk(chance: random.Random, _fleet: Fleet) -> h.What:
    return h.DiskFull(_seconds(chance, chance.choice((5, 200))))


def _spoiled(chance: random.Random, _fleet: Fleet) -> h.What:
    return h.ImageSpoiled(way_back=chance.random() < 0.5)


def _fridge(chance: random.Random, fleet: Fleet) -> h.What:
    return h.FridgeLeaves(_cryostat(chance, fleet), _seconds(chance, 300))


def _experiment(chance: random.Random, fleet: Fleet) -> h.What:
    return h.ExperimentRuns(_cryostat(chance, fleet), _seconds(chance, 300))


def _figure(chance: random.Random, fleet: Fleet) -> h.What:
    by = chance.choice((-2.0, 1.0, math.nan))
    return h.DeviceFault(_device(chance, fleet), ShiftCalibration("readout_snr", by))


def _swap_cut(chance: random.Random, fleet: Fleet) -> h.Happening:
    """A power cut in the swap itself, into the test boot or out of it."""
    before = chance.choice(("image-test-requested", "device-rollback-requested"))
    cut = CutPower(chance.randrange(60), round(chance.random(), 2), _seconds(chance, 4))
    when = h.Moment(before, chance.choice((1, 1, 2)), delay_s=0.2)
    return h.Happening(when, h.DeviceFault(_device(chance, fleet), cut))


def _clock(chance: random.Random, _fleet: Fleet) -> h.What:
    return h.ClockJumps(chance.choice((-600.0, -30.0, 30.0, 3600.0, 86400.0)))


def _backup(_chance: random.Random, _fleet: Fleet) -> h.What:
    return h.BackupRestored()


def _rival(_chance: random.Random, _fleet: Fleet) -> h.What:
    return h.SecondOperator()


def _person(chance: random.Random, _fleet: Fleet) -> h.What:
    return h.PersonAsks(chance.choice(list(h.Wish)))


_CATALOGUE: tuple[tuple[int, Callable[[random.Random, Fleet], h.What]], ...] = (
    (4, _line),
    (2, _late),
    (1, _full),
    (3, _cable),
    (5, _power),
    (2, _hang),
    (1, _loop),
    (2, _gap),
    (1, _slow),
    (2, _hub),
    (3, _brown_out),
    (1, _warm),
    (1, _blind),
    (1, _swap),
    (7, _death),
    (2, _disk),
    (1, _full_disk),
    (1, _spoiled),
    (1, _fridge),
    (1, _experiment),
    (1, _figure),
    (2, _clock),
    (1, _backup),
    (2, _rival),
    (2, _person),
)
