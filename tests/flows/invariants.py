"""The invariants of the design for flows: the witness of `cryofw.gameday` over records as read.

`check_moment` may be called at any moment, also right after a kill: what the chips show must have
been announced in the journal. `check_end` is for rollouts that have ended.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cryofw.gameday import Witness

if TYPE_CHECKING:
    from cryofw.gameday import RolloutTestimony, SeenChip

Fields = Mapping[str, Any]


def read_records(journal: bytes) -> list[Fields]:
    """The whole lines of a journal; a torn last one was never acknowledged."""
    whole = journal[: journal.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.splitlines()]


def check_moment(
    records: Sequence[Fields],
    chips: Mapping[str, SeenChip],
    before: Mapping[str, SeenChip],
    *,
    verified: frozenset[str],
    heat_slots: Mapping[str, int] | None = None,
    cryostats: Mapping[str, str] | None = None,
) -> RolloutTestimony | None:
    """See `Witness.moment`; the chips were `before` the rollout. Return the latest rollout."""
    witness = Witness(before, verified, heat_slots, cryostats)
    for record in records:
        witness.testimony().take(record)
    witness.moment(chips)
    return witness.testimony().latest


def check_end(
    records: Sequence[Fields],
    chips: Mapping[str, SeenChip],
    before: Mapping[str, SeenChip],
) -> RolloutTestimony:
    """See `Witness.end`."""
    witness = Witness(before, ())
    for record in records:
        witness.testimony().take(record)
    witness.end(chips)
    latest = witness.testimony().latest
    assert latest is not None
    return latest
