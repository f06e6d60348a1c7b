"""Whose signatures under a journal count."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.image import PublicKey


@dataclass(frozen=True)
class LogTrust:
    """The keys that sign journals and the witnesses, by the names that people know them by.

    Attributes:
        keys: without any, signatures are not asked for.
        quorum: how many distinct witnesses must have cosigned.
    """

    keys: Mapping[str, PublicKey] = field(default_factory=dict)
    witnesses: Mapping[str, PublicKey] = field(default_factory=dict)
    quorum: int = 0

    def name(self, key: PublicKey) -> str:
        """What people call a key."""
        known = {**self.witnesses, **self.keys}
        return next((name for name, one in known.items() if one.encoded == key.encoded), "?")


NO_TRUST = LogTrust()
