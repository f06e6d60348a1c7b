"""The state of a rollout, folded from its events. It changes here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryofw.fleet import Reach
from cryofw.health import Heartbeat, MetricSample, Outcome, Phase, Verdict
from cryofw.rollout import coefficient_events as coe
from cryofw.rollout import commands as c
from cryofw.rollout import cryostat_events as ce
from cryofw.rollout import events as e
from cryofw.rollout.coefficient_state import CoefficientHandlers
from cryofw.rollout.cohorts import Cohorts
from cryofw.rollout.cryostat_guard import CryostatGuard
from cryofw.rollout.cryostat_state import ON_TRIAL, CryostatHandlers
from cryofw.rollout.device_state import DeviceState
from cryofw.rollout.progress import DeviceProgress
from cryofw.rollout.release_events import ReleaseHandlers
from cryofw.rollout.streams import beats_planned, ledger_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cryofw.rollout.plan import Plan, PlannedStage

_S = DeviceState

MAX_ATTEMPTS = 3
"""Test boots of one device in one rollout; then a host fault counts as the firmware's."""

_SENDING = (c.UploadImage, c.TestImage, c.ConfirmImage, c.RollBackDevice)


@dataclass(slots=True)
class RolloutState(CryostatHandlers, CoefficientHandlers, ReleaseHandlers):
    """Everything known about a rollout; `apply` is the only way in.

    Attributes:
        stage_index: current stage; -1 before the first.
        wave_index: current wave of it; -1 while its devices are checked.
        ending: how the rollout will end once everything has settled; None while it goes on.
        ended: how it ended.
        paused: what it waits for; empty while it runs.
        cohorts: who is judged with whom.
        guards: what is known about each guarded cryostat.
        unsettled: cryostats that have to be decided again.
        now_s: the latest time heard of, in seconds since 1970.
    """

    plan: Plan
    devices: dict[str, DeviceProgress] = field(init=False)
    cohorts: Cohorts = field(init=False)
    started: bool = False
    stage_index: int = -1
    wave_index: int = -1
    until: str = ""
    approved: set[str] = field(default_factory=set)
    gates_passed: set[str] = field(default_factory=set)
    gate_failed: str = ""
    ending: e.Ending | None = None
    ended: e.Ending | None = None
    paused: str = ""
    pausing: bool = False
    paused_why: str = ""
    why: str = ""
    now_s: float | None = None
    dirty: dict[str, None] = field(default_factory=dict)
    guards: dict[str, CryostatGuard] = field(init=False)
    unsettled: dict[str, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        new, ledger, beats = self.plan.release.hash, ledger_of(self.plan), beats_planned(self.plan)
        self.devices = {
            name: DeviceProgress(planned, new, ledger, beats.get(name, 2))
            for name, planned in self.plan.devices.items()
        }
        self.cohorts = Cohorts(self.plan, self.devices)
        self.guards = {n: CryostatGuard(n, g) for n, g in self.plan.guards.items()}

    @property
    def stage(self) -> PlannedStage | None:
        """The current stage."""
        return self.plan.stages[self.stage_index] if self.stage_index >= 0 else None

    def members(self, names: Iterable[str]) -> list[DeviceProgress]:
        """The named devices' progress."""
        return [self.devices[name] for name in names]

    def touch(self, *names: str) -> None:
        """These devices have to be decided again."""
        self.dirty.update(dict.fromkeys(names))

    def touch_all(self) -> None:
        """Every device has to be decided again."""
        self.touch(*self.devices)

    def apply(self, event: e.Event | c.Command) -> None:
        """Take one event or intent.

        Raises:
            IllegalMove: the state table forbids it; the device's state is unchanged.
        """
        device = getattr(event, "device", "")
        progress = self.devices.get(device)
        if isinstance(event, c.Command):
            assert progress is not None
            self._intend(event, progress)
            return
        if progress is not None and type(event) in _OUTCOMES:
            progress.intent = ""
        getattr(self, "_on_" + event.kind.replace("-", "_"))(event)
        if progress is not None:
            self.align(progress)
            if progress.state in _OUT:
                self.cohorts.drop(device)
            # A share of the heat budget may have become free for the others.
            freed = not progress.hot and type(event) in _OUTCOMES
            self.touch(*(self._neighbours(progress) if freed else (device,)))

    def _neighbours(self, progress: DeviceProgress) -> list[str]:
        cryostat = progress.planned.cryostat
        waiting = [
            name
            for name, p in self.devices.items()
            if p.planned.cryostat == cryostat and p.state in (_S.CHECKED, _S.CONFIRMED)
        ]
        return [progress.name, *waiting]

    def _intend(self, command: c.Command, progress: DeviceProgress) -> None:
        if isinstance(command, c.TestImage) and progress.state is not _S.TESTING:
            progress.move(_S.TESTING)
            progress.tested = True
        if isinstance(command, c.RollBackDevice) and progress.state is not _S.ROLLING_BACK:
            progress.move(_S.ROLLING_BACK, command.why)
        if isinstance(command, c.CalibrateDevice) and progress.state in ON_TRIAL:
            progress.recalibrated = progress.planned.recalibration.is_asked
        self.intend_coefficients(command, progress)
        progress.intent = command.kind
        progress.sent = progress.sent or isinstance(command, _SENDING)

    def restart(self) -> None:
        """The process that had commands in flight is gone; they are given again."""
        for progress in self.devices.values():
            progress.intent = ""
            progress.power_cycling = False
            progress.held_t_s = None  # nobody watched in between: the hold begins again
            if progress.state is _S.CONFIRMED:
                progress.watch.forget_boot()
            self.align(progress)
        self._forget_cryostats()
        self.touch_all()

    def _forget_cryostats(self) -> None:
        for guard in self.guards.values():
            guard.forget()

    # --- the person ---------------------------------------------------------------------

    def _on_rollout_started(self, event: e.RolloutStarted) -> None:
        """The first event."""
        self.started = True
        self.until = event.until

    def _on_rollout_resumed(self, event: e.RolloutResumed) -> None:
        """A new process goes on, as far as was asked unless it got that far."""
        if event.until or self.paused == "stage":
            self.until = event.until
        self.paused = self.paused_why = ""
        self.pausing = False
        self._forget_cryostats()
        self.touch_all()

    def _on_pause_requested(self, event: e.PauseRequested) -> None:
        """A person wants a break."""
        self.pausing = True
        self.paused_why = f"asked for by {event.by}"

    def _on_stage_approved(self, event: e.StageApproved) -> None:
        """A person approved the start of a stage."""
        self.approved.add(event.stage)

    def _on_abort_requested(self, event: e.AbortRequested) -> None:
        """Revert what is not confirmed, then end."""
        confirmed = {p.name for p in self.devices.values() if p.state is _S.CONFIRMED}
        self._doom(set(self.devices) - confirmed, f"aborted by {event.by}")
        self._end_with(e.Ending.ABORTED, event.why or f"aborted by {event.by}")

    def _on_rollback_requested(self, event: e.RollbackRequested) -> None:
        """Take everything back, also after the end."""
        if self.ended is not None:
            self._forget_cryostats()
        self.ended = None
        self.gate_failed = ""
        self._doom(self.devices, event.why or f"rollback asked for by {event.by}")
        self.ending = None
        self._end_with(e.Ending.ROLLED_BACK, event.why or f"rolled back by {event.by}")

    def _on_stop_requested(self, event: e.StopRequested) -> None:
        """Nothing more is sent."""
        self.ending = e.Ending.STOPPED
        self.why = event.why or f"stopped by {event.by}"

    def _on_quarantine_cleared(self, event: e.QuarantineCleared) -> None:
        """A person saw to the device: it is checked again from the start."""
        progress = self.devices.get(event.device)
        if progress is None:
            return
        progress.quarantined = False
        if progress.state not in (_S.STUCK, _S.UNREACHABLE, _S.REFUSED):
            return
        progress.move(_S.PENDING, f"cleared by {event.by}")
        progress.begin_attempt(progress.attempt)
        if self.ending is None:
            progress.doom = progress.failure = ""
            progress.spread = False

    # --- the device ---------------------------------------------------------------------

    def _on_device_checked(self, event: e.DeviceChecked) -> None:
        """It may take part."""
        progress = self.devices[event.device]
        progress.move(_S.CHECKED, "ready; nothing was sent")
        progress.running_hash = event.hash
        progress.calibrated = False
        if self.wave_index >= 0:  # a person cleared it after its stage had begun
            self.cohorts.reopen(event.device, progress.trial)

    def _on_device_skipped(self, event: e.DeviceSkipped) -> None:
        """It runs the release already."""
        progress = self.devices[event.device]
        progress.move(_S.SKIPPED, "ran this release already")
        progress.running_hash = event.hash

    def _on_device_refused(self, event: e.DeviceRefused) -> None:
        """It is not what the plan names."""
        progress = self.devices[event.device]
        progress.move(_S.REFUSED, event.why)
        progress.hint = event.hint

    def _on_device_unreachable(self, event: e.DeviceUnreachable) -> None:
        """No answer."""
        progress = self.devices[event.device]
        progress.move(_S.UNREACHABLE, event.why)
        progress.sent = progress.sent or event.sent
        progress.hint = event.hint

    def _on_image_uploaded(self, event: e.ImageUploaded) -> None:
        """The image is in the second slot."""
        self.devices[event.device].move(_S.UPLOADED, "uploaded")

    def _on_upload_failed(self, event: e.UploadFailed) -> None:
        """The image did not get there; nothing was marked."""
        progress = self.devices[event.device]
        progress.move(_S.ABANDONED, event.why)
        progress.failure = event.why

    def _on_test_booted(self, event: e.TestBooted) -> None:
        """The new image runs on trial."""
        progress = self.devices[event.device]
        progress.move(_S.WATCHED, "in test boot")
        progress.boot = event.boot
        progress.running_hash = event.hash
        progress.host_reset = False
        progress.pair.unapplied = bool(progress.planned.coefficients)
        progress.calibration_due = progress.planned.recalibration.is_asked
        self.begin_soak(progress, event.t_s)

    def begin_soak(self, progress: DeviceProgress, t_s: float) -> None:
        """What runs is judged from `t_s` on, once it has settled and its pair is whole.

        Where a calibration is asked for, that begins the comparison.
        """
        progress.watch.begin_soak(t_s, progress.boot)
        if not (progress.pair.unapplied or progress.calibration_due):
            self.cohorts.begin(progress.name, t_s + progress.planned.evidence.settle_s)

    def _on_device_reverted(self, event: e.DeviceReverted) -> None:
        """The last good image runs again."""
        progress = self.devices[event.device]
        progress.move(_S.SELF_REVERTED, event.why)
        progress.running_hash = event.hash
        progress.came_back()
        if not event.host_fault:
            progress.failure = event.why
        elif progress.attempt >= MAX_ATTEMPTS:
            progress.failure = f"not up after {progress.attempt} attempts: {event.why}"

    def _on_image_confirmed(self, event: e.ImageConfirmed) -> None:
        """The new image is permanent."""
        progress = self.devices[event.device]
        progress.move(_S.CONFIRMED, progress.verdict.reason if progress.verdict else "")
        progress.running_hash = event.hash
        progress.refusals = 0
        progress.pair.unsaved = bool(progress.planned.coefficients)

    def _on_confirm_refused(self, event: e.ConfirmRefused) -> None:
        """The fresh read did not agree: the next heartbeat says more."""
        progress = self.devices[event.device]
        progress.why = event.why
        progress.refusals += 1
        progress.awaits_beat = True

    def _on_power_cycle_requested(self, event: e.PowerCycleRequested) -> None:
        """Its siblings boot with it: that is the host's doing, not their firmware's."""
        for progress in self.members(n for n in event.shared_by if n in self.devices):
            progress.host_reset = progress.power_cycling = True

    def _on_power_cycled(self, event: e.PowerCycled) -> None:
        """Whatever its siblings run now runs in a new boot."""
        for progress in self.members(n for n in event.shared_by if n in self.devices):
            progress.power_cycling = False
            progress.watch.forget_boot()
            self.touch(progress.name)

    def _on_device_rolled_back(self, event: e.DeviceRolledBack) -> None:
        """The last good image runs, confirmed."""
        progress = self.devices[event.device]
        progress.move(_S.ROLLED_BACK, progress.doom or progress.why)
        progress.running_hash = event.hash
        progress.pair.came_back()
        progress.came_back()

    def _on_device_stuck(self, event: e.DeviceStuck) -> None:
        """A person has to act; after a test request that is the firmware's failure."""
        progress = self.devices[event.device]
        if progress.state is not _S.ROLLING_BACK:
            progress.failure = event.why
        progress.move(_S.STUCK, event.why)
        progress.hint = event.hint

    def _on_reading_taken(self, event: e.ReadingTaken) -> None:
        """Feed the watch."""
        progress = self.devices[event.device]
        values = progress.watch.observe(event.reading)
        if isinstance(event.reading, MetricSample):
            self._sample(progress, event.reading.t_s, values)
        guard = self.guards.get(progress.planned.cryostat)
        if guard is not None:
            guard.pass_time(event.reading.t_s)
        if isinstance(event.reading, Heartbeat):
            progress.awaits_beat = False
        if progress.state is _S.HELD and progress.held_t_s is None:
            progress.held_t_s = event.reading.t_s

    def _sample(self, progress: DeviceProgress, t_s: float, values: Mapping[str, float]) -> None:
        self.cohorts.observe(progress.name, t_s, values)
        cohort = self.cohorts.of(progress.name)
        soaked = progress.watch.phase is Phase.SOAK and progress.watch.soak_complete
        if cohort is not None and soaked and progress.state in ON_TRIAL:
            cohort.look(progress.name)

    def verdict(self, device: DeviceProgress) -> Verdict | None:
        """What the readings of a device say now, with those of its cohort."""
        cohort = self.cohorts.of(device.name)
        findings = [] if cohort is None else cohort.findings(device.name)
        verdict = device.watch.verdict(findings)
        if verdict is None or cohort is None:
            return verdict
        return Verdict(
            verdict.outcome, verdict.reason, {**verdict.evidence, "cohort": cohort.evidence()}
        )

    def _on_clock_ticked(self, event: e.ClockTicked) -> None:
        """A window may have opened or closed."""
        was_open = self.window_open
        self.now_s = event.t_s
        if self.window_open and not was_open:
            self.touch_all()

    @property
    def window_open(self) -> bool | None:
        """Whether the current stage may flash now; None when the time is not known yet."""
        window = self.stage.window if self.stage else None
        if window is None:
            return True
        if self.now_s is None:
            return None
        return window.is_open(datetime.fromtimestamp(self.now_s, UTC))

    # --- decisions ----------------------------------------------------------------------

    def _on_stage_started(self, event: e.StageStarted) -> None:
        """The next stage: all of its devices are checked first."""
        self.stage_index = next(
            i for i, stage in enumerate(self.plan.stages) if stage.name == event.stage
        )
        self.wave_index = -1
        self.touch(*self.plan.stages[self.stage_index].devices)

    def _on_wave_started(self, event: e.WaveStarted) -> None:
        """The next wave."""
        self.wave_index = event.wave - 1
        stage = self.plan.stage(event.stage)
        self.cohorts.open_waves(stage, self.wave_index)
        self.touch(*stage.devices)

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
        self._doom([event.device], event.why)

    def _on_retry_granted(self, event: e.RetryGranted) -> None:
        """Another attempt."""
        progress = self.devices[event.device]
        progress.move(_S.CHECKED, event.why)
        progress.begin_attempt(event.attempt)
        self.cohorts.retry(event.device, progress.trial)

    def _on_failure_spread(self, event: e.FailureSpread) -> None:
        """Everything within reach goes back."""
        failed = self.devices[event.device]
        failed.spread = True
        self._doom(self.within_reach(failed), f"{event.device} failed: {event.why}")
        failed.doom = event.why
        if Reach(event.reach) in (Reach.STAGE, Reach.ROLLOUT):
            self._end_with(e.Ending.ROLLED_BACK, f"{event.device}: {event.why}")

    def within_reach(self, failed: DeviceProgress) -> list[str]:
        """Names that the failure of `failed` reaches.

        A stage's failure reaches the later stages too: their gate was built on it.
        """
        stage = self.plan.stage(failed.planned.stage)
        match stage.on_failure:
            case Reach.DEVICE:
                return [failed.name]
            case Reach.CRYOSTAT:
                cryostat = failed.planned.cryostat
                return [n for n, p in self.devices.items() if p.planned.cryostat == cryostat]
            case Reach.STAGE:
                later = self.plan.stages[self.plan.stages.index(stage) :]
                return [name for s in later for name in s.devices]
            case Reach.ROLLOUT:
                return list(self.devices)

    def _on_device_abandoned(self, event: e.DeviceAbandoned) -> None:
        """Uploaded, never marked."""
        self.devices[event.device].move(_S.ABANDONED, event.why)

    def _on_device_quarantined(self, event: e.DeviceQuarantined) -> None:
        """Named, until a person clears it."""
        self.devices[event.device].quarantined = True

    def _on_gate_passed(self, event: e.GatePassed) -> None:
        """The stage proved the firmware good."""
        self.gates_passed.add(event.stage)

    def _on_gate_failed(self, event: e.GateFailed) -> None:
        """The stage did not."""
        self.gate_failed = event.stage
        self._end_with(e.Ending.ROLLED_BACK, event.why)

    def _on_rollout_paused(self, event: e.RolloutPaused) -> None:
        """Nothing is in flight."""
        self.paused, self.paused_why = event.needs, event.why

    def _on_rollout_ended(self, event: e.RolloutEnded) -> None:
        """Nothing further follows."""
        self.ended = e.Ending(event.outcome)
        self.why = event.why

    def _doom(self, names: Iterable[str], why: str) -> None:
        for progress in self.members(names):
            progress.doom = progress.doom or why
            if progress.untouched:
                self.cohorts.drop(progress.name)
            self.touch(progress.name)

    def _end_with(self, ending: e.Ending, why: str) -> None:
        if self.ending is None:
            self.ending, self.why = ending, why


_OUT = frozenset(
    {
        _S.SKIPPED,
        _S.REFUSED,
        _S.UNREACHABLE,
        _S.ABANDONED,
        _S.SELF_REVERTED,
        _S.STUCK,
        _S.ROLLING_BACK,
        _S.ROLLED_BACK,
    }
)
"""States in which a device takes no part in its cohort."""

_OUTCOMES = frozenset(
    {
        e.DeviceChecked,
        e.DeviceSkipped,
        e.DeviceRefused,
        e.DeviceUnreachable,
        e.ImageUploaded,
        e.UploadFailed,
        e.TestBooted,
        e.DeviceReverted,
        e.ImageConfirmed,
        e.ConfirmRefused,
        e.DeviceRolledBack,
        e.DeviceStuck,
        ce.DeviceMadeSafe,
        ce.DeviceNotSafe,
        ce.DeviceCalibrated,
        ce.CalibrationFailed,
        ce.UploadInterrupted,
        coe.CoefficientsRead,
        coe.CoefficientsApplied,
        coe.CoefficientsSaved,
        coe.CoefficientsRestored,
        coe.CoefficientsDeferred,
        coe.CoefficientsFailed,
    }
)
