"""Physical quantities as people write them: `10 min`, `60 mW`, `150 mK`, `80 %`, `480 KiB`.

A quantity is one number and one unit; a bare number is refused, because nobody can tell seconds
from minutes in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, NoReturn

from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from collections.abc import Mapping

_NUMBER = r"[0-9]{1,9}(\.[0-9]{1,9})?"


@dataclass(frozen=True)
class Dimension:
    """One kind of quantity: its units, each with its size in the base unit, and examples."""

    name: str
    units: Mapping[str, str]
    example: str
    allow_zero: bool = False

    @property
    def pattern(self) -> str:
        """The regular expression that both the loader and the JSON Schema use."""
        return f"^{_NUMBER} ?({'|'.join(re.escape(unit) for unit in self.units)})$"

    def read(self, value: object) -> float:
        """`value` in the base unit; raises PydanticCustomError with a hint if it is none."""
        known = ", ".join(self.units)
        hint = f"write a number and a unit ({known}), for example {self.example}"
        if isinstance(value, int | float) and not isinstance(value, bool):
            self._refuse(f"{self.name} needs a unit, `{value}` has none", hint)
        if not isinstance(value, str):
            self._refuse(f"expected {self.name} such as {self.example}", hint)
        match = re.fullmatch(rf"({_NUMBER}) ?(\S*)", value)
        if match is None:
            self._refuse(f"`{value}` is not {self.name}", hint)
        number, unit = Decimal(match[1]), match[3]
        if unit not in self.units:
            self._refuse(f"`{value}` is not {self.name}: {_unit_problem(unit)}", hint)
        if number == 0 and not self.allow_zero:
            self._refuse(f"{self.name} of zero makes no sense here", "")
        return float(number * Decimal(self.units[unit]))

    def _refuse(self, message: str, hint: str) -> NoReturn:
        raise PydanticCustomError("quantity", "{message}", {"message": message, "hint": hint})


def _unit_problem(unit: str) -> str:
    return f"`{unit}` is not one of its units" if unit else "the unit is missing"


_TIME = {"ms": "0.001", "s": "1", "min": "60", "h": "3600", "d": "86400"}
DURATION = Dimension("a duration", _TIME, "10 min")
PAUSE = Dimension("a duration", _TIME, "2 s", allow_zero=True)
POWER = Dimension("a power", {"uW": "0.000001", "mW": "0.001", "W": "1"}, "60 mW")
TEMPERATURE = Dimension("a temperature", {"uK": "0.000001", "mK": "0.001", "K": "1"}, "150 mK")
# Kelvin per second. An hour's worth of drift is as usual in labs as a minute's.
SLOPE = Dimension(
    "a rate of change",
    {
        f"{kelvin}/{time}": str(Decimal(size) / Decimal(span))
        for kelvin, size in (("uK", "0.000001"), ("mK", "0.001"), ("K", "1"))
        for time, span in (("s", "1"), ("min", "60"), ("h", "3600"))
    },
    "5 mK/min",
)
SIZE = Dimension("a size", {"B": "1", "KiB": "1024", "MiB": "1048576"}, "480 KiB")
PERCENT = Dimension("a share", {"%": "0.01"}, "80 %")


def read_share(value: object) -> float:
    """A percentage above 0 % and up to 100 %, as a fraction."""
    share = PERCENT.read(value)
    if share > 1:
        hint = "a share lies above 0 % and at most at 100 %"
        raise PydanticCustomError(
            "quantity", "{message}", {"message": f"`{value}` is more than everything", "hint": hint}
        )
    return share


def read_size(value: object) -> int:
    """A size in bytes."""
    size = SIZE.read(value)
    if size != int(size):
        raise PydanticCustomError(
            "quantity", "{message}", {"message": f"`{value}` is not whole bytes", "hint": ""}
        )
    return int(size)


def duration_text(seconds: float) -> str:
    """Seconds as fleet.yaml would write them."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
