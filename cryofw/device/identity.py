"""Who a device is, and whether it is the one that fleet.yaml names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.device.errors import WrongDevice

if TYPE_CHECKING:
    from cryofw.device.target import Target


@dataclass(frozen=True)
class Identity:
    """Who answers on a port.

    Attributes:
        hw: hardware id in lower-case hex; "" if the device does not tell (no group 64).
        board: board name; "" if it does not tell.
        serial_number: as printed on it; "" if not told.
        watchdog: a watchdog resets a hung firmware; None if not told.
    """

    hw: str
    board: str
    serial_number: str
    watchdog: bool | None


def require_target(identity: Identity, target: Target) -> None:
    """Refuse a device that is not `target`: what fleet.yaml pins must answer, and be the same.

    Raises:
        WrongDevice: another hardware id or board, or none where one is pinned.
    """
    wrong = []
    if target.hw is not None and identity.hw != _plain(target.hw):
        wrong.append(f"hardware id {identity.hw or 'not told'}, expected {_plain(target.hw)}")
    if target.board and not _same_board(identity.board, target.board):
        wrong.append(f"board {identity.board or 'not told'}, expected {target.board}")
    if wrong:
        raise WrongDevice(
            f"{target.port} is not {target.name}",
            why="; ".join(wrong),
            hint="are cables swapped? Compare with `cryofw inventory`, and correct the cable or "
            "fleet.yaml. Nothing was sent to change the device.",
        )


def _plain(hw: str) -> str:
    return hw.lower().removeprefix("0x").replace(":", "").replace("-", "")


def _same_board(answered: str, wanted: str) -> bool:
    """Zephyr qualifies a board with its SoC ("cc40/stm32h7"); fleet.yaml need not."""
    return answered == wanted or answered.split("/", maxsplit=1)[0] == wanted
