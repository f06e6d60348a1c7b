"""What can be wrong with releases: where they come from, what they say, who may have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.errors import BadInput, Refused, Unreachable, VerificationFailed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


class ReleaseInvalid(VerificationFailed):
    """A repository, or a file of it, that does not verify: nothing of it was used."""


class MetadataExpired(ReleaseInvalid):
    """Signed metadata that is too old to say what is released now.

    Args:
        source: where it came from.
        expired: role to the moment it expired.
    """

    def __init__(self, source: str, expired: Mapping[str, datetime]) -> None:
        roles = list(expired)
        flags = " ".join(f"--accept-expired {role}" for role in roles)
        super().__init__(
            f"the release metadata of {source} has expired",
            why=", ".join(f"{role} since {when:%Y-%m-%d %H:%M}Z" for role, when in expired.items())
            + "; a release may have been revoked since",
            hint="get a fresh bundle, or the publisher runs `cryofw release refresh`; "
            f"in an emergency {flags} --why TEXT, for the record",
        )
        self.expired = dict(expired)


class ReleaseRefused(Refused):
    """A release that verifies and must not be used: revoked, for another host or board."""


class SignaturesMissing(Refused):
    """Metadata that fewer keys have signed than its role asks for; it was not published."""


class RepositoryUnusable(BadInput):
    """A directory, file or address that is no release repository, or no place for one."""


class SourceUnreachable(Unreachable):
    """The server with the releases did not answer, or not in time."""
