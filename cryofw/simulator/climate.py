"""What happens to the cryostats of a simulated lab: warm-ups, the fridge, experiments, sensors.

Each happening is a period of the lab's clock, so what a cryostat is like follows from the time
alone, whichever process asks.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from cryofw.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterable

BASE_STABLE = "base-stable"
"""State of a simulated fridge that nothing happens to."""


class Happening(StrEnum):
    """What a period is about; its value is watts, a state, an owner, nothing, or a number."""

    WARM_UP = "warm-up"
    FRIDGE = "fridge"
    EXPERIMENT = "experiment"
    NO_THERMOMETER = "no-thermometer"
    ERROR_BUDGET = "error-budget"


@dataclass(frozen=True)
class Period:
    """One happening in `where` (a cryostat, or the name of an error budget), in lab seconds.

    `value` is what `Happening` says; `token` the fencing token of an experiment's lease.
    """

    what: Happening
    where: str
    begin_s: float
    end_s: float
    value: str = ""
    token: int | None = None

    def covers(self, t_s: float) -> bool:
        """Whether it goes on at `t_s`."""
        return self.begin_s <= t_s < self.end_s


class Climate:
    """All happenings of a lab."""

    def __init__(self, periods: Iterable[Period] = ()) -> None:
        self.periods = list(periods)

    def at(self, what: Happening, where: str, t_s: float) -> Period | None:
        """The latest such happening that goes on at `t_s`."""
        found = [p for p in self.periods if (p.what, p.where) == (what, where) and p.covers(t_s)]
        return found[-1] if found else None

    def heaters(self, cryostat: str) -> tuple[tuple[float, float, float], ...]:
        """Begin, end and watts of each warm-up of a cryostat."""
        return tuple(
            (p.begin_s, p.end_s, float(p.value))
            for p in self.periods
            if p.what is Happening.WARM_UP and p.where == cryostat
        )

    def to_json(self) -> bytes:
        """Serialize; `from_json` reads it back. A period without end has the end null."""
        rows = [asdict(p) | {"end_s": _finite(p.end_s)} for p in self.periods]
        return json.dumps(rows).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Climate:
        """Read what `to_json` wrote; nothing for nothing.

        Raises:
            BadInput: it is something else.
        """
        try:
            return cls(_period(row) for row in json.loads(data or b"[]"))
        except (ValueError, TypeError, KeyError) as error:
            raise BadInput("the climate of the simulated lab is damaged", why=str(error)) from error


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _period(row: dict[str, object]) -> Period:
    what, where, token = Happening(str(row["what"])), str(row["where"]), row["token"]
    begin_s, end_s = row["begin_s"], row["end_s"]
    if not isinstance(begin_s, int | float) or not isinstance(end_s, int | float | None):
        msg = f"the period of {where} has no times"
        raise TypeError(msg)
    if not isinstance(token, int | None):
        msg = f"the token of {where} is {token!r}"
        raise TypeError(msg)
    if what is Happening.WARM_UP:
        float(str(row["value"]))
    end_s = math.inf if end_s is None else end_s
    return Period(what, where, begin_s, end_s, str(row["value"]), token)
