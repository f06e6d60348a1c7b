"""A perfect lab for the pure rollout: it answers commands at once, and its devices always beat."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryofw.fleet import Reach
from cryofw.health import EvidenceContract, Heartbeat, HeartbeatMissed
from cryofw.release import Firmware
from cryofw.rollout import (
    CheckDevice,
    Command,
    ConfirmImage,
    Connection,
    Event,
    Plan,
    PlannedDevice,
    PlannedStage,
    RollBackDevice,
    Rollout,
    Step,
    TestImage,
    UploadImage,
)
from cryofw.rollout import events as e

NEW, OLD = "aa" * 32, "bb" * 32
RELEASE = Firmware(NEW, "cc" * 32, "1.1.0", 2, 4096, "cc40", "dd" * 32)
LAST_GOOD = Firmware(OLD, "ee" * 32, "1.0.0", 2, 4096, "cc40", "dd" * 32)
EVIDENCE = EvidenceContract(60, 120, 10, 2, 30, 0, 0)


def a_plan(
    on_failure: Reach = Reach.STAGE, heat: int = 9, *, approve: bool = False, retries: int = 0
) -> Plan:
    stages = (
        PlannedStage("rig", (("r1",),), Reach.STAGE, 0.5, False),
        PlannedStage("canary", (("a1", "a2"),), Reach.STAGE, 0.5, approve),
        PlannedStage("fleet", (("b1",), ("b2", "b3")), on_failure, 0.5, False),
    )
    devices = {
        name: PlannedDevice(
            name,
            f"cryo-{name[0]}",
            stage.name,
            Connection(f"sim://{name}", 115200, True, (), (), 5, 2, 3, 1, ""),
            "",
            "cc40",
            OLD,
            "1.0.0",
            LAST_GOOD,
            True,
            60,
            EVIDENCE,
        )
        for stage in stages
        for name in stage.devices
    }
    slots = {f"cryo-{c}": heat for c in "rab"}
    return Plan("lab", "f" * 64, RELEASE, stages, devices, slots, "anna", "2026-01-01", "00")


@dataclass
class Lab:
    """Answers each command by a script; by default everything works."""

    rollout: Rollout
    script: dict[tuple[str, type[Command]], list[Event]] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    now_s: float = 0.0
    most_hot: dict[str, int] = field(default_factory=dict)

    def tell(self, event: Event) -> None:
        pending = [event]
        while pending:
            current = pending.pop(0)
            if not isinstance(current, e.ReadingTaken):
                self.steps.append(current)
            steps = self.rollout.receive(current)
            self.steps += steps
            self.count_heat()
            pending += [self.answer(s) for s in steps if isinstance(s, Command)]

    def count_heat(self) -> None:
        hot: dict[str, int] = {}
        for p in self.rollout.state.devices.values():
            hot[p.planned.cryostat] = hot.get(p.planned.cryostat, 0) + p.hot
        for cryostat, count in hot.items():
            self.most_hot[cryostat] = max(count, self.most_hot.get(cryostat, 0))

    def answer(self, command: Command) -> Event:
        scripted = self.script.get((command.device, type(command)))
        if scripted:
            return scripted.pop(0)
        name = command.device
        answers: dict[type[Command], Event] = {
            CheckDevice: e.DeviceChecked(name, OLD, "1.0.0"),
            UploadImage: e.ImageUploaded(name, NEW),
            TestImage: e.TestBooted(name, NEW, self.now_s, boot=7),
            ConfirmImage: e.ImageConfirmed(name, NEW, 7),
            RollBackDevice: e.DeviceRolledBack(name, OLD),
        }
        return answers[type(command)]

    def beats(self, seconds: float, silent: tuple[str, ...] = ()) -> None:
        end_s = self.now_s + seconds
        while self.now_s < end_s and not self.rollout.at_rest:
            self.now_s += 10
            for name in sorted(self.rollout.watched()):
                up_ms = int(self.now_s * 1000)
                running = self.rollout.state.devices[name].running_hash
                reading = (
                    HeartbeatMissed(self.now_s, "no answer")
                    if name in silent and running == NEW
                    else Heartbeat(self.now_s, running, 7, up_ms)
                )
                self.tell(e.ReadingTaken(name, reading))

    def states(self) -> dict[str, str]:
        return {n: p.state.value for n, p in self.rollout.state.devices.items()}


def started(plan: Plan, until: str = "") -> Lab:
    lab = Lab(Rollout(plan))
    lab.tell(e.RolloutStarted(plan.digest, NEW, "1.1.0", until))
    return lab
