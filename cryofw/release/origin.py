"""Where the image of a plan came from: which repository vouched for it, and how fresh that was."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryofw.errors import BadInput

FORGIVEN_FOR = timedelta(hours=24)
"""How long a plan may start whose expired metadata was accepted: for one emergency."""


@dataclass(frozen=True, slots=True)
class ReleaseOrigin:
    """What was verified when a release was taken from a repository.

    Attributes:
        source: directory, address or bundle, as the person gave it.
        root: hex SHA-256 of the root file that this host was told to trust.
        release: product and version; number: which release of the product.
        versions: role to the version of its metadata.
        expires: RFC 3339 time at which the first of them expires.
        rolls_back: version that the release takes back, if it is a rollback.
        forgiven: roles that had expired and were accepted all the same.
        by: who accepted that; why: their reason.
        forgiven_until: RFC 3339 time until which a plan with that may start.
    """

    source: str
    root: str
    release: str
    number: int
    versions: dict[str, int]
    expires: str
    rolls_back: str = ""
    forgiven: tuple[str, ...] = ()
    by: str = ""
    why: str = ""
    forgiven_until: str = ""

    @property
    def expiry(self) -> datetime:
        """`expires` as a time.

        Raises:
            BadInput: it is none; somebody wrote the plan by hand.
        """
        return self._time(self.expires)

    @property
    def good_until(self) -> datetime:
        """When a plan of it may not start any more: with what was forgiven, or what expires first.

        Raises:
            BadInput: as `expiry`.
        """
        return self._time(self.forgiven_until if self.forgiven else self.expires)

    def _time(self, text: str) -> datetime:
        try:
            return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z")
        except ValueError as error:
            raise BadInput(
                f"the plan's release {self.release} expires at no time",
                why=f"{text[:40]!r}",
                hint="make a new plan; a plan is never edited",
            ) from error
