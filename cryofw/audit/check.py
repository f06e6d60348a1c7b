"""What a check of evidence beside the journal looks like: raw readings, images, approvals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryofw.audit.ledger import RolloutLedger
    from cryofw.journal import Record


class Check(Protocol):
    """Looks at records one after the other, oldest first, and at what lies beside them."""

    def problems(self, record: Record, rollout: RolloutLedger | None) -> Iterable[str]:
        """A sentence for each thing that is wrong.

        Args:
            record: what was just read.
            rollout: its rollout as it stands after it, with its plan; None if there is none.
        """
