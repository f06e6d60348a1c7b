"""What a rollout keeps count of is always what a look at every device says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cryofw.fleet import Reach
from cryofw.rollout import (
    CheckDevice,
    Command,
    ConfirmImage,
    Event,
    Plan,
    RollBackDevice,
    TestImage,
    UploadImage,
)
from cryofw.rollout import events as e
from cryofw.rollout.streams import open_ledger
from tests.unit.rollout.measured_lab import EVIDENCE, MeasuredLab, measured_plan
from tests.unit.rollout.perfect_lab import NEW, OLD
from tests.unit.rollout.whole_scan import ScannedRollout

SHORT = replace(EVIDENCE, soak_s=250, deadline_s=100, baseline_samples=30, min_samples=12)
STAGES: tuple[dict[str, Any], ...] = (
    {"rig": (("r1",),), "fleet": (("a1", "a2"), ("a3",))},
    {"rig": (("r1", "a4"),), "fleet": (("a1", "b1"), ("a2", "b2", "b3"))},
    {"canary": (("a1",), ("a2",)), "near": (("a3", "b1"), ("b2",)), "far": (("c1",), ("c2",))},
)
NAMES = ("r1", "a1", "a2", "a3", "a4", "b1", "b2", "b3", "c1", "c2")


def plan_of(stages: int, reach: Reach, *, guarded: bool) -> Plan:
    """A plan of whose evidence something can be decided."""
    plan = measured_plan(evidence=SHORT, reach=reach, guarded=guarded, **STAGES[stages])
    return replace(plan, ledger=open_ledger(plan.stages, plan.devices, 0.2))


plans = st.builds(
    plan_of, st.integers(0, 2), st.sampled_from(list(Reach)), guarded=st.booleans()
)  # fmt: skip

outcomes: dict[type[Command], list[st.SearchStrategy[Event]]] = {
    CheckDevice: [
        st.builds(e.DeviceRefused, st.just(""), st.just("another one"), st.just("")),
        st.builds(e.DeviceSkipped, st.just(""), st.just(NEW)),
        st.builds(e.DeviceUnreachable, st.just(""), st.just("no answer")),
    ],
    UploadImage: [
        st.builds(e.UploadFailed, st.just(""), st.just("it does not fit")),
        st.builds(e.DeviceUnreachable, st.just(""), st.just("gone"), st.just(True)),
    ],
    TestImage: [
        st.builds(e.DeviceReverted, st.just(""), st.just(OLD), st.just("hm"), st.booleans()),
        st.builds(e.DeviceStuck, st.just(""), st.just("silent")),
    ],
    ConfirmImage: [st.builds(e.ConfirmRefused, st.just(""), st.just("another boot"))],
    RollBackDevice: [st.builds(e.DeviceStuck, st.just(""), st.just("silent"))],
}
mishap = st.sampled_from(list(outcomes)).flatmap(
    lambda kind: st.tuples(st.sampled_from(NAMES), st.just(kind), st.one_of(outcomes[kind]))
)
names = st.sampled_from(NAMES)
moment = st.one_of(
    st.tuples(st.just("silent"), names),
    st.tuples(st.just("blind"), names),
    st.tuples(st.just("worse"), names),
    st.tuples(st.just("warm"), st.sampled_from(["cryo-r", "cryo-a", "cryo-b"])),
    st.tuples(st.just("calm"), st.just("")),
    st.tuples(st.just("clear"), names),
    st.tuples(st.sampled_from(["pause", "resume", "abort", "back", "stop"]), st.just("")),
)


def with_device(event: Any, name: str) -> Event:
    """The outcome, of this device."""
    told: Event = replace(event, device=name)
    return told


def let_happen(lab: MeasuredLab, what: str, where: str) -> None:
    """Something happens in the lab, or a person says something."""
    match what:
        case "silent" | "blind":
            getattr(lab, what).add(where)
        case "worse":
            lab.worse[where] = 3.0
        case "warm":
            lab.kelvin[where] = 4.5
        case "calm":
            lab.silent.clear()
            lab.blind.clear()
            lab.kelvin.clear()
        case "clear" if where in lab.rollout.state.devices:
            lab.tell(e.QuarantineCleared(where, "anna"))
        case "pause":
            lab.tell(e.PauseRequested("anna"))
        case "resume" if lab.rollout.state.ended is None:
            lab.tell(e.RolloutResumed("", "anna"))
        case "abort" if lab.rollout.state.ended is None:
            lab.tell(e.AbortRequested("anna"))
        case "back":
            lab.tell(e.RollbackRequested("anna"))
        case "stop" if lab.rollout.state.ended is None:
            lab.tell(e.StopRequested("anna"))


@given(
    plans,
    st.integers(1, 30),
    st.lists(mishap, max_size=3),
    st.lists(st.tuples(st.integers(1, 90), moment), max_size=6),
)
@settings(max_examples=25, deadline=None)
def test_what_is_kept_is_what_all_devices_say(
    plan: Plan,
    seed: int,
    mishaps: list[tuple[str, type[Command], Event]],
    moments: list[tuple[int, tuple[str, str]]],
) -> None:
    lab = MeasuredLab(ScannedRollout(plan), seed=seed, noise=0.02)
    for name, kind, event in mishaps:
        lab.script.setdefault((name, kind), []).append(with_device(event, name))
    lab.tell(e.RolloutStarted(plan.digest, NEW, "1.1.0"))
    for beats, (what, where) in moments:
        lab.run(10.0 * beats)
        let_happen(lab, what, where)
    lab.run(6000)


def test_a_whole_rollout_is_gone_through() -> None:
    plan = measured_plan(guarded=True, **STAGES[1])
    lab = MeasuredLab(ScannedRollout(plan))
    lab.tell(e.RolloutStarted(plan.digest, NEW, "1.1.0"))
    lab.run(20_000)
    assert set(lab.states().values()) == {"confirmed"}


def test_controls_elsewhere_are_let_go_with_the_device_that_they_were_for() -> None:
    stages: dict[str, Any] = {
        "rig": (("r1",),),
        "near": (("a1",), ("a2",)),
        "far": (("c1",), ("c2",)),
    }
    plan = measured_plan(reach=Reach.DEVICE, **stages)
    lab = MeasuredLab(ScannedRollout(plan))
    lab.tell(e.RolloutStarted(plan.digest, NEW, "1.1.0"))
    lab.until(e.TestBooted, "a1")
    controls = set(lab.rollout.state.cohorts.peers("r1"))
    assert controls & {"c1", "c2"} <= lab.rollout.watched()
    lab.worse["r1"] = 3.0
    lab.until(e.DeviceRolledBack, "r1")
    assert not {"c1", "c2"} & lab.rollout.watched()
