"""What the lab measures joins the samples; a slow source holds up no heartbeat."""

from __future__ import annotations

import asyncio
import json
import math
import random
import sys
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from cryofw.engine.cryostat_eyes import open_plan_telemetry
from cryofw.engine.engine import Engine
from cryofw.engine.home import Home
from cryofw.engine.lab_metrics import LabMetrics
from cryofw.engine.site import Site
from cryofw.engine.virtual_time import LoopClock, SystemClock, run_virtual
from cryofw.fleet import FromCommand, FromPrometheus
from cryofw.health import (
    Heartbeat,
    LabValue,
    MetricContract,
    MetricSample,
    Worse,
    reading_from_json,
)
from cryofw.journal import JOURNAL_NAME, Journal, MemoryDisk, MemoryStorage
from cryofw.rollout import (
    CheckDevice,
    Command,
    ConfirmImage,
    Event,
    Plan,
    PlannedSource,
    Rollout,
    TestImage,
    UploadImage,
)
from cryofw.rollout import events as e
from cryofw.telemetry import Freshness, MetricReadings, Observed
from cryofw.transport import PortOpener
from tests.unit.rollout.perfect_lab import EVIDENCE, NEW, OLD, a_plan

if TYPE_CHECKING:
    from collections.abc import Mapping

GAIN = MetricContract("gain", "dB", Worse.LOWER, 0.5, 1.5)
SNR = MetricContract("snr", "dB", Worse.LOWER, 0.5, 1.5)
SOURCE = PlannedSource("prometheus", query="gain", stale_s=30.0)
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
T0_S = EPOCH.timestamp()


def measured_plan(**sources: PlannedSource) -> Plan:
    """Every device has the metrics `gain` and `snr`, those in `sources` from the lab."""
    evidence = replace(
        EVIDENCE,
        metrics=(GAIN, SNR),
        sample_every_s=30,
        baseline_samples=40,
        min_samples=20,
        soak_s=1800,
    )
    plan = a_plan()
    devices = {
        name: replace(device, evidence=evidence, sources=sources)
        for name, device in plan.devices.items()
    }
    return replace(plan, devices=devices)


def noisy(value: float, seed: float) -> float:
    return random.Random(seed).gauss(value, 0.01)


@dataclass
class SlowSource:
    """A `MetricSource` whose answers take `takes_s`; it measures when it is asked."""

    clock: LoopClock
    takes_s: float
    asked: list[float] = field(default_factory=list)

    async def sample(
        self, controller: str, sources: Mapping[str, FromPrometheus | FromCommand]
    ) -> MetricReadings:
        assert controller in a_plan().devices
        assert sources == {"gain": FromPrometheus("gain", 30.0)}
        asked_s = self.clock.now().timestamp()
        self.asked.append(asked_s)
        await asyncio.sleep(self.takes_s)
        found = Observed(Freshness.FRESH, noisy(20.0, asked_s), asked_s, stamp_s=asked_s)
        return MetricReadings(asked_s, {"gain": found})


def test_a_late_answer_comes_with_a_later_sample() -> None:
    async def main() -> list[MetricSample]:
        source = SlowSource(LoopClock(EPOCH), 40)
        lab = LabMetrics(measured_plan(gain=SOURCE), source, LoopClock(EPOCH))
        samples = [await lab.sample("r1") for _ in range(3)]
        assert source.asked == [T0_S, T0_S + 40]
        await lab.close()
        return samples

    first, second, third = run_virtual(main())
    gap = {"gain": "unavailable: no answer within 24 s"}
    assert first == MetricSample(T0_S + 24, gaps=gap)
    assert second == MetricSample(T0_S, lab={"gain": LabValue(noisy(20.0, T0_S), T0_S, T0_S)})
    assert third == MetricSample(T0_S + 64, gaps=gap)


def test_a_source_that_never_answers_is_asked_anew() -> None:
    async def main() -> None:
        source = SlowSource(LoopClock(EPOCH), math.inf)
        lab = LabMetrics(measured_plan(gain=SOURCE), source, LoopClock(EPOCH))
        gaps = [(await lab.sample("r1")).gaps["gain"] for _ in range(7)]
        assert source.asked == [T0_S, T0_S + 120]
        assert gaps[4] == "unavailable: no answer within 120 s"
        await lab.close()
        await lab.close()

    run_virtual(main())


@dataclass
class QuietHands:
    """Hands on perfect devices, of which the lab's source alone is slow."""

    clock: LoopClock
    lab: LabMetrics | None
    beats: dict[str, list[float]] = field(default_factory=dict)
    updated: set[str] = field(default_factory=set)
    samples: int = 0

    async def do(self, command: Command) -> Event:
        match command:
            case CheckDevice():
                return e.DeviceChecked(command.device, OLD, "1.0.0")
            case UploadImage():
                return e.ImageUploaded(command.device, NEW)
            case TestImage():
                self.updated.add(command.device)
                return e.TestBooted(command.device, NEW, self._now_s(), boot=7)
            case ConfirmImage():
                return e.ImageConfirmed(command.device, NEW, 7)
            case _:
                raise AssertionError(command)

    async def heartbeat(self, device: str) -> Heartbeat:
        self.beats.setdefault(device, []).append(self._now_s())
        image = NEW if device in self.updated else OLD
        return Heartbeat(self._now_s(), image, 7, round((self._now_s() - T0_S) * 1000))

    async def metrics(self, device: str) -> MetricSample:
        self.samples += 1
        return MetricSample(self._now_s(), {"snr": noisy(25.0, self.samples)}, self.samples)

    async def lab_metrics(self, device: str) -> MetricSample | None:
        assert self.lab is not None
        return await self.lab.sample(device)

    async def let_go(self, device: str, *, release: bool) -> None:
        """Nothing is held."""

    def _now_s(self) -> float:
        return self.clock.now().timestamp()


def test_a_slow_source_delays_no_heartbeat_and_hides_no_value_of_the_device() -> None:
    disk = MemoryDisk()

    async def main() -> QuietHands:
        clock = LoopClock(EPOCH)
        plan = measured_plan(gain=SOURCE)
        hands = QuietHands(clock, LabMetrics(plan, SlowSource(clock, 40), clock))
        home = Home(Path("nowhere"), MemoryStorage(disk))
        with home.open_journal(clock, "anna") as journal:
            engine = an_engine(plan, journal, hands, clock, home)
            async with asyncio.timeout(100_000):
                await engine.run([e.RolloutStarted(plan.digest, NEW, "1.1.0", until="rig")])
        return hands

    hands = run_virtual(main())
    gaps_s = {round(b - a, 6) for a, b in pairwise(hands.beats["r1"])}
    assert gaps_s == {10.0}, "a heartbeat every ten seconds, whatever the source does"
    kinds = [json.loads(line)["kind"] for line in disk.entries[JOURNAL_NAME].splitlines()]
    assert "image-confirmed" in kinds
    rollout = next(name for name in disk.entries if name.endswith("readings.jsonl"))
    lines = [json.loads(line) for line in disk.entries[rollout].splitlines()]
    samples = [one for line in lines if isinstance(one := reading_from_json(line), MetricSample)]
    assert all(one.values for one in samples)
    assert any(one.lab for one in samples)
    assert any(one.gaps for one in samples)


def an_engine(
    plan: Plan, journal: Journal, hands: QuietHands, clock: LoopClock, home: Home
) -> Engine:
    readings = home.readings(plan.rollout)
    return Engine(Rollout(plan), journal, hands, clock, readings, home.requests(plan.rollout))


def test_a_real_command_beside_the_device(tmp_path: Path) -> None:
    """As fleet.yaml names it: one run for both metrics, no shell, nothing of Prometheus."""
    script = tmp_path / "bridge.py"
    script.write_text(
        "import json, sys\n"
        "print(json.dumps({'values': {'gain': 20.5, 'snr': None}, 'who': sys.argv[1]}))\n"
        f"open({str(tmp_path / 'runs')!r}, 'a').write(sys.argv[1] + ' ')\n"
    )
    run = PlannedSource("command", run=(sys.executable, str(script), "r1"), timeout_s=20.0)
    plan = measured_plan(gain=run, snr=run)
    device = plan.devices["r1"]
    real_port = replace(device.connection, port="/dev/ttyUSB9")
    plan = replace(plan, devices={"r1": replace(device, connection=real_port)})

    async def main() -> MetricSample:
        site = Site(SystemClock(), PortOpener(), None)
        telemetry = open_plan_telemetry(plan, site)
        assert telemetry is not None
        lab = LabMetrics(plan, telemetry.metrics, site.clock)
        while not (sample := await lab.sample("r1")).lab:
            assert sample.gaps["gain"].startswith("unavailable: no answer within")
        await lab.close()
        return sample

    before_s = SystemClock().now().timestamp()
    sample = asyncio.run(main())
    assert sample.fresh("gain") == 20.5
    assert sample.fresh("snr") is None
    assert sample.gaps == {"snr": "invalid: it reads nan"}
    assert before_s <= sample.lab["gain"].t_s <= SystemClock().now().timestamp()
    assert (tmp_path / "runs").read_text() == "r1 "
