"""Maintenance windows: a cron expression that opens one, for how long, in which time zone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic_core import PydanticCustomError

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("weekday", 0, 7, _DAYS),
)


@dataclass(frozen=True)
class Cron:
    """A parsed cron expression (five fields, as in crontab(5)); weekday 0 and 7 are Sunday."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool  # crontab(5): when both day fields are restricted, one match is enough

    @classmethod
    def parse(cls, text: str) -> Cron:
        """Parse `text`; raises ValueError with a sentence that names the field."""
        parts = text.split()
        if len(parts) != len(_FIELDS):
            raise ValueError(f"a cron expression has 5 fields, `{text}` has {len(parts)}")
        sets = [_field(part, *field) for part, field in zip(parts, _FIELDS, strict=True)]
        minutes, hours, days, months, weekdays = sets
        weekdays = frozenset(day % 7 for day in weekdays)
        either = not parts[2].startswith("*") and not parts[4].startswith("*")
        cron = cls(minutes, hours, days, months, weekdays, either)
        if not either and min(days) > max(_LONGEST[month] for month in months):
            raise ValueError(f"`{text}` never comes: no such day in these months")
        return cron

    def matches(self, moment: datetime) -> bool:
        """Whether the expression fires in the minute of `moment` (its own wall time)."""
        if moment.minute not in self.minutes or moment.hour not in self.hours:
            return False
        if moment.month not in self.months:
            return False
        by_day = moment.day in self.days
        by_weekday = moment.isoweekday() % 7 in self.weekdays
        return by_day or by_weekday if self.either_day else by_day and by_weekday


_LONGEST = dict(enumerate((31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), start=1))


def _field(text: str, name: str, low: int, high: int, words: tuple[str, ...]) -> frozenset[int]:
    values: set[int] = set()
    for item in text.split(","):
        span, _, step_text = item.partition("/")
        first, dash, last = span.partition("-")
        if span == "*":
            start, stop = low, high
        else:
            start = _number(first, name, low, high, words)
            stop = _number(last, name, low, high, words) if dash else start
            if step_text and not dash:
                stop = high
        if "/" in item and not (step_text.isascii() and step_text.isdigit() and int(step_text)):
            raise ValueError(f"`{item}` in the {name} field has no valid step")
        if start > stop:
            raise ValueError(f"`{item}` in the {name} field runs backwards")
        values.update(range(start, stop + 1, int(step_text or 1)))
    return frozenset(values)


def _number(text: str, name: str, low: int, high: int, words: tuple[str, ...]) -> int:
    if text.lower() in words:
        return words.index(text.lower()) + low
    if not (text.isascii() and text.isdigit() and len(text) <= 2):
        raise ValueError(f"`{text}` is not a {name}")
    if not low <= int(text) <= high:
        raise ValueError(f"{name} {text} lies outside {low} to {high}")
    return int(text)


@dataclass(frozen=True)
class Window:
    """A stage may flash only while the window is open: from each cron moment for `for_s`."""

    cron: str
    for_s: float
    tz: str

    def is_open(self, now: datetime) -> bool:
        """Whether `now` (timezone-aware) lies in the window."""
        cron, local = _parsed(self.cron), now.astimezone(_zone(self.tz))
        minute = local.replace(second=0, microsecond=0)
        return any(
            cron.matches(opened) and _elapsed_s(opened, now) < self.for_s
            for opened in _minutes_before(minute, self.for_s)
        )

    def next_open(self, now: datetime) -> datetime | None:
        """`now` if it is open, else the next moment it opens within five years, as UTC."""
        if self.is_open(now):
            return now
        zone, cron = _zone(self.tz), _parsed(self.cron)
        day = now.astimezone(zone).date()
        for _ in range(5 * 366):
            for hour in sorted(cron.hours):
                for minute in sorted(cron.minutes):
                    moment = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
                    if cron.matches(moment) and _elapsed_s(now, moment) > 0:
                        return moment.astimezone(now.tzinfo)
            day += timedelta(days=1)
        return None


@lru_cache
def _parsed(text: str) -> Cron:
    return Cron.parse(text)


@lru_cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _elapsed_s(start: datetime, end: datetime) -> float:
    """Real seconds, daylight saving changes included."""
    return end.timestamp() - start.timestamp()


def _minutes_before(minute: datetime, span_s: float) -> list[datetime]:
    # One hour more than the span: wall clocks jump by an hour.
    count = int(span_s // 60) + 61
    return [minute - timedelta(minutes=back) for back in range(count)]


def read_cron(value: object) -> object:
    """Pydantic validator: a cron expression that can fire."""
    if isinstance(value, str):
        try:
            _parsed(value)
        except ValueError as error:
            hint = "for example `0 20 * * 1-4`: at 20:00, Monday to Thursday"
            raise PydanticCustomError(
                "cron", "{message}", {"message": str(error), "hint": hint}
            ) from None
    return value


def read_zone(value: object) -> object:
    """Pydantic validator: a time zone of the IANA database."""
    if isinstance(value, str):
        try:
            _zone(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise PydanticCustomError(
                "zone",
                "{message}",
                {
                    "message": f"`{value}` is not a known time zone",
                    "hint": "an IANA name such as Europe/Amsterdam, or UTC",
                },
            ) from None
    return value
