"""Guards on a simulated lab of three cryostats, seen on the lab itself: its chips and its heat.

Heat is observed where it is made: each flash write of a simulated chip warms its stage. Whether a
device may flash at any moment (its image is on trial) is asked of its bootloader.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cryofw.errors import Refused
from cryofw.fleet import ErrorBudget, Prometheus
from cryofw.image import Algorithm
from cryofw.journal import JOURNAL_NAME
from cryofw.rollout import Ending, PlannedSource, parse_plan
from cryofw.rollout import cryostat_events as ce
from cryofw.simulator import Happening
from tests.flows.flash_observer import see_chips
from tests.flows.invariants import read_records
from tests.flows.memory_room import WHO, Prepared, Room, prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryofw.image import PublicKey
    from cryofw.simulator import SimulatedLab

    Keys = Mapping[Algorithm, tuple[PublicKey, Callable[[bytes], bytes]]]

FLEET = """\
schema: cryofw.fleet/v1
lab: cold
board: cc40
defaults:
  heartbeat: {every: 10 s, misses_allowed: 4}
  reset: watchdog
  slot_size: 64 KiB
  # Room for two of 60 mW.
  thermal: {stage: 4k, capacity: 150 mW, headroom: 80 %, flash: 60 mW, max_rise: 150 mK}
  guards:
    temperature: {source: simulated, hard_limit: 5 K, over: 60 s}
    fridge: {source: simulated, base_stable: [base-stable]}
    experiment: {source: simulated}
  calibration:
    false_rollback: 0.01
    every: 5 s
    baseline_samples: 100
    min_samples: 15
    metrics: {readout_snr: {unit: dB, worse: lower, margin: 0.5, reject: 1.5}}
stages:
  - {name: fleet, targets: [cryo-1, cryo-2, cryo-3], soak: 150 s, on_failure: cryostat}
cryostats:
  cryo-1:
    controllers:
      c1-a: {port: "sim://c1-a", hw: "5a11"}
      c1-b: {port: "sim://c1-b", hw: "5a12"}
      c1-c: {port: "sim://c1-c", hw: "5a13"}
      c1-d: {port: "sim://c1-d", hw: "5a14"}
  cryo-2:
    controllers:
      c2-a: {port: "sim://c2-a", hw: "5a21"}
      c2-b: {port: "sim://c2-b", hw: "5a22"}
  cryo-3:
    controllers:
      c3-a: {port: "sim://c3-a", hw: "5a31"}
      c3-b: {port: "sim://c3-b", hw: "5a32"}
simulation: {seed: 3, metrics: {readout_snr: {nominal: 27, noise: 0.05, correlation: 1 s}}}
"""
CRYOSTATS = ("cryo-1", "cryo-2", "cryo-3")
SLOTS = 2
WARM_W = 10.0
"""Warms a stage of 0.1 K/W by a kelvin, far above the 150 mK that are allowed."""


@pytest.fixture(scope="module")
def prepared(image_keys: Keys) -> Prepared:
    return prepare(*image_keys[Algorithm.ED25519], FLEET)


@pytest.fixture
def room(prepared: Prepared) -> Room:
    return Room(prepared, "good")


def records(room: Room, *kinds: str) -> list[Mapping[str, Any]]:
    found = read_records(room.disk.entries.get(JOURNAL_NAME, b""))
    return [r for r in found if not kinds or r["kind"] in kinds]


def order(room: Room, kind: str, name: str) -> list[int]:
    """Numbers of the records of a kind about a device or a cryostat."""
    return [r["n"] for r in records(room, kind) if name in (r.get("device"), r.get("cryostat"))]


class HeatObserver:
    """Counts, in a running lab, the devices of a cryostat that flash or may at any moment."""

    def __init__(self, room: Room, every_s: float = 0.5) -> None:
        self.room = room
        self.most: dict[str, int] = {}
        self.task: asyncio.Task[None] | None = None
        self._every_s = every_s
        self._unsettled: set[str] = set()

    def __call__(self, lab: SimulatedLab) -> None:
        """Begin to look."""
        self.task = asyncio.get_running_loop().create_task(self._look(lab))

    async def _look(self, lab: SimulatedLab) -> None:
        cryostats = {one.name: one.cryostat for one in lab.spec.controllers}
        before = {n: chip.read(0, chip.size) for n, chip in self.room.chips.items()}
        while True:
            await asyncio.sleep(self._every_s)
            now = {n: chip.read(0, chip.size) for n, chip in self.room.chips.items()}
            written = {n for n in now if now[n] != before[n]}
            changed = {n: self.room.chips[n] for n in written | self._unsettled}
            seen = see_chips(changed, self.room.prepared.keys)
            # What was on trial and was written last is confirmed now: its share is free again.
            hot_now = written - self._unsettled
            self._unsettled = {n for n, chip in seen.items() if not chip.confirmed}
            hot_now |= self._unsettled
            before = now
            for cryostat in CRYOSTATS:
                hot = {n for n in hot_now if cryostats[n] == cryostat}
                self.most[cryostat] = max(self.most.get(cryostat, 0), len(hot))


def test_two_flashes_never_exceed_the_budget_and_one_controller_is_held_back(room: Room) -> None:
    observer = HeatObserver(room)

    state = room.run(room.host(), meanwhile=observer)

    assert state is not None
    assert state.ended is Ending.CONFIRMED
    room.check_end()
    assert state.plan.heat_slots == dict.fromkeys(CRYOSTATS, SLOTS)
    assert observer.most["cryo-1"] == SLOTS, "the budget was used, and not exceeded"
    assert max(observer.most.values()) == SLOTS
    assert state.plan.stages[0].waves == (
        ("c1-a", "c1-b", "c1-c", "c2-a", "c3-a"),
        ("c1-d", "c2-b", "c3-b"),
    )
    confirmed = [max(order(room, "image-confirmed", n)) for n in ("c1-a", "c1-b", "c1-c")]
    assert min(order(room, "image-upload-requested", "c1-d")) > max(confirmed)


def test_a_warm_stage_has_room_for_one_flash_only(image_keys: Keys) -> None:
    """60 mK of 150 mK stand for two fifths of the budget: what is left is one flash, not two.

    The base is taken at once; while the devices take a long baseline it warms.
    """
    long = "cryo-1:\n    calibration: {baseline_samples: 600}\n"
    text = FLEET.replace("cryo-1:\n", long)
    assert text != FLEET
    room = Room(prepare(*image_keys[Algorithm.ED25519], text), "good")
    observer = HeatObserver(room)

    def meanwhile(lab: SimulatedLab) -> None:
        observer(lab)
        lab.climate.let_happen(Happening.WARM_UP, "cryo-1", 0.6, after_s=60)

    room.run(room.host(), meanwhile=meanwhile)

    assert room.ended == Ending.CONFIRMED
    assert observer.most == {"cryo-1": 1, "cryo-2": 1, "cryo-3": 1}
    assert not records(room, "cryostat-frozen")


def test_a_warm_up_in_mid_wave_freezes_and_the_rollout_finishes_after_it(room: Room) -> None:
    temperatures: list[float] = []

    def meanwhile(lab: SimulatedLab) -> None:
        lab.climate.let_happen(Happening.WARM_UP, "cryo-2", WARM_W, after_s=560, for_s=400)
        loop = asyncio.get_running_loop()
        loop.call_later(955, lambda: temperatures.append(lab.stage("cryo-2").rise_k(lab.now_s())))
        loop.call_later(810, lambda: safe.append(lab.controller("c2-a").board.ram.safe))

    safe: list[bool] = []
    state = room.run(room.host(), meanwhile=meanwhile)

    assert state is not None
    assert state.ended is Ending.CONFIRMED
    room.check_end()
    assert temperatures[0] > 0.9
    assert safe == [True]
    (frozen,) = order(room, "cryostat-frozen", "cryo-2")
    (thawed,) = order(room, "cryostat-thawed", "cryo-2")
    changes = ("image-upload-requested", "image-test-requested", "image-confirm-requested")
    between = [r for r in records(room, *changes) if frozen < r["n"] < thawed]
    assert not [r for r in between if r["device"].startswith("c2")]
    assert [r for r in between if not r["device"].startswith("c2")], "the others went on"
    assert len(order(room, "image-test-requested", "c2-a")) == 1, "the soak went on in one boot"
    assert max(order(room, "image-confirmed", "c2-a")) > thawed
    evidence = records(room, "cryostat-frozen")[0]
    assert evidence["evidence"]["temperature_k"] > 4.15
    assert evidence["readings"]["count"] > 0


def test_a_bad_firmware_in_a_warm_up_goes_back_after_cooling_or_below_the_hard_limit(
    prepared: Prepared,
) -> None:
    room = Room(prepared, "late-hang")

    def meanwhile(lab: SimulatedLab) -> None:
        # 20 W are 2 K: above the hard limit of 5 K for a while.
        lab.climate.let_happen(Happening.WARM_UP, "cryo-2", 20, after_s=45, for_s=300)

    room.run(room.host(), meanwhile=meanwhile)

    assert room.ended == Ending.ROLLED_BACK
    room.check_end()


def test_no_thermometer_no_change(room: Room) -> None:
    def meanwhile(lab: SimulatedLab) -> None:
        lab.climate.let_happen(Happening.NO_THERMOMETER, "cryo-3", for_s=600)

    room.run(room.host(), meanwhile=meanwhile)

    assert room.ended == Ending.CONFIRMED
    room.check_end()
    (thawed,) = order(room, "cryostat-thawed", "cryo-3")
    (why,) = [r["why"] for r in records(room, "cryostat-frozen")]
    assert "unknown, 3 readings in a row: missing" in why
    assert min(order(room, "image-upload-requested", "c3-a")) > thawed


def test_a_lease_holds_a_cryostat_out_of_the_wave_until_it_is_given_back(room: Room) -> None:
    def meanwhile(lab: SimulatedLab) -> None:
        lab.climate.let_happen(Happening.EXPERIMENT, "cryo-2", "eve", for_s=900, token=7)

    room.run(room.host(), meanwhile=meanwhile)

    assert room.ended == Ending.CONFIRMED
    room.check_end()
    (held_out,) = order(room, "cryostat-held-out", "cryo-2")
    (admitted,) = order(room, "cryostat-admitted", "cryo-2")
    assert held_out < admitted < min(order(room, "image-upload-requested", "c2-a"))
    assert max(order(room, "image-confirmed", "c1-a")) < admitted, "the others did not wait"


def test_a_lease_that_stays_pauses_and_is_overridden_by_name(room: Room) -> None:
    def meanwhile(lab: SimulatedLab) -> None:
        lab.climate.let_happen(Happening.EXPERIMENT, "cryo-2", "eve", token=7)

    state = room.run(room.host(), meanwhile=meanwhile)

    assert state is not None
    assert state.paused == "cryostat"
    assert "cryo-2: eve holds it for an experiment" in state.paused_why
    assert state.devices["c1-a"].state.value == "confirmed"
    override = ce.GuardOverridden(ce.EXPERIMENT, WHO, "eve agreed on the phone", "cryo-2")
    room.run(room.host(), said=[override])
    assert room.ended == Ending.CONFIRMED
    room.check_end()
    (admitted,) = [r for r in records(room, "cryostat-admitted") if r["cryostat"] == "cryo-2"]
    assert (admitted["lease_owner"], admitted["lease_token"]) == ("eve", 7)


def test_a_fridge_that_is_not_base_stable_lets_nothing_begin(room: Room) -> None:
    def meanwhile(lab: SimulatedLab) -> None:
        lab.climate.let_happen(Happening.FRIDGE, "cryo-1", "cooldown", for_s=300)

    room.run(room.host(), meanwhile=meanwhile)

    assert room.ended == Ending.CONFIRMED
    (why,) = [r["why"] for r in records(room, "cryostat-held-out")]
    assert why == "the fridge is cooldown, not base-stable"


def test_a_spent_error_budget_refuses_the_start_unless_a_person_takes_it_on_themselves(
    room: Room,
) -> None:
    budget = ErrorBudget("uptime", "avg(up)", at_least=0.999)
    room.plan = replace(room.plan, error_budgets=(budget,))

    def spent(lab: SimulatedLab) -> None:
        lab.climate.let_happen(Happening.ERROR_BUDGET, "uptime", 0.95)

    with pytest.raises(Refused) as refused:
        room.run(room.host(), meanwhile=spent)
    assert "uptime is 0.95, at least 0.999 is needed" in refused.value.why
    assert not records(room)
    assert not [name for name in room.disk.entries if name.startswith("rollouts/")]

    override = ce.GuardOverridden(ce.ERROR_BUDGET, WHO, "this release mends it")
    room.run(room.host(), said=[override])
    assert room.ended == Ending.CONFIRMED
    room.check_end()
    (recorded,) = records(room, "guard-overridden")
    assert (recorded["by"], recorded["why"]) == (WHO, "this release mends it")
    assert "0.95" in recorded["evidence"]["uptime"]


def test_guards_budgets_and_their_server_survive_the_plan_file(room: Room) -> None:
    """A resume needs no fleet.yaml."""
    contract = room.plan.guards["cryo-1"]
    assert contract.temperature is not None
    assert contract.fridge is not None
    query = PlannedSource("prometheus", query='t_kelvin{cryostat="cryo-1"}', stale_s=30.0)
    command = PlannedSource("command", run=("fridge", "cryo-1"), timeout_s=3.0)
    guards = replace(
        contract,
        temperature=replace(contract.temperature, source=query, limit_k=4.5, slope_k_per_s=0.001),
        fridge=replace(contract.fridge, source=command, label="state"),
        experiment=None,
    )
    plan = replace(
        room.plan,
        guards={**room.plan.guards, "cryo-1": guards},
        error_budgets=(ErrorBudget("uptime", "avg(up)", at_least=0.999),),
        prometheus=Prometheus("https://prometheus.lab", "TOKEN", "ca.pem"),
    )
    assert parse_plan(plan.canonical) == plan


def warm_up(lab: SimulatedLab) -> None:
    """Cryostat 2 warms up in its first soak."""
    lab.climate.let_happen(Happening.WARM_UP, "cryo-2", WARM_W, after_s=560, for_s=400)


@pytest.fixture(scope="module")
def sends(prepared: Prepared) -> list[int]:
    """Writes to lines that a run had made by then: from before the freeze to after the thaw."""
    room, counted = Room(prepared, "good"), list[int]()
    host = room.host()

    def meanwhile(lab: SimulatedLab) -> None:
        warm_up(lab)
        for t_s in DEATHS_S:
            asyncio.get_running_loop().call_later(t_s, lambda: counted.append(host.sent))

    room.run(host, meanwhile=meanwhile)
    assert room.ended == Ending.CONFIRMED
    return counted


# Frozen at 580 s, thawed at 1260 s: before, in and after the freeze.
DEATHS_S = (565, 575, 581, 590, 610, 810, 1110, 1255, 1265)


@pytest.mark.parametrize("index", range(len(DEATHS_S)))
def test_a_host_that_dies_around_a_freeze_leaves_it_to_the_next_one(
    prepared: Prepared, sends: list[int], index: int
) -> None:
    room = Room(prepared, "good")
    dying = room.host()
    dying.die_at_send = sends[index]
    assert room.run(dying, meanwhile=warm_up) is None
    room.check_moment()
    frozen_at_death = len(records(room, "cryostat-frozen")) > len(records(room, "cryostat-thawed"))
    assert frozen_at_death is (580 < DEATHS_S[index] < 1260)

    room.run(room.host())

    assert room.ended == Ending.CONFIRMED
    room.check_end()
    if frozen_at_death:
        resumed = next(r["n"] for r in records(room, "rollout-resumed"))
        thawed = max(order(room, "cryostat-thawed", "cryo-2"))
        changes = ("image-upload-requested", "image-test-requested", "image-confirm-requested")
        between = [r for r in records(room, *changes) if resumed < r["n"] < thawed]
        assert not [r for r in between if r["device"].startswith("c2")]


def test_the_same_weather_gives_the_same_journal(prepared: Prepared) -> None:
    journals = []
    for _ in range(2):
        room = Room(prepared, "good")
        room.run(room.host(), meanwhile=warm_up)
        journals.append(room.disk.entries[JOURNAL_NAME])
    assert journals[0] == journals[1]
