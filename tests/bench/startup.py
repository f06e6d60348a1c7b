"""How long whole processes take beside imgtool: `python -m tests.bench.startup`.

Both tools run in the same loop, turn by turn, so that whatever else the machine does hits both.
Exit code 1 when cryofw's median is above imgtool's in a row that has a goal.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

FIRMWARE_SIZE = 512 * 1024
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Row:
    """One comparison: the same work by both tools."""

    name: str
    cryofw: Sequence[str]
    imgtool: Sequence[str]
    goal: bool = True


def rows(directory: Path) -> list[Row]:
    """Prepare keys and firmware in `directory`; return what to compare."""
    (directory / "firmware.bin").write_bytes(os.urandom(FIRMWARE_SIZE))
    run([str(BIN / "cryofw"), "keys", "generate", "k", "--purpose=image", "--no-passphrase"])
    shape = ["--version=1.0.0", "--header-size=0x200", "--pad-header", "--slot-size=0x100000"]
    sign = [str(BIN / "cryofw"), "sign", "firmware.bin", "a.bin", *shape, "--force"]
    theirs = [str(BIN / "imgtool"), "sign", "--key=keys/k.pem", "--align=1", *shape]
    theirs += ["firmware.bin", "b.bin"]
    return [
        Row("--help", [str(BIN / "cryofw"), "--help"], [str(BIN / "imgtool"), "--help"]),
        Row("sign 512 KiB", [*sign, "--key=keys/k.pem"], theirs),
        Row("sign 512 KiB, with a keyring", sign, theirs, goal=False),
    ]


def run(command: Sequence[str]) -> float:
    """Run a command and return its wall time in seconds; it must succeed."""
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    elapsed = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return elapsed


def measure(row: Row, repeats: int) -> tuple[float, float]:
    """Return the median seconds of cryofw and of imgtool, run in turns."""
    ours, theirs = [], []
    for _ in range(repeats):
        ours.append(run(row.cryofw))
        theirs.append(run(row.imgtool))
    return statistics.median(ours), statistics.median(theirs)


def main() -> int:
    """Print the table; see the module's text for the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=31)
    repeats = parser.parse_args().repeats
    slower = False
    print(f"medians of {repeats} runs, whole processes")
    print(f"{'':<30} {'cryofw':>10} {'imgtool':>10} {'ratio':>6}")
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        for row in rows(Path(directory)):
            measure(row, 2)  # fills the caches of both
            ours, theirs = measure(row, repeats)
            slower |= row.goal and ours > theirs
            note = "" if row.goal else "  (no goal: imgtool has no keyring)"
            times = f"{ours * 1e3:>7.1f} ms {theirs * 1e3:>7.1f} ms"
            print(f"{row.name:<30} {times} {ours / theirs:>6.2f}{note}")
        os.chdir("/")
    return int(slower)


if __name__ == "__main__":
    sys.exit(main())
