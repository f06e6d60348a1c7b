"""How fast an image goes over a serial line, beside other programs: `python -m tests.bench.upload`.

Each row is a line with an honest device at its end (`paced_device`), carried by a process of its
own. Its ceiling comes from a formula (`line_ceiling`): stop-and-wait for a device with one
buffer, the slower of line and flash for one with more. `share` is what part of that ceiling a
program reached, between the first bit of the upload and the last bit of its last answer, which
is measured on the line and so the same for all; `call` is the whole call, with opening the port,
questions to the device and reading back. CPU is that of the call, without the start of Python
and imports, except for smpmgr, which is a program: there it is the whole process.

Goals in each row: cryofw reaches 98 % of the ceiling with a window, 93 % without; it is faster
than every peer; and it needs at most a fifth of the CPU of smpclient. Exit code 1 if one is
missed. All uploads are compared by their SHA-256 with what the device holds.

A row is BAUD/BUFFER/FLASH/ROUND-TRIP/COUNT: `115200/b384/f3/r20/n4` is 115200 bit/s, buffers of
384 bytes, 3 ms of flash for each KiB, a round trip of 20 ms, 4 buffers. By default each row gets
an image that the ceiling carries in some seconds, so that all rows take less than half an hour;
`--size 512KiB` is the whole exercise and takes some hours. mcumgr-toolkit is installed from PyPI
into a temporary venv, or taken from the Python that CRYOFW_BENCH_MCUMGR_TOOLKIT names.
"""

from __future__ import annotations

import argparse
import fnmatch
import itertools
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.line_ceiling import ceiling_s, window_share
from tests.bench.paced_device import LineSpec
from tests.bench.upload_run import TOOLKIT, Image, Run, make_image, run, toolkit_python

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PEERS = ("cryofw", "smpclient", "smpmgr", "mcumgr-toolkit")
FULL_SIZE = 512 * 1024
LEAST_SIZE = 16 * 1024
GOAL_WINDOW, GOAL_SINGLE, GOAL_CPU = 0.98, 0.93, 0.2


def rows(framing: str) -> Iterator[tuple[str, LineSpec]]:
    """Yield name and line of each row."""
    raw = framing == "raw"
    for baud, size, flash_ms, trip_ms, count in itertools.product(
        (115200, 1_000_000), (384, 1024), (0, 3), (0, 20), (1, 4)
    ):
        name = f"{baud}/b{size}/f{flash_ms}/r{trip_ms}/n{count}"
        yield (
            name,
            LineSpec(
                baud=baud,
                buffer_size=size,
                buffer_count=count,
                flash_s_per_kib=flash_ms / 1000,
                round_trip_s=trip_ms / 1000,
                raw=raw,
            ),
        )


def image_size(spec: LineSpec, seconds: float) -> int:
    """Return how many bytes the ceiling carries in so many seconds, in KiB, within limits."""
    size = FULL_SIZE * seconds / ceiling_s(spec, FULL_SIZE)
    return max(LEAST_SIZE, min(FULL_SIZE, int(size) // 1024 * 1024))


def measure(peer: str, spec: LineSpec, image: Image, toolkit: str, repeats: int) -> Run:
    """Return the best of some runs: others use this computer too."""
    runs = [run(peer, spec, image, toolkit) for _ in range(repeats)]
    good = [one for one in runs if not one.error]
    return min(good, key=lambda one: one.upload_s) if good else runs[0]


def show(name: str, spec: LineSpec, image: Image, runs: Mapping[str, Run]) -> list[str]:
    """Print a row; return the goals that it missed."""
    limit_s = ceiling_s(spec, image.size)
    reach = window_share(spec, image.size)
    note = f", {reach:.0%} of it with {spec.buffer_count} packets under way" if reach < 1 else ""
    print(f"{name}  {image.size // 1024} KiB, ceiling {image.size / limit_s:.0f} B/s{note}")
    ours = runs.get("cryofw")
    for peer, one in runs.items():
        if one.error:
            print(f"    {peer:<15} failed after {one.wall_s:.1f} s: {one.error}")
            continue
        assert one.report is not None
        lost = one.report.lost_packets + one.report.lost_lines
        beside = ""
        if ours is not None and peer != "cryofw" and ours.upload_s:
            times = one.cpu_s / ours.cpu_s if ours.cpu_s else float("inf")
            beside = f"  cryofw is {one.upload_s / ours.upload_s:.3f} x as fast, CPU 1/{times:.1f}"
        print(
            f"    {peer:<15} share {limit_s / one.upload_s:7.2%}  {one.upload_s:7.3f} s  call "
            f"{one.wall_s:7.3f} s  CPU {one.cpu_s * 1e3:6.0f} ms  packets {one.report.packets}"
            f" repeated {one.report.repeated} lost {lost}{beside}"
        )
    missed = [f"{name}: {goal}" for goal in goals(spec, image, runs)]
    print("    " + ("; ".join(missed) if missed else "goals met"), flush=True)
    return missed


def goals(spec: LineSpec, image: Image, runs: Mapping[str, Run]) -> Iterator[str]:
    """Yield each goal that this row misses, in words."""
    ours = runs.get("cryofw")
    if ours is None:
        return
    if ours.error:
        yield "cryofw failed"
        return
    share = ceiling_s(spec, image.size) / ours.upload_s
    wanted = GOAL_SINGLE if spec.buffer_count == 1 else GOAL_WINDOW
    if share < wanted:
        yield f"{share:.2%} of the ceiling, not {wanted:.0%}"
    for peer, one in runs.items():
        if peer != "cryofw" and not one.error and one.upload_s <= ours.upload_s:
            yield f"{peer} is faster ({one.upload_s:.3f} s, cryofw {ours.upload_s:.3f} s)"
    client = runs.get("smpclient")
    if client is not None and not client.error and ours.cpu_s > GOAL_CPU * client.cpu_s:
        yield f"CPU {ours.cpu_s / client.cpu_s:.2f} of smpclient's, not {GOAL_CPU}"


def size_of(text: str) -> int:
    """Read `512KiB` or a number of bytes."""
    number = text.removesuffix("KiB")
    return int(number) * (1024 if number != text else 1)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", default="*", help="patterns of rows, parted by commas")
    parser.add_argument("--peers", default=",".join(PEERS), help="parted by commas")
    parser.add_argument("--size", type=size_of, help="bytes of the image, or KiB: 512KiB")
    parser.add_argument("--seconds", type=float, default=5, help="at the ceiling, without --size")
    parser.add_argument("--repeats", type=int, default=1, help="the best run counts")
    parser.add_argument("--framing", choices=("console", "raw"), default="console")
    return parser.parse_args()


def main() -> int:
    """Print the table; see the module's text for the exit code."""
    wanted = parse()
    patterns = wanted.rows.split(",")
    chosen = [row for row in rows(wanted.framing) if _matches(row[0], patterns)]
    peers = [peer for peer in wanted.peers.split(",") if peer in PEERS]
    missed: list[str] = []
    begun_s = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        toolkit = toolkit_python(Path(directory)) if "mcumgr-toolkit" in peers else ""
        if "mcumgr-toolkit" in peers and not toolkit:
            print(f"pip cannot get {TOOLKIT}: it is left out")
            peers.remove("mcumgr-toolkit")
        if wanted.framing == "raw" and "smpmgr" in peers:
            print("smpmgr has no raw framing: it is left out")
            peers.remove("smpmgr")
        for number, (name, spec) in enumerate(chosen, 1):
            print(f"[{number}/{len(chosen)}, {time.monotonic() - begun_s:.0f} s] ", end="")
            size = wanted.size or image_size(spec, wanted.seconds)
            image = make_image(Path(directory), size)
            runs = {peer: measure(peer, spec, image, toolkit, wanted.repeats) for peer in peers}
            missed += show(name, spec, image, runs)
    took = f"{time.monotonic() - begun_s:.0f} s"
    print(f"{len(chosen)} rows in {took}: {len(missed)} goals missed", *missed, sep="\n    ")
    return int(bool(missed))


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


if __name__ == "__main__":
    sys.exit(main())
