"""Telemetry: what the lab measures, read from Prometheus and from commands of the lab.

Metrics of controllers, temperature, fridge state and experiment lease of cryostats, error budgets.
Each reading carries its freshness, and a source that fails is a reading that says so: only a fresh
one counts. In virtual time a simulated lab stands in place of every source.
"""

from cryofw.telemetry.command import run_command, run_json
from cryofw.telemetry.errors import (
    SOURCE_ERRORS,
    AccessDenied,
    AnswerUnusable,
    CommandFailed,
    NoSeries,
    QueryRejected,
    RedirectRefused,
    SeveralSeries,
    SourceTimeout,
    SourceUnavailable,
)
from cryofw.telemetry.http_client import HttpClient, read_token
from cryofw.telemetry.metric_source import external_metrics
from cryofw.telemetry.port import BudgetSource, CryostatSource, MetricSource, SimulatedReadings
from cryofw.telemetry.prometheus import PrometheusClient, RetryRule, Series, the_one
from cryofw.telemetry.reading import (
    FREE,
    BudgetReading,
    BudgetState,
    CryostatReading,
    ExperimentLease,
    Freshness,
    MetricReadings,
    Observed,
)
from cryofw.telemetry.recorded_cooldown import record_cooldowns
from cryofw.telemetry.recorded_file import read_own_readings, read_recording
from cryofw.telemetry.recorded_range import record_range
from cryofw.telemetry.recording import (
    CooldownStart,
    RecordedSeries,
    Recorder,
    Recording,
    RecordingError,
    RecordingTooLong,
)
from cryofw.telemetry.source import SourceReader
from cryofw.telemetry.telemetry import (
    Telemetry,
    open_prometheus,
    open_telemetry,
    simulated_telemetry,
)

__all__ = [
    "FREE",
    "SOURCE_ERRORS",
    "AccessDenied",
    "AnswerUnusable",
    "BudgetReading",
    "BudgetSource",
    "BudgetState",
    "CommandFailed",
    "CooldownStart",
    "CryostatReading",
    "CryostatSource",
    "ExperimentLease",
    "Freshness",
    "HttpClient",
    "MetricReadings",
    "MetricSource",
    "NoSeries",
    "Observed",
    "PrometheusClient",
    "QueryRejected",
    "RecordedSeries",
    "Recorder",
    "Recording",
    "RecordingError",
    "RecordingTooLong",
    "RedirectRefused",
    "RetryRule",
    "Series",
    "SeveralSeries",
    "SimulatedReadings",
    "SourceReader",
    "SourceTimeout",
    "SourceUnavailable",
    "Telemetry",
    "external_metrics",
    "open_prometheus",
    "open_telemetry",
    "read_own_readings",
    "read_recording",
    "read_token",
    "record_cooldowns",
    "record_range",
    "run_command",
    "run_json",
    "simulated_telemetry",
    "the_one",
]
