"""Rollouts over serial lines in real time: `cryofw sim serve` behind ptys, `cryofw deploy` before.

Nothing here is virtual: the deploys are processes, their ports are ptys, the device's clock is the
computer's. All scenarios run side by side, each on a device and in a state directory of its own;
what runs on a device is read from its chip.
"""

from __future__ import annotations

import dataclasses
import json
import signal
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import pytest

from cryofw.rollout import parse_plan
from cryofw.simulator.control import SOCKET_NAME, send_order
from tests.flows.flash_observer import bytes_in_other_slot, see_lab
from tests.flows.invariants import check_end, read_records
from tests.flows.small_lab import Ran, SmallLab, firmware

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from cryofw.gameday import SeenChip
    from tests.flows.invariants import Fields

pytestmark = pytest.mark.realtime

T = TypeVar("T")

LEASE_S = 8
BOOT_LIMIT_S = 6.0
PATIENCE_S = 80.0
LARGE = 48 * 1024

DEVICES = ("good", "watchdog", "hook", "cable", "host", "trap")
NO_WATCHDOG = ("hook",)

_HEAD = """\
schema: cryofw.fleet/v1
lab: bench
board: cc40
defaults:
  heartbeat: {{every: 500 ms, misses_allowed: 6}}
  boot_time: {boot_time}
  reset: {reset}
  thermal: {{stage: 4k, capacity: 1.5 W, headroom: 80 %, flash: 60 mW, max_rise: 150 mK}}
  calibration:
    false_rollback: 0.01
    every: 200 ms
    baseline_samples: 30
    min_samples: 12
    metrics: {{readout_snr: {{unit: dB, worse: lower, margin: 0.5, reject: 2}}}}
  retries: {{count: 3, backoff: 200 ms}}
stages: [{{name: bench, targets: [bench-1], soak: 4 s}}]
"""


def fleet(ports: Mapping[str, str], *, reset: str = "watchdog", boot_time: str = "2 s") -> str:
    lines = [_HEAD.format(reset=reset, boot_time=boot_time), "cryostats:", "  bench-1:"]
    lines.append("    controllers:")
    for name, port in ports.items():
        own = ', reset: {hook: ["true"]}' if name in NO_WATCHDOG and "sim:" in port else ""
        index = DEVICES.index(name)
        lines.append(f'      {name}: {{port: "{port}", hw: "5b{index:02x}"{own}}}')
    # Without noise: in real time there are too few samples to judge more than a clear case.
    lines.append("simulation: {seed: 5, metrics: {readout_snr: {nominal: 27}}}")
    return "\n".join(lines) + "\n"


@dataclass
class Bench:
    """The served lab, and the deploys that were started on it."""

    lab: SmallLab
    ports: Path
    pool: ThreadPoolExecutor
    before: Mapping[str, SeenChip]
    runs: dict[str, Future[Scenario]]

    def see(self, device: str) -> SeenChip:
        """Look at a chip of the served lab."""
        return see_lab(self.lab.state)[device]

    def mode(self, device: str) -> str:
        """What the device's processor does."""
        return str(send_order(self.ports / SOCKET_NAME, "state", device)["mode"])

    def result(self, device: str) -> Scenario:
        """Wait for a scenario."""
        return self.runs[device].result(PATIENCE_S)


class Scenario:
    """One device, deployed to by processes of its own; a state directory of its own."""

    def __init__(self, bench: Bench, device: str, **options: str) -> None:
        self.bench = bench
        self.device = device
        self.state = bench.lab.directory / f"state-{device}"
        self.fleet = bench.lab.directory / f"fleet-{device}.yaml"
        self.fleet.write_text(fleet({device: str(bench.ports / device)}, **options))
        self.ran: list[Ran] = []

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return self.bench.lab.start(*arguments, "--state", str(self.state))

    def run(self, *arguments: str) -> Ran:
        """Run a command to its end."""
        return self.wait(self.start(*arguments))

    def wait(self, process: subprocess.Popen[str]) -> Ran:
        try:
            out, err = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
        self.ran.append(Ran(process.returncode, out, err))
        return self.ran[-1]

    def plan(self, image: str) -> str:
        """Plan, with a short lease and a short patience with booting devices."""
        made = self.bench.lab.directory / f"plan-{self.device}.json"
        wanted = ("--fleet", str(self.fleet), "--last-good", "factory.bin", "-o", str(made))
        self.run("plan", f"{image}.bin", *wanted).expect(0)
        plan = parse_plan(made.read_bytes())
        devices = {
            name: dataclasses.replace(
                one,
                lease_ttl_s=float(LEASE_S),
                connection=dataclasses.replace(one.connection, boot_limit_s=BOOT_LIMIT_S),
            )
            for name, one in plan.devices.items()
        }
        made.write_bytes(dataclasses.replace(plan, devices=devices).canonical)
        return str(made)

    def deploy(self, image: str) -> subprocess.Popen[str]:
        return self.start("deploy", "--plan", self.plan(image), "--yes")

    @property
    def records(self) -> list[Fields]:
        journal = self.state / "journal.jsonl"
        return read_records(journal.read_bytes()) if journal.exists() else []

    def kinds(self) -> list[str]:
        return [str(record["kind"]) for record in self.records]

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait for the outer world."""
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < deadline, f"{self.device}: {what} never came"
            time.sleep(0.02)

    def check_end(self, image: str, exit_code: int, *says: str) -> None:
        """It ended so, and the chip says so too."""
        bench = self.bench
        self.ran[-1].expect(exit_code, *says)
        chip = bench.see(self.device)
        check_end(self.records, {self.device: chip}, {self.device: bench.before[self.device]})
        assert chip.confirmed
        assert chip.active == bench.lab.hash(image)
        assert bench.mode(self.device) == "application"
        self.run("audit", "verify").expect(0)


# --- the scenarios, all started at once -----------------------------------------------------


def good(bench: Bench) -> Scenario:
    scenario = Scenario(bench, "good")
    scenario.wait(scenario.deploy("good"))
    return scenario


def watchdog(bench: Bench) -> Scenario:
    scenario = Scenario(bench, "watchdog")
    scenario.wait(scenario.deploy("hang"))
    return scenario


def hook(bench: Bench) -> Scenario:
    words = [sys.executable, "-m", "cryofw.cli", "sim", "power-cycle", "${controller}"]
    words += ["--dir", str(bench.ports)]
    scenario = Scenario(bench, "hook", reset=f"{{hook: {json.dumps(words)}}}")
    scenario.wait(scenario.deploy("hang-for-good"))
    return scenario


def cable(bench: Bench) -> Scenario:
    """The cable is pulled in the middle of the upload, and put back after two seconds."""
    scenario = Scenario(bench, "cable")
    process = scenario.deploy("large")
    third = LARGE // 3
    scenario.until(lambda: bytes_in_other_slot(bench.lab.state, "cable") > third, "the upload")
    pull = ("sim", "fault", "cable", "cable-pulled:for_s=2", "--dir", str(bench.ports))
    bench.lab.run(*pull).expect(0)
    scenario.wait(process)
    return scenario


def host(bench: Bench) -> Scenario:
    """The host dies in the test boot; its lease runs out; a resume takes it up again."""
    scenario = Scenario(bench, "host")
    process = scenario.deploy("good")
    scenario.until(lambda: "test-booted" in scenario.kinds(), "the test boot")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PATIENCE_S)
    assert bench.see("host").test_boot
    assert bench.see("host").active == bench.lab.hash("good")
    killed_s = time.monotonic()
    scenario.until(lambda: bench.see("host").confirmed, "the revert by the lease")
    assert time.monotonic() - killed_s < LEASE_S + 5
    assert bench.see("host").active == bench.lab.hash("factory")
    scenario.run("resume")
    return scenario


def trap(bench: Bench) -> Scenario:
    """fleet.yaml promises that it boots faster than it does: the bootloader catches our bytes."""
    scenario = Scenario(bench, "trap", boot_time="300 ms")
    scenario.wait(scenario.deploy("good"))
    return scenario


SCENARIOS: Mapping[str, Callable[[Bench], Scenario]] = {
    scenario.__name__: scenario for scenario in (good, watchdog, hook, cable, host, trap)
}


@pytest.fixture(scope="module")
def bench(
    small_lab_template: SmallLab, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    # A pty's name must be short enough for a unix socket beside it.
    lab = small_lab_template.copy_to(tmp_path_factory.mktemp("bench") / "lab")
    served = lab.directory / "served.yaml"
    served.write_text(fleet({name: f"sim://{name}" for name in DEVICES}))
    (lab.directory / "large.raw.bin").write_bytes(firmware({}) + bytes(range(256)) * (LARGE // 256))
    sign = ("sign", "large.raw.bin", "large.bin", "--version", "1.1.0", "--board", "cc40")
    lab.run(*sign).expect(0)
    lab.state = lab.directory / "served"
    create = ("sim", "create", "--factory", "factory.bin", "--fleet", "served.yaml")
    lab.run(*create, "--state", "served").expect(0)
    ports = lab.directory / "ports"
    before = see_lab(lab.state)
    serving = lab.start("sim", "serve", "--dir", str(ports), "--state", "served")
    try:
        wait_for_ports(serving)
        with ThreadPoolExecutor(len(SCENARIOS)) as pool:
            bench = Bench(lab, ports, pool, before, {})
            for name, scenario in SCENARIOS.items():
                bench.runs[name] = pool.submit(scenario, bench)
            yield bench
    finally:
        serving.send_signal(signal.SIGINT)
        out, err = serving.communicate(timeout=PATIENCE_S)
    assert serving.returncode == 0, out + err
    assert "closed" in out


def wait_for_ports(serving: subprocess.Popen[str]) -> None:
    assert serving.stdout is not None
    for line in serving.stdout:
        if line.strip().endswith(DEVICES[-1]):
            return
    raise AssertionError(f"it is not served: {serving.communicate()}")


# --- what must come of them -----------------------------------------------------------------


def test_good_firmware_is_confirmed_over_a_serial_line(bench: Bench) -> None:
    bench.result("good").check_end("good", 0, "confirmed", "1.1.0 runs, proven good")


def test_a_hang_is_reverted_by_the_watchdog_and_the_old_hash_is_read_back(bench: Bench) -> None:
    scenario = bench.result("watchdog")

    scenario.check_end("factory", 6, "the last good image runs again")
    reverted = [r for r in scenario.records if r["kind"] == "device-reverted"]
    assert reverted[-1]["hash"] == bench.lab.hash("factory")


def test_a_hang_without_a_watchdog_is_power_cycled_by_the_hook(bench: Bench) -> None:
    scenario = bench.result("hook")

    scenario.check_end("factory", 6, "power was cycled")
    reverted = [r for r in scenario.records if r["kind"] == "device-reverted"]
    assert reverted[-1]["hash"] == bench.lab.hash("factory")


def test_an_upload_goes_on_where_a_pulled_cable_stopped_it(bench: Bench) -> None:
    scenario = bench.result("cable")

    scenario.ran[-1].expect(0)
    chip = bench.see("cable")
    assert chip.confirmed
    assert chip.active != bench.before["cable"].active
    (uploaded,) = (r for r in scenario.records if r["kind"] == "image-uploaded")
    assert uploaded["retries"] > 0, "the cable was not pulled in the upload"
    size = (bench.lab.directory / "large.bin").stat().st_size
    assert uploaded["sent_bytes"] < 1.2 * size, "it began anew"


def test_a_dead_host_is_survived_by_the_lease_and_by_a_resume(bench: Bench) -> None:
    scenario = bench.result("host")

    scenario.check_end("good", 0, "its lease ran out")
    assert scenario.kinds().count("retry-granted") == 1


def test_a_device_caught_in_its_bootloader_ends_in_its_application(bench: Bench) -> None:
    scenario = bench.result("trap")

    confirmed = scenario.ran[-1].exit_code == 0
    scenario.check_end("good" if confirmed else "factory", 0 if confirmed else 6)
