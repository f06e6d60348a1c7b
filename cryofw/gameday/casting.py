"""Casts a scenario on a rehearsed fleet: who is meant, when, and by how much; the result is a game.

The seed varies the noise, and makes delays up to a tenth (at most a minute) longer.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from cryofw.gameday import happening as h
from cryofw.gameday import happening_document as hd
from cryofw.gameday import scenario_document as d
from cryofw.gameday.game import Game
from cryofw.gameday.image import game_key
from cryofw.gameday.rehearsal import rehearse
from cryofw.gameday.selector import NotInFleet, select_cryostats, select_devices, select_stage
from cryofw.rollout.planner import NO_RESET_PATH
from cryofw.simulator import (
    CorruptBytes,
    CutPower,
    DelayBytes,
    DropBytes,
    DuplicateBytes,
    Hang,
    LoopBoots,
    LoseHeartbeats,
    PullCable,
    ShiftCalibration,
    SlowErase,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryofw.fleet import Fleet, Metric
    from cryofw.fleet.strict_document import StrictDocument
    from cryofw.gameday.rehearsal import Rehearsal
    from cryofw.gameday.scenario import Scenario
    from cryofw.simulator import Fault

T = TypeVar("T")
_TIMES_REJECT = 2.0
_TIMES_MAX_RISE = 4.0
_LONGEST_JITTER_S = 60.0


@dataclass(frozen=True)
class Cast:
    """A scenario that is ready to be played.

    Attributes:
        furthest: devices of the last stage that may run the release, and before it; None: any.
    """

    game: Game
    rehearsal: Rehearsal
    furthest: frozenset[str] | None


def missing_need(scenario: Scenario, fleet: Fleet) -> str:
    """Why the scenario would show nothing on this fleet; empty if it would."""
    for need in scenario.says.needs:
        if need is d.Need.METRICS and not any(c.calibration.metrics for c in fleet.controllers):
            return "no controller of this fleet is judged by a metric"
        guards = [one.guards for one in fleet.cryostats.values()]
        if need is d.Need.THERMOMETER and not any(one.temperature for one in guards):
            return "no cryostat of this fleet has a guard of its temperature"
    return ""


def cast(scenario: Scenario, fleet: Fleet, seed: int = 1) -> Cast:
    """Make the game of a scenario on a fleet.

    Raises:
        ScenarioError: it names what the fleet does not have.
    """
    return _Caster(scenario, fleet, seed).cast()


class _Caster:
    def __init__(self, scenario: Scenario, fleet: Fleet, seed: int) -> None:
        self._scenario = scenario
        self._says = scenario.says
        self._rehearsal = rehearse(fleet, stages=self._says.stages, seed=seed)
        self._fleet = self._rehearsal.fleet
        self._seed = seed
        self._chance = random.Random(f"{scenario.name}/{seed}")  # noqa: S311  # a game

    def cast(self) -> Cast:
        ours, theirs = game_key("lab"), game_key("somebody else")
        boards = Counter(one.board for one in self._fleet.controllers)
        # Images of no board fit all of them.
        board = next(iter(boards)) if len(boards) == 1 else ""
        release = self._says.release
        trusted = release.key is d.TrustedBy.EVERYBODY
        believes = (ours,) if release.key is d.TrustedBy.NOBODY else (ours, theirs)
        bare = self._rehearsal.no_reset_path
        game = Game(
            name=f"{self._says.name}, seed {self._seed}",
            fleet=self._fleet,
            spec=self._rehearsal.spec,
            factory=ours.sign("1.0.0", board, {}),
            release=(ours if trusted else theirs).sign("1.1.0", board, self._behaviour()),
            rival=ours.sign("1.2.0", board, {}),
            keys=tuple(key.public for key in believes),
            device_keys=(ours.public,),
            never=release.never,
            happenings=tuple(self._happenings()),
            overrides={NO_RESET_PATH: bare} if bare else {},
        )
        return Cast(game, self._rehearsal, self._furthest())

    def _furthest(self) -> frozenset[str] | None:
        place = self._says.expect.no_further_than
        if place is None:
            return None
        found = self._at(("expect", "no_further_than"), select_stage, place)
        near = self._fleet.stages[: self._fleet.stages.index(found) + 1]
        return frozenset(c.name for one in near for c in self._fleet.stage_controllers(one))

    def _behaviour(self) -> dict[str, object]:
        release = self._says.release
        found: dict[str, object] = {}
        if release.hang_after is not None:
            found["hang_s"] = release.hang_after
        if not release.watchdog:
            found["wdt"] = False
        if release.boot_loop:
            found["bootloop"] = release.boot_loop
        if release.shift is not None:
            metric, by = self._shift(release.shift, ("release", "shift"))
            ramp = {"ramp_s": release.shift.ramp, "after_s": release.shift.after}
            found["shift"] = {"metric": metric, "by": by, **ramp}
        return found

    def _shift(
        self, shift: hd.MetricShiftDocument, path: tuple[str | int, ...]
    ) -> tuple[str, float]:
        known: dict[str, Metric] = {}
        for one in self._fleet.controllers:
            known.update({n: m for n, m in one.calibration.metrics.items() if n not in known})
        name = shift.metric or next(iter(known), "")
        if name not in known:
            words = f"no controller is judged by a metric `{name}`" if name else "it has no metric"
            raise self._scenario.error((*path, "metric"), f"{self._fleet.source_path}: {words}")
        if shift.by is not None:
            return name, shift.by
        size = (shift.times_reject or _TIMES_REJECT) * known[name].reject
        return name, -size if known[name].worse == "lower" else size

    def _at(self, path: tuple[str | int, ...], select: Callable[[Fleet, str], T], text: str) -> T:
        try:
            return select(self._fleet, text)
        except NotInFleet as error:
            words = f"{error} in {self._fleet.source_path}"
            raise self._scenario.error(path, words, error.hint) from error

    def _happenings(self) -> Iterator[h.Happening]:
        for index, one in enumerate(self._says.happenings):
            path = ("happenings", index)
            when = self._moment(one.when, (*path, "when"))
            for key, what in one.written.items():
                for happens in self._what(what, key, (*path, key)):
                    yield h.Happening(when, happens)

    def _moment(self, when: hd.MomentDocument, path: tuple[str | int, ...]) -> h.Moment:
        devices: tuple[str, ...] = ()
        stage = ""
        if when.device is not None:
            devices = self._at((*path, "device"), select_devices, when.device)
        if when.stage is not None:
            found = self._at((*path, "stage"), select_stage, when.stage)
            here = tuple(one.name for one in self._fleet.stage_controllers(found))
            if when.after in _OF_STAGES:
                stage = found.name
            else:
                devices = tuple(n for n in devices or here if n in here)
        late_s = self._chance.uniform(0.0, min(0.1 * when.delay, _LONGEST_JITTER_S))
        delay_s = round(when.delay + (late_s if self._seed > 1 else 0.0), 3)
        return h.Moment(when.after, when.nth, "", stage, delay_s, devices)

    def _what(
        self, what: StrictDocument, key: str, path: tuple[str | int, ...]
    ) -> Iterator[h.What]:
        if isinstance(what, hd.OnDevice | hd.CalibrationShiftDocument):
            fault = self._fault(what, key, path)
            for name in self._at((*path, "device"), select_devices, what.device):
                yield h.DeviceFault(name, fault)
        elif isinstance(what, hd.OnCryostat):
            for name in self._at((*path, "cryostat"), select_cryostats, what.cryostat):
                yield self._on_cryostat(what, key, name)
        elif isinstance(what, hd.CablesSwappedDocument):
            one = self._at((*path, "one"), select_devices, what.one)[0]
            other = self._at((*path, "other"), select_devices, what.other)[0]
            if one == other:
                raise self._scenario.error((*path, "other"), f"both are {one} in this fleet")
            yield h.CablesSwapped(one, other, what.for_)
        else:
            yield _on_host(what)

    def _fault(self, what: StrictDocument, key: str, path: tuple[str | int, ...]) -> Fault:
        match what:
            case hd.HangDocument():
                return Hang(what.watchdog)
            case hd.BootLoopDocument():
                return LoopBoots(what.boots)
            case hd.LostHeartbeatsDocument():
                return LoseHeartbeats(what.share, what.for_)
            case hd.CalibrationShiftDocument():
                return ShiftCalibration(*self._shift(what, path), what.ramp)
            case hd.LateBytesDocument():
                return DelayBytes(what.share, what.by, what.for_)
            case hd.LineDocument():
                return _LINE_FAULTS[key](share=what.share, for_s=what.for_)
            case hd.CableDocument():
                return PullCable(what.for_)
            case hd.SlowEraseDocument():
                return SlowErase(what.factor, what.for_)
            case hd.PowerCutDocument():
                return CutPower(what.operations, off_s=what.off)
            case _:
                raise AssertionError(key)

    def _on_cryostat(self, what: hd.OnCryostat, key: str, name: str) -> h.What:
        match what:
            case hd.WarmUpDocument():
                max_rise_k = self._fleet.cryostats[name].thermal.max_rise_k
                rise_k = what.rise or _TIMES_MAX_RISE * max_rise_k
                resistance = self._rehearsal.spec.stages[name].resistance_k_per_w
                return h.WarmUp(name, round(rise_k / resistance, 6), what.for_)
            case hd.BrownOutDocument():
                return h.BrownOut(name, what.off)
            case hd.SilentDocument():
                kind = h.HubSilent if key == "hub-silent" else h.NoThermometer
                return kind(name, what.for_)
            case _:
                raise AssertionError(key)


_LINE_FAULTS: dict[str, type[CorruptBytes] | type[DropBytes] | type[DuplicateBytes]] = {
    "corrupted-bytes": CorruptBytes,
    "dropped-bytes": DropBytes,
    "duplicated-bytes": DuplicateBytes,
}
_OF_STAGES = frozenset({"stage-started", "wave-started", "gate-passed", "gate-failed"})


def _on_host(what: StrictDocument) -> h.What:
    match what:
        case hd.HostDiesDocument():
            return h.HostDies(what.at, what.count, back_after_s=what.back_after)
        case hd.DiskFailsDocument():
            return h.DiskFails(what.count)
        case hd.ClockJumpsDocument():
            return h.ClockJumps(-what.by if what.backwards else what.by)
        case hd.BackupDocument():
            return h.BackupRestored(what.back_after)
        case hd.RivalDocument():
            return h.SecondOperator()
        case hd.PersonDocument():
            return h.PersonAsks(what.to)
        case _:
            raise AssertionError(what)
