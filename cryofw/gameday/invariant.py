"""The invariants of the design, by number, and the error that says that one does not hold."""

from __future__ import annotations

from enum import IntEnum


class Invariant(IntEnum):
    """The ten, by their number in docs/reliability.md."""

    VERIFIED_ONLY = 1
    NO_ORPHAN_TEST_BOOT = 2
    CONFIRM_AFTER_VERDICT = 3
    GATES_IN_ORDER = 4
    EVERY_DEVICE_SETTLED = 5
    NOTHING_LOST = 6
    ONE_WRITER = 7
    WITHIN_THE_HEAT = 8
    UNKNOWN_IS_NOT_HEALTHY = 9
    EVERY_DECISION_EXPLAINED = 10


class InvariantBroken(Exception):
    """cryofw broke its promise; `invariant` says which."""

    def __init__(self, invariant: Invariant, what: str) -> None:
        super().__init__(f"invariant {int(invariant)} ({invariant.name.lower()}): {what}")
        self.invariant = invariant
        self.what = what


def require(holds: bool, invariant: Invariant, what: str) -> None:  # a statement
    """Raise InvariantBroken unless it holds."""
    if not holds:
        raise InvariantBroken(invariant, what)
