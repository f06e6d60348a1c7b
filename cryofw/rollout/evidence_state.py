"""What readings say, and what is concluded from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.health import Heartbeat, MetricSample, Outcome, Phase, Verdict
from cryofw.rollout.cryostat_state import ON_TRIAL
from cryofw.rollout.device_state import DeviceState
from cryofw.rollout.handlers import Handlers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.rollout import events as e
    from cryofw.rollout.progress import DeviceProgress

_S = DeviceState


class EvidenceHandlers(Handlers):
    """The handlers of readings, baselines and verdicts; part of `RolloutState`."""

    __slots__ = ()

    def _on_reading_taken(self, event: e.ReadingTaken) -> None:
        """Feed the watch; what comes late or twice changes nothing."""
        progress = self.devices[event.device]
        if not progress.takes(event.reading):
            return
        values = progress.watch.observe(event.reading)
        if isinstance(event.reading, MetricSample):
            self._sample(progress, event.reading.t_s, values)
        guard = self.guards.get(progress.planned.cryostat)
        if guard is not None:
            guard.pass_time(event.reading.t_s)
        if isinstance(event.reading, Heartbeat):
            progress.awaits_beat = False
        progress.pass_time(event.reading.t_s)

    def _sample(self, progress: DeviceProgress, t_s: float, values: Mapping[str, float]) -> None:
        self.cohorts.observe(progress.name, t_s, values)
        cohort = self.cohorts.of(progress.name)
        soaked = progress.watch.phase is Phase.SOAK and progress.watch.soak_complete
        if cohort is not None and soaked and progress.state in ON_TRIAL:
            cohort.look(progress.name)

    def verdict(self, device: DeviceProgress) -> Verdict | None:
        """What the readings of a device say now, with those of its cohort."""
        cohort = self.cohorts.of(device.name)
        if not device.watch.is_due and (cohort is None or not cohort.is_alarmed(device.name)):
            return None
        findings = [] if cohort is None else cohort.findings(device.name)
        verdict = device.watch.verdict(findings)
        if verdict is None or cohort is None:
            return verdict
        return Verdict(
            verdict.outcome, verdict.reason, {**verdict.evidence, "cohort": cohort.evidence()}
        )

    def may_fail(self, device: DeviceProgress) -> bool:
        """Its verdict may be Failed: there is a symptom, or a bet against it was won."""
        cohort = self.cohorts.of(device.name)
        alarmed = cohort is not None and cohort.is_alarmed(device.name)
        return alarmed or device.watch.symptom is not None

    def _on_cohort_frozen(self, event: e.CohortFrozen) -> None:
        """Its baselines and controls are fixed: the first of its devices is touched next."""
        self.cohorts.freeze(event.cohort)
        self.touch(*event.devices)

    def _on_baseline_taken(self, event: e.BaselineTaken) -> None:
        """The device may be touched."""
        self.devices[event.device].baseline_taken = True

    def _on_verdict_reached(self, event: e.VerdictReached) -> None:
        """Passed, failed or held."""
        progress = self.devices[event.device]
        verdict = Verdict(Outcome(event.outcome), event.why, event.evidence)
        progress.verdict = verdict
        progress.why = verdict.reason
        if verdict.outcome is Outcome.FAILED:
            progress.failure = verdict.reason
        elif verdict.outcome is Outcome.INCONCLUSIVE:
            progress.move(_S.HELD, verdict.reason)
            progress.held_t_s = event.t_s
        elif progress.state is _S.HELD:
            progress.move(_S.WATCHED, verdict.reason)

    def _on_common_cause_found(self, event: e.CommonCauseFound) -> None:
        """Its controls are silent too: it is held, and no verdict is spoken on its firmware."""
        progress = self.devices[event.device]
        progress.common_cause, progress.common_t_s = event.why, event.t_s
        if progress.state is _S.WATCHED:
            progress.move(_S.HELD, event.why)
            progress.held_t_s = event.t_s

    def _on_common_cause_ended(self, event: e.CommonCauseEnded) -> None:
        """It is watched again; the silence that it shared counts for nothing."""
        progress = self.devices[event.device]
        progress.common_cause = ""
        progress.watch.heartbeats.excuse()
        if progress.state is _S.HELD:
            progress.move(_S.WATCHED, event.why)

    def _on_hold_expired(self, event: e.HoldExpired) -> None:
        """Not provably good in time: back."""
        self.doom([event.device], event.why)
