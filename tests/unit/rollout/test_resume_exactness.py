"""A resume goes on exactly: every record and reading folded anew leaves the same tests.

Cut between any two moments, fold as the journal's home does, restart, and let the same lab go on:
streams, pools, trials, looks and the evidence of every verdict are those of a run nobody cut.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from cryofw.health import Heartbeat, reading_from_json, reading_to_json
from cryofw.rollout import Ending, Plan, Rollout, Step
from cryofw.rollout import cryostat_events as ce
from cryofw.rollout import events as e
from cryofw.rollout.progress import RESET_USER
from tests.unit.rollout.measured_lab import (
    EVERY_S,
    EVIDENCE,
    MeasuredLab,
    measured,
    measured_plan,
)
from tests.unit.rollout.perfect_lab import OLD

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SHORT = replace(EVIDENCE, soak_s=400, min_samples=15)
WAVES = (("a1", "a2"), ("a3", "b1"), ("a4", "b2"))
PLAN = measured_plan(evidence=SHORT, fleet=WAVES)
GUARDED = measured_plan(evidence=SHORT, guarded=True, fleet=WAVES)


def worse(lab: MeasuredLab) -> None:
    lab.worse = dict.fromkeys(PLAN.devices, 0.25)


def patchy(lab: MeasuredLab) -> None:
    lab.patchy = 0.2


def lease_runs_out(lab: MeasuredLab) -> None:
    lab.tell(e.ReadingTaken("a1", Heartbeat(lab.now_s + 1, OLD, 8, 100, RESET_USER)))


def warms_up(lab: MeasuredLab) -> None:
    lab.kelvin = {"cryo-a": 4.3}


def fridge_leaves(lab: MeasuredLab) -> None:
    lab.fridge = {"cryo-a": "warm-up"}


def hub_dies(lab: MeasuredLab) -> None:
    lab.silent = set(PLAN.devices)


def all_is_well(lab: MeasuredLab) -> None:
    lab.kelvin.clear()
    lab.fridge.clear()
    lab.silent.clear()


@dataclass(frozen=True)
class Story:
    """What happens when; and how it ends."""

    ending: Ending
    at_s: Mapping[float, Callable[[MeasuredLab], None]]
    plan: Plan = PLAN


STORIES = {
    "healthy": Story(Ending.CONFIRMED, {}),
    "patchy": Story(Ending.CONFIRMED, {0: patchy}),
    "regressed": Story(Ending.ROLLED_BACK, {0: worse}),
    "retried": Story(Ending.CONFIRMED, {800: lease_runs_out}),
    "void": Story(
        Ending.ROLLED_BACK, {750: warms_up, 800: fridge_leaves, 900: all_is_well}, GUARDED
    ),
    "hub": Story(Ending.CONFIRMED, {750: hub_dies, 900: all_is_well}),
}


def play(lab: MeasuredLab, story: Story, cuts: list[int] | None = None) -> None:
    """Tick by tick to the end; the lengths of the tape between ticks."""
    while not lab.rollout.at_rest:
        assert lab.now_s < 20_000
        if lab.now_s in story.at_s:
            story.at_s[lab.now_s](lab)
        lab.run(EVERY_S)
        if cuts is not None:
            cuts.append(len(lab.tape))


def numbers(rollout: Rollout) -> dict[str, Any]:
    """All that the statistics know."""
    found: dict[str, Any] = {}
    for name, progress in rollout.state.devices.items():
        heartbeats = progress.watch.heartbeats
        evidence = heartbeats.evidence()
        del evidence["boot"]  # the next heartbeat names it again
        found[name] = [progress.trial, heartbeats.bet.state(), evidence]
        cohort = rollout.state.cohorts.of(name)
        if cohort is not None:
            found[name] += [
                cohort.rule.name,
                cohort.rule.controls,
                {m: s.state() for m, s in cohort.streams(name).items()},
                {m: (p.count, p.test.state(), p.finding()) for m, p in cohort.pools.items()},
                cohort.evidence(),
            ]
    return found


def verdicts(lab: MeasuredLab) -> list[Step]:
    return [s for s in lab.steps if isinstance(s, e.VerdictReached | e.CohortFrozen)]


def folded(plan: Plan, tape: list[Step]) -> Rollout:
    """As `Home.fold_rollout`: records and readings; what the guards read is not kept."""
    rollout = Rollout(plan)
    for step in tape:
        match step:
            case e.ReadingTaken():
                line = json.dumps(reading_to_json(step.reading), allow_nan=False)
                reading = reading_from_json(json.loads(line))
                rollout.state.apply(e.ReadingTaken(step.device, reading))
            case ce.CryostatObserved():
                pass
            case _:
                rollout.state.apply(step)
    rollout.state.restart()
    return rollout


@pytest.mark.parametrize("name", list(STORIES))
def test_cut_anywhere_it_goes_on_with_the_same_numbers(name: str) -> None:
    story, cuts = STORIES[name], list[int]()
    live = measured(story.plan)
    play(live, story, cuts)
    assert live.rollout.state.ended is story.ending

    ticks = {*range(20, len(cuts) - 1, len(cuts) // 7), 78, 83}
    for tick in sorted(tick for tick in ticks if tick < len(cuts) - 1):
        tape = live.tape[: cuts[tick]]
        whole = Rollout(story.plan)
        for step in tape:
            whole.state.apply(step)
        lab = MeasuredLab(folded(story.plan, tape), now_s=(tick + 1) * EVERY_S)
        assert numbers(lab.rollout) == numbers(whole), f"folded after tick {tick}"
        lab.steps = [s for s in tape if not isinstance(s, e.ReadingTaken)]
        for at_s, act in story.at_s.items():
            if at_s < lab.now_s and act is not lease_runs_out:  # of that the reading tells
                act(lab)
        lab.tell(e.RolloutResumed())
        play(lab, story)
        assert lab.rollout.state.ended is story.ending
        # After a break nothing is known about a cryostat, so a thaw takes longer.
        if story.plan is PLAN:
            assert numbers(lab.rollout) == numbers(live.rollout), f"cut after tick {tick}"
            assert verdicts(lab) == verdicts(live)


def test_a_fold_of_the_whole_tape_is_the_live_rollout() -> None:
    live = measured(PLAN)
    play(live, STORIES["regressed"])
    assert numbers(folded(PLAN, live.tape)) == numbers(live.rollout)
    assert [s.why for s in live.of(e.RolloutEnded) if isinstance(s, e.RolloutEnded)]
