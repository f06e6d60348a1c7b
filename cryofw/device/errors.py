"""What can go wrong with a device, in words for the person who has to act at night."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.errors import DeviceStuck, Refused, Unreachable

if TYPE_CHECKING:
    from cryofw.smp import SmpStatus


class DeviceUnreachable(Unreachable):
    """The port cannot be opened, or the line broke.

    Attributes:
        sent: a request may have reached the device before the line broke.
    """

    def __init__(self, what: str, *, why: str = "", hint: str = "", sent: bool = False) -> None:
        super().__init__(what, why=why, hint=hint)
        self.sent = sent


class ConnectionChanged(DeviceUnreachable):
    """The port was opened anew since the device was identified; nothing was sent."""


class DeviceSilent(Unreachable):
    """The port is open, but the device does not answer; the request may have been carried out."""


class WrongDevice(Refused):
    """What answers on the port is not the device that fleet.yaml names (swapped cables)."""


class InRecovery(Refused):
    """The bootloader's serial recovery answers, not the application: an upload would overwrite
    the running slot.
    """


class RequestFailed(Refused):
    """The device refused a request.

    Attributes:
        group: SMP group whose table `rc` is from; None for the general one.
        rc: the code.
        reason: the device's own words, often empty.
    """

    def __init__(self, what: str, status: SmpStatus, *, why: str = "", hint: str = "") -> None:
        super().__init__(what, why=f"{why} [{status}]" if why else str(status), hint=hint)
        self.status = status
        self.group = status.group
        self.rc = status.rc
        self.reason = status.reason


class NotReady(Refused):
    """The device is not in the state that the step needs; nothing was changed."""


class UploadRejected(Refused):
    """The device does not take the image, or holds something else than was sent."""


class ImageNotRunning(Refused):
    """Another image runs than the one that is to be confirmed.

    Attributes:
        recovery_escapes: resets that we sent to get the device out of serial recovery just before;
            after one, the revert is the host's doing and no verdict on the firmware.
    """

    def __init__(
        self, what: str, *, why: str = "", hint: str = "", recovery_escapes: int = 0
    ) -> None:
        if recovery_escapes:
            why += "; it was in serial recovery and our reset freed it: no verdict on the firmware"
        super().__init__(what, why=why, hint=hint)
        self.recovery_escapes = recovery_escapes


class BootChanged(Refused):
    """The device has booted since it was observed: what was observed was another boot."""


class ChangeNotSeen(DeviceStuck):
    """The device accepted a change, but its state does not show it."""


class ResetIgnored(DeviceStuck):
    """The device answers, but it did not reset."""


class NoResetPath(Refused):
    """There is no power hook for this device."""


class PowerHookFailed(DeviceStuck):
    """The power hook did not do its work."""


class NoSettings(Refused):
    """Its firmware has no settings group."""


class LeaseRefused(Refused):
    """Another rollout holds the lease on the device."""


class CalibrationFailed(Unreachable):
    """A calibration run did not end."""
