"""Readings: what was observed on a device, when, and how hard it was to get."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

_ABSURD = 1e100
"""No physical reading is as large; the square of a larger one overflows a float."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """An answered heartbeat.

    Attributes:
        t_s: host time in seconds since 1970.
        image_hash: hex hash of the image that runs.
        boot_id: the boot it runs in; None if the device cannot say.
        up_ms: milliseconds since that boot; None if the device cannot say.
        reset_cause: Zephyr hwinfo reset-cause bits; None if the device cannot say.
        recovery: the bootloader's serial recovery answered, not an application.
        retries: requests repeated before the answer came.
    """

    t_s: float
    image_hash: str
    boot_id: int | None = None
    up_ms: int | None = None
    reset_cause: int | None = None
    recovery: bool = False
    retries: int = 0


@dataclass(frozen=True, slots=True)
class HeartbeatMissed:
    """A heartbeat that was not answered, after all retries."""

    t_s: float
    why: str
    retries: int = 0


@dataclass(frozen=True, slots=True)
class MetricSample:
    """One reading of the calibration metrics; a metric that is absent is missing.

    Attributes:
        t_s: host time in seconds since 1970.
        values: metric name to value in the unit of the contract.
        device_ms: the device's own time of the sample; a repeated one is stale.
    """

    t_s: float
    values: Mapping[str, float] = field(default_factory=dict)
    device_ms: int | None = None

    def fresh(self, name: str) -> float | None:
        """The value of `name`, or None when it is missing or not a sane number."""
        value = self.values.get(name)
        return value if value is not None and abs(value) < _ABSURD else None


Reading = Heartbeat | HeartbeatMissed | MetricSample


def reading_to_json(reading: Reading) -> dict[str, object]:
    """A JSON object that `reading_from_json` reads back; non-finite numbers become null."""
    match reading:
        case Heartbeat():
            return {
                "t": reading.t_s,
                "beat": reading.image_hash,
                "boot": reading.boot_id,
                "up": reading.up_ms,
                "rst": reading.reset_cause,
                "recovery": reading.recovery,
                "retries": reading.retries,
            }
        case HeartbeatMissed():
            return {"t": reading.t_s, "missed": reading.why, "retries": reading.retries}
        case MetricSample():
            values = {k: v if math.isfinite(v) else None for k, v in reading.values.items()}
            return {"t": reading.t_s, "m": values, "ms": reading.device_ms}


def reading_from_json(data: Mapping[str, object]) -> Reading:
    """Read what `reading_to_json` wrote.

    Raises:
        ValueError: it is not such an object.
    """
    t_s = _number(data.get("t"))
    if "beat" in data:
        return Heartbeat(
            t_s,
            str(data["beat"]),
            _integer(data.get("boot")),
            _integer(data.get("up")),
            _integer(data.get("rst")),
            data.get("recovery") is True,
            _integer(data.get("retries")) or 0,
        )
    if "missed" in data:
        return HeartbeatMissed(t_s, str(data["missed"]), _integer(data.get("retries")) or 0)
    values = data.get("m")
    if not isinstance(values, Mapping):
        msg = "neither a heartbeat nor a metric sample"
        raise ValueError(msg)
    read = {str(k): math.nan if v is None else _number(v) for k, v in values.items()}
    return MetricSample(t_s, read, _integer(data.get("ms")))


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        msg = f"not a number: {value!r}"
        raise ValueError(msg)
    return float(value)


def _integer(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        msg = f"not an integer: {value!r}"
        raise ValueError(msg)
    return value
