"""A small simulated lab on disk, driven by the real commands and seen by the flash observer."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryofw.cli.main import run
from cryofw.fleet import load_fleet
from tests.flows.flash_observer import image_hash, see_lab
from tests.flows.invariants import Fields, check_end, check_moment, read_records

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from cryofw.gameday import RolloutTestimony, SeenChip

FLEET = """\
schema: cryofw.fleet/v1
lab: small
board: cc40
defaults:
  heartbeat: {every: 10 s, misses_allowed: 4}
  reset: watchdog
  thermal: {stage: 4k, capacity: 1.5 W, headroom: 80 %, flash: 60 mW, max_rise: 150 mK}
  calibration:
    false_rollback: 0.01
    every: 5 s
    baseline_samples: 100
    min_samples: 20
    metrics:
      readout_snr: {unit: dB, worse: lower, margin: 0.5, reject: 1.5, limit: 20}
  retries: {count: 3, backoff: 1 s}
stages:
  - {name: test-rig, targets: [rig-1], soak: 5 min}
  - {name: canary-cryostat, targets: [cryo-1], soak: 5 min, then: approve}
  - {name: fleet, targets: [cryo-2], soak: 5 min, waves: [1, 100 %]}
cryostats:
  rig-1: {controllers: {rig-a: {port: "sim://rig-a", hw: "5a01"}}}
  cryo-1:
    controllers:
      c1-a: {port: "sim://c1-a", hw: "5a11"}
      c1-b: {port: "sim://c1-b", hw: "5a12"}
  cryo-2:
    controllers:
      c2-a: {port: "sim://c2-a", hw: "5a21"}
      c2-b: {port: "sim://c2-b", hw: "5a22"}
simulation:
  seed: 7
  metrics:
    readout_snr: {nominal: 27, noise: 0.1, correlation: 1 s}
"""

DEVICES = ("rig-a", "c1-a", "c1-b", "c2-a", "c2-b")

# What the simulated firmware does; the image carries it.
BEHAVIOUR: Mapping[str, Mapping[str, object]] = {
    "factory": {},
    "good": {},
    "drift": {"shift": {"metric": "readout_snr", "by": -3.0, "after_s": 20}},
    "hang": {"hang_s": 0, "wdt": True},
    "hang-later": {"hang_s": 31, "wdt": True},
    "hang-for-good": {"hang_s": 0, "wdt": False},
}
VERSIONS = {
    "factory": "1.0.0",
    "good": "1.1.0",
    "drift": "1.2.0",
    "hang": "1.3.0",
    "hang-later": "1.4.0",
    "hang-for-good": "1.5.0",
}


def firmware(behaviour: Mapping[str, object]) -> bytes:
    """A payload of our own that behaves so in the simulation."""
    marker = b"CRYOFW-SIM\x00" + json.dumps(behaviour).encode() + b"\x00"
    return bytes(range(256)) * 16 + marker.ljust(256, b"\x00")


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    exit_code: int
    out: str
    err: str

    def expect(self, exit_code: int, *says: str) -> Ran:
        """Fail with all that it printed unless it ended so and said so."""
        printed = f"exit {self.exit_code}\n{self.out}\n--- stderr\n{self.err}"
        assert self.exit_code == exit_code, printed
        assert "Traceback" not in printed
        for words in says:
            assert words in self.out + self.err, f"does not say {words!r}: {printed}"
        return self

    @property
    def json_lines(self) -> list[Any]:
        """Standard output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


def environment(**more: str) -> dict[str, str]:
    """The environment of a command: nothing of this machine's settings, a known operator."""
    plain = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CRYOFW_", "CI", "GITLAB"))
        and name not in ("FORCE_COLOR", "NO_COLOR")
    }
    return plain | {"CRYOFW_USER": "anna@lab"} | more


@contextlib.contextmanager
def _standing_in(directory: Path, env: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment(CRYOFW_HOST_STATE=str(directory / "host")) | dict(env))
    try:
        with contextlib.chdir(directory):
            yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class SmallLab:
    """One lab directory: fleet.yaml, keyring, signed images, state."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state = directory / ".cryofw"
        self.env: dict[str, str] = {}
        """What commands see besides, such as whose ssh key is at hand."""

    @classmethod
    def lay_out(cls, directory: Path, fleet: str = FLEET) -> SmallLab:
        """Make the lab; every device runs the factory firmware."""
        lab = cls(directory)
        directory.mkdir(parents=True)
        (directory / "fleet.yaml").write_text(fleet)
        lab.run("keys", "generate", "firmware", "--purpose=image", "--no-passphrase").expect(0)
        for name in BEHAVIOUR:
            lab.sign(name)
        lab.run("sim", "create", "--factory", "factory.bin").expect(0)
        return lab

    def copy_to(self, directory: Path) -> SmallLab:
        """Another lab that is in the same state."""
        shutil.copytree(self.directory, directory)
        return SmallLab(directory)

    def sign(self, name: str, *options: str, version: str = "") -> None:
        """Sign the firmware that behaves as `name` says, into NAME.bin."""
        raw = self.directory / f"{name}.raw.bin"
        raw.write_bytes(firmware(BEHAVIOUR[name]))
        version = version or VERSIONS[name]
        sign = ("sign", raw.name, f"{name}.bin", "--version", version, "--board", "cc40")
        self.run(*sign, "--force", *options).expect(0)

    def run(self, *arguments: str) -> Ran:
        """Run one command line in this process, as a job without a terminal would."""
        out, err = _stream(), _stream()
        with (
            _standing_in(self.directory, self.env),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            exit_code = run(arguments)
        return Ran(exit_code, _text(out), _text(err))

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        """Start one command line as a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "cryofw.cli", *arguments],
            cwd=self.directory,
            env=environment(**{"CRYOFW_HOST_STATE": str(self.directory / "host")} | env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self) -> Ran:
        """Resume, and approve where a person must, until the rollout has ended."""
        for _ in range(10):
            ran = self.run("resume", "--json")
            if ran.exit_code != 75:
                return ran
            assert ran.json_lines[-1]["paused"] == "approval", ran.out
            self.run("approve", "--stage", "fleet").expect(0)
        raise AssertionError("it pauses for ever")

    def hash(self, name: str) -> str:
        """The hash of one of the signed images."""
        return image_hash((self.directory / f"{name}.bin").read_bytes())

    @property
    def verified(self) -> frozenset[str]:
        """Hashes of every image that this lab signed."""
        return frozenset(self.hash(name) for name in BEHAVIOUR)

    def see(self) -> dict[str, SeenChip]:
        """Look at the chips."""
        return see_lab(self.state)

    def running(self) -> dict[str, str]:
        """Device to the name of the image that runs, confirmed; fails on any that is not."""
        names = {self.hash(name): name for name in BEHAVIOUR}
        seen = self.see()
        unsettled = [name for name, chip in seen.items() if not chip.confirmed]
        assert not unsettled, f"not confirmed: {unsettled}"
        return {name: names[chip.active] for name, chip in seen.items()}

    def records(self) -> list[Fields]:
        """The journal as plain JSON."""
        journal = self.state / "journal.jsonl"
        return read_records(journal.read_bytes()) if journal.exists() else []

    def check_moment(self, before: Mapping[str, SeenChip]) -> RolloutTestimony | None:
        """The invariants that hold at every moment."""
        fleet = load_fleet(self.directory / "fleet.yaml")
        return check_moment(
            self.records(),
            self.see(),
            before,
            verified=self.verified,
            heat_slots={n: c.thermal.flashes_at_once for n, c in fleet.cryostats.items()},
            cryostats={c.name: c.cryostat for c in fleet.controllers},
        )

    def check_end(self, before: Mapping[str, SeenChip]) -> RolloutTestimony:
        """The invariants of an ended rollout, and the journal's own proof."""
        self.check_moment(before)
        story = check_end(self.records(), self.see(), before)
        self.run("audit", "verify").expect(0, "verified")
        return story


def edit_fleet(lab: SmallLab, old: str, new: str) -> None:
    """Replace a text of fleet.yaml, which must be there."""
    path = lab.directory / "fleet.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def make_rig_tolerant(lab: SmallLab) -> None:
    """Let the rig's readout not see a drift, so that the canary has to find it."""
    edit_fleet(
        lab,
        'rig-a: {port: "sim://rig-a", hw: "5a01"}',
        'rig-a: {port: "sim://rig-a", hw: "5a01", '
        "calibration: {metrics: {readout_snr: {margin: 5, reject: 9}}}}",
    )


def _stream() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)


def _text(stream: io.TextIOWrapper) -> str:
    raw = stream.buffer
    assert isinstance(raw, io.BytesIO)
    return raw.getvalue().decode()
