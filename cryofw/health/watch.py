"""The watch over one device: readings in, verdict out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from cryofw.health.beats import BeatTest
from cryofw.health.finding import MetricFinding, Shift, compared_words
from cryofw.health.freshness import FreshValues
from cryofw.health.heartbeat import HeartbeatWatch, Symptom
from cryofw.health.reading import Heartbeat, HeartbeatMissed, MetricSample, Reading
from cryofw.health.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryofw.health.contract import EvidenceContract


class Phase(StrEnum):
    """Which side of the update a reading is from."""

    BASELINE = "baseline"
    SOAK = "soak"


@dataclass(slots=True)
class DeviceWatch:
    """Everything observed about one device in one attempt; its calibration is judged by a cohort.

    Args:
        contract: how it is judged.
        new_hash: hex hash of the firmware on trial.
        last_good_hash: hex hash of what ran before.
        beats_planned: heartbeats expected from the test boot to the rollout's end.
        beat_threshold: wealth at which silence is no accident; from the ledger.

    Attributes:
        after_t_s: what was measured before that moment is of another firmware or calibration.
        pause_s: how long its calibration took in the soak, which lasts that much longer.
        gaps: metric to the reason, for each that its latest sample had no value of.
    """

    contract: EvidenceContract
    new_hash: str
    last_good_hash: str
    beats_planned: int = 2
    beat_threshold: float = math.inf
    phase: Phase = Phase.BASELINE
    started_t_s: float | None = None
    latest_t_s: float | None = None
    heartbeats: HeartbeatWatch = field(init=False)
    samples_asked: int = 0
    after_t_s: float = -math.inf
    pause_s: float = 0.0
    gaps: Mapping[str, str] = field(default_factory=dict)
    _values: FreshValues = field(default_factory=FreshValues)

    def __post_init__(self) -> None:
        self.heartbeats = self._heartbeats(self.last_good_hash, math.inf)

    def _heartbeats(
        self, expected_hash: str, threshold: float, boot_id: int | None = None
    ) -> HeartbeatWatch:
        bet = BeatTest(self.beats_planned, threshold)
        return HeartbeatWatch(self.contract, expected_hash, self.last_good_hash, bet, boot_id)

    def begin_soak(self, t_s: float, boot_id: int | None) -> None:
        """The new firmware booted at `t_s` (seconds since 1970) as `boot_id`."""
        self.phase = Phase.SOAK
        self.started_t_s = self.latest_t_s = t_s
        self.after_t_s, self.pause_s = t_s + self.contract.settle_s, 0.0
        self.heartbeats = self._heartbeats(self.new_hash, self.beat_threshold, boot_id)

    @property
    def settled(self) -> bool:
        """The time after the boot in which nothing is judged is over."""
        if self.started_t_s is None or self.latest_t_s is None:
            return False
        return self.latest_t_s >= self.started_t_s + self.contract.settle_s

    def calibrated(self, t_s: float) -> None:
        """Its calibration ended at `t_s`: what it measured before is of another one."""
        if self.phase is Phase.SOAK:
            self.pause_s += max(0.0, t_s - self.after_t_s)
        self.after_t_s = max(t_s, self.after_t_s)

    def forget_boot(self) -> None:
        """Nobody watched for a while (a resume): the next heartbeat names the boot to stay in."""
        self.heartbeats.boot_id = None

    def observe(self, reading: Reading, phase: Phase | None = None) -> Mapping[str, float]:
        """Take one reading; late, repeated and stale ones change nothing.

        Args:
            reading: what was observed.
            phase: the phase it was taken in, when it is replayed after a restart.

        Returns:
            Metric name to value, of a sample that is fresh; else nothing.
        """
        phase = phase or self.phase
        if self.latest_t_s is None or reading.t_s > self.latest_t_s:
            self.latest_t_s = reading.t_s
        match reading:
            case Heartbeat() | HeartbeatMissed():
                if phase is self.phase:
                    self.heartbeats.observe(reading)
                return {}
            case MetricSample():
                self.samples_asked += 1
                self.gaps = reading.gaps
                return self._values.take(reading, self.after_t_s)

    @property
    def soak_complete(self) -> bool:
        """The device's uptime advanced by the soak, with enough fresh heartbeats."""
        beats = self.heartbeats
        need_s = self.contract.soak_s + self.pause_s
        return beats.soaked_s >= need_s and beats.beats >= self.contract.min_beats

    @property
    def symptom(self) -> Symptom | None:
        """What is wrong with the device itself, if anything."""
        return self.heartbeats.symptom

    @property
    def is_due(self) -> bool:
        """There is a verdict whatever the metrics say: a symptom, or the soak or its time is over.

        Without it there is one only when a metric has regressed.
        """
        return self.symptom is not None or self.soak_complete or self._is_late()

    def verdict(self, findings: Sequence[MetricFinding] = ()) -> Verdict | None:
        """The verdict, or None while the soak goes on without a finding.

        Args:
            findings: of each metric of the contract, from the device's cohort.
        """
        if self.symptom is not None:
            return self._verdict(Outcome.FAILED, f"{self.symptom}: {self.heartbeats.detail}", [])
        findings = [*findings, *self._unjudged(findings)]
        regressed = [f for f in findings if f.shift is Shift.REGRESSED]
        if regressed:
            return self._verdict(Outcome.FAILED, regressed[0].reason, findings)
        open_findings = [f for f in findings if f.shift is Shift.UNDECIDED]
        if self.soak_complete and not open_findings:
            return self._verdict(Outcome.PASSED, self._passed_words(findings), findings)
        if self.soak_complete or self._is_late():
            reason = open_findings[0].reason if open_findings else self._soak_words()
            return self._verdict(Outcome.INCONCLUSIVE, reason, findings)
        return None

    def _unjudged(self, findings: Sequence[MetricFinding]) -> list[MetricFinding]:
        """Unknown is not healthy: what nobody judged is undecided."""
        judged = {finding.metric for finding in findings}
        return [
            MetricFinding(m.name, Shift.UNDECIDED, f"{m.name}: nobody judged it", {})
            for m in self.contract.metrics
            if m.name not in judged
        ]

    def _is_late(self) -> bool:
        if self.started_t_s is None or self.latest_t_s is None:
            return False
        waited_s = self.latest_t_s - self.started_t_s
        return waited_s >= self.contract.soak_s + self.pause_s + self.contract.deadline_s

    def _soak_words(self) -> str:
        beats = self.heartbeats
        return (
            f"soaked {beats.soaked_s:.0f} of {self.contract.soak_s + self.pause_s:.0f} s "
            f"with {beats.beats} of at least {self.contract.min_beats} heartbeats"
        )

    def _passed_words(self, findings: Sequence[MetricFinding]) -> str:
        """How long it was watched, and what of its metrics was compared with whom."""
        beats = self.heartbeats
        total = beats.beats + beats.missed
        watched = f"{beats.soaked_s:.0f} s in one boot, {beats.missed} of {total} heartbeats missed"
        own = [f for f in findings if not _is_pooled(f)]
        if not own:
            return f"{watched}; no metric"
        return f"{watched}; {compared_words(own)}"

    def _verdict(self, outcome: Outcome, reason: str, findings: Sequence[MetricFinding]) -> Verdict:
        own = {f.metric: _numbers(f) for f in findings if not _is_pooled(f)}
        pools = {f.metric: _numbers(f) for f in findings if _is_pooled(f)}
        evidence: dict[str, object] = {"heartbeats": self.heartbeats.evidence()}
        if self.symptom is not None:
            evidence["symptom"] = self.symptom.value
            evidence["reset_cause"] = self.heartbeats.symptom_reset_cause
        if own:
            evidence["metrics"] = own
        if pools:
            evidence["pools"] = pools
        return Verdict(outcome, reason, evidence)


def _numbers(finding: MetricFinding) -> dict[str, object]:
    said = "finding" if _is_pooled(finding) else "shift"  # the shift of a pool is a number
    return {said: finding.shift.value, **finding.evidence}


def _is_pooled(finding: MetricFinding) -> bool:
    """Of the devices of a stage together; beside what the device itself showed."""
    return "members" in finding.evidence
