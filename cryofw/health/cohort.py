"""A wave and its controls: samples in, by device and time; findings out, by device.

The lead of the statistics: it lines samples up on the planned grid, takes the controls' mean off,
and feeds the streams of each device and the pools of the wave.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.health.blocks import shared_length
from cryofw.health.controls import ControlGroup
from cryofw.health.finding import finding_of
from cryofw.health.judge import MetricFinding, Shift
from cryofw.health.ledger import StreamKind
from cryofw.health.pool import Pool
from cryofw.health.rule import CohortRule, StreamRule
from cryofw.health.shift import usable
from cryofw.health.stream import CalibrationStream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.health.contract import MetricContract


@dataclass(slots=True)
class _Member:
    """One device of the wave: its streams, and what waits for the controls."""

    streams: dict[str, CalibrationStream]
    before: dict[str, dict[int, float]]
    waiting: dict[str, deque[tuple[int, float]]]
    last: int = -1
    begun: int | None = None


class Cohort:
    """The calibration of one wave.

    All it knows follows from the readings and the calls in their order: a resume replays them and
    is where it was.

    Args:
        rule: the frozen rule.
        attempt: of the wave's devices, from 1; a later one has less of alpha.
    """

    def __init__(self, rule: CohortRule, attempt: int = 1) -> None:
        self.rule, self.attempt = rule, attempt
        self._start_s: float | None = None
        self._frozen = False
        self._flushed = dict.fromkeys((m.name for m in rule.metrics), -1)
        self.groups = {
            m.name: ControlGroup(
                m, rule.controls, rule.baseline_samples, rule.planned_samples,
                self._seed(str(attempt), "controls", m.name),
            )
            for m in rule.metrics
        } if rule.controls else {}  # fmt: skip
        self._members = {name: self._member(name) for name in rule.devices}
        self.pools: dict[str, Pool] = {}
        self._shared: dict[str, int] = {}

    def _seed(self, *names: str) -> bytes:
        return self.rule.seed + "/".join((self.rule.name, *names)).encode()

    def _member(self, device: str) -> _Member:
        streams = self._streams(device, self.attempt)
        return _Member(streams, {m: {} for m in streams}, {m: deque() for m in streams})

    def _streams(self, device: str, attempt: int) -> dict[str, CalibrationStream]:
        return {
            m.name: CalibrationStream(
                self._stream_rule(device, m, attempt),
                self._seed(str(attempt), device, m.name),
                self.rule.controls,
            )
            for m in self.rule.metrics
        }

    def _stream_rule(self, device: str, metric: MetricContract, attempt: int) -> StreamRule:
        rule, ledger = self.rule, self.rule.ledger
        golden = (rule.golden or {}).get((device, metric.name))
        bounded = metric.limit is not None or golden is not None
        return StreamRule(
            metric,
            rule.baseline_samples,
            rule.min_samples,
            rule.planned_samples,
            ledger.threshold(StreamKind.SHIFT, attempt),
            ledger.threshold(StreamKind.NOISE, attempt),
            ledger.threshold(StreamKind.BOUND, attempt) if bounded else math.inf,
            golden,
            rule.beta,
            rule.method,
        )

    # --- samples ------------------------------------------------------------------------

    def observe(self, device: str, t_s: float, values: Mapping[str, float]) -> None:
        """Take one sample of all metrics; late, repeated and missing values change nothing.

        Args:
            device: of the wave or of its controls; others are ignored.
            t_s: host time in seconds since 1970.
            values: metric name to value; what is absent or not finite is missing.
        """
        if self._start_s is None:
            self._start_s = t_s
        slot = round((t_s - self._start_s) / self.rule.every_s)
        if slot < 0:
            return
        if device in self.rule.controls:
            for name, group in self.groups.items():
                group.observe(device, slot, values.get(name, math.nan))
        elif member := self._members.get(device):
            self._take(device, member, slot, values)
        self._flush()

    def _take(self, device: str, member: _Member, slot: int, values: Mapping[str, float]) -> None:
        if slot <= member.last:
            return
        member.last = slot
        for group in self.groups.values():
            group.reach(slot)
        if not self._frozen:
            for name, before in member.before.items():
                value = values.get(name, math.nan)
                if usable(value):
                    before[slot] = value
                    if len(before) > 2 * self.rule.baseline_samples:
                        del before[next(iter(before))]
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

    def _feed(
        self, device: str, member: _Member, metric: str, slot: int, value: float, raw: float
    ) -> None:
        member.streams[metric].observe(slot, value, raw)
        assert member.begun is not None
        if metric in self.pools and self.pools[metric].waits_for(device):
            self.pools[metric].observe(device, slot - member.begun - 1, value)

    # --- phases -------------------------------------------------------------------------

    @property
    def baseline_complete(self) -> bool:
        """Every device has its baseline in every metric, and a control group to compare with."""
        need = self.rule.baseline_samples
        return all(
            self.baseline_count(device, metric) >= need
            for device, member in self._members.items()
            for metric in member.before
        )

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
            self._shared[name] = shared_length([list(b.values()) for b in baselines.values()])
            for device, before in baselines.items():
                self._members[device].before[name] = before
                self._arm(self._members[device].streams[name], before, self._shared[name])
            self._open_pool(metric, baselines)

    def _arm(self, stream: CalibrationStream, before: Mapping[int, float], shared: int) -> None:
        for slot, value in before.items():
            stream.baseline(slot, value)
        stream.freeze(shared)

    def _open_pool(self, metric: MetricContract, baselines: Mapping[str, dict[int, float]]) -> None:
        """Of the devices whose baseline is complete; who has none will not be updated."""
        rule = self.rule
        members = {d: b for d, b in baselines.items() if len(b) >= rule.baseline_samples}
        if len(members) < 2:
            return
        self.pools[metric.name] = Pool(
            metric,
            members,
            rule.planned_samples,
            rule.ledger.threshold(StreamKind.POOLED, self.attempt),
            self._seed(str(self.attempt), "pool", metric.name),
            self._shared[metric.name],
        )

    def _difference(self, before: Mapping[int, float], metric: MetricContract) -> dict[int, float]:
        group = self.groups.get(metric.name)
        if group is None:
            return dict(before)
        levels = {slot: group.level(slot) for slot in before}
        return {s: v - level for s, v in before.items() if (level := levels[s]) is not None}

    def begin(self, device: str, t_s: float) -> None:
        """`device` runs the new firmware and has settled: samples after `t_s` count."""
        self.freeze()
        start_s = t_s if self._start_s is None else self._start_s
        slot = math.floor((t_s - start_s) / self.rule.every_s)
        self._members[device].begun = max(slot, self._members[device].last)

    def drop(self, device: str) -> None:
        """`device` was taken back: the pools do not wait for it."""
        for pool in self.pools.values():
            pool.drop(device)

    def retry(self, device: str, attempt: int) -> None:
        """`device` is updated once more: new bets against the same baseline, at a later attempt.

        The baseline stays what it was before anything was touched. The pools go on without it.
        """
        self.freeze()
        self.drop(device)
        member = self._members[device]
        member.streams = self._streams(device, attempt)
        member.begun = None
        for name, stream in member.streams.items():
            member.waiting[name].clear()
            self._arm(stream, member.before[name], self._shared[name])

    # --- what it says -------------------------------------------------------------------

    def streams(self, device: str) -> Mapping[str, CalibrationStream]:
        """Metric name to the stream of a device."""
        return self._members[device].streams

    def findings(self, device: str, *, soaked: bool) -> list[MetricFinding]:
        """What the metrics of `device` say; pools of the wave only when they found something.

        Args:
            device: of the wave.
            soaked: the soak is complete, so a planned look may be taken.
        """
        found = []
        for name, stream in self._members[device].streams.items():
            if soaked:
                stream.look()
            finding = finding_of(stream)
            # The absolute bound is compared with nobody.
            absolute = stream.regressed == "bound"
            found.append(finding if absolute else self._under_controls(name, finding))
        for name, pool in self.pools.items():
            if pool.regressed:
                found.append(self._under_controls(name, pool.finding()))
        return found

    def _under_controls(self, metric: str, finding: MetricFinding) -> MetricFinding:
        """A group that left its own baseline proves nothing, neither good nor bad."""
        group = self.groups.get(metric)
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
