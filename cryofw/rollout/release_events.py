"""Where the firmware of a rollout came from, and what a person took on themselves to have it.

As `events`: each one is one journal record.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryofw.rollout.events import Event

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from cryofw.release import ReleaseOrigin


@dataclass(frozen=True, slots=True)
class ReleaseVerified(Event):
    """The image was taken from a release repository, and verified down from the pinned root.

    `root` is the SHA-256 of that root file; `versions` are those of each role's metadata, and
    `expires` is when the first of them does.
    """

    kind = "release-verified"
    release: str
    number: int
    source: str
    root: str
    expires: str
    rolls_back: str = ""
    versions: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExpiryForgiven(Event):
    """Break-glass: expired metadata of these roles was accepted, by name and for a reason."""

    kind = "expiry-forgiven"
    roles: tuple[str, ...]
    by: str
    why: str
    expires: str = ""


def origin_events(origin: ReleaseOrigin | None) -> list[Event]:
    """What the journal says about the origin of a plan's image; nothing for a plain file."""
    if origin is None:
        return []
    verified = ReleaseVerified(
        origin.release,
        origin.number,
        origin.source,
        origin.root,
        origin.expires,
        origin.rolls_back,
        origin.versions,
    )
    if not origin.forgiven:
        return [verified]
    return [verified, ExpiryForgiven(origin.forgiven, origin.by, origin.why, origin.expires)]


class ReleaseHandlers:
    """How a rollout's state takes them: they are for the record, no other decision follows."""

    __slots__ = ()

    told: set[str]

    def _on_release_verified(self, event: ReleaseVerified) -> None:
        self.told.add(event.kind)

    def _on_expiry_forgiven(self, event: ExpiryForgiven) -> None:
        self.told.add(event.kind)


def next_untold(origin: ReleaseOrigin | None, told: Collection[str]) -> Event | None:
    """What the journal does not say yet about the origin of the image; None if it says all.

    A decision like any other, so that a process that dies early leaves no gap: the next one
    decides it again.
    """
    if origin is None:
        return None
    return next((event for event in origin_events(origin) if event.kind not in told), None)
