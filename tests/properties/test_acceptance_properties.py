"""Whatever people say: a confirm stands on a verdict, or on who accepted a held device."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from cryofw.health import Heartbeat
from cryofw.rollout import ConfirmImage, DeviceState, Rollout
from cryofw.rollout import events as e
from cryofw.rollout import operator_events as oe
from tests.unit.rollout.perfect_lab import NEW, OLD, Lab, a_plan

NAMES = ("r1", "a1", "a2", "b1", "b2")
ACTS = st.one_of(
    st.tuples(st.sampled_from(["accept", "undecided", "fail", "revert"]), st.sampled_from(NAMES)),
    st.tuples(st.sampled_from(["beat", "silence", "pause", "resume", "refuse"]), st.just("")),
)


@dataclass
class Witness:
    """Reads along, with rules of its own: who may be confirmed, and because of whom."""

    verdicts: dict[str, str] = field(default_factory=dict)
    accepted: dict[str, str] = field(default_factory=dict)
    confirmed_by: dict[str, str] = field(default_factory=dict)

    def read(self, step: object) -> None:
        match step:
            case e.TestBooted():
                self.verdicts.pop(step.device, None)
                self.accepted.pop(step.device, None)
            case e.VerdictReached():
                self.verdicts[step.device] = step.outcome
                self.accepted.pop(step.device, None)
            case oe.DeviceAccepted() if self.verdicts.get(step.device) == "inconclusive":
                self.accepted[step.device] = step.by
            case ConfirmImage():
                passed = self.verdicts.get(step.device) == "passed"
                assert passed or step.device in self.accepted, f"{step.device} was confirmed"
                self.confirmed_by[step.device] = "" if passed else self.accepted[step.device]
            case e.GatePassed():
                told = step.evidence.get("accepted", {})
                assert isinstance(told, dict)
                for name, who in told.items():
                    assert self.confirmed_by[name] == who
            case _:
                pass


def do(lab: Lab, act: str, name: str) -> None:
    """One act, if it can happen now; what people say can always be said."""
    state = lab.rollout.state
    progress = state.devices.get(name)
    match act:
        case "accept":
            lab.tell(oe.DeviceAccepted(name, "anna@lab", "the scope says so"))
        case "undecided" | "fail" if progress and progress.state is DeviceState.WATCHED:
            if not (progress.intent or progress.failure or progress.doom):
                outcome = "inconclusive" if act == "undecided" else "failed"
                lab.tell(e.VerdictReached(name, outcome, act, {"heartbeats": {}}, lab.now_s))
        case "revert" if progress and progress.state is DeviceState.HELD and not progress.intent:
            lab.tell(e.ReadingTaken(name, Heartbeat(lab.now_s, OLD, 9, 1000)))
        case "beat":
            lab.beats(20)
        case "silence":
            lab.beats(20, silent=NAMES)
        case "pause" if not lab.rollout.at_rest:
            lab.tell(e.PauseRequested("anna@lab"))
        case "resume" if state.paused:
            lab.tell(e.RolloutResumed("", "anna@lab"))
        case "refuse":
            for each in NAMES:
                lab.script[(each, ConfirmImage)] = [e.ConfirmRefused(each, "no answer")]
        case _:
            pass


@settings(max_examples=80, deadline=None)
@given(st.lists(ACTS, max_size=40))
def test_a_confirm_stands_on_a_verdict_or_on_a_person(acts: list[tuple[str, str]]) -> None:
    plan = a_plan()
    lab = Lab(Rollout(plan))
    lab.tell(e.RolloutStarted(plan.digest, NEW, "1.1.0"))
    for act, name in acts:
        if lab.rollout.state.ended is not None:
            break
        do(lab, act, name)
    witness = Witness()
    for step in lab.steps:
        witness.read(step)
    for name, progress in lab.rollout.state.devices.items():
        if progress.state is DeviceState.CONFIRMED:
            assert progress.accepted == witness.confirmed_by[name]
        elif progress.accepted:
            assert progress.state is DeviceState.HELD


def test_the_acts_reach_a_confirm_by_a_person() -> None:
    """What is proven above is not proven of nothing."""
    lab = Lab(Rollout(a_plan()))
    lab.tell(e.RolloutStarted("p", NEW, "1.1.0"))
    do(lab, "undecided", "r1")
    do(lab, "accept", "r1")
    assert lab.rollout.state.devices["r1"].accepted == "anna@lab"
    assert lab.rollout.state.devices["r1"].state is DeviceState.CONFIRMED
