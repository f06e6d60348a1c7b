"""Break-glass: what a person may accept in an emergency, and only by name."""

from __future__ import annotations

from dataclasses import dataclass

from cryofw.errors import UsageError


@dataclass(frozen=True, slots=True)
class Forgiveness:
    """Expired roles that a person accepts, by name; nothing else is ever forgiven."""

    roles: tuple[str, ...] = ()
    by: str = ""
    why: str = ""

    def __post_init__(self) -> None:
        if self.roles and not self.why.strip():
            raise UsageError(
                "expired metadata needs a reason to be accepted",
                hint="--why TEXT goes into the record",
            )
