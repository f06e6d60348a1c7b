"""What a link keeps of its work: what it cost, and what the device printed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True)
class DeviceLogLine:
    """A line that the device printed between SMP frames."""

    at: datetime
    text: str


@dataclass(frozen=True)
class LinkCounts:
    """What the line cost so far; shown, never hidden.

    Attributes:
        requests: sent, repetitions included.
        repeats: requests sent again because no answer came.
        reopens: times the port was opened again, failed tries included.
        stale_answers: answers that came too late, or twice.
        damaged_frames: answers that arrived damaged.
    """

    requests: int = 0
    repeats: int = 0
    reopens: int = 0
    stale_answers: int = 0
    damaged_frames: int = 0

    @property
    def retries(self) -> int:
        """Everything that had to be done again."""
        return self.repeats + self.reopens
