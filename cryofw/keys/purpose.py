"""What a key may sign."""

from __future__ import annotations

from enum import StrEnum


class Purpose(StrEnum):
    """The one thing a key is for.

    Nothing in the signed bytes tells an image from metadata or a checkpoint, so a key that
    served two purposes could be made to sign one as the other.
    """

    IMAGE = "image"
    RELEASE = "release"
    JOURNAL = "journal"
    APPROVAL = "approval"
    WITNESS = "witness"
