"""Error budgets: may a rollout begin at all?"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cryofw.fleet import FromPrometheus
from cryofw.telemetry.reading import BudgetReading, BudgetState, lab_reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryofw.clock import Clock
    from cryofw.fleet import ErrorBudget
    from cryofw.telemetry.port import SimulatedReadings
    from cryofw.telemetry.source import SourceReader


class BudgetReader:
    """The `BudgetSource` of fleet.yaml.

    Args:
        budgets: what fleet.yaml asks for.
        stale_s: an older sample behind a budget counts as none.
        reader: the real sources; None in virtual time, where the lab answers.
        clock: whose time readings carry.
        lab: the simulated lab; used in virtual time only.
    """

    def __init__(
        self,
        budgets: Sequence[ErrorBudget],
        stale_s: float,
        reader: SourceReader | None,
        clock: Clock,
        lab: SimulatedReadings | None,
    ) -> None:
        self._budgets = tuple(budgets)
        self._stale_s = stale_s
        self._reader = reader
        self._clock = clock
        self._lab = lab

    async def read(self) -> tuple[BudgetReading, ...]:
        """See `BudgetSource.read`."""
        return tuple(await asyncio.gather(*(self._one(budget) for budget in self._budgets)))

    async def _one(self, budget: ErrorBudget) -> BudgetReading:
        if self._reader is not None:
            value = await self._reader.number(FromPrometheus(budget.query, self._stale_s))
        else:
            seen = self._lab.error_budget(budget.name) if self._lab else None
            value = lab_reading(seen, self._clock.now().timestamp())
        bound = (
            f"at most {budget.at_most:g}"
            if budget.at_least is None
            else f"at least {budget.at_least:g}"
        )
        if value.fresh is None:
            return BudgetReading(budget.name, bound, value, BudgetState.UNKNOWN)
        state = BudgetState.KEPT if budget.keeps(value.fresh) else BudgetState.SPENT
        return BudgetReading(budget.name, bound, value, state)
