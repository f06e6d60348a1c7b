"""The state of a rollout, folded from its events. It changes here and nowhere else."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryofw.fleet import Reach
from cryofw.rollout import coefficient_events as coe
from cryofw.rollout import commands as c
from cryofw.rollout import cryostat_events as ce
from cryofw.rollout import events as e
from cryofw.rollout.approval_state import Approvals
from cryofw.rollout.coefficient_state import CoefficientHandlers
from cryofw.rollout.cohorts import Cohorts
from cryofw.rollout.cryostat_guard import CryostatGuard
from cryofw.rollout.cryostat_state import ON_TRIAL, CryostatHandlers
from cryofw.rollout.device_state import DeviceState
from cryofw.rollout.evidence_state import EvidenceHandlers
from cryofw.rollout.operator_state import OperatorHandlers
from cryofw.rollout.progress import DeviceProgress
from cryofw.rollout.release_events import ReleaseHandlers
from cryofw.rollout.roster import Roster
from cryofw.rollout.streams import beats_planned, ledger_of
from cryofw.rollout.trial_state import TrialHandlers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryofw.rollout.plan import Plan, PlannedStage

_S = DeviceState

_SENDING = (c.UploadImage, c.TestImage, c.ConfirmImage, c.RollBackDevice)


@dataclass(slots=True)
class RolloutState(
    TrialHandlers,
    EvidenceHandlers,
    CryostatHandlers,
    CoefficientHandlers,
    ReleaseHandlers,
    OperatorHandlers,
):
    """Everything known about a rollout; `apply` is the only way in.

    Attributes:
        stage_index: current stage; -1 before the first.
        wave_index: current wave of it; -1 while its devices are checked.
        ending: how the rollout will end once everything has settled; None while it goes on.
        ended: how it ended.
        paused: what it waits for; empty while it runs.
        told: kinds of what the journal says about where the image came from.
        everyone: all devices, in the order of the plan.
        roster: who is where and how far.
        cohorts: who is judged with whom.
        guards: what is known about each guarded cryostat.
        blocked: those of them that are frozen or held out.
        unsettled: cryostats that have to be decided again.
        now_s: the latest time heard of, in seconds since 1970.
    """

    plan: Plan
    devices: dict[str, DeviceProgress] = field(init=False)
    everyone: tuple[DeviceProgress, ...] = field(init=False)
    roster: Roster = field(init=False)
    cohorts: Cohorts = field(init=False)
    started: bool = False
    stage_index: int = -1
    wave_index: int = -1
    until: str = ""
    approvals: Approvals = field(init=False)
    told: set[str] = field(default_factory=set)
    gates_passed: set[str] = field(default_factory=set)
    gate_failed: str = ""
    ending: e.Ending | None = None
    ended: e.Ending | None = None
    paused: str = ""
    pausing: bool = False
    paused_why: str = ""
    why: str = ""
    now_s: float | None = None
    # Taken from the front: of a plain dict that costs what was taken from it before.
    dirty: OrderedDict[str, None] = field(default_factory=OrderedDict)
    guards: dict[str, CryostatGuard] = field(init=False)
    blocked: dict[str, CryostatGuard] = field(default_factory=dict)
    unsettled: dict[str, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.approvals = Approvals(self.plan)
        new, ledger, beats = self.plan.release.hash, ledger_of(self.plan), beats_planned(self.plan)
        self.devices = {
            name: DeviceProgress(planned, new, ledger, beats.get(name, 2))
            for name, planned in self.plan.devices.items()
        }
        self.everyone = tuple(self.devices.values())
        self.roster = Roster(self.plan, self.devices)
        self.cohorts = Cohorts(self.plan, self.devices)
        self.guards = {n: CryostatGuard(n, g) for n, g in self.plan.guards.items()}

    @property
    def stage(self) -> PlannedStage | None:
        """The current stage."""
        return self.plan.stages[self.stage_index] if self.stage_index >= 0 else None

    def is_in_turn(self, device: DeviceProgress) -> bool:
        """A wave of the current stage that has begun has this device."""
        return self.roster.is_in_turn(device.name, self.stage_index, self.wave_index)

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
        near = self.inhabitants(progress.planned.cryostat)
        waiting = [p.name for p in near if p.state in (_S.PENDING, _S.CHECKED, _S.CONFIRMED)]
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
            progress.common_t_s = None
            if progress.state is _S.CONFIRMED:
                progress.watch.forget_boot()
            self.align(progress)
        self.forget_cryostats()
        self.touch_all()

    def forget_cryostats(self) -> None:
        """Nobody looked for a while: what was seen of cryostats counts no more."""
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
        self.forget_cryostats()
        self.touch_all()

    def _on_pause_requested(self, event: e.PauseRequested) -> None:
        """A person wants a break."""
        self.pausing = True
        self.paused_why = f"asked for by {event.by}"

    def _on_stage_approved(self, event: e.StageApproved) -> None:
        """A person approved the start of a stage."""
        self.approvals.take(event)

    def _on_approval_voided(self, event: e.ApprovalVoided) -> None:
        """The key behind an approval was revoked."""
        self.approvals.void(event)

    def _on_abort_requested(self, event: e.AbortRequested) -> None:
        """Revert what is not confirmed, then end."""
        confirmed = {p.name for p in self.devices.values() if p.state is _S.CONFIRMED}
        self.doom(set(self.devices) - confirmed, f"aborted by {event.by}")
        self.end_with(e.Ending.ABORTED, event.why or f"aborted by {event.by}")

    def _on_rollback_requested(self, event: e.RollbackRequested) -> None:
        """Take everything back, also after the end."""
        if self.ended is not None:
            self.forget_cryostats()
        self.ended = None
        self.gate_failed = ""
        self.doom(self.devices, event.why or f"rollback asked for by {event.by}")
        self.ending = None
        self.end_with(e.Ending.ROLLED_BACK, event.why or f"rolled back by {event.by}")

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
        # One that failed after its confirm would be found to run the release, and pass for good.
        if self.ending is None and not progress.confirmed_here:
            progress.doom = progress.failure = ""
            progress.spread = False

    # --- time -----------------------------------------------------------------------------

    def _on_clock_ticked(self, event: e.ClockTicked) -> None:
        """A window may have opened or closed."""
        was_open = self.window_open
        self.now_s = event.t_s
        self.approvals.hear(event.t_s)
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

    def _on_failure_spread(self, event: e.FailureSpread) -> None:
        """Everything within reach goes back."""
        failed = self.devices[event.device]
        failed.spread = True
        self.doom(self.within_reach(failed), f"{event.device} failed: {event.why}")
        failed.doom = event.why
        if Reach(event.reach) in (Reach.STAGE, Reach.ROLLOUT):
            self.end_with(e.Ending.ROLLED_BACK, f"{event.device}: {event.why}")

    def within_reach(self, failed: DeviceProgress) -> list[str]:
        """Names that the failure of `failed` reaches.

        A stage's failure reaches the later stages too: their gate was built on it.
        """
        stage = self.plan.stage(failed.planned.stage)
        match stage.on_failure:
            case Reach.DEVICE:
                return [failed.name]
            case Reach.CRYOSTAT:
                return [p.name for p in self.inhabitants(failed.planned.cryostat)]
            case Reach.STAGE:
                later = self.plan.stages[self.plan.stages.index(stage) :]
                return [name for s in later for name in s.devices]
            case Reach.ROLLOUT:
                return list(self.devices)

    def _on_gate_passed(self, event: e.GatePassed) -> None:
        """The stage proved the firmware good."""
        self.gates_passed.add(event.stage)

    def _on_gate_failed(self, event: e.GateFailed) -> None:
        """The stage did not."""
        self.gate_failed = event.stage
        self.end_with(e.Ending.ROLLED_BACK, event.why)

    def _on_rollout_paused(self, event: e.RolloutPaused) -> None:
        """Nothing is in flight."""
        self.paused, self.paused_why = event.needs, event.why

    def _on_rollout_ended(self, event: e.RolloutEnded) -> None:
        """Nothing further follows."""
        self.ended = e.Ending(event.outcome)
        self.why = event.why

    def doom(self, names: Iterable[str], why: str) -> None:
        """Take these devices back; who was not touched is left alone."""
        for progress in self.members(names):
            progress.doom = progress.doom or why
            if progress.untouched:
                self.cohorts.drop(progress.name)
            self.touch(progress.name)

    def end_with(self, ending: e.Ending, why: str) -> None:
        """The rollout is to end so, unless it is to end otherwise already."""
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
