"""Decides a rollout: plan, stages, waves, device states, gates. Pure.

    Rollout.receive(event) -> decisions and commands

The engine writes them to the journal and does them; resuming is folding the journal again.
"""

from cryofw.rollout.commands import (
    CalibrateDevice,
    CheckDevice,
    Command,
    ConfirmImage,
    RollBackDevice,
    SafeDevice,
    TestImage,
    UploadImage,
)
from cryofw.rollout.cryostat_guard import CryostatGuard
from cryofw.rollout.device_state import DeviceState, IllegalMove
from cryofw.rollout.events import Ending, Event
from cryofw.rollout.guard_contract import (
    CryostatContract,
    FridgeContract,
    PlannedSource,
    TemperatureContract,
)
from cryofw.rollout.guard_reading import GuardReading, guard_from_json, guard_to_json
from cryofw.rollout.history import History, Quarantine, RolloutSummary, Sighting
from cryofw.rollout.plan import Connection, Plan, PlannedDevice, PlannedStage, parse_plan
from cryofw.rollout.planner import PlanRefused, Running, Wish, connection_of, make_plan
from cryofw.rollout.progress import DeviceProgress
from cryofw.rollout.record import fields_of, step_from_record
from cryofw.rollout.rollout import Rollout, Step
from cryofw.rollout.state import RolloutState

__all__ = [
    "CalibrateDevice",
    "CheckDevice",
    "Command",
    "ConfirmImage",
    "Connection",
    "CryostatContract",
    "CryostatGuard",
    "DeviceProgress",
    "DeviceState",
    "Ending",
    "Event",
    "FridgeContract",
    "GuardReading",
    "History",
    "IllegalMove",
    "Plan",
    "PlanRefused",
    "PlannedDevice",
    "PlannedSource",
    "PlannedStage",
    "Quarantine",
    "RollBackDevice",
    "Rollout",
    "RolloutState",
    "RolloutSummary",
    "Running",
    "SafeDevice",
    "Sighting",
    "Step",
    "TemperatureContract",
    "TestImage",
    "UploadImage",
    "Wish",
    "connection_of",
    "fields_of",
    "guard_from_json",
    "guard_to_json",
    "make_plan",
    "parse_plan",
    "step_from_record",
]
