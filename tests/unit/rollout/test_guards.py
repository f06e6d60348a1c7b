"""The guards over cryostats: fault tables of one guard, and a rollout that obeys them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest

from cryofw.fleet import Recalibration
from cryofw.health import Heartbeat, HeartbeatMissed
from cryofw.rollout import (
    CalibrateDevice,
    Command,
    ConfirmImage,
    CryostatContract,
    CryostatGuard,
    DeviceState,
    Ending,
    Event,
    FridgeContract,
    GuardReading,
    Plan,
    PlannedSource,
    RollBackDevice,
    Rollout,
    SafeDevice,
    Step,
    TestImage,
    UploadImage,
    guard_from_json,
    guard_to_json,
)
from cryofw.rollout import cryostat_events as ce
from cryofw.rollout import events as e
from cryofw.rollout.guard_contract import TemperatureContract
from cryofw.rollout.guard_planner import with_holdback
from tests.unit.rollout.perfect_lab import NEW, OLD, Lab, a_plan

SOURCE = PlannedSource("simulated")
WARM = TemperatureContract(SOURCE, 0.15, slope_k_per_s=0.001, over_s=60)
FRIDGE = FridgeContract(SOURCE, ("base-stable",))
CONTRACT = CryostatContract(1.2, 0.06, 10, WARM)
BASE_K = 4.0


def guard(contract: CryostatContract = CONTRACT, base_k: float | None = BASE_K) -> CryostatGuard:
    return CryostatGuard("cryo-a", contract, base_k)


def feed(one: CryostatGuard, *kelvins: float | None, start_s: float = 0.0) -> CryostatGuard:
    """Readings every 10 s; None is a gap."""
    for index, kelvin in enumerate(kelvins, start=1):
        gap = "missing" if kelvin is None else ""
        one.observe(GuardReading(start_s + 10.0 * index, kelvin, gap))
    return one


# --- one guard: temperature -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("kelvins", "words"),
    [
        ((4.0,), ""),
        ((4.149,), ""),
        ((4.151,), "0.151 K above its base, 0.150 K are allowed"),
        ((9.0,), "above its base"),
        # At 1 mK/s of 6 allowed within 30 s there is a slope, and it is too steep.
        ((4.0, 4.02, 4.04, 4.06), "changes by 120.0 mK/min, 60.0 are allowed"),
        ((4.06, 4.04, 4.02, 4.0), "changes by -120.0 mK/min"),
        ((4.0, 4.005, 4.01, 4.015), ""),
        # Fewer than half a window say nothing about the slope.
        ((4.0, 4.05), ""),
        ((None,), ""),
        ((None, None), ""),
        ((None, None, None), "unknown, 3 readings in a row: missing"),
        ((4.0, None, None, 4.0), ""),
        ((math.nan,) * 3, "unknown"),
        ((math.inf,) * 3, "unknown"),
        ((0.0,) * 3, "unknown"),
        ((-273.0,) * 3, "unknown"),
    ],
)
def test_what_freezes(kelvins: tuple[float | None, ...], words: str) -> None:
    why = feed(guard(), *kelvins).too_warm()
    assert words in why
    assert bool(why) == bool(words)


@pytest.mark.parametrize(
    ("limit_k", "kelvin", "frozen"), [(4.1, 4.09, False), (4.1, 4.11, True), (5.0, 4.2, False)]
)
def test_an_absolute_limit_needs_no_base(limit_k: float, kelvin: float, frozen: bool) -> None:
    contract = replace(CONTRACT, temperature=replace(WARM, limit_k=limit_k))
    assert bool(feed(guard(contract, None), kelvin).too_warm()) is frozen


def test_one_gap_already_forbids_a_flash() -> None:
    one = feed(guard(), 4.0, 4.0)
    assert one.admits(0)
    assert not feed(one, None, start_s=100).admits(0)
    assert feed(one, 4.0, start_s=200).admits(0)


def test_without_any_reading_nothing_is_admitted() -> None:
    one = guard()
    assert not one.ready()
    assert not one.admits(0)
    assert not one.knows_no_harm()
    assert not one.is_calm()


def test_the_base_needs_readings_that_agree() -> None:
    one = feed(guard(base_k=None), 4.0, 4.1)
    assert one.base_found() is None
    feed(one, 4.02, start_s=20)
    assert one.base_found() is None
    assert "not steady" in one.unsettled()
    feed(one, 4.021, 4.022, start_s=30)
    assert one.base_found() == 4.021
    assert not one.admits(0), "found is not yet taken"


def test_late_and_repeated_readings_change_nothing() -> None:
    one = feed(guard(), 4.0, 4.0, 4.0)
    before = one.evidence()
    for t_s in (10.0, 30.0):
        one.observe(GuardReading(t_s, 9.0))
    assert one.evidence() == before
    assert not one.too_warm()


# --- one guard: hysteresis ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kelvins", "calm"),
    [
        ((4.0,) * 7, True),
        ((4.0,) * 6, False),  # not yet a whole window
        ((4.074,) * 7, True),
        ((4.076,) * 7, False),  # below the limit, but not by half of it
        ((4.0, 4.0, 4.1, 4.0, 4.0, 4.0, 4.0), False),  # warm within the window
        ((4.0, 4.0, None, 4.0, 4.0, 4.0, 4.0), False),  # a gap begins anew
        ((None, *(4.0,) * 7), True),
        ((4.06, 4.05, 4.04, 4.03, 4.02, 4.01, 4.0), False),  # still on its way
    ],
)
def test_what_thaws(kelvins: tuple[float | None, ...], calm: bool) -> None:
    assert feed(guard(), *kelvins).is_calm() is calm


def test_the_fridge_must_be_back_too() -> None:
    one = guard(replace(CONTRACT, temperature=None, fridge=FRIDGE))
    one.observe(GuardReading(1, fridge="warm-up"))
    assert not one.is_calm()
    one.observe(GuardReading(2, fridge_gap="stale"))
    assert not one.is_calm()
    one.observe(GuardReading(3, fridge="base-stable"))
    assert one.is_calm()


# --- one guard: admission -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kelvin", "hot", "admitted"),
    [
        (4.0, 0, True),
        (4.0, 19, True),  # 20 x 60 mW are the 1.2 W
        (4.0, 20, False),
        (3.9, 19, True),
        (4.075, 9, True),  # half of the rise: half of the budget is left
        (4.075, 10, False),
        (4.0749, 0, True),
        (4.0751, 0, False),  # the first flash wants a calm stage
        (4.149, 1, False),
        (4.2, 0, False),
    ],
)
def test_measured_heat_leaves_room_for_fewer_flashes(
    kelvin: float, hot: int, admitted: bool
) -> None:
    assert feed(guard(), kelvin).admits(hot) is admitted


def test_warming_is_counted_ahead() -> None:
    """0.5 mK/s over a window of 60 s is 30 mK more."""
    one = feed(guard(), 4.03, 4.035, 4.04, 4.045)
    assert one.admits(9)
    assert not one.admits(10)
    resting = feed(guard(), 4.045, 4.045, 4.045, 4.045)
    assert resting.admits(13)


@pytest.mark.parametrize(
    ("reading", "words"),
    [
        (GuardReading(1, fridge="base-stable"), ""),
        (GuardReading(1, fridge="cooldown"), "the fridge is cooldown, not base-stable"),
        (GuardReading(1, fridge="base-stable", fridge_gap="stale: 90 s old"), "unknown: stale"),
        (GuardReading(1), "unknown: no reading"),
        (GuardReading(1, fridge="base-stable", lease_gap="unavailable"), "experiment runs"),
        (GuardReading(1, fridge="base-stable", lease_owner="eve", lease_expires_s=601), "eve hold"),
        (GuardReading(700, fridge="base-stable", lease_owner="eve", lease_expires_s=601), ""),
    ],
)
def test_what_keeps_a_cryostat_out(reading: GuardReading, words: str) -> None:
    one = guard(replace(CONTRACT, temperature=None, fridge=FRIDGE, experiment=SOURCE))
    one.observe(reading)
    assert words in one.kept_out()
    assert one.ready() is (not words)


def test_an_override_is_about_one_lease() -> None:
    one = guard(replace(CONTRACT, temperature=None, experiment=SOURCE))
    one.overridden = ("eve", 7)
    one.observe(GuardReading(1, lease_owner="eve", lease_expires_s=100, lease_token=7))
    assert one.ready()
    one.observe(GuardReading(2, lease_owner="eve", lease_expires_s=100, lease_token=8))
    assert "eve" in one.kept_out()
    one.observe(GuardReading(3, lease_owner="bob", lease_expires_s=100, lease_token=7))
    assert "bob" in one.kept_out()


# --- readings on disk -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "reading",
    [
        GuardReading(1.5),
        GuardReading(1.5, 4.01, "", "base-stable"),
        GuardReading(2, None, "missing: no series", None, "stale", "eve", 99.5, 7, ""),
    ],
)
def test_a_guard_reading_survives_its_line(reading: GuardReading) -> None:
    assert guard_from_json(guard_to_json(reading)) == reading


@pytest.mark.parametrize(
    "data", [{}, {"t_s": "now"}, {"t_s": 1, "fridge": 3}, {"t_s": 1, "temperature_k": True}]
)
def test_what_is_no_guard_reading_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"is '?\w+|without its time"):
        guard_from_json(data)


def test_nan_on_disk_is_missing() -> None:
    line = guard_to_json(GuardReading(1, math.nan))
    assert guard_from_json(line).kelvin is None


# --- the control group ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "total", "held_back"),
    [
        ((1, 2, 4), 4, (1, 2, 4)),
        ((4,), 4, (3, 4)),
        ((2,), 2, (1, 2)),
        ((1,), 1, (1, 1)),
        ((1, 3, 3), 3, (1, 2, 3)),
        ((1, 1), 1, (1, 1)),
        ((0,), 0, (0, 0)),
    ],
)
def test_one_of_several_is_held_back(
    sizes: tuple[int, ...], total: int, held_back: tuple[int, ...]
) -> None:
    assert with_holdback(sizes, total) == held_back


# --- a rollout ------------------------------------------------------------------------------


def guarded_plan(heat: int = 9, contract: CryostatContract = CONTRACT) -> Plan:
    names = ("cryo-r", "cryo-a", "cryo-b")
    return replace(a_plan(heat=heat), guards=dict.fromkeys(names, contract))


@dataclass
class GuardedLab(Lab):
    """A perfect lab whose cryostats have thermometers."""

    kelvin: float | None = BASE_K
    warm: tuple[str, ...] = ("cryo-r", "cryo-a", "cryo-b")
    fridge: str | None = None
    lease: tuple[str, float, int] = ("", 0.0, 0)

    def answer(self, command: Command) -> Event:
        if isinstance(command, SafeDevice):
            scripted = self.script.get((command.device, SafeDevice))
            return scripted.pop(0) if scripted else ce.DeviceMadeSafe(command.device)
        if isinstance(command, CalibrateDevice):
            scripted = self.script.get((command.device, CalibrateDevice))
            return scripted.pop(0) if scripted else ce.DeviceCalibrated(command.device, self.now_s)
        return super().answer(command)

    def look(self) -> None:
        for name in sorted(self.rollout.guarded()):
            kelvin = self.kelvin if name in self.warm else BASE_K
            gap = "" if kelvin is not None else "missing"
            owner, expires_s, token = self.lease if name in self.warm else ("", 0.0, 0)
            reading = GuardReading(
                self.now_s, kelvin, gap, self.fridge, "", owner, expires_s, token
            )
            self.tell(ce.CryostatObserved(name, reading))

    def tell(self, event: Event) -> None:
        before = len(self.steps)
        super().tell(event)
        if isinstance(event, ce.CryostatObserved):
            del self.steps[before]

    def beats(self, seconds: float, silent: tuple[str, ...] = ()) -> None:
        end_s = self.now_s + seconds
        while self.now_s < end_s and not self.rollout.at_rest:
            self.now_s += 10
            self.look()
            for name in sorted(self.rollout.watched()):
                running = self.rollout.state.devices[name].running_hash
                lost = name in silent and running == NEW
                up_ms = int(self.now_s * 1000)
                reading = (
                    HeartbeatMissed(self.now_s, "no answer")
                    if lost
                    else Heartbeat(self.now_s, running, 7, up_ms)
                )
                self.tell(e.ReadingTaken(name, reading))

    def until(self, kind: type[object], device: str = "", limit_s: float = 5000) -> None:
        """Beat until a step of this kind (about the device) was taken."""
        end_s = self.now_s + limit_s
        while not self.of(kind, device):
            assert self.now_s < end_s, f"no {kind.__name__} {device}: {self.states()}"
            self.beats(10)

    def of(self, kind: type[object], device: str = "") -> list[object]:
        return [
            s
            for s in self.steps
            if isinstance(s, kind) and device in ("", getattr(s, "device", ""))
        ]


def guarded(plan: Plan | None = None) -> GuardedLab:
    plan = plan or guarded_plan()
    lab = GuardedLab(Rollout(plan))
    lab.tell(e.RolloutStarted(plan.digest, NEW, "1.1.0"))
    return lab


def test_a_calm_cryostat_changes_nothing_but_the_base_that_is_taken_first() -> None:
    lab = guarded()
    assert not lab.of(UploadImage)
    lab.beats(2000)
    assert lab.rollout.state.ended is Ending.CONFIRMED
    bases = [s.cryostat for s in lab.steps if isinstance(s, ce.CryostatBaseTaken)]
    assert bases == ["cryo-r", "cryo-a", "cryo-b"]
    assert not lab.of(ce.CryostatFrozen)


def test_a_warm_up_in_the_soak_freezes_and_the_soak_goes_on_in_the_same_boot() -> None:
    lab = guarded()
    lab.until(e.TestBooted, "a1")
    lab.kelvin, lab.warm = 4.3, ("cryo-a",)
    lab.beats(10)
    assert lab.states()["a1"] == "frozen"
    assert lab.states()["a2"] == "frozen"
    assert len(lab.of(SafeDevice)) == 2
    frozen_at = len(lab.steps)
    lab.beats(600)
    told = [s for s in lab.steps[frozen_at:] if isinstance(s, Command)]
    assert told == [], "nothing is sent while it is frozen"
    lab.kelvin = BASE_K
    lab.beats(50)
    assert lab.states()["a1"] == "frozen", "not yet calm for long enough"
    lab.beats(1000)
    assert lab.rollout.state.ended is Ending.CONFIRMED
    assert lab.rollout.state.devices["a1"].attempt == 1
    assert len(lab.of(TestImage, "a1")) == 1, "the same boot"
    assert [s.device for s in lab.steps if isinstance(s, CalibrateDevice)] == ["a1", "a2"], (
        "out of the safe state"
    )


def test_a_device_that_stays_in_its_safe_state_after_the_thaw_is_taken_back() -> None:
    lab = guarded()
    lab.until(e.TestBooted, "a1")
    lab.script[("a1", CalibrateDevice)] = [ce.CalibrationFailed("a1", "it forgot the run")]
    lab.kelvin, lab.warm = 4.3, ("cryo-a",)
    lab.beats(10)
    lab.kelvin = BASE_K
    lab.beats(1000)
    assert lab.states()["a1"] == "rolled-back"
    (expired,) = (s for s in lab.steps if isinstance(s, e.HoldExpired))
    assert expired.why == "not calibrated: it forgot the run"


def calibrated_lab() -> GuardedLab:
    plan = guarded_plan(contract=replace(CONTRACT, experiment=SOURCE))
    how = Recalibration(device=True)
    devices = {n: replace(d, recalibration=how) for n, d in plan.devices.items()}
    lab = GuardedLab(Rollout(replace(plan, devices=devices)))
    lab.tell(e.RolloutStarted(plan.digest, NEW, "1.1.0"))
    return lab


def test_nothing_is_calibrated_while_an_experiment_holds_the_cryostat() -> None:
    lab = calibrated_lab()
    lab.lease, lab.warm = ("eve", 600.0, 1), ("cryo-a",)
    lab.beats(590)
    assert lab.of(e.GatePassed), "the rig is done"
    assert lab.states()["a1"] == "checked"
    assert not lab.of(CalibrateDevice, "a1")
    lab.beats(1000)
    assert lab.states()["a1"] == "confirmed"


def test_what_went_back_in_a_freeze_is_calibrated_after_the_thaw() -> None:
    lab = calibrated_lab()
    lab.until(e.TestBooted, "a1")
    lab.beats(10)
    lab.kelvin, lab.warm = 4.3, ("cryo-a",)
    lab.beats(20)
    lab.tell(e.AbortRequested("anna", "no time"))
    lab.beats(50)
    assert lab.rollout.state.ended is None
    lab.kelvin = BASE_K
    lab.beats(1000)
    assert lab.rollout.state.ended is Ending.ABORTED
    done = [type(s) for s in lab.of(CalibrateDevice, "a1")]
    assert len(done) == 3, "before its baseline, on trial, and for what it went back to"


def test_a_stage_at_the_edge_does_not_flap() -> None:
    lab = guarded()
    lab.until(e.TestBooted, "a1")
    lab.warm = ("cryo-a",)
    for _ in range(30):
        for lab.kelvin in (4.151, 4.149):
            lab.beats(10)
    assert len(lab.of(ce.CryostatFrozen)) == 1
    assert not lab.of(ce.CryostatThawed)


@pytest.mark.parametrize("kelvin", [None, math.nan])
def test_a_thermometer_that_shows_nothing_freezes_too(kelvin: float | None) -> None:
    lab = guarded()
    lab.until(e.TestBooted, "a1")
    lab.kelvin, lab.warm = kelvin, ("cryo-a",)
    lab.beats(20)
    assert lab.states()["a1"] == "watched"
    lab.beats(200)
    assert lab.states()["a1"] == "frozen", "and was not confirmed meanwhile"
    lab.kelvin = BASE_K
    lab.beats(1000)
    assert lab.rollout.state.ended is Ending.CONFIRMED


def test_no_upload_begins_in_a_frozen_cryostat() -> None:
    lab = guarded()
    lab.until(ce.CryostatBaseTaken)
    lab.until(e.ImageConfirmed, "r1")
    lab.warm, lab.kelvin = ("cryo-a",), None
    lab.beats(300)
    assert lab.of(ce.CryostatFrozen)
    assert not lab.of(UploadImage, "a1")
    lab.kelvin = BASE_K
    lab.beats(2000)
    assert lab.rollout.state.ended is Ending.CONFIRMED


def test_an_upload_that_the_freeze_interrupts_goes_on_after_it() -> None:
    plan = guarded_plan()
    lab = GuardedLab(Rollout(plan), {("a1", UploadImage): [ce.UploadInterrupted("a1", "too warm")]})
    lab.tell(e.RolloutStarted(plan.digest, NEW, "1.1.0"))
    lab.beats(2000)
    assert lab.rollout.state.ended is Ending.CONFIRMED
    assert len(lab.of(UploadImage, "a1")) == 2
    assert lab.rollout.state.devices["a1"].attempt == 1


def test_a_confirm_that_is_under_way_is_finished_and_the_device_stays_confirmed() -> None:
    rollout = Rollout(guarded_plan())
    lab = GuardedLab(rollout)
    lab.tell(e.RolloutStarted(rollout.state.plan.digest, NEW, "1.1.0"))
    lab.until(e.TestBooted, "r1")
    lab.script[("r1", ConfirmImage)] = []
    steps: list[Step] = []
    while not any(isinstance(s, ConfirmImage) for s in steps):
        lab.now_s += 10
        rollout.receive(ce.CryostatObserved("cryo-r", GuardReading(lab.now_s, BASE_K)))
        beat = Heartbeat(lab.now_s, NEW, 7, int(lab.now_s * 1000))
        steps = rollout.receive(e.ReadingTaken("r1", beat))
    lab.now_s += 10
    steps = rollout.receive(ce.CryostatObserved("cryo-r", GuardReading(lab.now_s, 5.0)))
    assert [type(s) for s in steps] == [ce.CryostatFrozen]
    rollout.receive(e.ImageConfirmed("r1", NEW, 7))
    assert rollout.state.devices["r1"].state is DeviceState.CONFIRMED


@pytest.mark.parametrize(
    ("hard_limit_k", "taken_back"), [(None, False), (4.25, False), (4.4, True)]
)
def test_a_failed_device_goes_back_below_the_hard_limit_or_after_cooling(
    hard_limit_k: float | None, taken_back: bool
) -> None:
    contract = replace(CONTRACT, temperature=replace(WARM, hard_limit_k=hard_limit_k))
    lab = guarded(guarded_plan(contract=contract))
    lab.until(e.TestBooted, "a1")
    lab.kelvin, lab.warm = 4.3, ("cryo-a",)
    lab.beats(300, silent=("a1",))
    assert lab.rollout.state.devices["a1"].failure
    assert bool(lab.of(RollBackDevice, "a1")) is taken_back
    safe = next(i for i, s in enumerate(lab.steps) if isinstance(s, SafeDevice))
    assert all(i > safe for i, s in enumerate(lab.steps) if isinstance(s, RollBackDevice)), (
        "the safe state comes first"
    )
    lab.kelvin = BASE_K
    lab.beats(1000, silent=("a1",))
    assert lab.rollout.state.ended is Ending.ROLLED_BACK
    assert lab.states()["a1"] == "rolled-back"


def test_an_unknown_temperature_is_above_every_hard_limit() -> None:
    contract = replace(CONTRACT, temperature=replace(WARM, hard_limit_k=6.0))
    lab = guarded(guarded_plan(contract=contract))
    lab.until(e.TestBooted, "a1")
    lab.kelvin, lab.warm = None, ("cryo-a",)
    lab.beats(300, silent=("a1",))
    assert not lab.of(RollBackDevice)


def test_an_upload_back_waits_until_the_cryostat_is_base_stable() -> None:
    lab = guarded()
    lab.beats(2000)
    lab.warm, lab.kelvin = ("cryo-b",), 4.5
    lab.tell(e.RollbackRequested("anna", "noise"))
    lab.beats(600)
    assert {n for n, s in lab.states().items() if s == "rolled-back"} == {"r1", "a1", "a2"}
    lab.kelvin = BASE_K
    lab.beats(600)
    assert set(lab.states().values()) == {"rolled-back"}


def test_a_device_that_cannot_be_made_safe_is_asked_once_and_stays_frozen() -> None:
    plan = guarded_plan()
    not_safe: list[Event] = [ce.DeviceNotSafe("a1", "it has no group 64")]
    lab = GuardedLab(Rollout(plan), {("a1", SafeDevice): not_safe})
    lab.tell(e.RolloutStarted(plan.digest, NEW, "1.1.0"))
    lab.until(e.TestBooted, "a1")
    lab.kelvin, lab.warm = 4.3, ("cryo-a",)
    lab.beats(300)
    assert len(lab.of(SafeDevice, "a1")) == 1
    assert lab.states()["a1"] == "frozen"


def test_a_lease_holds_its_cryostat_out_and_the_rollout_pauses_in_the_end() -> None:
    contract = replace(CONTRACT, experiment=SOURCE, hold_patience_s=600)
    lab = guarded(guarded_plan(contract=contract))
    lab.lease, lab.warm = ("eve", 1e9, 7), ("cryo-a",)
    lab.beats(5000)
    assert lab.rollout.state.paused == "cryostat"
    assert "cryo-a: eve holds it" in lab.rollout.state.paused_why
    assert not lab.of(UploadImage, "a1")
    assert len(lab.of(ce.CryostatHeldOut)) == 1
    lab.lease = ("", 0.0, 0)
    lab.tell(e.RolloutResumed())
    lab.beats(3000)
    assert lab.rollout.state.ended is Ending.CONFIRMED
    assert lab.of(ce.CryostatAdmitted)


def test_a_lease_is_overridden_by_name_once() -> None:
    contract = replace(CONTRACT, experiment=SOURCE, hold_patience_s=600)
    lab = guarded(guarded_plan(contract=contract))
    lab.lease, lab.warm = ("eve", 1e9, 7), ("cryo-a",)
    lab.beats(5000)
    lab.tell(ce.GuardOverridden(ce.EXPERIMENT, "anna", "eve agreed", "cryo-a"))
    lab.tell(e.RolloutResumed())
    lab.until(e.TestBooted, "a1")
    admitted = lab.of(ce.CryostatAdmitted)[-1]
    assert isinstance(admitted, ce.CryostatAdmitted)
    assert (admitted.lease_owner, admitted.lease_token) == ("eve", 7)
    assert "overridden by anna" in admitted.why
    assert lab.of(UploadImage, "a1")


def test_an_override_of_a_free_cryostat_is_spent() -> None:
    contract = replace(CONTRACT, experiment=SOURCE)
    lab = guarded(guarded_plan(contract=contract))
    lab.tell(ce.GuardOverridden(ce.EXPERIMENT, "anna", "just in case", "cryo-r"))
    lab.beats(10)
    lab.lease, lab.warm = ("eve", 1e9, 8), ("cryo-r",)
    lab.beats(300)
    assert lab.of(ce.CryostatHeldOut)
    assert not lab.of(UploadImage)


def test_a_fridge_that_leaves_base_freezes_what_is_on_trial_and_holds_the_rest_out() -> None:
    contract = replace(CONTRACT, fridge=FRIDGE)
    plan = guarded_plan(contract=contract)
    lab = GuardedLab(Rollout(plan), fridge="base-stable")
    lab.tell(e.RolloutStarted(plan.digest, NEW, "1.1.0"))
    lab.until(e.TestBooted, "r1")
    lab.fridge = "warm-up"
    lab.beats(300)
    assert lab.states()["r1"] == "frozen"
    lab.fridge = "base-stable"
    lab.until(e.ImageConfirmed, "r1")
    lab.fridge = "cooldown"
    lab.beats(300)
    held = lab.of(ce.CryostatHeldOut)[-1]
    assert isinstance(held, ce.CryostatHeldOut)
    assert held.why == "the fridge is cooldown, not base-stable"
    assert not lab.of(UploadImage, "a1")


def test_a_freeze_without_end_pauses_and_says_what_is_left_to_its_lease() -> None:
    contract = replace(CONTRACT, freeze_patience_s=3600)
    lab = guarded(guarded_plan(contract=contract))
    lab.until(e.TestBooted, "a1")
    lab.kelvin, lab.warm = 4.3, ("cryo-a",)
    lab.beats(10_000)
    assert lab.rollout.state.paused == "cryostat"
    assert "left to their lease: a1 a2" in lab.rollout.state.paused_why or (
        "left to their lease: a2 a1" in lab.rollout.state.paused_why
    ), lab.rollout.state.paused_why
    assert lab.states()["a1"] == "frozen"


def test_abort_in_a_freeze_waits_and_then_reverts() -> None:
    lab = guarded()
    lab.until(e.TestBooted, "a1")
    lab.kelvin, lab.warm = 4.3, ("cryo-a",)
    lab.beats(20)
    lab.tell(e.AbortRequested("anna"))
    lab.beats(300)
    assert not lab.of(RollBackDevice)
    lab.kelvin = BASE_K
    lab.beats(300)
    assert lab.rollout.state.ended is Ending.ABORTED
    assert lab.states()["a1"] == "rolled-back"


def test_killed_after_any_record_of_a_freeze_it_resumes_to_the_same_end() -> None:
    whole = guarded()
    whole.until(e.TestBooted, "a1")
    whole.kelvin, whole.warm = 4.3, ("cryo-a",)
    whole.beats(100)
    first = next(i for i, s in enumerate(whole.steps) if isinstance(s, ce.CryostatFrozen))
    whole.kelvin = BASE_K
    whole.beats(2000)
    assert whole.rollout.state.ended is Ending.CONFIRMED
    plan = whole.rollout.state.plan
    for cut in range(first - 3, len(whole.steps)):
        rollout = Rollout(plan)
        for step in whole.steps[:cut]:
            rollout.state.apply(step)
        rollout.state.restart()
        lab = GuardedLab(rollout, now_s=10_000, kelvin=4.3, warm=("cryo-a",))
        lab.tell(e.RolloutResumed())
        before = {s for s in lab.steps if isinstance(s, UploadImage | TestImage | ConfirmImage)}
        lab.beats(100)
        assert not any(
            s.device in ("a1", "a2")
            for s in lab.steps
            if isinstance(s, UploadImage | TestImage | ConfirmImage) and s not in before
        ), cut
        lab.kelvin = BASE_K
        lab.beats(4000)
        assert rollout.state.ended is Ending.CONFIRMED, (cut, lab.states())


def test_heat_is_never_above_the_budget_also_with_guards() -> None:
    lab = guarded(guarded_plan(heat=1))
    lab.beats(5000)
    assert lab.rollout.state.ended is Ending.CONFIRMED
    assert set(lab.most_hot.values()) == {1}
    assert OLD not in {p.running_hash for p in lab.rollout.state.devices.values()}


# --- what a review found --------------------------------------------------------------------


@pytest.mark.parametrize(("kelvin", "frozen"), [(4.05, False), (4.1, False), (4.11, True)])
def test_a_limit_below_the_base_is_a_limit_all_the_same(kelvin: float, frozen: bool) -> None:
    contract = replace(CONTRACT, temperature=replace(WARM, limit_k=4.1))
    assert bool(feed(guard(contract, 4.2), kelvin).too_warm()) is frozen


def test_readings_at_any_pace_cover_a_window_in_the_end() -> None:
    one = guard()
    for index in range(6):
        one.observe(GuardReading(13.0 * index, BASE_K))
    assert one.is_calm()
    assert one.slope_k_per_s == 0


def test_after_a_hole_nothing_is_known() -> None:
    """A host that slept: two readings an hour apart are no calm hour."""
    one = feed(guard(), *(4.0,) * 7)
    one.pass_time(150.0)
    assert one.ready()
    one.pass_time(3600.0)
    assert not one.ready()
    assert not one.knows_no_harm()
    one.observe(GuardReading(3600.0, 4.0))
    assert not one.is_calm()


def test_no_base_is_taken_from_a_stage_that_is_too_warm_or_in_use() -> None:
    warm = replace(WARM, limit_k=4.5)
    contract = replace(CONTRACT, temperature=warm, experiment=SOURCE)
    lab = guarded(guarded_plan(contract=contract))
    lab.kelvin = 5.0
    lab.beats(200)
    assert lab.of(ce.CryostatFrozen)
    assert not lab.of(ce.CryostatBaseTaken)
    lab.kelvin, lab.lease = 4.1, ("eve", 1e9, 1)
    lab.beats(200)
    assert lab.of(ce.CryostatThawed)
    assert not lab.of(ce.CryostatBaseTaken)
    lab.kelvin, lab.lease = BASE_K, ("", 0.0, 0)
    lab.beats(2000)
    bases = [s.base_k for s in lab.steps if isinstance(s, ce.CryostatBaseTaken)]
    assert bases == [BASE_K] * 3
    assert lab.rollout.state.ended is Ending.CONFIRMED


def test_a_soak_is_not_cut_short_by_the_wait_for_an_experiment() -> None:
    contract = replace(CONTRACT, experiment=SOURCE, hold_patience_s=20)
    lab = guarded(guarded_plan(heat=1, contract=contract))
    lab.until(e.TestBooted, "a1")
    lab.lease, lab.warm = ("eve", 1e9, 7), ("cryo-a",)
    lab.beats(5000)
    assert lab.rollout.state.paused == "cryostat"
    assert lab.states()["a1"] == "confirmed"
    assert lab.states()["a2"] == "checked"


def test_going_back_waits_for_no_experiment() -> None:
    contract = replace(CONTRACT, experiment=SOURCE)
    lab = guarded(guarded_plan(contract=contract))
    lab.beats(2000)
    lab.lease = ("eve", 1e9, 7)
    lab.tell(e.RollbackRequested("anna", "noise"))
    lab.beats(300)
    assert set(lab.states().values()) == {"rolled-back"}
    assert not lab.of(ce.CryostatHeldOut)
