"""Evidence that lies beside the journal: plans by digest, raw readings by count and digest."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from cryofw.audit.device_words import log_problem
from cryofw.audit.rollout_rules import not_as_planned
from cryofw.errors import CryofwError
from cryofw.rollout import parse_plan

if TYPE_CHECKING:
    from cryofw.journal import Record, Storage
    from cryofw.rollout import Plan


class Evidence:
    """Looks up, in a state directory, what records refer to by digest."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._readings: dict[str, dict[str, list[bytes]]] = {}

    def plan(self, record: Record) -> tuple[Plan | None, str]:
        """The plan that a `rollout-started` names, or why it is not to be had."""
        name = f"rollouts/{record.rollout}/plan.json"
        if not self._storage.exists(name):
            return None, f"{name} is missing"
        try:
            data = self._storage.read(name)
            # Its bytes are what was started, also if this version would write them otherwise.
            if hashlib.sha256(data).hexdigest() != record.fields.get("plan"):
                return None, f"{name} is not the plan that the rollout was started with"
            plan = parse_plan(data, name, str(record.fields["plan"]))
            return plan, not_as_planned(plan, record)
        except CryofwError as error:
            return None, str(error)

    def check_log(self, record: Record) -> str:
        """Why the device's log is not the one that was kept; empty if it is, or there is none."""
        return log_problem(self._storage, record)

    def check_readings(self, record: Record) -> str:
        """Why the raw readings are not those that a record was decided on; empty if they are."""
        claim = record.fields.get("readings")
        cryostat = record.fields.get("cryostat")
        if not isinstance(claim, dict) or (record.device is None and cryostat is None):
            return ""
        about = f"cryostat {cryostat}" if record.device is None else record.device
        count = claim.get("count")
        lines = self._lines(record.rollout).get(about, [])
        if type(count) is not int or count < 0:
            return "its count of readings is not a number"
        if len(lines) < count:
            return f"it rests on {count} readings of {about}, of which {len(lines)} are at hand"
        digest = hashlib.sha256(b"".join(lines[:count])).hexdigest()
        if digest != claim.get("sha256"):
            return f"the raw readings of {about} are not those it was decided on"
        return ""

    def _lines(self, rollout: str) -> dict[str, list[bytes]]:
        if rollout not in self._readings:
            by_device: dict[str, list[bytes]] = {}
            name = f"rollouts/{rollout}/readings.jsonl"
            data = self._storage.read(name) if self._storage.exists(name) else b""
            for line in data.splitlines(keepends=True):
                by_device.setdefault(_subject_of(line), []).append(line)
            self._readings[rollout] = by_device
        return self._readings[rollout]


def _subject_of(line: bytes) -> str:
    """The device a reading is of, or its cryostat; no name of a device has a space."""
    try:
        fields = json.loads(line)
        return f"cryostat {fields['c']}" if "c" in fields else str(fields["d"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""  # no device has this name: its count or digest will not agree
