"""The person of a game: what they do when the rollout stands still. Pure.

Not a hero: they approve what waits for approval, mend what was named, wait, try again, and after
their patience abort; what even that does not end they stop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.rollout import events as e

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryofw.rollout import Event, RolloutState

_SOON_S = 60.0
_LATER_S = 1800.0


@dataclass(frozen=True)
class NextVisit:
    """When they come again, and what they say then, before the resume."""

    after_s: float
    says: tuple[Event, ...] = ()


def next_visit(who: str, state: RolloutState | None, visits: int, patience: int) -> NextVisit:
    """Decide what to do about a rollout that stands still and has not ended.

    Args:
        state: as it stands; None: the process died or failed, so nobody knows.
        visits: how often they came so far.
        patience: after so many they end it.
    """
    if visits > 2 * patience:
        return NextVisit(_SOON_S, (e.StopRequested(who, "it does not end"),))
    if visits > patience:
        return NextVisit(_LATER_S, (e.AbortRequested(who, "out of patience"),))
    if state is None:
        return NextVisit(_SOON_S)
    says: Sequence[Event] = ()
    if state.paused == "approval":
        says = [e.StageApproved(state.plan.stages[state.stage_index + 1].name, who)]
    elif state.paused == "device":
        lost = [name for name, device in state.devices.items() if device.quarantined]
        says = [e.QuarantineCleared(name, who, "looked at") for name in lost]
    return NextVisit(_LATER_S if state.paused in ("device", "cryostat") else _SOON_S, tuple(says))
