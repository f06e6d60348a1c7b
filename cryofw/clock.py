"""The Clock port: the only way any code here learns the time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime


class Clock(Protocol):
    """Time as the rollout sees it; virtual on a simulated fleet, the system's otherwise."""

    def now(self) -> datetime:
        """Wall time, timezone-aware UTC."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` of this clock's time."""
