"""One look at a cryostat: temperature, fridge, experiment, and why a reading does not count."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class GuardReading:
    """What the guards of one cryostat read; a `..._gap` says why a reading does not count.

    Attributes:
        t_s: host time in seconds since 1970.
        temperature_k: of the stage; None if it is missing or not guarded.
        fridge: its state in words; None likewise.
        lease_owner: the experiment that holds the cryostat; empty: nobody.
        lease_expires_s: until when, in seconds since 1970.
        lease_token: fencing token, if the lab gives one.
    """

    t_s: float
    temperature_k: float | None = None
    temperature_gap: str = ""
    fridge: str | None = None
    fridge_gap: str = ""
    lease_owner: str = ""
    lease_expires_s: float = 0.0
    lease_token: int | None = None
    lease_gap: str = ""

    @property
    def kelvin(self) -> float | None:
        """The temperature if it counts."""
        value = self.temperature_k
        if value is None or self.temperature_gap or not math.isfinite(value) or value <= 0:
            return None
        return value

    @property
    def held_by(self) -> str:
        """The experiment whose lease lives now; empty: none."""
        return self.lease_owner if self.t_s < self.lease_expires_s else ""


def guard_to_json(reading: GuardReading) -> dict[str, object]:
    """A JSON object that `guard_from_json` reads back; what is not set is left out."""
    values = asdict(reading)
    kept = {
        f.name: values[f.name]
        for f in fields(reading)
        if f.name == "t_s" or values[f.name] != f.default
    }
    return {
        n: None if isinstance(v, float) and not math.isfinite(v) else v for n, v in kept.items()
    }


def guard_from_json(data: Mapping[str, object]) -> GuardReading:
    """Read what `guard_to_json` wrote.

    Raises:
        ValueError: it is not such an object.
    """
    number, text = (int, float), (str,)
    kinds: dict[str, tuple[type, ...]] = {
        f.name: text if f.name.endswith("gap") or f.name in ("fridge", "lease_owner") else number
        for f in fields(GuardReading)
    }
    values = {name: data[name] for name in kinds if data.get(name) is not None}
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, kinds[name]):
            msg = f"{name} is {value!r}"
            raise ValueError(msg)
    if "t_s" not in values:
        msg = "a reading without its time"
        raise ValueError(msg)
    return GuardReading(**values)  # type: ignore[arg-type]  # names and kinds are checked above
