"""Observations in, verdict out: is this device's new firmware good? Pure.

A `DeviceWatch` takes readings (heartbeats and calibration metrics) and answers Passed, Failed or
Inconclusive with its evidence. Unknown is not healthy: what is missing, stale or NaN never counts
towards Passed.

A `Cohort` judges the calibration of a wave against its controls, at every look, within the part
of the one `false_rollback` that the `AlphaLedger` gives each stream; `sight` says beforehand what
it will see. `BeatTest` judges heartbeats from the same ledger.

`look_for_drift` looks through days of telemetry for what slowly moves.
"""

from cryofw.health.beats import BeatTest
from cryofw.health.cohort import Cohort
from cryofw.health.contract import EvidenceContract, Method, MetricContract, Worse
from cryofw.health.drift import look_for_drift
from cryofw.health.drift_blocks import DriftSeries
from cryofw.health.drift_verdict import Drift, DriftFinding, DriftRule, DriftVerdict
from cryofw.health.finding import MetricFinding, Shift, finding_of, in_short
from cryofw.health.freshness import FreshValues
from cryofw.health.heartbeat import HeartbeatWatch, Symptom
from cryofw.health.ledger import AlphaLedger, StreamKind
from cryofw.health.reading import (
    Heartbeat,
    HeartbeatMissed,
    LabValue,
    MetricSample,
    Reading,
    reading_from_json,
    reading_to_json,
)
from cryofw.health.rule import CohortRule, StreamRule, wave_streams
from cryofw.health.sight import Sight, judged_deviation, sight, stream_sight
from cryofw.health.stage_pool import StagePools
from cryofw.health.stream import CalibrationStream
from cryofw.health.verdict import Outcome, Verdict
from cryofw.health.watch import DeviceWatch, Phase

__all__ = [
    "AlphaLedger",
    "BeatTest",
    "CalibrationStream",
    "Cohort",
    "CohortRule",
    "DeviceWatch",
    "Drift",
    "DriftFinding",
    "DriftRule",
    "DriftSeries",
    "DriftVerdict",
    "EvidenceContract",
    "FreshValues",
    "Heartbeat",
    "HeartbeatMissed",
    "HeartbeatWatch",
    "LabValue",
    "Method",
    "MetricContract",
    "MetricFinding",
    "MetricSample",
    "Outcome",
    "Phase",
    "Reading",
    "Shift",
    "Sight",
    "StagePools",
    "StreamKind",
    "StreamRule",
    "Symptom",
    "Verdict",
    "Worse",
    "finding_of",
    "in_short",
    "judged_deviation",
    "look_for_drift",
    "reading_from_json",
    "reading_to_json",
    "sight",
    "stream_sight",
    "wave_streams",
]
