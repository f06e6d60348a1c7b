"""A wave and its controls: samples in, by device and time; findings out, by device.

The lead of the statistics: it lines samples up on the planned grid, takes the controls' mean off,
and feeds the streams of each device and the pools of the wave.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from cryofw.health.blocks import shared_length
from cryofw.health.controls import ControlGroup
from cryofw.health.finding import MetricFinding, Shift
from cryofw.health.grid import SampleGrid
from cryofw.health.ledger import StreamKind
from cryofw.health.member import Member
from cryofw.health.sight import typical_blindness
from cryofw.health.stage_pool import StagePools
from cryofw.health.stream import CalibrationStream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.health.contract import MetricContract
    from cryofw.health.pool import Pool
    from cryofw.health.rule import CohortRule
    from cryofw.health.sight import Sight


class Cohort:
    """The calibration of one wave.

    All it knows follows from the readings and the calls in their order: a resume replays them and
    is where it was.

    Args:
        rule: the frozen rule.
        attempt: of the wave's devices, from 1; a later one has less of alpha.
        pools: of the stage that the wave is part of; the wave is the whole stage without them.
    """

    def __init__(self, rule: CohortRule, attempt: int = 1, pools: StagePools | None = None) -> None:
        self.rule, self.attempt = rule, attempt
        self._grid = SampleGrid(rule.every_s)
        self._frozen = False
        self._flushed = dict.fromkeys((m.name for m in rule.metrics), -1)
        self.groups = self._control_groups()
        self._members = {name: self._member(name) for name in rule.devices}
        self._pools = self._own_pools() if pools is None else pools
        self._shared: dict[str, int] = {}
        self._void = ""

    def _control_groups(self) -> dict[str, ControlGroup]:
        rule = self.rule
        return {
            m.name: ControlGroup(
                m, rule.controls, rule.baseline_samples, rule.planned_samples,
                self._seed(str(self.attempt), "controls", m.name),
            )
            for m in rule.metrics
        } if rule.controls else {}  # fmt: skip

    def restart(self) -> None:
        """Take the baselines anew, of the same devices against the same controls; not once frozen.

        One of them was calibrated, say: what it showed before is of another instrument.
        """
        assert not self._frozen, "a baseline is fixed before the first look"
        self._grid = SampleGrid(self.rule.every_s)
        self.groups = self._control_groups()
        for member in self._members.values():
            member.restart()

    def void(self, why: str) -> None:
        """The baselines hold no more, and it is too late for new ones: nothing is judged by them.

        A baseline is that of one device in one cooldown, with one firmware and one calibration.
        """
        self._void = self._void or why
        self._leave_pools()

    @property
    def is_void(self) -> bool:
        """Its baselines hold no more."""
        return bool(self._void)

    def _leave_pools(self) -> None:
        """What its differences say from here on is not about the firmware."""
        for device in self.rule.devices:
            self._pools.drop(device)

    def _own_pools(self) -> StagePools:
        rule, pooled = self.rule, len(self.rule.devices) > 1
        return StagePools(
            rule.metrics,
            rule.devices,
            rule.planned_samples,
            rule.ledger.threshold(StreamKind.POOLED, self.attempt) if pooled else math.inf,
            self._seed(str(self.attempt), "pool", ""),
        )

    @property
    def pools(self) -> Mapping[str, Pool]:
        """Metric name to the pool of its stage, once it is open."""
        return self._pools.open

    @property
    def frozen(self) -> bool:
        """Baselines, blocks and controls are fixed."""
        return self._frozen

    def _seed(self, *names: str) -> bytes:
        return self.rule.seed + "/".join((self.rule.name, *names)).encode()

    def _member(self, device: str) -> Member:
        streams = self._streams(device, self.attempt)
        return Member(streams, {m: {} for m in streams}, {m: deque() for m in streams})

    def _streams(self, device: str, attempt: int) -> dict[str, CalibrationStream]:
        rule = self.rule
        return {
            m.name: CalibrationStream(
                rule.stream_rule(device, m, attempt),
                self._seed(str(attempt), device, m.name),
                rule.controls,
            )
            for m in rule.metrics
        }

    # --- samples ------------------------------------------------------------------------

    def observe(self, device: str, t_s: float, values: Mapping[str, float]) -> None:
        """Take one sample of all metrics; late, repeated and missing values change nothing.

        Args:
            device: of the wave or of its controls; others are ignored.
            t_s: host time in seconds since 1970.
            values: metric name to value; what is absent or not finite is missing.
        """
        member = self._members.get(device)
        if member is None and device not in self.rule.controls:
            return
        slot = self._grid.slot(device, t_s)
        if slot is None:
            return
        if member is None:
            for name, group in self.groups.items():
                group.observe(device, slot, values.get(name, math.nan))
        else:
            self._take(device, member, slot, values)
        self._flush()

    def _take(self, device: str, member: Member, slot: int, values: Mapping[str, float]) -> None:
        if slot <= member.last:
            return
        member.last = slot
        for group in self.groups.values():
            group.reach(slot)
        if not self._frozen:
            member.keep(slot, values, 2 * self.rule.baseline_samples)
        elif member.begun is not None and slot > member.begun:
            for name, waiting in member.waiting.items():
                value = values.get(name, math.nan)
                if self.groups:
                    waiting.append((slot, value))
                else:
                    self._feed(device, member, name, slot, value, value)

    def _flush(self) -> None:
        """Feed what waited for its controls."""
        if not self.groups or not self._frozen:
            return
        for name, group in self.groups.items():
            closed = group.closed
            if closed == self._flushed[name]:
                continue
            self._flushed[name] = closed
            for device, member in self._members.items():
                waiting = member.waiting[name]
                while waiting and waiting[0][0] <= closed:
                    slot, value = waiting.popleft()
                    level = group.level(slot)
                    if level is None:
                        level = math.nan
                    self._feed(device, member, name, slot, value - level, value)
            if group.left:
                self._leave_pools()

    def _feed(
        self, device: str, member: Member, metric: str, slot: int, value: float, raw: float
    ) -> None:
        member.observe(metric, slot, value, raw)
        assert member.begun is not None
        self._pools.observe(device, metric, slot - member.begun - 1, value)

    # --- phases -------------------------------------------------------------------------

    @property
    def baseline_complete(self) -> bool:
        """Each device that takes part has its baseline, and controls to compare with."""
        return all(self.has_baseline(d) for d, m in self._members.items() if not m.out)

    def has_baseline(self, device: str) -> bool:
        """`device` has its baseline in every metric."""
        member, need = self._members[device], self.rule.baseline_samples
        if self._frozen:
            return all(stream.baseline_count >= need for stream in member.streams.values())
        return all(self.baseline_count(device, metric) >= need for metric in member.before)

    def baseline_count(self, device: str, metric: str) -> int:
        """Slots with a sample of the device, and of enough controls if there are any."""
        before = self._members[device].before[metric]
        group = self.groups.get(metric)
        return len(before) if group is None else sum(map(group.has_baseline, before))

    def freeze(self) -> None:
        """The first device is about to be touched: fix baselines, blocks, controls and pools."""
        if self._frozen:
            return
        self._frozen = True
        for group in self.groups.values():
            group.freeze()
        for metric in self.rule.metrics:
            name = metric.name
            baselines = {
                device: self._difference(member.before[name], metric)
                for device, member in self._members.items()
            }
            taking_part = [b for d, b in baselines.items() if not self._members[d].out]
            self._shared[name] = shared_length([list(b.values()) for b in taking_part])
            for device, before in baselines.items():
                self._members[device].arm(name, before, self._shared[name])
        for device, member in self._members.items():
            if not member.out and self.has_baseline(device):
                self._pools.enrol(device, member.before, self._shared)
            else:
                self._pools.drop(device)

    def _difference(self, before: Mapping[int, float], metric: MetricContract) -> dict[int, float]:
        group = self.groups.get(metric.name)
        if group is None:
            return dict(before)
        levels = {slot: group.level(slot) for slot in before}
        return {s: v - level for s, v in before.items() if (level := levels[s]) is not None}

    def begin(self, device: str, t_s: float) -> None:
        """`device` runs the new firmware and has settled: samples after `t_s` count."""
        self.freeze()
        member = self._members[device]
        member.begun = max(self._grid.before(t_s), member.last)

    def drop(self, device: str) -> None:
        """`device` takes no part (any more): nobody waits for its baseline, nor do the pools."""
        self._members[device].out = True
        self._pools.drop(device)

    def retry(self, device: str, attempt: int) -> None:
        """`device` is updated once more: new bets against the same baseline, at a later attempt.

        The baseline stays what it was before anything was touched. The pools go on without it.
        """
        self.freeze()
        self.drop(device)
        member = self._members[device]
        member.renew(self._streams(device, attempt), self._shared)

    # --- what it says -------------------------------------------------------------------

    def streams(self, device: str) -> Mapping[str, CalibrationStream]:
        """Metric name to the stream of a device."""
        return self._members[device].streams

    def look(self, device: str) -> None:
        """The soak of `device` is complete: take the planned look, if one is due."""
        self._members[device].look()

    def findings(self, device: str, *, soaked: bool = False) -> list[MetricFinding]:
        """What the metrics of `device` say; pools of the stage only when they found something.

        Args:
            device: of the wave.
            soaked: take the planned look before.
        """
        if soaked:
            self.look(device)
        member = self._members[device]
        found = []
        for finding in member.own_findings():
            # The absolute bound is compared with nobody.
            absolute = member.streams[finding.metric].regressed == "bound"
            found.append(finding if absolute else self._under_controls(finding.metric, finding))
        for name, pool in self.pools.items():
            if pool.regressed and pool.waits_for(device):
                found.append(self._under_controls(name, pool.finding()))
        return found

    def is_alarmed(self, device: str) -> bool:
        """A bet against the firmware was won: without one, no finding of `device` is a regression.

        Much less to do than for findings, and asked after each reading.
        """
        if any(stream.regressed for stream in self._members[device].streams.values()):
            return True
        return any(pool.regressed and pool.waits_for(device) for pool in self.pools.values())

    def refusal(self, device: str) -> str:
        """Why nothing may be decided on these baselines; empty if all is well.

        That a worse firmware is found must hold for the cohort: the noise that one stream shows
        is an estimate, and of forty streams one is unlucky. That a healthy one can pass must hold
        for the device itself.
        """
        found = []
        for name, (sight, deviation) in self.sights(device).items():
            metric = self._members[device].streams[name].rule.metric
            taking_part = [m.sight(name) for m in self._members.values() if not m.out]
            blind = typical_blindness(metric, taking_part)
            found.append(blind or sight.inconclusive(metric, deviation))
        return "; ".join(why for why in found if why)

    def sights(self, device: str) -> Mapping[str, tuple[Sight, float]]:
        """Metric name to what its stream sees, and its deviation in the metric's unit."""
        member = self._members[device]
        return {name: member.sight(name) for name in member.streams}

    def _under_controls(self, metric: str, finding: MetricFinding) -> MetricFinding:
        """A group that left its own baseline proves nothing, neither good nor bad."""
        group = self.groups.get(metric)
        if self._void:
            reason = f"{metric}: {self._void}, so its baseline holds no more"
            return MetricFinding(metric, Shift.UNDECIDED, reason, finding.evidence)
        left = group.left if group else ""
        if not left:
            return finding
        assert group is not None
        reason = f"{metric}: {left} left its own baseline, so nothing can be compared with it"
        evidence = {**finding.evidence, "control_group": group.evidence()}
        return MetricFinding(metric, Shift.UNDECIDED, reason, evidence)

    def evidence(self) -> dict[str, object]:
        """What a report shows about the wave beside its devices; plain JSON."""
        return {
            "control_groups": {name: group.evidence() for name, group in self.groups.items()},
            "pools": {name: pool.evidence() for name, pool in self.pools.items()},
            "blocks": dict(self._shared),
        }
