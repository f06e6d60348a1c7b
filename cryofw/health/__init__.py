"""Observations in, verdict out: is this device's new firmware good? Pure.

A `DeviceWatch` takes readings (heartbeats and calibration metrics) and answers Passed, Failed or
Inconclusive with its evidence. Unknown is not healthy: what is missing, stale or NaN never counts
towards Passed.
"""

from cryofw.health.contract import EvidenceContract, MetricContract, Worse
from cryofw.health.heartbeat import HeartbeatWatch, Symptom
from cryofw.health.judge import Judge, MetricFinding, Shift, ShiftJudge
from cryofw.health.reading import (
    Heartbeat,
    HeartbeatMissed,
    MetricSample,
    Reading,
    reading_from_json,
    reading_to_json,
)
from cryofw.health.verdict import Outcome, Verdict
from cryofw.health.watch import DeviceWatch, Phase

__all__ = [
    "DeviceWatch",
    "EvidenceContract",
    "Heartbeat",
    "HeartbeatMissed",
    "HeartbeatWatch",
    "Judge",
    "MetricContract",
    "MetricFinding",
    "MetricSample",
    "Outcome",
    "Phase",
    "Reading",
    "Shift",
    "ShiftJudge",
    "Symptom",
    "Verdict",
    "Worse",
    "reading_from_json",
    "reading_to_json",
]
