"""Which versions a release may come from, and which cryofw may roll it out: options and records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from cryofw.errors import UsageError
from cryofw.release.version_range import VersionRange, joined

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryofw.release import ReleaseRecord

_from_option = click.option(
    "--from-versions",
    metavar="RANGE",
    default="",
    help="Versions that a device may run before it, such as '>=1.0, <2'; of a release: besides "
    "what its record says.",
)
_host_option = click.option(
    "--host", metavar="RANGE", default="", help="Versions of cryofw that may roll it out."
)


def range_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that bound what a release may follow, and who may roll it out."""
    return _from_option(_host_option(command))


@dataclass(frozen=True, slots=True)
class Ranges:
    """What bounds a release; empty ranges hold everything."""

    from_versions: str = ""
    host: str = ""

    @property
    def are_given(self) -> bool:
        """Whether there is any."""
        return bool(self.from_versions or self.host)

    def with_record(self, record: ReleaseRecord | None) -> Ranges:
        """Those of the command line and those of a release's record: both must hold."""
        if record is None:
            return self
        return Ranges(
            joined(record.from_versions, self.from_versions), joined(record.host, self.host)
        )


NO_RANGES = Ranges()


def read_ranges(from_versions: str, host: str, *, has_plan: bool = False) -> Ranges:
    """What the options say.

    Raises:
        BadInput: they are no ranges.
        UsageError: a plan is given, which holds them.
    """
    VersionRange.parse(from_versions)
    VersionRange.parse(host)
    ranges = Ranges(from_versions.strip(), host.strip())
    if has_plan and ranges.are_given:
        raise UsageError(
            "a plan holds the versions that it may come from", hint="make a new plan with them"
        )
    return ranges
