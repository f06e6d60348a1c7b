"""Readings: what was observed on a device, when, and how hard it was to get."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

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
class LabValue:
    """A metric that something else than the device measured.

    Attributes:
        value: in the unit of the contract; NaN if the source gave no number.
        t_s: when it was measured, in host time, seconds since 1970.
        stamp_s: when, by the source's own clock: that tells one measurement from the next. None
            if the source does not say; then each answer is a new one.
    """

    value: float
    t_s: float
    stamp_s: float | None = None


@dataclass(frozen=True, slots=True)
class MetricSample:
    """One reading of the calibration metrics; a metric that is absent is missing.

    Attributes:
        t_s: host time in seconds since 1970.
        values: metric name to value in the unit of the contract, as the device says.
        device_ms: the device's own time of `values`; a repeated one makes them stale.
        lab: metric name to what the lab measured; each has its own time.
        gaps: metric name to the reason, for each that does not count.
    """

    t_s: float
    values: Mapping[str, float] = field(default_factory=dict)
    device_ms: int | None = None
    lab: Mapping[str, LabValue] = field(default_factory=dict)
    gaps: Mapping[str, str] = field(default_factory=dict)

    def fresh(self, name: str) -> float | None:
        """The value of `name`, or None when it is missing or not a sane number."""
        measured = self.lab.get(name)
        value = self.values.get(name) if measured is None else measured.value
        return value if value is not None and abs(value) < _ABSURD else None

    def joined(self, lab: MetricSample) -> MetricSample:
        """This one with what the lab measured besides."""
        return replace(self, lab={**self.lab, **lab.lab}, gaps={**self.gaps, **lab.gaps})


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
            return _sample_to_json(reading)


def _sample_to_json(sample: MetricSample) -> dict[str, object]:
    """Without what the lab measured, the same line as before there was such a thing."""
    values = {k: _or_null(v) for k, v in sample.values.items()}
    fields: dict[str, object] = {"t": sample.t_s, "m": values, "ms": sample.device_ms}
    if sample.lab:
        fields["lab"] = {k: [_or_null(v.value), v.t_s, v.stamp_s] for k, v in sample.lab.items()}
    if sample.gaps:
        fields["gap"] = dict(sample.gaps)
    return fields


def _or_null(value: float) -> float | None:
    return value if math.isfinite(value) else None


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
    values, lab, gaps = data.get("m"), data.get("lab", {}), data.get("gap", {})
    if not isinstance(values, Mapping):
        msg = "neither a heartbeat nor a metric sample"
        raise ValueError(msg)
    if not isinstance(lab, Mapping) or not isinstance(gaps, Mapping):
        msg = "what the lab measured is no object"
        raise ValueError(msg)
    return MetricSample(
        t_s,
        {str(k): _or_nan(v) for k, v in values.items()},
        _integer(data.get("ms")),
        {str(k): _lab_value(v) for k, v in lab.items()},
        {str(k): str(v) for k, v in gaps.items()},
    )


def _lab_value(data: object) -> LabValue:
    if not isinstance(data, list) or len(data) != 3:
        msg = f"not a value, its time and its stamp: {data!r}"
        raise ValueError(msg)
    value, t_s, stamp_s = data
    return LabValue(_or_nan(value), _number(t_s), None if stamp_s is None else _number(stamp_s))


def _or_nan(value: object) -> float:
    return math.nan if value is None else _number(value)


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
