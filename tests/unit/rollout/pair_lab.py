"""A rollout of one device with coefficients, decided by the real core and answered by hand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from cryofw.fleet import Reach
from cryofw.health import EvidenceContract, Heartbeat
from cryofw.release import Coefficient, CoefficientType, Firmware
from cryofw.rollout import Connection, Plan, PlannedDevice, PlannedStage, Rollout, Step
from cryofw.rollout import coefficient_events as coe
from cryofw.rollout import commands as c
from cryofw.rollout import events as e

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cryofw.rollout import Event

NEW, OLD = "aa" * 32, "bb" * 32
GAIN, BIAS = "readout/gain", "readout/bias"
WANTED = {GAIN: Coefficient(CoefficientType.F32, "00000040")}
VALUES = {GAIN: "00000040"}
BEFORE = {GAIN: "0000803f"}
DEVICE = "c1-a"


def a_plan(*, by_command: bool = False) -> Plan:
    """One device, one stage, heartbeats only."""
    last_good = Firmware(OLD, "ee" * 32, "1.0.0", 2, 4096, "cc40", "dd" * 32)
    device = PlannedDevice(
        name=DEVICE,
        cryostat="cryo-1",
        stage="rig",
        connection=Connection("sim://c1-a", 115200, True, (), (), 5.0, 2.0, 3, 1.0, ""),
        hw="",
        board="cc40",
        running_hash=OLD,
        running_version="1.0.0",
        last_good=last_good,
        way_back=True,
        lease_ttl_s=60.0,
        evidence=EvidenceContract(60.0, 120.0, 10.0, 2, 30.0, 0, 0),
        coefficients=WANTED,
        coefficient_command=("coefficients",) if by_command else (),
    )
    stage = PlannedStage("rig", ((DEVICE,),), Reach.STAGE, 0.5, False)
    release = replace(last_good, hash=NEW, version="1.1.0")
    slots = {"cryo-1": 9}
    return Plan("lab", "f" * 64, release, (stage,), {DEVICE: device}, slots, "anna", "2026", "00")


Answers = dict[type[c.Command], "Callable[[PairLab], Event | None]"]

HONEST: Answers = {
    c.CheckDevice: lambda _lab: e.DeviceChecked(DEVICE, OLD, "1.0.0"),
    c.UploadImage: lambda _lab: e.ImageUploaded(DEVICE, NEW),
    c.ReadCoefficients: lambda _lab: coe.CoefficientsRead(DEVICE, BEFORE),
    c.TestImage: lambda lab: e.TestBooted(DEVICE, NEW, lab.now_s, boot=7),
    c.ApplyCoefficients: lambda lab: coe.CoefficientsApplied(DEVICE, lab.now_s),
    c.ConfirmImage: lambda _lab: e.ImageConfirmed(DEVICE, NEW, 7),
    c.SaveCoefficients: lambda _lab: coe.CoefficientsSaved(DEVICE),
    c.RestoreCoefficients: lambda _lab: coe.CoefficientsRestored(DEVICE),
    c.RollBackDevice: lambda _lab: e.DeviceRolledBack(DEVICE, OLD, "swapped back"),
}


@dataclass
class PairLab:
    """Answers each command by `answers`, else honestly; None leaves it in flight."""

    plan: Plan = field(default_factory=a_plan)
    answers: Answers = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    now_s: float = 0.0

    def __post_init__(self) -> None:
        self.rollout = Rollout(self.plan)
        self.state = self.rollout.state
        self.device = self.state.devices[DEVICE]

    def tell(self, event: Event) -> None:
        """Let it happen, and do all that follows."""
        steps: list[Step] = [] if isinstance(event, e.ReadingTaken) else [event]
        steps += self.rollout.receive(event)
        self.steps += steps
        for step in steps:
            if isinstance(step, c.Command):
                answer = self.answers.get(type(step), HONEST[type(step)])(self)
                if answer is not None:
                    self.tell(answer)

    def start(self) -> None:
        """The first event."""
        self.tell(e.RolloutStarted(self.plan.digest, NEW, "1.1.0", by="anna"))

    def beat(self, count: int = 1, *, image: str = NEW, boot: int = 7, cause: int = 0) -> None:
        """Heartbeats, ten seconds apart."""
        for _ in range(count):
            if self.rollout.at_rest or DEVICE not in self.rollout.watched():
                return
            self.now_s += 10
            up_ms = int(self.now_s * 1000)
            self.tell(e.ReadingTaken(DEVICE, Heartbeat(self.now_s, image, boot, up_ms, cause)))

    @property
    def kinds(self) -> list[str]:
        """Everything that was decided or happened, in order."""
        return [step.kind for step in self.steps]

    def given(self, kind: type[c.Command]) -> Sequence[c.Command]:
        """The commands of this kind."""
        return [step for step in self.steps if isinstance(step, kind)]
