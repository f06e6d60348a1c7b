"""When coefficients are read, given, kept and taken back, beside what happens to the firmware."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cryofw.rollout import DeviceState, Ending
from cryofw.rollout import coefficient_events as coe
from cryofw.rollout import commands as c
from cryofw.rollout import events as e
from cryofw.rollout.progress import RESET_USER
from tests.unit.rollout.pair_lab import BEFORE, DEVICE, NEW, OLD, VALUES, PairLab, a_plan

if TYPE_CHECKING:
    from cryofw.rollout import Event

WHY = "its storage is full"


def failed(_lab: PairLab) -> Event:
    return coe.CoefficientsFailed(DEVICE, WHY)


def deferred(_lab: PairLab) -> Event:
    return coe.CoefficientsDeferred(DEVICE, "no answer")


def in_flight(_lab: PairLab) -> None:
    return None


def test_a_good_rollout_in_its_order() -> None:
    lab = PairLab()
    lab.start()
    lab.beat(20)
    assert lab.state.ended is Ending.CONFIRMED
    device = [kind for kind in lab.kinds if not kind.startswith(("rollout", "stage", "wave"))]
    assert device == [
        "device-check-requested",
        "device-checked",
        "baseline-taken",
        "image-upload-requested",
        "image-uploaded",
        "coefficients-read-requested",
        "coefficients-read",
        "image-test-requested",
        "test-booted",
        "coefficients-apply-requested",
        "coefficients-applied",
        "verdict-reached",
        "image-confirm-requested",
        "image-confirmed",
        "coefficients-save-requested",
        "coefficients-saved",
        "gate-passed",
    ]
    [apply] = lab.given(c.ApplyCoefficients)
    [save] = lab.given(c.SaveCoefficients)
    assert apply == c.ApplyCoefficients(DEVICE, NEW, VALUES, 7)
    assert save == c.SaveCoefficients(DEVICE, NEW, VALUES)


def test_the_soak_begins_with_the_coefficients() -> None:
    lab = PairLab(answers={c.ApplyCoefficients: in_flight})
    lab.start()
    assert DEVICE not in lab.rollout.watched()
    assert not lab.rollout.measured(DEVICE)
    lab.now_s += 1000
    lab.tell(coe.CoefficientsApplied(DEVICE, lab.now_s))
    assert lab.rollout.measured(DEVICE)
    lab.beat(3)
    assert "verdict-reached" not in lab.kinds
    lab.beat(10)
    assert lab.state.ended is Ending.CONFIRMED


def test_a_confirmed_device_is_not_done_before_its_pair_is_kept() -> None:
    lab = PairLab(answers={c.SaveCoefficients: in_flight})
    lab.start()
    lab.beat(20)
    assert lab.device.state is DeviceState.CONFIRMED
    assert lab.device.torn
    assert not lab.device.done
    assert "gate-passed" not in lab.kinds
    lab.tell(coe.CoefficientsSaved(DEVICE))
    assert lab.state.ended is Ending.CONFIRMED


@pytest.mark.parametrize(
    ("command", "back"), [(c.ApplyCoefficients, {}), (c.SaveCoefficients, BEFORE)]
)
def test_a_failure_takes_the_pair_back(
    command: type[c.Command], back: dict[str, str | None]
) -> None:
    lab = PairLab(answers={command: failed})
    lab.start()
    lab.beat(20)
    assert lab.state.ended is Ending.ROLLED_BACK
    assert lab.device.state is DeviceState.ROLLED_BACK
    assert lab.given(c.RollBackDevice) == [c.RollBackDevice(DEVICE, OLD, WHY, back)]
    assert WHY in lab.state.why


def test_coefficients_that_cannot_be_read_stop_it_before_the_test_boot() -> None:
    lab = PairLab(answers={c.ReadCoefficients: failed})
    lab.start()
    assert lab.device.state is DeviceState.ABANDONED
    assert not lab.given(c.TestImage)
    assert not lab.given(c.RollBackDevice)


def test_what_is_deferred_waits_for_a_heartbeat_and_not_for_ever() -> None:
    lab = PairLab(answers={c.ApplyCoefficients: deferred})
    lab.start()
    assert len(lab.given(c.ApplyCoefficients)) == 1
    lab.beat()
    assert len(lab.given(c.ApplyCoefficients)) == 2
    lab.beat(10)
    assert len(lab.given(c.ApplyCoefficients)) == 3
    assert lab.device.state is DeviceState.ROLLED_BACK
    assert "could not be written in 3 tries: no answer" in lab.device.doom


def test_a_save_that_is_deferred_is_tried_again() -> None:
    answers = iter([deferred, kept])

    def in_turn(lab: PairLab) -> Event:
        return next(answers)(lab)

    lab = PairLab(answers={c.SaveCoefficients: in_turn})
    lab.start()
    lab.beat(20)
    assert len(lab.given(c.SaveCoefficients)) == 2
    assert lab.state.ended is Ending.CONFIRMED


def kept(_lab: PairLab) -> Event:
    return coe.CoefficientsSaved(DEVICE)


def test_a_pause_waits_for_the_pair() -> None:
    lab = PairLab(answers={c.ConfirmImage: in_flight})
    lab.start()
    lab.beat(20)
    lab.tell(e.PauseRequested("anna"))
    lab.tell(e.ImageConfirmed(DEVICE, NEW, 7))
    assert lab.kinds[-3:] == ["coefficients-save-requested", "coefficients-saved", "rollout-paused"]


def test_an_abort_keeps_what_is_confirmed_a_pair() -> None:
    lab = PairLab(answers={c.ConfirmImage: in_flight})
    lab.start()
    lab.beat(20)
    lab.tell(e.ImageConfirmed(DEVICE, NEW, 7))
    lab.tell(e.AbortRequested("anna"))
    assert lab.device.state is DeviceState.CONFIRMED
    assert not lab.device.torn
    assert lab.state.ended is not None


def test_a_stop_names_a_torn_pair() -> None:
    lab = PairLab(answers={c.SaveCoefficients: in_flight})
    lab.start()
    lab.beat(20)
    lab.tell(e.StopRequested("anna"))
    lab.tell(coe.CoefficientsDeferred(DEVICE, "no answer"))
    [named] = [step for step in lab.steps if isinstance(step, e.DeviceQuarantined)]
    assert "torn pair" in named.why


def test_a_rollback_after_the_end_names_what_it_writes() -> None:
    lab = PairLab()
    lab.start()
    lab.beat(20)
    lab.tell(e.RollbackRequested("anna", "the physicists say so"))
    [command] = lab.given(c.RollBackDevice)
    assert isinstance(command, c.RollBackDevice)
    assert command.coefficients == BEFORE
    assert lab.state.ended is Ending.ROLLED_BACK


def test_a_revert_in_the_test_boot_needs_nothing_over_smp() -> None:
    lab = PairLab()
    lab.start()
    lab.beat(2)
    lab.beat(5, image=OLD, boot=8)
    assert not lab.given(c.RestoreCoefficients)
    assert all(
        isinstance(command, c.RollBackDevice) and command.coefficients == {}
        for command in lab.given(c.RollBackDevice)
    )
    assert lab.state.ended is Ending.ROLLED_BACK


def test_what_a_command_wrote_is_restored_before_another_attempt() -> None:
    lab = PairLab(a_plan(by_command=True), answers={c.RestoreCoefficients: in_flight})
    lab.start()
    lab.beat(2)
    lab.beat(1, image=OLD, boot=8, cause=RESET_USER)  # its lease ran out
    assert lab.device.state is DeviceState.SELF_REVERTED
    assert lab.given(c.RestoreCoefficients) == [c.RestoreCoefficients(DEVICE, OLD, BEFORE)]
    assert not lab.device.done
    assert "retry-granted" not in lab.kinds
    lab.tell(coe.CoefficientsRestored(DEVICE))
    assert "retry-granted" in lab.kinds


def test_a_pair_that_does_not_come_back_is_stuck() -> None:
    lab = PairLab(a_plan(by_command=True))
    lab.answers[c.RestoreCoefficients] = lambda _lab: e.DeviceStuck(DEVICE, "the bridge is off")
    lab.start()
    lab.beat(2)
    lab.beat(1, image=OLD, boot=8, cause=RESET_USER)
    assert lab.device.state is DeviceState.STUCK
    assert lab.device.quarantined
    assert lab.state.ended is Ending.STUCK


def test_what_is_taken_back_in_a_common_silence_is_over() -> None:
    lab = PairLab()
    lab.start()
    lab.tell(e.CommonCauseFound(DEVICE, "silent together with c1-b", lab.now_s))
    lab.tell(e.HoldExpired(DEVICE, "held for 120 s"))
    assert lab.device.state is DeviceState.ROLLED_BACK
    assert lab.device.done
    assert lab.state.ended is Ending.ROLLED_BACK


@pytest.mark.parametrize("by_command", [False, True])
def test_a_resume_at_any_point_comes_to_the_same_end(by_command: bool) -> None:
    whole = PairLab(a_plan(by_command=by_command))
    whole.start()
    whole.beat(20)
    for cut in range(1, len(whole.steps)):
        lab = PairLab(whole.plan)
        for step in whole.steps[:cut]:
            lab.state.apply(step)
            lab.steps.append(step)
        if lab.state.ended:
            continue
        lab.state.restart()
        lab.now_s = 5000.0
        lab.tell(e.RolloutResumed(by="anna"))
        lab.beat(40)
        assert lab.state.ended is Ending.CONFIRMED, (cut, lab.kinds[cut:])
        assert not lab.device.torn
        assert len(lab.given(c.ReadCoefficients)) <= 2
        assert lab.device.pair.before == BEFORE
