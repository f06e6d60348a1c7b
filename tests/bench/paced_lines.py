"""Paced lines on ptys, in a process of their own: `python -m tests.bench.paced_lines`.

One process carries any number of lines on one event loop. It reads what hosts wrote, puts it on
the timelines of `paced_device`, and hands out each answer when its last byte has arrived. The
bench talks to it in lines of JSON: `PacedLines` is that side.

As it stands for hardware, it goes before other processes if the system lets it (SCHED_FIFO), and
its timers are exact: `select` counts in microseconds, and the last `SPIN_S` before an answer is
due it does not sleep at all.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import gc
import heapq
import json
import os
import pty
import select
import subprocess
import sys
import time
import tty
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.bench.paced_device import LineSpec, PacedDevice

ROOT = Path(__file__).parents[2]
SPIN_S = 150e-6
DRIVER_BYTES = 4096
"""What a host's serial driver takes beyond what the line has carried; then a write has to wait."""
_PR_SET_TIMERSLACK = 29


@dataclass(frozen=True)
class LineReport:
    """What happened on one line since it was last cleared.

    Attributes:
        sha: SHA-256 in hex of what slot 1 holds; None if it holds no whole upload.
        size: bytes in slot 1.
        offset: bytes of an upload that is not complete.
        first_s: when the first bit of the first upload packet left the host.
        last_s: when the last bit of the last answer to one reached it.
        packets: answered.
        repeated: upload packets with another offset than the one wanted.
        bytes_in: bytes from the host, and `bytes_out` to it.
        lost_lines: lines that found no line buffer, or were too long.
        lost_packets: packets that found no buffer, or were too long.
        bad_packets: packets that were damaged.
        unread: answers that no one took out of the pty.
    """

    sha: str | None
    size: int
    offset: int
    first_s: float | None
    last_s: float | None
    packets: int
    repeated: int
    bytes_in: int
    bytes_out: int
    lost_lines: int
    lost_packets: int
    bad_packets: int
    unread: int

    @property
    def upload_s(self) -> float:
        """Seconds from the first bit of an upload to the last bit of its last answer."""
        if self.first_s is None or self.last_s is None:
            return 0.0
        return self.last_s - self.first_s


class PacedLines:
    """A running process with paced lines; a context manager.

    Attributes:
        ports: device paths, one a line.
    """

    def __init__(self, spec: LineSpec, count: int = 1, *, spin_s: float = SPIN_S) -> None:
        self._order = json.dumps({"spec": dataclasses.asdict(spec), "count": count, "spin": spin_s})
        self.ports: list[str] = []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.paced_lines"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ports = self._ask(self._order)["ports"]
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate(timeout=10)

    def reports(self) -> list[LineReport]:
        """Return what happened on each line."""
        return [LineReport(**one) for one in self._ask("report")["lines"]]

    def cpu_s(self) -> float:
        """Return the CPU seconds that the lines have cost so far."""
        return float(self._ask("report")["cpu_s"])

    def clear(self) -> None:
        """Empty slot 1 and the counters of all lines."""
        self._ask("clear")

    def _ask(self, order: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


class _Line:
    """A pty with a device behind it."""

    def __init__(self, spec: LineSpec) -> None:
        self.device = PacedDevice(spec)
        self.master, self._slave = pty.openpty()  # kept open: hosts may come and go
        tty.setraw(self._slave)
        os.set_blocking(self.master, False)
        self.path = os.ttyname(self._slave)
        self.unread = 0

    def deliver(self, data: bytes) -> None:
        try:
            written = os.write(self.master, data)
        except BlockingIOError:
            written = 0
        self.unread += written < len(data)


class _Server:
    """The event loop."""

    def __init__(self, spec: LineSpec, count: int, spin_s: float) -> None:
        self._byte_s = spec.byte_s
        self._spin_s = spin_s
        self.lines = {line.master: line for line in (_Line(spec) for _ in range(count))}
        self._epoll = select.epoll()
        self._epoll.register(0, select.EPOLLIN)
        for master in self.lines:
            self._epoll.register(master, select.EPOLLIN)
        # (when, order of entry, line, answer; empty: read this line again)
        self._due: list[tuple[float, int, _Line, bytes]] = []
        self._entered = 0

    def run(self) -> None:
        while True:
            wait_s = None
            if self._due:
                wait_s = max(0.0, self._due[0][0] - time.monotonic() - self._spin_s)
            # An epoll of its own counts in milliseconds; select counts in microseconds.
            readable, _, _ = select.select([self._epoll], [], [], wait_s)
            if readable:
                for descriptor, _ in self._epoll.poll(0):
                    if descriptor == 0:
                        if not self._obey():
                            return
                    else:
                        self._read(self.lines[descriptor])
            while self._due and self._due[0][0] <= time.monotonic():
                _, _, line, answer = heapq.heappop(self._due)
                if answer:
                    line.deliver(answer)
                else:
                    self._epoll.modify(line.master, select.EPOLLIN)

    def _read(self, line: _Line) -> None:
        try:
            data = os.read(line.master, DRIVER_BYTES)
        except BlockingIOError:
            return
        now_s = time.monotonic()
        for due_s, answer in line.device.feed(now_s, data):
            self._at(due_s, line, answer)
        ahead_s = line.device.line_free_s - now_s
        if ahead_s > DRIVER_BYTES * self._byte_s:
            # The driver is full: until half of it has gone, the rest stays with the host.
            self._epoll.modify(line.master, 0)
            self._at(now_s + ahead_s - DRIVER_BYTES * self._byte_s / 2, line, b"")

    def _at(self, due_s: float, line: _Line, answer: bytes) -> None:
        self._entered += 1
        heapq.heappush(self._due, (due_s, self._entered, line, answer))

    def _obey(self) -> bool:
        order = sys.stdin.readline().strip()
        if not order:
            return False
        lines = self.lines.values()
        if order == "clear":
            for line in lines:
                line.device.forget()
                line.unread = 0
        reports = [{**line.device.report(), "unread": line.unread} for line in lines]
        print(json.dumps({"lines": reports, "cpu_s": time.process_time()}), flush=True)
        return True


def _go_first() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    gc.disable()  # nothing here makes cycles


def main() -> None:
    """Read what to serve from standard input, then serve until it ends."""
    order = json.loads(sys.stdin.readline())
    server = _Server(LineSpec(**order["spec"]), order["count"], order["spin"])
    _go_first()
    print(json.dumps({"ports": [line.path for line in server.lines.values()]}), flush=True)
    server.run()


if __name__ == "__main__":
    main()
