"""What one device printed between SMP frames, bounded: its last words, for when it fails."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from cryofw.device.link_record import DeviceLogLine

if TYPE_CHECKING:
    from datetime import datetime

LINES_KEPT = 200
CHARACTERS_KEPT = 16 * 1024
LONGEST_LINE = 512


class DeviceLog:
    """The last lines: at most `LINES_KEPT`, and `CHARACTERS_KEPT` together.

    A gateway has hundreds of them, and a device in a boot loop prints for ever.
    """

    def __init__(self) -> None:
        self._lines: deque[DeviceLogLine] = deque()
        self._characters = 0

    def add(self, at: datetime, text: str) -> None:
        """Keep a line; the oldest ones make room."""
        line = DeviceLogLine(at, text[:LONGEST_LINE])
        self._lines.append(line)
        self._characters += len(line.text)
        while len(self._lines) > LINES_KEPT or self._characters > CHARACTERS_KEPT:
            self._characters -= len(self._lines.popleft().text)

    @property
    def lines(self) -> tuple[DeviceLogLine, ...]:
        """What is kept, oldest first."""
        return tuple(self._lines)
