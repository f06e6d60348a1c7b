"""Guards of cryostats for people: what the plan demands, and what a rollout waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.cli.foresightview import some
from cryofw.cli.output import Output, Status
from cryofw.rollout import story

if TYPE_CHECKING:
    from cryofw.rollout import CryostatContract, Plan, RolloutState


def show_guards(output: Output, plan: Plan) -> None:
    """What must be true of each cryostat; those that are alike in one line."""
    alike: dict[str, list[str]] = {}
    for name in dict.fromkeys(d.cryostat for d in plan.devices.values()):
        words = _guard_words(plan.guards.get(name), plan.heat_slots[name])
        alike.setdefault(words, []).append(name)
    for words, names in alike.items():
        output.hanging("Guards   ", f"{some(names)}: {words}", 9)
    if plan.error_budgets:
        names = [budget.name for budget in plan.error_budgets]
        output.line(f"Error budgets that must be kept: {' '.join(names)}")


def _guard_words(guards: CryostatContract | None, slots: int) -> str:
    words = [f"{slots} may flash at once"]
    if guards is None:
        return f"{words[0]}; nothing is measured"
    warm = guards.temperature
    if warm is not None:
        words.append(f"frozen {warm.max_rise_k * 1e3:g} mK above base")
        if warm.limit_k is not None:
            words.append(f"or above {warm.limit_k:g} K")
        if warm.slope_k_per_s is not None:
            words.append(f"or at {warm.slope_k_per_s * 60e3:.3g} mK/min")
    if guards.fridge is not None:
        words.append(f"the fridge is {' or '.join(guards.fridge.base_stable)}")
    if guards.experiment is not None:
        words.append("no experiment holds it")
    return ", ".join(words)


def show_cryostats(output: Output, state: RolloutState) -> None:
    """Cryostats that something waits for."""
    for name, guard in state.guards.items():
        if guard.frozen:
            why = story.printable(guard.frozen)
            output.status(Status.HELD, "frozen", f"{name}: {why}")
            if not state.paused:
                output.line("  next: see to the cryostat; once it is calm the rollout goes on")
        elif guard.held_out:
            why = story.printable(guard.held_out)
            output.status(Status.HELD, "held out", f"{name}: {why}")


def cryostats_json(state: RolloutState) -> dict[str, object]:
    """The guarded cryostats for programs."""
    return {
        name: {
            "base_k": guard.base_k,
            "frozen": guard.frozen or None,
            "held_out": guard.held_out or None,
        }
        for name, guard in state.guards.items()
    }
