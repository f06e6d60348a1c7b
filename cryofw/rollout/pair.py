"""How the coefficients of a device stand to its firmware: they go and come back as a pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(slots=True)
class Pair:
    """The coefficients of one device in one rollout.

    Attributes:
        before: hex values by name, read while the last good image ran; None: not read yet.
        unapplied: the image on trial does not have the release's coefficients yet.
        unsaved: the image is confirmed, but a reset would lose them.
        kept: something of the release's may outlive a reset, so going back means writing.
    """

    before: Mapping[str, str | None] | None = None
    unapplied: bool = False
    unsaved: bool = False
    kept: bool = False

    @property
    def way_back(self) -> Mapping[str, str | None]:
        """What has to be written to go back; empty while a reset alone does it."""
        return (self.before or {}) if self.kept else {}

    def came_back(self) -> None:
        """The last good image runs with its own coefficients."""
        self.unapplied = self.unsaved = self.kept = False
