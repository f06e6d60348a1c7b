"""A game: one fleet, one release, what happens to them; and how it went."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.fleet import Fleet
    from cryofw.gameday.happening import Happening
    from cryofw.gameday.invariant import InvariantBroken
    from cryofw.image import PublicKey
    from cryofw.rollout import Ending
    from cryofw.simulator import LabSpec


@dataclass(frozen=True)
class Game:
    """Everything that a run depends on: the same game is the same run, byte for byte.

    Attributes:
        fleet: all its ports are `sim://`.
        spec: the devices behind them.
        factory: the image that runs everywhere before.
        release: the image that is rolled out.
        rival: the image of a second operator; empty if there is none.
        keys: what cryofw trusts.
        device_keys: what the bootloaders trust.
        never: the release is bad beyond doubt: no device may keep it.
        happenings: what happens.
        overrides: risks that the person accepts by name, as `Wish` takes them.
        patience: how often a person starts the rollout again before they give up.
        direct: lines take bytes without waiting, as those of a descriptor do.
        longest_s: a process that runs longer than this will never end.
    """

    name: str
    fleet: Fleet
    spec: LabSpec
    factory: bytes
    release: bytes
    keys: tuple[PublicKey, ...]
    device_keys: tuple[PublicKey, ...]
    rival: bytes = b""
    never: bool = False
    happenings: tuple[Happening, ...] = ()
    overrides: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    patience: int = 8
    direct: bool = True
    longest_s: float = 30 * 86400.0


@dataclass(frozen=True)
class Reached:
    """When something was first seen, in seconds since the rollout began; None: never."""

    hit_s: float | None = None
    detected_s: float | None = None
    back_s: float | None = None


@dataclass(frozen=True)
class Note:
    """Something that took place in a game, beside its journals.

    Attributes:
        t_s: seconds of the lab.
        records: how many records the first operator's journal had then.
        text: what it was.
    """

    t_s: float
    records: int
    text: str


@dataclass(frozen=True)
class Result:
    """How a game went.

    Attributes:
        ended: how the rollout ended; None: it never began, for `why`.
        digest: SHA-256 of all journals, in hex.
        records: of the first operator's journal.
        visits: how often a person started or resumed it.
        sends: writes to lines.
        seconds: of the lab, from the start of the rollout to its end.
        affected: devices that ran the release at some moment.
        broken: the invariant that did not hold; None: all did.
        journals: by operator, in the order in which they came.
        notes: what took place beside the journals, in order.
    """

    game: str
    ended: Ending | None
    why: str
    digest: str
    records: int
    visits: int
    sends: int
    seconds: float
    affected: tuple[str, ...] = ()
    broken: InvariantBroken | None = None
    journals: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    notes: tuple[Note, ...] = field(default=(), repr=False)

    @property
    def journal(self) -> bytes:
        """The first operator's journal."""
        return next(iter(self.journals.values()), b"")
