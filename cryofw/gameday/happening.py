"""What may happen in a game, and when: faults of devices, lines, cryostats, hosts and people."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from cryofw.simulator import Fault


@dataclass(frozen=True)
class Moment:
    """A moment of a game.

    Attributes:
        after: kind of the journal record that it follows; "" is the start of the rollout.
        nth: the how many-th such record of the game, from 1.
        device, stage: only records of this device or stage count; "" is any.
        devices: only records of one of these count; empty is any.
        delay_s: so many seconds later.
    """

    after: str = ""
    nth: int = 1
    device: str = ""
    stage: str = ""
    delay_s: float = 0.0
    devices: tuple[str, ...] = ()


@dataclass(frozen=True)
class DeviceFault:
    """A fault of one device and its line, as the simulator names them."""

    device: str
    fault: Fault


@dataclass(frozen=True)
class HubSilent:
    """The lines of a whole cryostat are gone for `for_s`."""

    cryostat: str
    for_s: float


@dataclass(frozen=True)
class BrownOut:
    """The supply of a whole cryostat fails, in the middle of whatever is written to flash."""

    cryostat: str
    off_s: float = 1.0


@dataclass(frozen=True)
class WarmUp:
    """Something warms a cryostat with `watts` for `for_s`."""

    cryostat: str
    watts: float
    for_s: float


@dataclass(frozen=True)
class NoThermometer:
    """The thermometer of a cryostat shows nothing for `for_s`."""

    cryostat: str
    for_s: float


@dataclass(frozen=True)
class CablesSwapped:
    """Two devices hang on one another's ports; `for_s` later somebody puts them right."""

    one: str
    other: str
    for_s: float


class Death(StrEnum):
    """Where a host dies."""

    NOW = "now"
    TURN = "turn"
    """Between two awaits: `count` turns of its loop later."""
    WRITE = "write"
    """In a write to its disk, the `count`-th from now; `kept` bytes of it arrive."""
    SEND = "send"
    """Before a write to a line, the `count`-th from now."""
    SENT = "sent"
    """Right after a write to a line."""


@dataclass(frozen=True)
class HostDies:
    """The deploying process ends without warning; a person starts it again after `back_after_s`."""

    where: Death = Death.NOW
    count: int = 0
    kept: int = 0
    back_after_s: float = 60.0


@dataclass(frozen=True)
class DiskFails:
    """The `count`-th write from now fails; `kept` bytes of it arrive."""

    count: int = 0
    kept: int = 0


@dataclass(frozen=True)
class DiskFull:
    """Nothing can be written to the host's disk for `for_s`."""

    for_s: float


@dataclass(frozen=True)
class ImageSpoiled:
    """A byte of an image in the store of the operator changes, until somebody puts it right.

    Attributes:
        way_back: it is the factory image; else the release.
    """

    way_back: bool = False


@dataclass(frozen=True)
class FridgeLeaves:
    """The fridge of a cryostat is in another state than base-stable for `for_s`."""

    cryostat: str
    for_s: float


@dataclass(frozen=True)
class ExperimentRuns:
    """Somebody holds the lease of experiments on a cryostat for `for_s`."""

    cryostat: str
    for_s: float


@dataclass(frozen=True)
class ClockJumps:
    """The host's clock is set by `by_s`; the time that passes does not change."""

    by_s: float


@dataclass(frozen=True)
class BackupRestored:
    """The host dies, and a person restores the state directory from before the rollout."""

    back_after_s: float = 60.0


@dataclass(frozen=True)
class SecondOperator:
    """Somebody on another host rolls out another image of their own."""


class Wish(StrEnum):
    """What a person asks of the running rollout."""

    PAUSE = "pause"
    ABORT = "abort"
    STOP = "stop"
    ROLLBACK = "rollback"


@dataclass(frozen=True)
class PersonAsks:
    """A person asks something of the running rollout."""

    wish: Wish


OfHost: TypeAlias = (
    HostDies | DiskFails | DiskFull | ImageSpoiled | ClockJumps | BackupRestored | PersonAsks
)
What: TypeAlias = (
    DeviceFault
    | HubSilent
    | BrownOut
    | WarmUp
    | NoThermometer
    | CablesSwapped
    | HostDies
    | DiskFails
    | DiskFull
    | ImageSpoiled
    | FridgeLeaves
    | ExperimentRuns
    | ClockJumps
    | BackupRestored
    | SecondOperator
    | PersonAsks
)


@dataclass(frozen=True)
class Happening:
    """Something that happens at a moment."""

    when: Moment
    what: What
