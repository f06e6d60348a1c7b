"""The climate of a running lab: what happens to its cryostats, kept with the lab."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cryofw.simulator.climate import BASE_STABLE, Climate, Happening, Period
from cryofw.simulator.lab_store import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryofw.simulator.lab_store import LabStore
    from cryofw.simulator.physics import HeatedStage

_RECORD = "lab"


class LabClimate:
    """What the cryostats of a lab are like now, and what will happen to them.

    Args:
        now_s: seconds of the lab's clock.
        store: keeps it between processes.
        stages: the stages in use; those that are warmed are told so.
    """

    def __init__(
        self, now_s: Callable[[], float], store: LabStore, stages: Mapping[str, HeatedStage]
    ) -> None:
        self._now_s = now_s
        self._store = store
        self._stages = stages
        self._loaded: Climate | None = None

    def close(self) -> None:
        """Forget what was read of the store."""
        self._loaded = None

    @property
    def _climate(self) -> Climate:
        if self._loaded is None:
            self._loaded = Climate.from_json(self._store.load(Kind.CLIMATE, _RECORD).strip())
        return self._loaded

    def let_happen(
        self,
        what: Happening,
        where: str,
        value: str | float = "",
        *,
        after_s: float = 0.0,
        for_s: float = math.inf,
        token: int | None = None,
    ) -> None:
        """Let something happen for `for_s`, in `after_s` seconds of the lab.

        Args:
            what: a warm-up by `value` watts, a state `value` of the fridge, an experiment of the
                owner `value` with its fencing `token`, no thermometer, or an error budget at
                `value`.
            where: the cryostat, or the name of the error budget.
        """
        begin_s = self._now_s() + after_s
        period = Period(what, where, begin_s, begin_s + for_s, str(value), token)
        self._climate.periods.append(period)
        self._store.save(Kind.CLIMATE, _RECORD, self._climate.to_json())
        for name, stage in self._stages.items():
            stage.heaters = self.heaters(name)

    def heaters(self, cryostat: str) -> tuple[tuple[float, float, float], ...]:
        """What warms a cryostat, beside flashing."""
        return self._climate.heaters(cryostat)

    def is_measured(self, cryostat: str) -> bool:
        """Whether its thermometer shows anything now."""
        return self._now(Happening.NO_THERMOMETER, cryostat) is None

    def fridge_state(self, cryostat: str) -> str:
        """The state of a cryostat's fridge."""
        found = self._now(Happening.FRIDGE, cryostat)
        return found.value if found else BASE_STABLE

    def experiment(self, cryostat: str) -> tuple[str, float, int | None] | None:
        """Owner, seconds left and token of the lease on a cryostat; None while it is free."""
        found = self._now(Happening.EXPERIMENT, cryostat)
        return (found.value, found.end_s - self._now_s(), found.token) if found else None

    def error_budget(self, name: str) -> float | None:
        """Value of an error budget; None if the lab has none of this name."""
        found = self._now(Happening.ERROR_BUDGET, name)
        return float(found.value) if found else None

    def _now(self, what: Happening, where: str) -> Period | None:
        return self._climate.at(what, where, self._now_s())
