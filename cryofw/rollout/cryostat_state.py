"""What events do to the guards of cryostats and to the devices in them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from cryofw.rollout import cryostat_events as ce
from cryofw.rollout.device_state import DeviceState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryofw.rollout.cohorts import Cohorts
    from cryofw.rollout.cryostat_guard import CryostatGuard
    from cryofw.rollout.progress import DeviceProgress
    from cryofw.rollout.roster import Roster

_S = DeviceState

ON_TRIAL = (_S.WATCHED, _S.HELD)
_ON_TRIAL = (*ON_TRIAL, _S.FROZEN)


class CryostatHandlers(ABC):
    """The handlers of cryostat events; part of `RolloutState`."""

    __slots__ = ()

    guards: Mapping[str, CryostatGuard]
    blocked: dict[str, CryostatGuard]
    unsettled: dict[str, None]
    devices: dict[str, DeviceProgress]
    cohorts: Cohorts
    roster: Roster

    @abstractmethod
    def touch(self, *names: str) -> None:
        """See `RolloutState.touch`."""

    def inhabitants(self, cryostat: str) -> Sequence[DeviceProgress]:
        """The devices of a cryostat, in the order of the plan."""
        return self.roster.inhabitants(cryostat)

    def is_frozen(self, cryostat: str) -> bool:
        """Nothing is uploaded, tested or confirmed there."""
        guard = self.guards.get(cryostat)
        return guard is not None and bool(guard.frozen)

    def align(self, progress: DeviceProgress) -> None:
        """A device on trial is frozen as its cryostat is, once no command runs."""
        guard = self.guards.get(progress.planned.cryostat)
        if guard is None or progress.intent:
            return
        if guard.frozen and progress.state in ON_TRIAL:
            progress.move(_S.FROZEN, guard.frozen)
            progress.made_safe = False
        elif not guard.frozen and progress.state is _S.FROZEN:
            progress.move(_S.WATCHED, "its cryostat has thawed; the soak goes on")

    def _decide_again(self, cryostat: str) -> None:
        self.unsettled[cryostat] = None
        self.touch(*(p.name for p in self.inhabitants(cryostat) if not p.intent))

    def _on_cryostat_observed(self, event: ce.CryostatObserved) -> None:
        """Feed the guard; what waits for it is decided again."""
        guard = self.guards.get(event.cryostat)
        if guard is not None:
            guard.observe(event.reading)
            self._decide_again(event.cryostat)

    def _on_guard_overridden(self, event: ce.GuardOverridden) -> None:
        """It is bound to the lease that is seen next."""
        guard = self.guards.get(event.cryostat)
        if event.guard == ce.EXPERIMENT and guard is not None:
            guard.override_by = event.by

    def _on_cryostat_base_taken(self, event: ce.CryostatBaseTaken) -> None:
        """Rises are counted from here."""
        self.guards[event.cryostat].base_k = event.base_k

    def _on_cryostat_frozen(self, event: ce.CryostatFrozen) -> None:
        """Everything on trial there is frozen."""
        guard = self.guards[event.cryostat]
        if not guard.frozen:
            guard.blocked_t_s = guard.latest.t_s if guard.latest else None
        guard.frozen, guard.held_out = event.why, ""
        self.blocked[event.cryostat] = guard
        # From the record: a resume does not see the guards' readings again.
        cycled = guard.tells_of_cycle(event.evidence)
        guard.cycled = guard.cycled or cycled
        self.cohorts.disturb(event.cryostat, event.why, cycled=cycled)
        for progress in self.inhabitants(event.cryostat):
            self.align(progress)
        self._decide_again(event.cryostat)

    def _on_cryostat_thawed(self, event: ce.CryostatThawed) -> None:
        """The soak of what was frozen goes on, in the same boot."""
        guard = self.guards[event.cryostat]
        guard.frozen, guard.cycled, guard.blocked_t_s = "", False, None
        if not guard.held_out:
            self.blocked.pop(event.cryostat, None)
        for progress in self.inhabitants(event.cryostat):
            self.align(progress)
        self._decide_again(event.cryostat)

    def _on_cryostat_held_out(self, event: ce.CryostatHeldOut) -> None:
        """The wave waits for it."""
        guard = self.guards[event.cryostat]
        if guard.tells_of_cycle(event.evidence):
            self.cohorts.disturb(event.cryostat, event.why, cycled=True)
        guard.held_out = event.why
        self.blocked[event.cryostat] = guard
        guard.blocked_t_s = guard.latest.t_s if guard.latest else None

    def _on_cryostat_admitted(self, event: ce.CryostatAdmitted) -> None:
        """It may be flashed again."""
        guard = self.guards[event.cryostat]
        guard.held_out, guard.blocked_t_s = "", None
        if not guard.frozen:
            self.blocked.pop(event.cryostat, None)
        if guard.override_by:
            guard.override_by = ""
            if event.lease_owner:
                guard.overridden = (event.lease_owner, event.lease_token)
        self._decide_again(event.cryostat)

    def _on_device_made_safe(self, event: ce.DeviceMadeSafe) -> None:
        """Its front end is off."""
        self.devices[event.device].made_safe = self.devices[event.device].asleep = True

    def _on_device_not_safe(self, event: ce.DeviceNotSafe) -> None:
        """Asked once; it stays frozen."""
        self.devices[event.device].made_safe = True

    def _on_device_calibrated(self, event: ce.DeviceCalibrated) -> None:
        """Its front end is on, and its figures are comparable with those after the next one."""
        progress = self.devices[event.device]
        progress.asleep = False
        settled = event.t_s >= progress.watch.after_t_s
        if progress.state is _S.CHECKED:
            progress.calibrated = True
            progress.watch.calibrated(event.t_s)
            self.cohorts.recalibrated(event.device)
            self.touch(*self.devices)
        elif progress.state in _ON_TRIAL and progress.calibration_due and settled:
            progress.calibration_due = False
            progress.watch.calibrated(event.t_s)
            self.cohorts.begin(event.device, event.t_s)
        elif progress.state not in _ON_TRIAL:
            progress.calibration_due = False
        self.touch(*(p.name for p in self.inhabitants(progress.planned.cryostat)))

    def _on_calibration_failed(self, event: ce.CalibrationFailed) -> None:
        """What it measures now says nothing about the firmware."""
        progress = self.devices[event.device]
        progress.asleep = progress.calibration_due = False
        progress.uncalibrated = event.why
        self.touch(*(p.name for p in self.inhabitants(progress.planned.cryostat)))

    def _on_upload_interrupted(self, event: ce.UploadInterrupted) -> None:
        """It stays checked; the upload is given again when the cryostat has thawed."""
        self.devices[event.device].why = event.why
