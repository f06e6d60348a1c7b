"""A perfect lab that measures: heartbeats and metric samples of whatever the rollout wants.

Noise is drawn by seed, device and time, so two labs of one seed measure the same, also one that
takes over in the middle.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryofw.fleet import Reach
from cryofw.health import (
    EvidenceContract,
    Heartbeat,
    HeartbeatMissed,
    MetricContract,
    MetricSample,
    Worse,
)
from cryofw.rollout import (
    CalibrateDevice,
    Command,
    CryostatContract,
    Event,
    FridgeContract,
    GuardReading,
    Plan,
    PlannedDevice,
    PlannedSource,
    PlannedStage,
    Rollout,
    SafeDevice,
    Step,
)
from cryofw.rollout import cryostat_events as ce
from cryofw.rollout import events as e
from cryofw.rollout.guard_contract import TemperatureContract
from tests.unit.rollout.perfect_lab import LAST_GOOD, NEW, OLD, RELEASE, Lab, a_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

EVERY_S = 10.0
SNR = MetricContract("snr", "dB", Worse.LOWER, margin=0.1, reject=1.0)
EVIDENCE = EvidenceContract(600, 300, EVERY_S, 2, EVERY_S, 60, 20, (SNR,))
BASE_K = 4.0

_SOURCE = PlannedSource("simulated")
_GUARD = CryostatContract(
    1.2, 0.06, EVERY_S, TemperatureContract(_SOURCE, 0.15), FridgeContract(_SOURCE, ("base",))
)

Waves = tuple[tuple[str, ...], ...]
"""Device names by wave; the first letter of a name is its cryostat."""


def measured_plan(
    *,
    evidence: EvidenceContract = EVIDENCE,
    reach: Reach = Reach.STAGE,
    guarded: bool = False,
    **stages: Waves,
) -> Plan:
    """A plan of these stages, all judged alike."""
    connection = a_plan().devices["r1"].connection
    planned = tuple(PlannedStage(name, waves, reach, 0.5, False) for name, waves in stages.items())
    devices = {
        name: PlannedDevice(
            name, f"cryo-{name[0]}", stage.name, connection, "", "cc40", OLD, "1.0.0", LAST_GOOD,
            True, 60, evidence,
        )
        for stage in planned
        for name in stage.devices
    }  # fmt: skip
    cryostats = {device.cryostat for device in devices.values()}
    return Plan(
        "lab", "f" * 64, RELEASE, planned, devices, dict.fromkeys(sorted(cryostats), 99), "anna",
        "2026-01-01", "00", guards=dict.fromkeys(sorted(cryostats), _GUARD) if guarded else {},
    )  # fmt: skip


@dataclass
class MeasuredLab(Lab):
    """What goes on in it may be changed at any time.

    Attributes:
        noise: standard deviation of a sample.
        worse: device to what the new firmware takes off its metric.
        weather: cryostat or device to what moves it, by time.
        silent: devices that answer no heartbeat and give no sample, whatever they run.
        blind: devices that give samples without a value.
        patchy: share of the samples in which the value is missing or not a number.
        kelvin, fridge: of a cryostat, where they are not what they should be.
        tape: everything that happened and was decided, readings included, in order.
    """

    seed: int = 1
    noise: float = 0.1
    worse: dict[str, float] = field(default_factory=dict)
    weather: dict[str, Callable[[float], float]] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    blind: set[str] = field(default_factory=set)
    patchy: float = 0.0
    kelvin: dict[str, float] = field(default_factory=dict)
    fridge: dict[str, str] = field(default_factory=dict)
    tape: list[Step] = field(default_factory=list)

    def answer(self, command: Command) -> Event:
        if not self.script.get((command.device, type(command))):
            if isinstance(command, SafeDevice):
                return ce.DeviceMadeSafe(command.device)
            if isinstance(command, CalibrateDevice):
                return ce.DeviceCalibrated(command.device, self.now_s)
        return super().answer(command)

    def tell(self, event: Event) -> None:
        pending = [event]
        while pending:
            current = pending.pop(0)
            steps = self.rollout.receive(current)
            self.tape += [current, *steps]
            passing = isinstance(current, e.ReadingTaken | ce.CryostatObserved)
            self.steps += steps if passing else [current, *steps]
            pending += [self.answer(s) for s in steps if isinstance(s, Command)]

    def run(self, seconds: float) -> None:
        """Let time pass, until the rollout pauses or ends."""
        end_s = self.now_s + seconds
        while self.now_s < end_s and not self.rollout.at_rest:
            self.now_s += EVERY_S
            self._look()
            for name in sorted(self.rollout.watched()):
                if self.rollout.beating(name):
                    self.tell(e.ReadingTaken(name, self.beat(name)))
                if self.rollout.measured(name):
                    self.tell(e.ReadingTaken(name, self.sample(name)))

    def until(self, kind: type[Step], device: str = "", limit_s: float = 20_000) -> None:
        """Run until a step of this kind (about the device) was taken."""
        end_s = self.now_s + limit_s
        while not self.of(kind, device):
            assert self.now_s < end_s, f"no {kind.__name__} {device}: {self.states()}"
            assert not self.rollout.at_rest, f"no {kind.__name__} {device}: {self.states()}"
            self.run(EVERY_S)

    def of(self, kind: type[Step], device: str = "") -> list[Step]:
        """The steps of this kind, about the device if one is named."""
        return [
            s
            for s in self.steps
            if isinstance(s, kind) and device in ("", getattr(s, "device", ""))
        ]

    def _look(self) -> None:
        for name in sorted(self.rollout.guarded()):
            kelvin, fridge = self.kelvin.get(name, BASE_K), self.fridge.get(name, "base")
            self.tell(ce.CryostatObserved(name, GuardReading(self.now_s, kelvin, "", fridge)))

    def beat(self, name: str) -> Heartbeat | HeartbeatMissed:
        """What a heartbeat shows now."""
        if name in self.silent:
            return HeartbeatMissed(self.now_s, "no answer")
        progress = self.rollout.state.devices[name]
        running = progress.running_hash or progress.planned.running_hash
        return Heartbeat(self.now_s, running, 7, int(self.now_s * 1000))

    def sample(self, name: str) -> MetricSample:
        """What it measures now."""
        return MetricSample(self.now_s, {} if name in self.silent | self.blind else self._of(name))

    def _of(self, name: str) -> Mapping[str, float]:
        chance = random.Random(f"{self.seed}/{name}/{self.now_s}")
        progress = self.rollout.state.devices[name]
        value = 25.0 + sum(map(ord, name)) % 7 + chance.gauss(0.0, self.noise)
        if progress.running_hash == NEW:
            value -= self.worse.get(name, 0.0)
        for moved in (progress.planned.cryostat, name):
            if weather := self.weather.get(moved):
                value += weather(self.now_s)
        if chance.random() < self.patchy:
            return {} if chance.random() < 0.5 else {"snr": math.nan}
        return {"snr": value}


def measured(plan: Plan) -> MeasuredLab:
    """A lab in which the plan's rollout was just started."""
    lab = MeasuredLab(Rollout(plan))
    lab.tell(e.RolloutStarted(plan.digest, NEW, "1.1.0"))
    return lab
