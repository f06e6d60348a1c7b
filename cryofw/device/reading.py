"""What a device reports while it is watched."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class HeartbeatSource(StrEnum):
    """Where a heartbeat came from."""

    CRYO = "cryo"
    ECHO = "echo"


@dataclass(frozen=True)
class HeartbeatReading:
    """A sign of life.

    Attributes:
        source: group 64, or echo and image state on a device without it.
        active_hash: what runs, in hex; None if not told.
        seq: counts heartbeats since boot; None without group 64, as the next three.
        up_ms: milliseconds since boot.
        boot_id: changes with every boot.
        reset_cause: as the device numbers it.
        round_trip_s: seconds from the request to the answer.
    """

    source: HeartbeatSource
    active_hash: str | None
    seq: int | None
    up_ms: int | None
    boot_id: int | None
    reset_cause: int | None
    round_trip_s: float


@dataclass(frozen=True)
class MetricsReading:
    """Readings at one moment of the device's own time.

    Attributes:
        t_ms: device time (milliseconds since boot) of the readings.
        values: finite numbers by name.
        missing: names that were asked for and not answered.
        not_numbers: names that were answered with NaN, infinity or no number.
        fresh: the device's time moved since the last reading; False means an old reading again.
    """

    t_ms: int
    values: Mapping[str, float]
    missing: tuple[str, ...]
    not_numbers: tuple[str, ...]
    fresh: bool


@dataclass(frozen=True)
class CalibrationReading:
    """A finished calibration run.

    Attributes:
        run_id: the id it was started under.
        values: finite numbers by name.
        not_numbers: names that came out as NaN, infinity or no number.
        duration_s: seconds it took.
    """

    run_id: int
    values: Mapping[str, float]
    not_numbers: tuple[str, ...]
    duration_s: float
