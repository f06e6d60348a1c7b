"""Holds what verdicts claim against what was really measured, and against the device itself.

A verdict is read as plain JSON. The raw readings beside the journal are counted again here, and
the simulated device is asked, past every line, in which boot it is and since when.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cryofw.gameday.invariant import Invariant, require

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cryofw.fleet import Controller, Fleet
    from cryofw.simulator import SimulatedLab

_EXPLAINED = {
    "verdict-reached", "device-reverted", "failure-spread", "gate-failed", "device-refused",
    "device-unreachable", "device-stuck", "upload-failed", "hold-expired", "retry-granted",
    "device-abandoned", "device-quarantined", "rollout-paused", "rollout-ended",
    "device-rollback-requested", "confirm-refused", "cryostat-frozen", "cryostat-held-out",
    "cryostat-thawed", "cryostat-admitted", "common-cause-found", "common-cause-ended",
    "upload-interrupted",
}  # fmt: skip
_ROUNDING_S = 0.01
_NOTHING = hashlib.sha256().hexdigest()


@dataclass
class _Readings:
    """The raw readings of one rollout, counted as they come to the disk."""

    taken: int = 0
    digests: dict[str, hashlib._Hash] = field(default_factory=lambda: defaultdict(hashlib.sha256))
    after: dict[str, list[str]] = field(default_factory=lambda: defaultdict(lambda: [_NOTHING]))
    """By device: the digest of its first lines, for each number of them."""
    numbers: dict[tuple[str, int, str], int] = field(default_factory=lambda: defaultdict(int))
    """By device, attempt and metric: soak samples that are numbers, each measurement once."""
    stamps: dict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))

    def take(self, data: bytes) -> None:
        """Read the whole lines that are new."""
        end = data.rfind(b"\n") + 1
        for line in data[self.taken : end].splitlines():
            fields = json.loads(line)
            name = fields.get("d")
            if name is None:
                continue
            self.digests[name].update(line + b"\n")
            self.after[name].append(self.digests[name].hexdigest())
            if fields["p"] == "soak":
                for metric, value in fields.get("m", {}).items():
                    self.numbers[name, fields["a"], metric] += value is not None
                for metric, (value, t_s, stamp_s) in fields.get("lab", {}).items():
                    measured_s = t_s if stamp_s is None else stamp_s
                    fresh = measured_s > self.stamps[name, metric]
                    self.stamps[name, metric] = max(self.stamps[name, metric], measured_s)
                    self.numbers[name, fields["a"], metric] += value is not None and fresh
        self.taken = max(self.taken, end)


@dataclass
class _Trials:
    """What the test boots of one device may spend, by the numbers of its verdicts."""

    attempt: int = 1
    cleared: int = 0
    since_t: float = 0.0
    needed: dict[str, dict[tuple[int, int], float]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    """By stream: the evidence that was needed in each trial, in order."""

    def spent(self) -> float:
        """The chance of a false rollback, over all trials and streams."""
        return sum(1 / need for trials in self.needed.values() for need in trials.values())


class EvidenceWitness:
    """Counts again what the verdicts of one journal claim.

    Args:
        fleet: what evidence is asked for.
        lab: the devices themselves.
    """

    def __init__(self, fleet: Fleet, lab: SimulatedLab) -> None:
        self._lab = lab
        self._controllers = {one.name: one for one in fleet.controllers}
        self._soak_s = {
            one.name: stage.soak_s
            for stage in fleet.stages
            for one in fleet.controllers
            if {one.name, one.cryostat} & set(stage.targets)
        }
        self._boots: dict[str, dict[int, float]] = {name: {} for name in self._controllers}
        self._readings: dict[str, _Readings] = defaultdict(_Readings)
        self._trials: dict[tuple[str, str], _Trials] = defaultdict(_Trials)

    def take(self, records: Sequence[Mapping[str, Any]], entries: Mapping[str, bytes]) -> None:
        """Check the new records of a journal in the state directory `entries`.

        Raises:
            InvariantBroken: a record claims what is not so.
        """
        for name, boots in self._boots.items():
            ram = self._lab.controller(name).ram
            boots[ram.boot_id] = ram.started_s
        for record in records:
            kind, where = record["kind"], f"record {record['n']} ({record['kind']})"
            explained = kind not in _EXPLAINED or bool(record.get("why"))
            require(explained, Invariant.EVERY_DECISION_EXPLAINED, f"{where} gives no reason")
            if kind in ("gate-passed", "gate-failed", "rollout-ended"):
                told = kind == "gate-failed" or bool(record["evidence"]["states"])
                require(told, Invariant.EVERY_DECISION_EXPLAINED, f"{where} gives no numbers")
            if "device" in record:
                self._take_device(record, where, entries)

    def _take_device(
        self, record: Mapping[str, Any], where: str, entries: Mapping[str, bytes]
    ) -> None:
        rollout, name = record.get("rollout", ""), str(record["device"])
        trials = self._trials[rollout, name]
        match record["kind"]:
            case "image-test-requested":
                trials.attempt = record["attempt"]
            case "quarantine-cleared":
                trials.cleared += 1
            case "verdict-reached" | "baseline-taken":
                readings = self._readings[rollout]
                readings.take(entries.get(f"rollouts/{rollout}/readings.jsonl", b""))
                self._check_readings(record, where, readings)
                if record["kind"] == "verdict-reached":
                    self._check_verdict(record, where, readings)
            case _:
                pass

    def _check_readings(self, record: Mapping[str, Any], where: str, readings: _Readings) -> None:
        """The readings behind it are on the disk before it is (invariant 6)."""
        name, claimed = record["device"], record["readings"]
        digests, count = readings.after[name], claimed["count"]
        same = count < len(digests) and digests[count] == claimed["sha256"]
        words = f"{where}: it stands on {count} readings, {len(digests) - 1} are on the disk"
        require(same, Invariant.NOTHING_LOST, words)

    def _check_verdict(self, record: Mapping[str, Any], where: str, readings: _Readings) -> None:
        name, evidence = record["device"], record["evidence"]
        trials = self._trials[record["rollout"], name]
        self._spend(trials, evidence, where)
        if record["outcome"] != "passed":
            return
        controller = self._controllers[name]
        self._check_soak(name, evidence["heartbeats"], where)
        contract = controller.calibration
        for metric in contract.metrics:
            counted = evidence["metrics"].get(metric, {}).get("n_after", 0)
            real = readings.numbers[name, trials.attempt, metric]
            enough = contract.min_samples <= counted <= real
            words = (
                f"{where}: passed on {counted} samples of {metric}; {real} numbers were measured, "
                f"{contract.min_samples} are needed"
            )
            require(enough, Invariant.UNKNOWN_IS_NOT_HEALTHY, words)

    def _check_soak(self, name: str, beats: Mapping[str, Any], where: str) -> None:
        """The device itself has been up for so long, in the boot that was judged."""
        soaked_s, ram = beats["soaked_s"], self._lab.controller(name).ram
        need_s = self._soak_s[name]
        words = f"{where}: passed after {soaked_s} s, the soak is {need_s} s"
        require(soaked_s >= need_s, Invariant.UNKNOWN_IS_NOT_HEALTHY, words)
        begun_s = self._boots[name].get(beats["boot"])
        words = f"{where}: passed in boot {beats['boot']}, which {name} was never in"
        require(begun_s is not None, Invariant.UNKNOWN_IS_NOT_HEALTHY, words)
        assert begun_s is not None
        over = ram.boot_id != beats["boot"] and ram.started_s > begun_s
        ended_s = ram.started_s if over else self._lab.now_s()
        up_s = ended_s - begun_s
        words = f"{where}: passed after {soaked_s} s, {name} was up for {up_s:.3f} s"
        require(up_s >= soaked_s - _ROUNDING_S, Invariant.UNKNOWN_IS_NOT_HEALTHY, words)

    def _spend(self, trials: _Trials, evidence: Mapping[str, Any], where: str) -> None:
        """A new attempt pays anew: nothing is refunded (invariant 10)."""
        trial = (trials.attempt, trials.cleared)
        for stream, need in _bets(evidence):
            earlier = [n for one, n in trials.needed[stream].items() if one != trial]
            words = f"{where}: {stream} needs {need:g} in trial {trial}, {earlier} before"
            require(all(need > one for one in earlier), Invariant.EVERY_DECISION_EXPLAINED, words)
            trials.needed[stream][trial] = need

    def end(self) -> None:
        """See that no rollout has spent more than its one alpha.

        Raises:
            InvariantBroken: one has.
        """
        spent: dict[str, float] = defaultdict(float)
        for (rollout, _), trials in self._trials.items():
            spent[rollout] += trials.spent()
        alpha = max(_alpha(one) for one in self._controllers.values())
        for rollout, share in spent.items():
            words = f"{rollout} has spent {share:g} of {alpha:g}"
            require(share <= alpha, Invariant.EVERY_DECISION_EXPLAINED, words)


def _alpha(controller: Controller) -> float:
    return controller.calibration.false_rollback


def _bets(evidence: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Each stream whose win takes the device back, and the evidence that it needs."""
    yield "heartbeats", evidence["heartbeats"]["e_needed"]
    for metric, numbers in evidence.get("metrics", {}).items():
        for bet in ("e_needed", "noise_e_needed", "bound_e_needed"):
            if bet in numbers:
                yield f"{metric} {bet}", numbers[bet]
