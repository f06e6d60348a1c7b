"""A hundred serial lines at once from one process: `python -m tests.bench.fleet`.

A hundred devices on paced lines of 115200 bit/s (`paced_lines`, in a process of its own, so that
its cost is not counted as cryofw's; it is printed). Beside it a shell loop over smpmgr with 8 in
parallel, which runs for two minutes; what it carried in them says what it would need for all.

Goals: at least 95 % of what the lines together can carry, under one core. Exit code 1 if one is
missed, or if a device holds anything but the image. By default images of 128 KiB, so that it
takes three minutes; `--size 512KiB` takes four.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.line_ceiling import ceiling_s
from tests.bench.paced_device import LineSpec
from tests.bench.paced_lines import ROOT, PacedLines
from tests.bench.upload import size_of
from tests.bench.upload_run import make_image

if TYPE_CHECKING:
    from tests.bench.paced_lines import LineReport
    from tests.bench.upload_run import Image

GOAL_SHARE = 0.95
PARALLEL = 8
KIB = 1024


@dataclass(frozen=True)
class Carried:
    """What one way of doing it carried.

    Attributes:
        seconds: from the first bit on any line to the last on any.
        lines: what the devices saw.
        cpu_s: of the uploading process, or of all of them.
        lines_cpu_s: what the model of the lines cost.
    """

    seconds: float
    lines: list[LineReport]
    cpu_s: float
    lines_cpu_s: float


def with_cryofw(spec: LineSpec, count: int, image: Image) -> tuple[Carried, dict[str, float]]:
    """Upload to all lines at once; return what was carried, and the host's own figures."""
    with PacedLines(spec, count, spin_s=0.0) as lines:
        before_s = lines.cpu_s()
        words = [sys.executable, "-m", "tests.bench.fleet_host", str(spec.baud)]
        done = subprocess.run(
            [*words, str(image.path), image.hash],
            input="\n".join(lines.ports),
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
        model_s = lines.cpu_s() - before_s
        reports = lines.reports()
    if done.returncode:
        sys.exit(f"cryofw failed:\n{done.stderr[-2000:]}")
    told: dict[str, float] = json.loads(done.stdout)
    first_s = min(one.first_s for one in reports if one.first_s is not None)
    last_s = max(one.last_s for one in reports if one.last_s is not None)
    return Carried(last_s - first_s, reports, told["cpu_s"], model_s), told


def with_smpmgr(spec: LineSpec, count: int, image: Image, seconds: float) -> Carried:
    """Let a shell loop of smpmgr work for some seconds."""
    program = shutil.which("smpmgr", path=str(Path(sys.executable).parent)) or "smpmgr"
    loop = (
        f"printf '%s\\n' \"$@\" | xargs -P {PARALLEL} -I PORT "
        f"{program} --port PORT --baudrate {spec.baud} --timeout 10 image upload {image.path}"
    )
    with PacedLines(spec, count, spin_s=0.0) as lines:
        before, begun_s = os.times(), time.monotonic()
        process = subprocess.Popen(
            ["sh", "-c", loop, "sh", *lines.ports],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        cpu_s = 0.0
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            cpu_s = _cpu_of_group(process.pid)
            os.killpg(process.pid, signal.SIGKILL)  # a session of its own: nothing else is in it
            process.wait()
        took_s = time.monotonic() - begun_s
        after = os.times()
        reports, model_s = lines.reports(), lines.cpu_s()
    cpu_s += after.children_user + after.children_system
    cpu_s -= before.children_user + before.children_system
    return Carried(took_s, reports, cpu_s, model_s)


def _cpu_of_group(group: int) -> float:
    """CPU seconds of the processes that still run in a group, and of what they have waited for."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        if int(fields[2]) == group:
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def show_cryofw(spec: LineSpec, image: Image, done: Carried, told: dict[str, float]) -> list[str]:
    """Print what cryofw did; return the goals that it missed."""
    count = len(done.lines)
    limit_s = ceiling_s(spec, image.size)
    share = limit_s / done.seconds
    shares = sorted(limit_s / one.upload_s for one in done.lines if one.upload_s)
    cores = done.cpu_s / told["wall_s"]
    grown = (told["bytes_peak"] - told["bytes_before"]) / count / KIB
    lost = sum(one.lost_packets + one.lost_lines for one in done.lines)
    print(f"cryofw: {count * image.size / done.seconds:.0f} B/s together, {share:.2%} of the lines")
    print(
        f"    one line: least {shares[0]:.2%}, median {statistics.median(shares):.2%}, most "
        f"{shares[-1]:.2%} of its ceiling"
    )
    print(
        f"    {told['wall_s']:.1f} s, CPU {done.cpu_s:.1f} s = {cores:.2f} of a core, "
        f"{told['threads']:.0f} threads; the model of the lines beside it {done.lines_cpu_s:.1f} s"
    )
    print(f"    memory {told['bytes_peak'] / KIB / KIB:.0f} MiB, {grown:.0f} KiB for each device")
    print(f"    packets {sum(one.packets for one in done.lines)}, lost {lost}")
    missed = []
    if share < GOAL_SHARE:
        missed.append(f"{share:.2%} of the lines, not {GOAL_SHARE:.0%}")
    if cores >= 1:
        missed.append(f"{cores:.2f} cores, not under 1")
    wrong = sum(one.sha != image.sha for one in done.lines)
    if wrong:
        missed.append(f"{wrong} devices hold something else")
    return missed


def show_smpmgr(image: Image, done: Carried, ours: Carried) -> None:
    """Print what the shell loop did, and what it would need for all."""
    whole = sum(one.sha == image.sha for one in done.lines)
    carried = sum(one.size + one.offset for one in done.lines)
    if not carried:
        print("smpmgr: nothing arrived")
        return
    needed_s = len(done.lines) * image.size / carried * done.seconds
    print(
        f"smpmgr, {PARALLEL} in parallel: {carried / done.seconds:.0f} B/s together in "
        f"{done.seconds:.0f} s, {whole} devices done, CPU {done.cpu_s / done.seconds:.2f} of a core"
    )
    print(
        f"    all {len(done.lines)} would take {needed_s:.0f} s: cryofw is "
        f"{needed_s / ours.seconds:.1f} x as fast, with 1/"
        f"{done.cpu_s / carried * len(done.lines) * image.size / ours.cpu_s:.1f} of the CPU"
    )


def main() -> int:
    """Print both; see the module's text for the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lines", type=int, default=100)
    parser.add_argument("--size", type=size_of, default=128 * KIB, help="bytes, or KiB: 512KiB")
    parser.add_argument("--baud", type=int, default=115200)
    parser.add_argument("--buffer", type=int, default=1024)
    parser.add_argument("--smpmgr-seconds", type=float, default=120, help="0: without smpmgr")
    wanted = parser.parse_args()
    spec = LineSpec(baud=wanted.baud, buffer_size=wanted.buffer, flash_s_per_kib=0.003)
    with tempfile.TemporaryDirectory() as directory:
        image = make_image(Path(directory), wanted.size)
        limit_s = ceiling_s(spec, image.size)
        print(
            f"{wanted.lines} lines, {spec.baud} bit/s, buffers of {spec.buffer_size} bytes, "
            f"{image.size // KIB} KiB each: {image.size / limit_s:.0f} B/s a line, "
            f"{limit_s:.1f} s at best"
        )
        done, told = with_cryofw(spec, wanted.lines, image)
        missed = show_cryofw(spec, image, done, told)
        if wanted.smpmgr_seconds:
            show_smpmgr(image, with_smpmgr(spec, wanted.lines, image, wanted.smpmgr_seconds), done)
    print("goals met" if not missed else "missed: " + "; ".join(missed))
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
