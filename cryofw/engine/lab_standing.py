"""What people said of a lab since a plan was made: held against it before anything is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.errors import Refused
from cryofw.rollout import DeviceState
from cryofw.rollout.device_state import HOT

if TYPE_CHECKING:
    from cryofw.rollout import Plan, RolloutState
    from cryofw.rollout.register import DeviceRegister


def require_as_registered(plan: Plan, register: DeviceRegister) -> None:
    """No device of the plan was pinned, excluded or replaced since.

    Raises:
        Refused: one was; nothing was sent.
    """
    left_out = register.left_out(plan.release.version)
    pinned = [name for name in plan.devices if name in left_out]
    if pinned:
        raise Refused(
            f"{' '.join(pinned)} may not take part in a rollout of {plan.release.version}",
            why=left_out[pinned[0]],
            hint=f"make a new plan, which leaves it out, or `cryofw unpin {pinned[0]} --why TEXT`",
        )
    for name, planned in plan.devices.items():
        adopted = register.pinned_hw(name)
        if adopted and planned.hw and planned.hw != adopted:
            raise Refused(
                f"{name} was adopted as another controller after the plan was made",
                why=f"hardware id {adopted}, the plan says {planned.hw}",
                hint="make a new plan",
            )


def require_free_to_go_back(state: RolloutState, register: DeviceRegister) -> None:
    """A rollout that has ended is not taken back on devices that were pinned since.

    Raises:
        Refused: one was; nothing was sent.
    """
    if state.ended is None:
        return
    kept = [
        name
        for name, progress in state.devices.items()
        if name in register.pins and progress.state in (DeviceState.CONFIRMED, *HOT)
    ]
    if kept:
        raise Refused(
            f"{' '.join(kept)} would be taken back, and must be left alone",
            why=register.pins[kept[0]].words,
            hint=f"`cryofw unpin {kept[0]} --why TEXT`, if whoever pinned it agrees",
        )
