"""What a fleet costs in simulation: `python -m tests.bench.scale`.

Rollouts of a fleet of simulated controllers, 20 in each cryostat, in virtual time, with the state
directory on disk and synced as always. Three stages: one cryostat, two, and all others. A stage
soaks 1 h, and twice: of each cryostat one controller is held back as a control, and updated when
the others have passed. Each controller that is on trial, confirmed or a control gives a heartbeat
every 30 s and one metric every 2 min, until the rollout ends. The image has 64 KiB and goes over a
line of 115200 baud into a buffer of 384 bytes, Zephyr's default. Flash is copied on write.

    failed   in its soak one canary loses signal: the canaries and the rig are taken back
    good     the same release, planned anew, goes through all stages to every device
    back     a person takes the whole fleet back

The metric has no noise, so that no cohort's baseline resembles a slow one by chance: with 30
samples in a soak that is refused, and of five hundred cohorts some always would be.

Each size runs in a process of its own. `--profile` tells where the time goes, by room and by
function, under the profiler, which makes all of it slower. Exit code 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import json
import os
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cryofw.engine.deployment import Deployment, survey
from cryofw.engine.home import Home
from cryofw.engine.site import LabClock, Site
from cryofw.engine.virtual_time import run_virtual
from cryofw.fleet import parse_fleet
from cryofw.image import ImageOptions, Payload, PublicKey, Version, attach, build_image
from cryofw.journal import FileStorage
from cryofw.rollout import Ending, Wish, make_plan
from cryofw.rollout import events as e
from cryofw.simulator import ScheduledFault, SimulatedLab, spec_of_fleet
from cryofw.simulator.faults import ShiftCalibration
from cryofw.transport import SchemeOpener

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryofw.fleet import Fleet
    from cryofw.journal import Record
    from cryofw.release import Firmware
    from cryofw.rollout import Plan, RolloutState, Step

SIZES = (1_000, 10_000)
PER_CRYOSTAT = 20
IMAGE_SIZE = 64 * 1024
GOAL_S = 600.0
GOAL_MIB = 1024.0
GOAL_RATIO = 11.0
WHO = "bench@lab"
ROOMS = Path(__file__).resolve().parents[2] / "cryofw"

HEAD = """\
schema: cryofw.fleet/v1
lab: scale
board: cc40
defaults:
  heartbeat: {every: 30 s, misses_allowed: 4}
  reset: watchdog
  slot_size: 128 KiB
  thermal: {stage: 4k, capacity: 1.5 W, headroom: 80 %, flash: 60 mW, max_rise: 150 mK}
  calibration:
    false_rollback: 0.01
    every: 2 min
    baseline_samples: 20
    min_samples: 20
    metrics: {readout_snr: {unit: dB, worse: lower, margin: 0.5, reject: 1.5, limit: 20}}
  retries: {count: 3, backoff: 1 s}
simulation: {seed: 7, metrics: {readout_snr: {nominal: 27}}}
"""


def fleet_text(devices: int, per_cryostat: int) -> str:
    """fleet.yaml of so many controllers."""
    cryostats = [f"cryo-{i}" for i in range(1, devices // per_cryostat + 1)]
    stages = (("rig", cryostats[:1]), ("canary", cryostats[1:3]), ("fleet", cryostats[3:]))
    lines = [HEAD, "stages:"]
    lines += [
        f"  - {{name: {name}, targets: [{', '.join(targets)}], soak: 1 h, on_failure: rollout}}"
        for name, targets in stages
    ]
    lines.append("cryostats:")
    for number, cryostat in enumerate(cryostats, start=1):
        lines.append(f"  {cryostat}:\n    controllers:")
        for one in range(1, per_cryostat + 1):
            hw = f"5a{number:06x}{one:04x}"
            lines.append(f'      c{number}-{one}: {{port: "sim://c{number}-{one}", hw: "{hw}"}}')
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Key:
    """An image key made for this run."""

    public: PublicKey
    private: Ed25519PrivateKey

    @classmethod
    def make(cls) -> Key:
        """A new one."""
        private = Ed25519PrivateKey.generate()
        pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return cls(PublicKey.from_pem(pem), private)

    def image(self, version: str) -> bytes:
        """A signed image of `IMAGE_SIZE` bytes and its trailer."""
        marker = b"CRYOFW-SIM\x00{}\x00"
        payload = os.urandom(IMAGE_SIZE - len(marker)) + marker
        options = ImageOptions(version=Version.parse(version), pad_header=True, board="cc40")
        unsigned = build_image(Payload(payload), options)
        return attach(
            unsigned, self.public, self.private.sign(unsigned.to_sign(self.public.algorithm))
        )


@dataclass(frozen=True)
class Cost:
    """What one part took; records, readings and their sizes are those of all parts so far."""

    part: str
    wall_s: float
    cpu_s: float
    peak_mib: float
    hours: float
    records: int
    journal_mib: float
    readings: int
    readings_mib: float


def count_lines(path: Path) -> int:
    """Lines of a file that is too large to be read at once."""
    with path.open("rb") as file:
        return sum(1 for _ in file)


class Bench:
    """One fleet, its lab and its state directory."""

    def __init__(self, directory: Path, devices: int, per_cryostat: int) -> None:
        self.key = Key.make()
        self.home = Home(directory / "state", host=FileStorage(directory / "host"))
        self.costs: list[Cost] = []
        self._began = (time.perf_counter(), time.process_time())
        self._clock_s = 0.0
        self.fleet: Fleet = parse_fleet(fleet_text(devices, per_cryostat), "fleet.yaml")
        factory = self.key.image("1.0.0")
        store = self.home.image_store([self.key.public])
        self.factory: Firmware = store.add(factory)
        self.release: Firmware = store.add(self.key.image("1.1.0"))
        self.lab = SimulatedLab.in_memory(
            spec_of_fleet(self.fleet), factory_image=factory, public_keys=[self.key.public]
        )
        self._spent("fleet, lab")

    def _spent(self, part: str) -> None:
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        gc.collect()  # each part is a command of its own, and its process would have ended
        before, self._began = self._began, (wall_s, cpu_s)
        journal = self.home.directory / "journal.jsonl"
        readings = list(self.home.directory.glob("rollouts/*/readings.jsonl"))
        self.costs.append(
            Cost(
                part,
                wall_s - before[0],
                cpu_s - before[1],
                resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                self._clock_s / 3600,
                count_lines(journal) if journal.exists() else 0,
                journal.stat().st_size / 2**20 if journal.exists() else 0.0,
                sum(count_lines(data) for data in readings),
                sum(data.stat().st_size for data in readings) / 2**20,
            )
        )
        self._began = (time.perf_counter(), time.process_time())

    def _site(self) -> Site:
        return Site(LabClock(self.lab), SchemeOpener({"sim": self.lab}), self.lab)

    def plan(self, nonce: str) -> Plan:
        """Ask every device, and plan."""

        async def ask() -> Plan:
            async with self.lab:
                running = await survey(self._site(), self.fleet.controllers)
            wish = Wish(self.release, WHO, "2026-01-01T00:00:00Z", nonce)
            return make_plan(self.fleet, wish, running, {self.factory.hash: self.factory}, {})

        plan = run_virtual(ask())
        self._spent(f"{nonce}: plan")
        return plan

    def run(
        self, plan: Plan, part: str, said: Sequence[e.Event] = (), canary: str = ""
    ) -> RolloutState:
        """Run the rollout from its start, or from what a person `said`, to its end."""

        async def main() -> RolloutState:
            async with self.lab:
                began_s = self.lab.now_s()

                def fail(step: Step, _record: Record) -> None:
                    if isinstance(step, e.TestBooted) and step.device == canary:
                        self.lab.schedule(
                            [ScheduledFault(600.0, canary, ShiftCalibration(by=-5.0))]
                        )

                deployment = Deployment(self.home, plan, [self.key.public], WHO, on_record=fail)
                if said:
                    state = await deployment.go_on(self._site(), said)
                else:
                    state = await deployment.start(self._site(), "")
                self._clock_s = self.lab.now_s() - began_s
                return state

        state = run_virtual(main())
        self._spent(part)
        return state


def measure(devices: int, directory: Path, per_cryostat: int = PER_CRYOSTAT) -> list[Cost]:
    """Run all parts for a fleet of so many devices, with its state in `directory`."""
    bench = Bench(directory, devices, per_cryostat)
    sent = 3 * per_cryostat - 2  # the rig, and of each canary cryostat all but its control
    plan = bench.plan("01")
    left = {"rolled-back": sent, "checked": 2, "pending": devices - sent - 2}
    require(bench.run(plan, "failed", canary="c2-1"), Ending.ROLLED_BACK, left)
    plan = bench.plan("02")
    require(bench.run(plan, "good"), Ending.CONFIRMED, {"confirmed": devices})
    back = [e.RollbackRequested(WHO, "the bench is over"), e.RolloutResumed("", WHO)]
    require(bench.run(plan, "back", back), Ending.ROLLED_BACK, {"rolled-back": devices})
    return bench.costs


def require(state: RolloutState, ending: Ending, states: dict[str, int]) -> None:
    """Fail unless the rollout ended so."""
    counts = Counter(device.state.value for device in state.devices.values())
    if state.ended is not ending or counts != states:
        sys.exit(f"ended {state.ended}, {dict(counts)}: {state.why}")


# --- one size in one process ----------------------------------------------------------------


def run_child(devices: int, *, profiled: bool) -> None:
    """Measure one size in this process; the costs are the last line of what is printed."""
    with tempfile.TemporaryDirectory(dir=".") as name:
        if profiled:
            profile = cProfile.Profile()
            costs = profile.runcall(measure, devices, Path(name))
            print_profile(profile)
        else:
            costs = measure(devices, Path(name))
    print(json.dumps([asdict(cost) for cost in costs]))


def print_profile(profile: cProfile.Profile) -> None:
    """Rooms and functions by the time that they themselves took; what waits for a disk apart."""
    rooms: dict[str, float] = defaultdict(float)
    functions: list[tuple[float, int, str]] = []
    entries: Mapping[tuple[str, int, str], tuple[int, int, float, float, object]]
    entries = pstats.Stats(profile).stats  # type: ignore[attr-defined] # typeshed leaves it out
    for (file, line, name), (_primitive, calls, own_s, _all_s, _callers) in entries.items():
        path = Path(file)
        where = name if file == "~" else f"{path.name}:{line} {name}"
        if path.is_relative_to(ROOMS):
            inside = path.relative_to(ROOMS)
            room, where = inside.parts[0], f"{inside}:{line} {name}"
        elif "fsync" in name or "posix" in name:
            room = "operating system"
        elif path.parent.name == "asyncio" or "asyncio" in name or "_contextvars" in name:
            room = "asyncio"
        else:
            room = "the rest of Python's library"
        rooms[room] += own_s
        functions.append((own_s, calls, where))
    total_s = sum(rooms.values())
    for room, own_s in sorted(rooms.items(), key=lambda one: -one[1]):
        if own_s >= 0.005 * total_s:
            print(f"  {own_s / total_s:6.1%}  {room}")
    print()
    for own_s, calls, where in sorted(functions, reverse=True)[:25]:
        print(f"  {own_s / total_s:6.1%}  {calls:9} calls  {where}")


# --- all sizes ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Total:
    """What a size took in all."""

    wall_s: float
    cpu_s: float
    peak_mib: float


def measure_apart(devices: int, *, profiled: bool) -> Total:
    """Measure one size in a process of its own, and print it."""
    command = [sys.executable, "-m", "tests.bench.scale", "--child", "--devices", str(devices)]
    command += ["--profile"] * profiled
    done = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE)
    *profile, last = done.stdout.splitlines()
    costs = [Cost(**row) for row in json.loads(last)]
    total = Total(
        sum(cost.wall_s for cost in costs),
        sum(cost.cpu_s for cost in costs),
        max(cost.peak_mib for cost in costs),
    )
    print(f"{devices} devices in {devices // PER_CRYOSTAT} cryostats")
    print("  part          wall s   CPU s  peak MiB  lab's h  records  MiB  readings  MiB")
    for one in costs:
        print(
            f"  {one.part:12} {one.wall_s:7.1f} {one.cpu_s:7.1f} {one.peak_mib:9.0f}"
            f" {one.hours:8.1f} {one.records:8} {one.journal_mib:4.0f}"
            f" {one.readings:9} {one.readings_mib:4.0f}"
        )
    print(f"  {'all':12} {total.wall_s:7.1f} {total.cpu_s:7.1f} {total.peak_mib:9.0f}")
    print("\n".join(profile), flush=True)
    return total


def main(arguments: list[str]) -> int:
    """Measure and print; 1 if a goal was missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--devices", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--profile", action="store_true", help="where the time goes")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        run_child(options.devices[0], profiled=options.profile)
        return 0
    totals = {n: measure_apart(n, profiled=options.profile) for n in options.devices}
    if options.profile or set(SIZES) - totals.keys():
        return 0
    small, large = (totals[size] for size in SIZES)
    ratio = large.cpu_s / small.cpu_s
    rows = (
        ("wall", f"{large.wall_s:.0f} s", f"{GOAL_S:.0f} s", large.wall_s <= GOAL_S),
        ("memory", f"{large.peak_mib:.0f} MiB", f"{GOAL_MIB:.0f} MiB", large.peak_mib <= GOAL_MIB),
        ("CPU, over that of 1,000", f"{ratio:.1f} x", f"{GOAL_RATIO:.0f} x", ratio <= GOAL_RATIO),
    )
    for name, value, goal, met in rows:
        print(f"{name:24} {value:>9}  goal {goal:9} {'met' if met else 'MISSED'}")
    return 0 if all(met for *_, met in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
