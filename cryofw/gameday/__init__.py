"""Whole simulated labs under seeded faults: game days for users, and the net under cryofw.

One virtual loop runs devices, lines, disks, the deploying processes and the people who start them
again. A witness who sees the flash itself holds the invariants of the design against it.
"""

from cryofw.gameday.chip import ChipObserver, SeenChip, see_chip
from cryofw.gameday.game import Game, Result
from cryofw.gameday.invariant import Invariant, InvariantBroken
from cryofw.gameday.play import play
from cryofw.gameday.testimony import DeviceTestimony, RolloutTestimony, Testimony
from cryofw.gameday.witness import Witness

__all__ = [
    "ChipObserver",
    "DeviceTestimony",
    "Game",
    "Invariant",
    "InvariantBroken",
    "Result",
    "RolloutTestimony",
    "SeenChip",
    "Testimony",
    "Witness",
    "play",
    "see_chip",
]
