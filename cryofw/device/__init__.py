"""Drives one controller over SMP: reads, updates, watches it, and brings it back.

`DeviceDriver` is the door. All it returns is frozen, and read from the device; all it raises says
what happened, why, and what to do.
"""

from __future__ import annotations

from cryofw.device.check import CheckReport
from cryofw.device.driver import DeviceDriver
from cryofw.device.errors import (
    BootChanged,
    CalibrationFailed,
    ChangeNotSeen,
    DeviceSilent,
    DeviceUnreachable,
    ImageNotRunning,
    InRecovery,
    LeaseRefused,
    NoResetPath,
    NoSettings,
    NotReady,
    PowerHookFailed,
    RequestFailed,
    ResetIgnored,
    UploadRejected,
    WrongDevice,
)
from cryofw.device.examination import Bootloader
from cryofw.device.identity import Identity
from cryofw.device.lease import LeaseState
from cryofw.device.link_record import DeviceLogLine, LinkCounts
from cryofw.device.observation import Mode, Observation, SlotState
from cryofw.device.power import CommandPowerHook, PowerHook
from cryofw.device.reading import (
    CalibrationReading,
    HeartbeatReading,
    HeartbeatSource,
    MetricsReading,
)
from cryofw.device.serial_recovery import RecoveryReport, SerialRecovery
from cryofw.device.target import RetryRule, Target, Timeouts
from cryofw.device.trial import RestoreReport
from cryofw.device.upload import UploadReport

__all__ = [
    "BootChanged",
    "Bootloader",
    "CalibrationFailed",
    "CalibrationReading",
    "ChangeNotSeen",
    "CheckReport",
    "CommandPowerHook",
    "DeviceDriver",
    "DeviceLogLine",
    "DeviceSilent",
    "DeviceUnreachable",
    "HeartbeatReading",
    "HeartbeatSource",
    "Identity",
    "ImageNotRunning",
    "InRecovery",
    "LeaseRefused",
    "LeaseState",
    "LinkCounts",
    "MetricsReading",
    "Mode",
    "NoResetPath",
    "NoSettings",
    "NotReady",
    "Observation",
    "PowerHook",
    "PowerHookFailed",
    "RecoveryReport",
    "RequestFailed",
    "ResetIgnored",
    "RestoreReport",
    "RetryRule",
    "SerialRecovery",
    "SlotState",
    "Target",
    "Timeouts",
    "UploadRejected",
    "UploadReport",
    "WrongDevice",
]
