"""What events do to the pair of firmware and coefficients of a device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from cryofw.rollout import commands as c

if TYPE_CHECKING:
    from cryofw.rollout import coefficient_events as coe
    from cryofw.rollout.progress import DeviceProgress


class CoefficientHandlers(ABC):
    """The handlers of coefficient events; part of `RolloutState`."""

    __slots__ = ()

    devices: dict[str, DeviceProgress]

    def intend_coefficients(self, command: c.Command, progress: DeviceProgress) -> None:
        """From the intent on, something of the release's may outlive a reset.

        A setting does once it is saved, what a command of the lab writes does at once.
        """
        by_command = bool(progress.planned.coefficient_command)
        if isinstance(command, c.SaveCoefficients) or (
            isinstance(command, c.ApplyCoefficients) and by_command
        ):
            progress.pair.kept = True

    @abstractmethod
    def begin_soak(self, progress: DeviceProgress, t_s: float) -> None:
        """What runs is judged from `t_s` on."""

    def _on_coefficients_read(self, event: coe.CoefficientsRead) -> None:
        """The way back is known."""
        self.devices[event.device].pair.before = dict(event.values)

    def _on_coefficients_applied(self, event: coe.CoefficientsApplied) -> None:
        """The pair is on trial."""
        progress = self.devices[event.device]
        progress.pair.unapplied = False
        progress.refusals = 0
        progress.why = "in test boot, with its coefficients"
        self.begin_soak(progress, event.t_s)

    def _on_coefficients_saved(self, event: coe.CoefficientsSaved) -> None:
        """The pair is whole."""
        progress = self.devices[event.device]
        progress.pair.unsaved = False
        progress.refusals = 0

    def _on_coefficients_restored(self, event: coe.CoefficientsRestored) -> None:
        """The old pair is whole."""
        self.devices[event.device].pair.came_back()

    def _on_coefficients_deferred(self, event: coe.CoefficientsDeferred) -> None:
        """Its heartbeat decides."""
        progress = self.devices[event.device]
        progress.why = event.why
        progress.refusals += 1
        progress.awaits_beat = True

    def _on_coefficients_failed(self, event: coe.CoefficientsFailed) -> None:
        """The update of this device failed."""
        progress = self.devices[event.device]
        progress.failure = progress.why = event.why
        progress.hint = event.hint
