"""A seed makes a game: a fleet, its devices, a firmware, and the weather. The same for ever."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cryofw.fleet import parse_fleet
from cryofw.gameday.game import Game
from cryofw.gameday.image import game_key
from cryofw.gameday.storm import draw_weather
from cryofw.rollout.planner import NO_RESET_PATH
from cryofw.simulator import spec_of_fleet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.fleet import Fleet
    from cryofw.simulator import LabSpec

BOARDS = ("cc40", "cc41", "qx-1")
SLOT_KIB = 16
_LONGEST_S = 4 * 3600.0


@dataclass(frozen=True)
class Firmware:
    """What a release does; `never`: no device may keep it; `trusted`: its key is built in."""

    behaviour: Mapping[str, object]
    never: bool = True
    trusted: bool = True


GOOD = Firmware({}, never=False)
_DRIFT = {"metric": "readout_snr", "by": -3.0}
FIRMWARES: Mapping[str, tuple[int, Firmware]] = {
    # How often it is drawn, and what it is. What shows only in calibration figures may stay where
    # a fleet has none of them.
    "good": (10, GOOD),
    "hang": (2, Firmware({"hang_s": 0})),
    "late-hang": (2, Firmware({"hang_s": 15})),
    "hang-without-watchdog": (1, Firmware({"hang_s": 5, "wdt": False})),
    "boot-loop": (1, Firmware({"bootloop": 1000})),
    "drift": (2, Firmware({"shift": {**_DRIFT, "after_s": 10}}, never=False)),
    "slow-drift": (1, Firmware({"shift": {**_DRIFT, "ramp_s": 60}}, never=False)),
    "late-drift": (1, Firmware({"shift": {**_DRIFT, "after_s": 200}}, never=False)),
    "other-key": (1, Firmware({}, trusted=False)),
}


def draw_game(seed: int) -> Game:
    """The game of this seed."""
    chance = random.Random(seed)  # noqa: S311  # a game, not a secret
    board = chance.choice(BOARDS)
    fleet = parse_fleet(_fleet_text(chance, board), f"game {seed}")
    names, weights = zip(*((name, weight) for name, (weight, _) in FIRMWARES.items()), strict=True)
    name = chance.choices(names, weights)[0]
    firmware = FIRMWARES[name][1]
    ours, theirs = game_key("lab"), game_key("somebody else")
    signer = ours if firmware.trusted else theirs
    return Game(
        name=f"seed {seed}: {name}",
        fleet=fleet,
        spec=_devices(chance, fleet),
        factory=ours.sign("1.0.0", board, {}),
        release=signer.sign("1.1.0", board, firmware.behaviour),
        rival=ours.sign("1.2.0", board, {}),
        keys=(ours.public, theirs.public),
        device_keys=(ours.public,),
        never=firmware.never,
        happenings=draw_weather(chance, fleet),
        overrides={NO_RESET_PATH: ("*",)},
        direct=chance.random() < 0.7,
        longest_s=_LONGEST_S,
    )


def _devices(chance: random.Random, fleet: Fleet) -> LabSpec:
    """The devices behind the ports; some have quirks that fleet.yaml does not tell."""
    spec = spec_of_fleet(fleet)
    controllers = []
    for one in spec.controllers:
        profile = replace(one.profile, image_check=chance.random() < 0.8)
        controllers.append(replace(one, profile=profile, paced=False))
    return replace(spec, controllers=tuple(controllers), seed=chance.randrange(1 << 30))


def _fleet_text(chance: random.Random, board: str) -> str:
    stages = chance.choices((1, 2, 3), (2, 5, 3))[0]
    cryostats: list[str] = []
    lines: list[str] = []
    for number in range(stages):
        targets = [f"cryo-{len(cryostats) + i}" for i in range(chance.choices((1, 2), (3, 1))[0])]
        cryostats += targets
        lines.append(_stage(chance, number, targets, last=number == stages - 1))
    measured = chance.random() < 0.5
    guards = chance.choices((_GUARDS, _FRIDGE, "none"), (3, 1, 6))[0]
    source, telemetry = "", ""
    if measured and chance.random() < 0.25:
        source, telemetry = _QUERY, _TELEMETRY
    beat = chance.choice((5, 10))
    return _FLEET.format(
        board=board,
        beat=beat,
        slot=SLOT_KIB,
        capacity=chance.choice(("70 mW", "150 mW", "1.5 W")),
        reset=chance.choices(_RESETS, (7, 3, 1))[0],
        retries=chance.choice((1, 3, 3)),
        telemetry=telemetry,
        calibration=_CALIBRATION % source if measured else "{false_rollback: 0.01}",
        guards=guards,
        stages="\n".join(lines),
        cryostats="\n".join(_cryostat(chance, name) for name in cryostats),
        simulation=_SIMULATION if measured else "",
    )


def _stage(chance: random.Random, number: int, targets: list[str], *, last: bool) -> str:
    waves = chance.choice(("", ", waves: [1, 100 %]", ", waves: [1, 50 %, 100 %]"))
    reach = chance.choice(("device", "cryostat", "stage", "rollout"))
    at_once = ", cryostats_at_once: 1" if len(targets) > 1 and chance.random() < 0.5 else ""
    approve = ", then: approve" if not last and chance.random() < 0.3 else ""
    soak = chance.choice((60, 100))
    return (
        f"  - {{name: stage-{number}, targets: [{', '.join(targets)}], soak: {soak} s"
        f"{waves}{at_once}, on_failure: {reach}{approve}}}"
    )


def _cryostat(chance: random.Random, name: str) -> str:
    count = chance.choices((1, 2, 3, 4), (5, 4, 1, 1))[0]
    number = int(name.rpartition("-")[2])
    controllers = "".join(
        f"      c{number}-{letter}: {{port: 'sim://c{number}-{letter}', hw: '5a{number}{i}'}}\n"
        for i, letter in enumerate("abcd"[:count])
    )
    return f"  {name}:\n    controllers:\n{controllers}".rstrip()


_CALIBRATION = (
    "{false_rollback: 0.01, every: 5 s, baseline_samples: 30, min_samples: 12, "
    "metrics: {readout_snr: {unit: dB, worse: lower, margin: 0.5, reject: 1.5, limit: 26%s}}}"
)
_QUERY = """, source: prometheus, query: 'snr{controller="${controller}"}'"""
_TELEMETRY = "telemetry: {prometheus: {url: 'http://localhost:9090'}}\n"
_RESETS = ("watchdog", "{hook: [pdu, cycle, '${controller}']}", "{watchdog: false}")
_SIMULATION = "simulation: {metrics: {readout_snr: {nominal: 27}}}\n"
_GUARDS = "{temperature: {source: simulated, hard_limit: 6 K}}"
_FRIDGE = (
    "{fridge: {source: simulated, base_stable: [base-stable]}, experiment: {source: simulated}}"
)
_FLEET = """\
schema: cryofw.fleet/v1
lab: game
board: {board}
defaults:
  heartbeat: {{every: {beat} s, misses_allowed: 4}}
  reset: {reset}
  retries: {{count: {retries}, backoff: 1 s}}
  slot_size: {slot} KiB
  thermal: {{stage: 4k, capacity: {capacity}, headroom: 100 %, flash: 60 mW, max_rise: 150 mK}}
  guards: {guards}
  calibration: {calibration}
stages:
{stages}
cryostats:
{cryostats}
{telemetry}{simulation}"""
