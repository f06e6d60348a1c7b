"""Many uploads in one process: `python -m tests.bench.fleet_host BAUD FILE HASH`, ports on stdin.

All devices are driven on one event loop, as a rollout drives them. Prints one line of JSON: what
it cost, and how much memory the process took before the first and while all were active.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from pathlib import Path

from cryofw.device import DeviceDriver, Target
from cryofw.engine.virtual_time import SystemClock
from cryofw.transport import PortOpener

PAGE = 4096
SAMPLE_S = 0.5


def resident_bytes() -> int:
    """Return the memory of this process that is in use now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


async def upload(port: str, baud: int, image: bytes, image_hash: str) -> float:
    """Upload to one device; return the seconds of the call."""
    target = Target(name=Path(port).name, port=port, baud=baud, board="cc40")
    async with DeviceDriver(target, PortOpener(), SystemClock()) as driver:
        report = await driver.upload(image, image_hash)
    return report.duration_s


async def observe(peaks: dict[str, int]) -> None:
    """Keep the highest memory and number of threads."""
    while True:
        peaks["bytes"] = max(peaks["bytes"], resident_bytes())
        peaks["threads"] = max(peaks["threads"], threading.active_count())
        await asyncio.sleep(SAMPLE_S)


async def main(baud: int, image: bytes, image_hash: str, first: str, *ports: str) -> None:
    """Upload to all ports at once, and print what it cost."""
    # What one device needs once (imports, caches) is not the price of a further device.
    alone = DeviceDriver(
        Target(name="first", port=first, baud=baud, board="cc40"), PortOpener(), SystemClock()
    )
    async with alone:
        await alone.observe()
    before = resident_bytes()
    peaks = {"bytes": before, "threads": 0}
    watching = asyncio.create_task(observe(peaks))
    begun_s, begun_cpu_s = time.perf_counter(), time.process_time()
    calls_s = await asyncio.gather(
        *(upload(port, baud, image, image_hash) for port in (first, *ports))
    )
    cost = {
        "wall_s": time.perf_counter() - begun_s,
        "cpu_s": time.process_time() - begun_cpu_s,
        "calls_s": calls_s,
        "bytes_before": before,
        "bytes_peak": peaks["bytes"],
        "threads": peaks["threads"],
    }
    watching.cancel()
    print(json.dumps(cost))


if __name__ == "__main__":
    baud_text, file, wanted_hash = sys.argv[1:]
    names = sys.stdin.read().split()
    asyncio.run(main(int(baud_text), Path(file).read_bytes(), wanted_hash, *names))
