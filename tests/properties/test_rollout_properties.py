"""Whatever readings come: nothing passes on too little, and disorder changes no decision."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cryofw.health import Heartbeat, HeartbeatMissed, MetricSample
from cryofw.rollout import Ending, Rollout
from cryofw.rollout import events as e
from cryofw.rollout.streams import open_ledger
from tests.unit.rollout.measured_lab import EVERY_S, EVIDENCE, MeasuredLab, measured_plan
from tests.unit.rollout.perfect_lab import NEW, OLD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryofw.health import Reading

GUARD, BASELINE = 12, 40
SHORT = replace(EVIDENCE, soak_s=250, deadline_s=100, baseline_samples=BASELINE, min_samples=GUARD)
_PLAN = measured_plan(evidence=SHORT, fleet=(("a1",), ("a2",)))
# So short a contract sees enough only with an alpha that no lab would give it.
PLAN = replace(_PLAN, ledger=open_ledger(_PLAN.stages, _PLAN.devices, 0.2))

ODD = (math.nan, math.inf, -math.inf, 1e300, -1e300)


@dataclass
class OddLab(MeasuredLab):
    """Its readings are drawn: what a sample of a device is worth, and what comes again.

    Attributes:
        kinds: what each sample is in turn, over and over: good, missing, odd, or none at all.
        again: what is told again after each reading, in turn; see `echo`.
        fresh: device to the times of its samples that count, since its test boot.
        before: the same from before it.
    """

    kinds: Sequence[str] = ("good",)
    again: Sequence[str] = ()
    fresh: dict[str, set[float]] = field(default_factory=dict)
    before: dict[str, set[float]] = field(default_factory=dict)
    told: int = 0

    def sample(self, name: str) -> MetricSample:
        reading = super().sample(name)
        self.told += 1
        kind = self.kinds[self.told % len(self.kinds)]
        if kind == "good":
            booted = self.rollout.state.devices[name].running_hash == NEW
            counts = self.fresh if booted else self.before
            counts.setdefault(name, set()).add(self.now_s)
            return reading
        values = {} if kind == "missing" else {"snr": ODD[self.told % len(ODD)]}
        return MetricSample(self.now_s, values)

    def tell(self, event: e.Event) -> None:
        super().tell(event)
        if isinstance(event, e.ReadingTaken) and self.again:
            for reading in self.echo(event.reading, self.again[self.told % len(self.again)]):
                steps = self.rollout.receive(e.ReadingTaken(event.device, reading))
                assert steps == [], f"a late reading decided: {reading} {steps}"

    def echo(self, last: Reading, how: str) -> list[Reading]:
        """Readings that come late or twice: not after the last one of their kind."""
        early_s = max(0.0, last.t_s - EVERY_S * 1.5)
        match how, last:
            case "twice", _:
                return [last, last]
            case "late", MetricSample():
                return [MetricSample(early_s, {"snr": -50.0}), MetricSample(0.0, {"snr": 80.0})]
            case "other", MetricSample():
                return [MetricSample(last.t_s, {"snr": -50.0}), MetricSample(last.t_s, {})]
            case "late", _:
                return [HeartbeatMissed(early_s, "late"), Heartbeat(early_s, OLD, 9, 5)]
            case "other", _:
                return [HeartbeatMissed(last.t_s, "twice"), Heartbeat(last.t_s, "ff" * 32, 9, 5)]
            case _:
                return []


def run(
    kinds: Sequence[str] = ("good",),
    again: Sequence[str] = (),
    seconds: float = 3000,
    *,
    seed: int = 1,
    worse: float = 0.0,
) -> OddLab:
    lab = OddLab(Rollout(PLAN), kinds=kinds, again=again, seed=seed, worse={"a1": worse})
    lab.tell(e.RolloutStarted(PLAN.digest, NEW, "1.1.0"))
    lab.run(seconds)
    return lab


def numbers_of(verdict: e.VerdictReached, *path: str) -> Any:
    found: Any = verdict.evidence
    for name in path:
        found = found[name]
    return found


def passed(lab: MeasuredLab) -> list[e.VerdictReached]:
    return [s for s in lab.steps if isinstance(s, e.VerdictReached) and s.outcome == "passed"]


kinds = st.lists(
    st.sampled_from(["good", "good", "good", "missing", "odd"]), min_size=1, max_size=9
)
echoes = st.lists(st.sampled_from(["", "twice", "late", "other"]), min_size=1, max_size=7)


def test_the_short_contract_lets_good_firmware_pass() -> None:
    lab = run()
    assert lab.rollout.state.ended is Ending.CONFIRMED
    assert len(passed(lab)) == 2


@given(kinds, echoes, st.integers(1, 30))
@settings(max_examples=40, deadline=None)
def test_nothing_passes_with_fewer_samples_than_the_guards(
    kinds: list[str], again: list[str], seed: int
) -> None:
    lab = run(kinds, again, seed=seed)
    for verdict in passed(lab):
        name, numbers = verdict.device, numbers_of(verdict, "metrics", "snr")
        assert len(lab.fresh[name]) >= numbers["n_after"] >= GUARD
        assert len(lab.before[name]) >= numbers["n_before"] >= BASELINE
        assert numbers_of(verdict, "heartbeats", "beats") >= SHORT.min_beats
    confirmed = {s.device for s in lab.steps if isinstance(s, e.ImageConfirmed)}
    assert confirmed == {verdict.device for verdict in passed(lab)}


@given(st.sampled_from(["missing", "odd"]), st.integers(0, GUARD - 1), st.integers(1, 30))
@settings(max_examples=20, deadline=None)
def test_missing_data_never_passes(kind: str, good: int, seed: int) -> None:
    lab = run(seconds=0, seed=seed)
    while not lab.of(e.TestBooted, "a1") and not lab.rollout.at_rest:
        lab.run(EVERY_S)
    if lab.rollout.at_rest:
        return  # this seed's baseline was refused
    for _ in range(good):
        lab.run(EVERY_S)
    lab.kinds = [kind]
    lab.run(3000)
    assert not passed(lab)
    assert lab.states()["a1"] == "rolled-back"
    assert not lab.of(e.ImageConfirmed)


@given(kinds, echoes, st.sampled_from([0.0, 0.3, 1.5]), st.integers(1, 30))
@settings(max_examples=40, deadline=None)
def test_late_and_repeated_readings_change_nothing(
    kinds: list[str], again: list[str], worse: float, seed: int
) -> None:
    clean, dirty = (run(kinds, told, seed=seed, worse=worse) for told in ((), again))
    assert dirty.steps == clean.steps


NAMES = ("a1", "a2", "a3", "a4", "b1", "b2")
_SIX = measured_plan(evidence=SHORT, canary=(NAMES[:2],), fleet=(NAMES[2:],))
SIX = replace(_SIX, ledger=open_ledger(_SIX.stages, _SIX.devices, 0.2))


@given(st.permutations(NAMES), st.sampled_from([0.0, 1.5]), st.integers(1, 30))
@settings(max_examples=12, deadline=None)
def test_in_whatever_order_devices_report_the_end_is_the_same(
    order: list[str], worse: float, seed: int
) -> None:
    """Of one moment, once their baselines are fixed: a line may be slower than another."""

    def end(order: Sequence[str]) -> dict[str, str]:
        lab = MeasuredLab(Rollout(SIX), seed=seed, worse={"a2": worse})
        lab.tell(e.RolloutStarted(SIX.digest, NEW, "1.1.0", until="canary"))
        while not lab.rollout.at_rest:
            assert lab.now_s < 5000
            lab.now_s += EVERY_S
            by = order.index if lab.of(e.TestBooted) else NAMES.index
            for name in sorted(lab.rollout.watched(), key=by):
                if lab.rollout.beating(name):
                    lab.tell(e.ReadingTaken(name, lab.beat(name)))
                lab.tell(e.ReadingTaken(name, lab.sample(name)))
        return lab.states() | {"": lab.rollout.state.ended or lab.rollout.state.paused}

    assert end(order) == end(NAMES)
