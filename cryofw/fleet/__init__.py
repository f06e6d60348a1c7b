"""The fleet: what fleet.yaml says, read strictly, as frozen objects in base units.

`load_fleet` answers with a complete `Fleet` or raises one `FleetError` that holds every defect of
the file with line, column, caret and hint. pydantic and yaml are imported here: commands that need
no fleet do not import this room.
"""

from cryofw.fleet.finding import Finding, FleetError
from cryofw.fleet.fleet import (
    EVERYTHING,
    BootloaderSetting,
    CalibrationContract,
    Controller,
    Count,
    Cryostat,
    Fleet,
    HeartbeatRule,
    Metric,
    Reach,
    ResetPath,
    Retries,
    Share,
    SimulatedMetric,
    Simulation,
    Stage,
    Thermal,
    Wave,
)
from cryofw.fleet.loader import load_fleet, parse_fleet
from cryofw.fleet.promql import PromqlError, Token, TokenKind, fill_promql, promql_tokens
from cryofw.fleet.schema import fleet_json_schema
from cryofw.fleet.source import (
    CalibrationTest,
    ErrorBudget,
    ExperimentGuard,
    FridgeGuard,
    FromCommand,
    FromDevice,
    FromPrometheus,
    FromSimulation,
    Guards,
    Prometheus,
    Recalibration,
    Source,
    TemperatureGuard,
)
from cryofw.fleet.window import Window

__all__ = [
    "EVERYTHING",
    "BootloaderSetting",
    "CalibrationContract",
    "CalibrationTest",
    "Controller",
    "Count",
    "Cryostat",
    "ErrorBudget",
    "ExperimentGuard",
    "Finding",
    "Fleet",
    "FleetError",
    "FridgeGuard",
    "FromCommand",
    "FromDevice",
    "FromPrometheus",
    "FromSimulation",
    "Guards",
    "HeartbeatRule",
    "Metric",
    "Prometheus",
    "PromqlError",
    "Reach",
    "Recalibration",
    "ResetPath",
    "Retries",
    "Share",
    "SimulatedMetric",
    "Simulation",
    "Source",
    "Stage",
    "TemperatureGuard",
    "Thermal",
    "Token",
    "TokenKind",
    "Wave",
    "Window",
    "fill_promql",
    "fleet_json_schema",
    "load_fleet",
    "parse_fleet",
    "promql_tokens",
]
