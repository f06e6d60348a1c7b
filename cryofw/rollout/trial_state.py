"""What becomes of a device on its way through an update."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.rollout.device_state import HOT, DeviceState
from cryofw.rollout.handlers import Handlers

if TYPE_CHECKING:
    from cryofw.rollout import events as e
    from cryofw.rollout.progress import DeviceProgress

_S = DeviceState

MAX_ATTEMPTS = 3
"""Test boots of one device in one rollout; then a host fault counts as the firmware's."""


class TrialHandlers(Handlers):
    """The handlers of outcomes of commands; part of `RolloutState`."""

    __slots__ = ()

    wave_index: int

    def _on_device_checked(self, event: e.DeviceChecked) -> None:
        """It may take part."""
        progress = self.devices[event.device]
        progress.move(_S.CHECKED, "ready; nothing was sent")
        progress.running_hash = event.hash
        progress.may_swap = False
        progress.calibrated = False
        if self.wave_index >= 0:  # a person cleared it after its stage had begun
            self.cohorts.reopen(event.device, progress.trial)

    def _on_device_skipped(self, event: e.DeviceSkipped) -> None:
        """It runs the release already."""
        progress = self.devices[event.device]
        progress.move(_S.SKIPPED, "ran this release already")
        progress.running_hash = event.hash
        progress.may_swap = False

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
        reason = progress.verdict.reason if progress.verdict else ""
        said = f"accepted by {progress.accepted}; " if progress.accepted else ""
        progress.move(_S.CONFIRMED, said + reason)
        progress.running_hash = event.hash
        progress.refusals = 0
        progress.confirmed_here = True
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
        progress.may_swap = progress.confirmed_here = False
        progress.pair.came_back()
        progress.came_back()

    def _on_device_stuck(self, event: e.DeviceStuck) -> None:
        """A person has to act; after a test request that is the firmware's failure."""
        progress = self.devices[event.device]
        if progress.state is not _S.ROLLING_BACK:
            progress.failure = event.why
        progress.may_swap = progress.may_swap or progress.state in HOT
        progress.move(_S.STUCK, event.why)
        progress.hint = event.hint

    def _on_retry_granted(self, event: e.RetryGranted) -> None:
        """Another attempt."""
        progress = self.devices[event.device]
        progress.move(_S.CHECKED, event.why)
        progress.begin_attempt(event.attempt)
        self.cohorts.retry(event.device, progress.trial)

    def _on_device_abandoned(self, event: e.DeviceAbandoned) -> None:
        """Uploaded, never marked."""
        self.devices[event.device].move(_S.ABANDONED, event.why)

    def _on_device_quarantined(self, event: e.DeviceQuarantined) -> None:
        """Named, until a person clears it."""
        self.devices[event.device].quarantined = True
