"""The states of a device in a rollout, and the only moves between them.

device/ and rollout/ share this table; an illegal move raises and changes nothing.
"""

from __future__ import annotations

from enum import StrEnum


class DeviceState(StrEnum):
    """Where a device stands. Capital S in Stuck: a person has to go there."""

    PENDING = "pending"
    CHECKED = "checked"
    SKIPPED = "skipped"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    UPLOADED = "uploaded"
    ABANDONED = "abandoned"
    TESTING = "testing"
    WATCHED = "watched"
    HELD = "held"
    FROZEN = "frozen"
    CONFIRMED = "confirmed"
    SELF_REVERTED = "self-reverted"
    ROLLING_BACK = "rolling-back"
    ROLLED_BACK = "rolled-back"
    STUCK = "stuck"


_S = DeviceState

MOVES: dict[DeviceState, frozenset[DeviceState]] = {
    # Refused: it answers, but it is not the device, or not in the state, that the plan names.
    # Rolling back from here: a person cleared it, and the rollout is being taken back.
    _S.PENDING: frozenset({_S.CHECKED, _S.SKIPPED, _S.UNREACHABLE, _S.REFUSED, _S.ROLLING_BACK}),
    # Abandoned from here: the upload was refused or came out wrong; nothing was marked.
    # Stuck from here and from Self-reverted: the old firmware runs, its old coefficients do not
    # come back.
    _S.CHECKED: frozenset({_S.UPLOADED, _S.UNREACHABLE, _S.REFUSED, _S.ABANDONED, _S.STUCK}),
    _S.UPLOADED: frozenset({_S.TESTING, _S.ABANDONED}),
    # Rolling back from here: the run that asked for the test died, and it is not wanted any more.
    _S.TESTING: frozenset({_S.WATCHED, _S.SELF_REVERTED, _S.STUCK, _S.ROLLING_BACK}),
    _S.WATCHED: frozenset(
        {_S.CONFIRMED, _S.HELD, _S.FROZEN, _S.ROLLING_BACK, _S.SELF_REVERTED, _S.STUCK}
    ),
    # Self-reverted from here: its lease ran out while the host that held it was away.
    _S.HELD: frozenset({_S.WATCHED, _S.CONFIRMED, _S.FROZEN, _S.ROLLING_BACK, _S.SELF_REVERTED}),
    _S.FROZEN: frozenset({_S.WATCHED, _S.ROLLING_BACK}),
    _S.CONFIRMED: frozenset({_S.ROLLING_BACK}),
    _S.ROLLING_BACK: frozenset({_S.ROLLED_BACK, _S.STUCK}),
    _S.ROLLED_BACK: frozenset(),
    # Tried again only when the host, not the firmware, caused the revert.
    _S.SELF_REVERTED: frozenset({_S.CHECKED, _S.STUCK}),
    _S.SKIPPED: frozenset(),
    _S.ABANDONED: frozenset(),
    # After a person cleared it; the device is read first.
    _S.REFUSED: frozenset({_S.PENDING}),
    _S.STUCK: frozenset({_S.PENDING}),
    _S.UNREACHABLE: frozenset({_S.PENDING}),
}

HOT = frozenset({_S.UPLOADED, _S.TESTING, _S.WATCHED, _S.HELD, _S.FROZEN, _S.ROLLING_BACK})
"""States in which a device may flash at any moment and holds its share of the heat budget."""

WATCHED = frozenset({_S.WATCHED, _S.HELD, _S.FROZEN, _S.CONFIRMED})
"""States in which the release runs, on trial or confirmed, and its readings are wanted."""

GOOD = frozenset({_S.CONFIRMED, _S.SKIPPED})
"""States in which the new firmware is proven on the device."""

SETTLED = frozenset(
    {
        _S.SKIPPED,
        _S.REFUSED,
        _S.UNREACHABLE,
        _S.ABANDONED,
        _S.CONFIRMED,
        _S.SELF_REVERTED,
        _S.ROLLED_BACK,
        _S.STUCK,
    }
)
"""States that nothing further has to follow."""


class IllegalMove(Exception):
    """A bug: the table forbids this move; the state is unchanged."""


def check_move(device: str, old: DeviceState, new: DeviceState) -> None:
    """Raise IllegalMove unless the table allows `old` -> `new`."""
    if new not in MOVES[old]:
        msg = f"{device}: {old} -> {new}"
        raise IllegalMove(msg)
