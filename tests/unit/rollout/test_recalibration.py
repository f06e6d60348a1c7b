"""When a device is calibrated: the pure rollout against a perfect lab."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import pytest

from cryofw.fleet import Recalibration
from cryofw.health import MetricContract, MetricSample, Worse
from cryofw.rollout import (
    CalibrateDevice,
    Command,
    Ending,
    Event,
    Plan,
    RollBackDevice,
    Rollout,
    Step,
    TestImage,
    UploadImage,
)
from cryofw.rollout import cryostat_events as ce
from cryofw.rollout import events as e
from tests.unit.rollout.perfect_lab import EVIDENCE, NEW, Lab, a_plan

DEVICE = Recalibration(device=True)
COMMAND = Recalibration(command=("calibrate",))


def calibrated_plan(how: Recalibration = DEVICE, settle_s: float = 0.0) -> Plan:
    plan = a_plan()
    evidence = replace(EVIDENCE, settle_s=settle_s)
    devices = {
        name: replace(device, recalibration=how, evidence=evidence)
        for name, device in plan.devices.items()
    }
    return replace(plan, devices=devices)


@dataclass
class CalibratingLab(Lab):
    """A perfect lab in which a calibration takes no time."""

    def answer(self, command: Command) -> Event:
        if isinstance(command, CalibrateDevice):
            scripted = self.script.get((command.device, CalibrateDevice))
            if scripted:
                return scripted.pop(0)
            return ce.DeviceCalibrated(command.device, self.now_s)
        return super().answer(command)

    def of(self, device: str, *kinds: type[Step]) -> list[type[Step]]:
        return [
            type(step)
            for step in self.steps
            if getattr(step, "device", "") == device and isinstance(step, kinds)
        ]


def begun(plan: Plan) -> CalibratingLab:
    lab = CalibratingLab(Rollout(plan))
    lab.tell(e.RolloutStarted(plan.digest, NEW, "1.1.0"))
    return lab


STEPS = (CalibrateDevice, e.BaselineTaken, UploadImage, TestImage, e.VerdictReached)


@pytest.mark.parametrize("how", [DEVICE, COMMAND])
def test_like_is_compared_with_like(how: Recalibration) -> None:
    lab = begun(calibrated_plan(how))
    lab.beats(2000)
    assert lab.rollout.state.ended is Ending.CONFIRMED
    for name in lab.rollout.state.devices:
        assert lab.of(name, *STEPS) == [
            CalibrateDevice,
            e.BaselineTaken,
            UploadImage,
            TestImage,
            CalibrateDevice,
            e.VerdictReached,
        ], name


def test_nothing_is_calibrated_unasked() -> None:
    lab = begun(calibrated_plan(Recalibration()))
    lab.beats(2000)
    assert lab.rollout.state.ended is Ending.CONFIRMED
    assert not [s for s in lab.steps if isinstance(s, CalibrateDevice)]


def test_it_settles_first_and_nothing_passes_before_it_is_calibrated() -> None:
    lab = begun(calibrated_plan(settle_s=90))
    lab.beats(80)
    assert lab.states()["r1"] == "watched"
    assert lab.of("r1", CalibrateDevice, e.VerdictReached) == [CalibrateDevice]
    lab.beats(20)
    assert lab.of("r1", CalibrateDevice, e.VerdictReached)[:2] == [CalibrateDevice] * 2


def test_a_bench_takes_the_controllers_of_a_cryostat_one_by_one() -> None:
    plan = calibrated_plan(COMMAND)
    rollout = Rollout(plan)
    lab = CalibratingLab(rollout)
    lab.tell(e.RolloutStarted(plan.digest, NEW, "1.1.0"))
    under_way: set[str] = set()
    lab.beats(2000)
    for step in lab.steps:
        if isinstance(step, CalibrateDevice):
            near = {name for name in under_way if name[0] == step.device[0]}
            assert not near, f"{step.device} beside {near}"
            under_way.add(step.device)
        elif isinstance(step, ce.DeviceCalibrated):
            under_way.discard(step.device)
    assert not under_way


def test_devices_that_calibrate_themselves_do_so_together() -> None:
    plan = calibrated_plan(DEVICE)
    lab = begun(plan)
    lab.beats(2000)
    asked = [i for i, s in enumerate(lab.steps) if isinstance(s, CalibrateDevice)]
    assert any(b == a + 1 for a, b in pairwise(asked))


def test_what_cannot_be_calibrated_is_not_touched() -> None:
    plan = calibrated_plan()
    lab = CalibratingLab(Rollout(plan))
    lab.script[("r1", CalibrateDevice)] = [ce.CalibrationFailed("r1", "not done after 300 s")]
    lab.tell(e.RolloutStarted(plan.digest, NEW, "1.1.0"))
    lab.beats(2000)
    assert lab.rollout.state.ended is Ending.REFUSED
    (refused,) = (s for s in lab.steps if isinstance(s, e.DeviceRefused))
    assert refused.why == "not calibrated: not done after 300 s"
    assert lab.of("r1", UploadImage, CalibrateDevice) == [CalibrateDevice]


def test_a_calibration_that_fails_on_trial_takes_the_firmware_back_and_is_done_again() -> None:
    plan = calibrated_plan()
    lab = CalibratingLab(Rollout(plan))
    ok = ce.DeviceCalibrated("r1", 0.0)
    lab.script[("r1", CalibrateDevice)] = [ok, ce.CalibrationFailed("r1", "it forgot the run")]
    lab.tell(e.RolloutStarted(plan.digest, NEW, "1.1.0"))
    lab.beats(2000)
    assert lab.states()["r1"] == "rolled-back"
    (expired,) = (s for s in lab.steps if isinstance(s, e.HoldExpired))
    assert expired.why == "not calibrated: it forgot the run"
    after = (TestImage, CalibrateDevice, RollBackDevice, e.RolloutEnded)
    last = [type(s) for s in lab.steps if isinstance(s, after)]
    assert last == [
        CalibrateDevice, TestImage, CalibrateDevice, RollBackDevice, CalibrateDevice,
        e.RolloutEnded,
    ]  # fmt: skip


def test_a_device_that_went_back_before_it_was_calibrated_keeps_its_calibration() -> None:
    lab = begun(calibrated_plan(settle_s=1000))
    lab.beats(50)
    lab.tell(e.AbortRequested("anna", "no time"))
    assert lab.states()["r1"] == "rolled-back"
    assert lab.of("r1", CalibrateDevice, RollBackDevice) == [CalibrateDevice, RollBackDevice]
    assert lab.rollout.state.ended is Ending.ABORTED


def test_a_calibration_of_the_last_good_image_that_fails_ends_nothing() -> None:
    plan = calibrated_plan()
    lab = CalibratingLab(Rollout(plan))
    fine = [ce.DeviceCalibrated("r1", 0.0), ce.DeviceCalibrated("r1", 0.0)]
    lab.script[("r1", CalibrateDevice)] = [*fine, ce.CalibrationFailed("r1", "the bench is off")]
    lab.tell(e.RolloutStarted(plan.digest, NEW, "1.1.0"))
    lab.beats(20)
    lab.tell(e.AbortRequested("anna", "no time"))
    assert lab.states()["r1"] == "rolled-back"
    assert lab.of("r1", CalibrateDevice) == [CalibrateDevice] * 3
    assert lab.rollout.state.ended is Ending.ABORTED


def test_a_resume_asks_again_for_a_calibration_without_an_outcome() -> None:
    plan = calibrated_plan()
    lab = begun(plan)
    rollout = Rollout(plan)
    for step in lab.steps:
        rollout.state.apply(step)
        if isinstance(step, CalibrateDevice):
            break
    rollout.state.restart()
    rollout.state.apply(e.RolloutResumed("", "anna"))
    (again,) = (s for s in rollout.decide() if isinstance(s, CalibrateDevice))
    assert again.device == "r1"
    assert again.why == "before its baseline"
    assert not again.asleep


def test_baselines_begin_anew_with_a_calibration() -> None:
    """Samples of another calibration, of the device or of a control, are of no use."""
    plan = calibrated_plan()
    metric = MetricContract("snr", "dB", Worse.LOWER, 0.5, 1.5)
    judged = replace(EVIDENCE, metrics=(metric,), baseline_samples=20, min_samples=20, soak_s=900)
    devices = {n: replace(d, evidence=judged) for n, d in plan.devices.items()}
    plan = replace(plan, devices=devices)
    rollout = Rollout(plan)
    rollout.receive(e.RolloutStarted(plan.digest, NEW, "1.1.0"))
    rollout.receive(e.DeviceChecked("r1", plan.devices["r1"].running_hash, "1.0.0"))
    cohort = rollout.state.cohorts.of("r1")
    assert cohort is not None
    assert rollout.state.devices["r1"].intent == CalibrateDevice.kind
    for i in range(25):
        for name in ("r1", *cohort.rule.controls):
            sample = MetricSample(30.0 * i, {"snr": 25.0 + 0.1 * (i % 3)}, i)
            rollout.receive(e.ReadingTaken(name, sample))
    assert cohort.baseline_count("r1", "snr") > 20
    rollout.receive(ce.DeviceCalibrated("r1", 760.0))
    assert cohort.baseline_count("r1", "snr") == 0
    assert not cohort.frozen
