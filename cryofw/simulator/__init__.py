"""A simulated lab: cryo-CMOS controllers with bootloader, flash, physics and faults.

A controller is a real SMP server over a model of MCUboot: it answers smpmgr and smpclient on a
pty as it answers cryofw on `sim://NAME`. The room knows nothing of what cryofw believes; it
imitates recorded devices.
"""

from cryofw.simulator.board import STAGE_METRIC
from cryofw.simulator.climate import BASE_STABLE, Climate, Happening, Period
from cryofw.simulator.controller import Ports, SimulatedController
from cryofw.simulator.faults import (
    FAULTS,
    CorruptBytes,
    CutLines,
    CutPower,
    DelayBytes,
    DropBytes,
    DuplicateBytes,
    Fault,
    FillBuffers,
    Hang,
    LoopBoots,
    LoseHeartbeats,
    OverrunBuffers,
    PrintNoise,
    PullCable,
    ResetWhileReceiving,
    ScheduledFault,
    ShiftCalibration,
    SlowErase,
    parse_fault,
    storm,
)
from cryofw.simulator.firmware import Firmware, Shift, read_firmware
from cryofw.simulator.flash import Flash, PowerCut, PowerLostError
from cryofw.simulator.flash_storage import FileStorage, MemoryStorage
from cryofw.simulator.lab import SimulatedLab
from cryofw.simulator.mcuboot import Bootloader, BootOutcome, SecurityCounter
from cryofw.simulator.port import SimulatedPort
from cryofw.simulator.ram import Mode, Ram, ResetCause
from cryofw.simulator.spec import (
    DEFAULT_METRICS,
    BootloaderConfig,
    ControllerSpec,
    FlashTiming,
    LabSpec,
    MetricSpec,
    ServerProfile,
    ThermalSpec,
    spec_of_fleet,
)
from cryofw.simulator.trailer import SwapType
from cryofw.simulator.validator import SignatureCheck

__all__ = [
    "BASE_STABLE",
    "DEFAULT_METRICS",
    "FAULTS",
    "STAGE_METRIC",
    "BootOutcome",
    "Bootloader",
    "BootloaderConfig",
    "Climate",
    "ControllerSpec",
    "CorruptBytes",
    "CutLines",
    "CutPower",
    "DelayBytes",
    "DropBytes",
    "DuplicateBytes",
    "Fault",
    "FileStorage",
    "FillBuffers",
    "Firmware",
    "Flash",
    "FlashTiming",
    "Hang",
    "Happening",
    "LabSpec",
    "LoopBoots",
    "LoseHeartbeats",
    "MemoryStorage",
    "MetricSpec",
    "Mode",
    "OverrunBuffers",
    "Period",
    "Ports",
    "PowerCut",
    "PowerLostError",
    "PrintNoise",
    "PullCable",
    "Ram",
    "ResetCause",
    "ResetWhileReceiving",
    "ScheduledFault",
    "SecurityCounter",
    "ServerProfile",
    "Shift",
    "ShiftCalibration",
    "SignatureCheck",
    "SimulatedController",
    "SimulatedLab",
    "SimulatedPort",
    "SlowErase",
    "SwapType",
    "ThermalSpec",
    "parse_fault",
    "read_firmware",
    "spec_of_fleet",
    "storm",
]
