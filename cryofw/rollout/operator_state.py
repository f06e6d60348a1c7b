"""What people say about single devices, as a rollout takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.health import Outcome
from cryofw.rollout.device_state import DeviceState
from cryofw.rollout.handlers import Handlers

if TYPE_CHECKING:
    from cryofw.rollout import lab_events as lab
    from cryofw.rollout import operator_events as oe
    from cryofw.rollout import recovery_events as rec
    from cryofw.rollout.progress import DeviceProgress


def why_not_acceptable(progress: DeviceProgress) -> str:
    """Why a person may not accept the device now; empty if they may."""
    name = progress.name
    if progress.failure or progress.doom:
        return f"{name} failed, and goes back: {progress.failure or progress.doom}"
    if progress.common_cause:
        return f"{name} is silent, so nobody can read what it runs: {progress.common_cause}"
    if progress.state is not DeviceState.HELD:
        return f"{name} is {progress.state}, not held"
    if progress.verdict is None or progress.verdict.outcome is not Outcome.INCONCLUSIVE:
        return f"there is no inconclusive verdict on {name}"
    return ""


class OperatorHandlers(Handlers):
    """The handlers of what people say; part of `RolloutState`."""

    __slots__ = ()

    def _on_device_accepted(self, event: oe.DeviceAccepted) -> None:
        """It may be confirmed, if it is still what they saw."""
        progress = self.devices.get(event.device)
        if progress is None or why_not_acceptable(progress):
            return
        progress.accepted = event.by
        self.cohorts.vouch(event.device, is_control=event.control)
        progress.why = f"accepted by {event.by}: {event.why}"

    def _on_device_adopted(self, event: lab.DeviceAdopted) -> None:
        """Nothing follows from it for a rollout that runs: its plan is made."""

    def _on_device_pinned(self, event: lab.DevicePinned) -> None:
        """As above: a device of an open rollout cannot be pinned."""

    def _on_device_excluded(self, event: lab.DeviceExcluded) -> None:
        """As above."""

    def _on_device_unpinned(self, event: lab.DeviceUnpinned) -> None:
        """As above."""

    def _on_recovery_requested(self, event: rec.RecoveryRequested) -> None:
        """As above: what an open rollout has in hand is not recovered beside it."""

    def _on_device_recovered(self, event: rec.DeviceRecovered) -> None:
        """As above."""

    def _on_recovery_failed(self, event: rec.RecoveryFailed) -> None:
        """As above."""

    def _on_policy_pinned(self, event: lab.PolicyPinned) -> None:
        """A rollout keeps the policy that it froze; who was revoked is looked up elsewhere."""

    def _on_policy_unpinned(self, event: lab.PolicyUnpinned) -> None:
        """As above."""
