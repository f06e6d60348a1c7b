"""The serial line between host and device: bytes take their time, and some go wrong."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Protocol, TypeVar

from cryofw.simulator.faults import (
    CorruptBytes,
    CutLines,
    DelayBytes,
    DropBytes,
    DuplicateBytes,
    FillBuffers,
    LineFault,
    OverrunBuffers,
    PrintNoise,
    ResetWhileReceiving,
)
from cryofw.simulator.physics import uniforms

if TYPE_CHECKING:
    from collections.abc import Callable

_FRAME_START = re.compile(b"(?=\x06\x09)")
_NOISE = b"[00:00:12.345,000] <inf> heater: 4.2 K\r\n"
_BITS_PER_BYTE = 10  # 8N1: start, eight data bits, stop

_F = TypeVar("_F", bound=LineFault)


class Timer(Protocol):
    """A callback that is still to come."""

    def cancel(self) -> None:
        """Forget it."""


class CallLater(Protocol):
    """Port to timers: `loop.call_later` fits."""

    def __call__(self, delay: float, callback: Callable[[], None], /) -> Timer:
        """Call `callback` after `delay` seconds."""


class Line:
    """Both directions of one serial line.

    Args:
        key: makes the faults reproducible.
        now_s, call_later: the lab's time.
        deliver: takes what arrives at the host.

    Attributes:
        byte_s: seconds that a byte takes.
        unplugged_until_s: the cable is out until then.
        struck: how often a fault has acted.
    """

    def __init__(
        self,
        key: str,
        now_s: Callable[[], float],
        call_later: CallLater,
        deliver: Callable[[bytes], None],
    ) -> None:
        self.byte_s = 0.0
        self.unplugged_until_s = 0.0
        self.struck = 0
        self._key = key
        self._now_s = now_s
        self._call_later = call_later
        self._deliver = deliver
        self._free_s = 0.0
        self._heard_s = 0.0
        self._held: deque[float] = deque()
        self._draws = 0
        self._closed = False
        self._faults: list[tuple[float, LineFault]] = []

    def set_baud(self, baud: int) -> None:
        """Make bytes take their time at `baud` bits per second; 0 makes them free."""
        self.byte_s = _BITS_PER_BYTE / baud if baud else 0.0

    @property
    def is_unplugged(self) -> bool:
        """Whether the cable is out."""
        return self._now_s() < self.unplugged_until_s

    def close(self) -> None:
        """Let nothing arrive any more, also not what is on its way."""
        self._closed = True

    def add_fault(self, fault: LineFault) -> None:
        """Let a fault act from now on."""
        self._faults.append((self._now_s() + fault.for_s, fault))

    def filter_received(self, data: bytes) -> bytes:
        """Return what of the host's bytes reaches the device."""
        self._heard_s = max(self._now_s(), self._heard_s) + len(data) * self.byte_s
        if self.is_unplugged:
            return b""
        if not self._faults:
            return data
        buffers = self._hit(FillBuffers)
        if buffers is not None and data.count(b"\n") > buffers.lines:
            return b""
        return b"".join(self._damage(self._overrun(frame)) for frame in _frames(data))

    def resets(self, data: bytes) -> bool:
        """Whether the device is reset while these bytes come in."""
        if not self._faults:
            return False
        return any(self._hit(ResetWhileReceiving) is not None for _ in _frames(data))

    def buffers_in_use(self) -> int:
        """Packets that wait for their answer when the last byte so far arrives, and that answer.

        Zephyr keeps requests and answers in the same buffers.
        """
        while self._held and self._held[0] <= self._heard_s:
            self._held.popleft()
        return len(self._held) + bool(self._held)

    def answer(self, data: bytes, *, busy_s: float = 0.0) -> None:
        """Send an answer to what has arrived last; one thing is worked on at a time."""
        self._free_s = max(self._free_s, self._heard_s) + busy_s
        self.send(data)
        self._held.append(self._free_s)

    def send(self, data: bytes) -> None:
        """Send bytes to the host when the line is free."""
        if self._faults:
            frames = _frames(data)
            data = b"".join(self._disturb(self._damage(frame)) for frame in frames)
            late = [self._hit(DelayBytes) for _ in frames]
            self._free_s = max(self._free_s, self._now_s())
            self._free_s += sum(fault.delay_s for fault in late if fault is not None)
        now_s = self._now_s()
        self._free_s = max(self._free_s, now_s) + len(data) * self.byte_s
        delay_s = self._free_s - now_s
        if delay_s <= 0:
            self._arrive(data)
        else:
            self._call_later(delay_s, lambda: self._arrive(data))

    def _arrive(self, data: bytes) -> None:
        if data and not self._closed and not self.is_unplugged:
            self._deliver(data)

    def _draw(self) -> float:
        self._draws += 1
        return uniforms(f"line/{self._key}/{self._draws}", 1)[0]

    def _hit(self, kind: type[_F]) -> _F | None:
        now_s = self._now_s()
        self._faults = [(until_s, fault) for until_s, fault in self._faults if until_s > now_s]
        for _, fault in self._faults:
            if isinstance(fault, kind) and (
                isinstance(fault, FillBuffers) or self._draw() < fault.share
            ):
                self.struck += 1
                return fault
        return None

    def _damage(self, data: bytes) -> bytes:
        if not data:
            return data
        if self._hit(CorruptBytes) is not None:
            at = int(self._draw() * len(data))
            data = data[:at] + bytes([data[at] ^ 0x15]) + data[at + 1 :]
        if self._hit(DropBytes) is not None:
            at = int(self._draw() * len(data))
            data = data[:at] + data[at + 1 + int(self._draw() * 8) :]
        if self._hit(CutLines) is not None:
            at = int(self._draw() * len(data))
            end = data.find(b"\n", at) + 1 or len(data)
            data = data[:at] + data[end:]
        if self._hit(DuplicateBytes) is not None:
            data += data
        return data

    def _overrun(self, data: bytes) -> bytes:
        """Lose a line of what the host sends."""
        if self._hit(OverrunBuffers) is None:
            return data
        lines = data.splitlines(keepends=True)
        del lines[int(self._draw() * len(lines))]
        return b"".join(lines)

    def _disturb(self, data: bytes) -> bytes:
        """Print a log line before what the device sends, or in the middle of it."""
        if not data or self._hit(PrintNoise) is None:
            return data
        at = max(0, int((2 * self._draw() - 1) * len(data)))
        return data[:at] + _NOISE + data[at:]


def _frames(data: bytes) -> list[bytes]:
    """Part what was written at once into the packets in it; of raw framing it is one."""
    return [frame for frame in _FRAME_START.split(data) if frame]
