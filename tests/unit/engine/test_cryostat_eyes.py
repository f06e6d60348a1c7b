"""What the engine sees of cryostats and error budgets, whatever telemetry answers."""

from __future__ import annotations

import asyncio
import math
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from cryofw.engine.cryostat_eyes import CryostatEyes, open_plan_telemetry, require_budgets
from cryofw.engine.site import Site
from cryofw.engine.virtual_time import StoppedClock, SystemClock
from cryofw.errors import Refused
from cryofw.fleet import FromCommand, FromPrometheus, FromSimulation
from cryofw.rollout import (
    CryostatContract,
    FridgeContract,
    GuardReading,
    PlannedSource,
)
from cryofw.rollout import cryostat_events as ce
from cryofw.rollout.guard_contract import TemperatureContract
from cryofw.telemetry import (
    FREE,
    BudgetReading,
    BudgetState,
    CryostatReading,
    ExperimentLease,
    Freshness,
    Observed,
    Telemetry,
)
from cryofw.transport import PortOpener
from tests.unit.rollout.perfect_lab import a_plan

if TYPE_CHECKING:
    from cryofw.fleet import Cryostat
    from cryofw.rollout import Event

SOURCE = PlannedSource("simulated")
CONTRACT = CryostatContract(
    1.2,
    0.06,
    10,
    TemperatureContract(PlannedSource("prometheus", query="t_kelvin", stale_s=30), 0.15),
    FridgeContract(PlannedSource("command", run=("fridge",), timeout_s=3), ("7",), "state"),
    SOURCE,
)
PLAN = replace(a_plan(), guards={"cryo-a": CONTRACT})
FRESH = Freshness.FRESH


@dataclass
class Answers:
    """A `CryostatSource` and `BudgetSource` with prepared answers."""

    reading: CryostatReading | None = None
    budgets: tuple[BudgetReading, ...] = ()
    asked: Cryostat | None = None

    async def read(self, cryostat: Cryostat) -> CryostatReading:
        self.asked = cryostat
        assert self.reading is not None
        return self.reading


@dataclass
class Budgets:
    """A `BudgetSource` with prepared answers."""

    answers: tuple[BudgetReading, ...]

    async def read(self) -> tuple[BudgetReading, ...]:
        return self.answers


class NoMetrics:
    """A `MetricSource` nobody asks."""


def look(reading: CryostatReading) -> GuardReading:
    return asyncio.run(CryostatEyes(PLAN, Answers(reading)).look("cryo-a"))


@pytest.mark.parametrize(
    ("reading", "seen"),
    [
        (CryostatReading(5, "cryo-a"), GuardReading(5)),
        (
            CryostatReading(
                5,
                "cryo-a",
                Observed(FRESH, 4.01, 4.0),
                Observed(FRESH, "7", 4.0),
                Observed(FRESH, ExperimentLease("eve", 99.0, 3), 4.0),
            ),
            GuardReading(5, 4.01, "", "7", "", "eve", 99.0, 3),
        ),
        (
            CryostatReading(
                5,
                "cryo-a",
                Observed(Freshness.STALE, 4.01, 4.0, "90 s old"),
                Observed(Freshness.MISSING),
                Observed(Freshness.UNAVAILABLE, why="no route"),
            ),
            GuardReading(
                5, None, "stale: 90 s old", None, "missing", lease_gap="unavailable: no route"
            ),
        ),
        (
            CryostatReading(
                5, "cryo-a", Observed(Freshness.INVALID, math.nan, 4.0, "it reads nan")
            ),
            GuardReading(5, None, "invalid: it reads nan"),
        ),
        (CryostatReading(5, "cryo-a", None, None, Observed(FRESH, FREE)), GuardReading(5)),
        (
            CryostatReading(
                5, "cryo-a", None, None, Observed(FRESH, ExperimentLease("eve", math.inf))
            ),
            GuardReading(5, lease_owner="eve", lease_expires_s=1e12),
        ),
    ],
)
def test_only_what_is_fresh_is_seen_and_the_rest_says_why(
    reading: CryostatReading, seen: GuardReading
) -> None:
    assert look(reading) == seen


def test_the_plan_says_where_to_look() -> None:
    answers = Answers(CryostatReading(5, "cryo-a"))
    asyncio.run(CryostatEyes(PLAN, answers).look("cryo-a"))
    assert answers.asked is not None
    guards = answers.asked.guards
    assert guards.temperature is not None
    assert guards.fridge is not None
    assert guards.experiment is not None
    assert guards.temperature.source == FromPrometheus("t_kelvin", 30)
    assert guards.fridge.source == FromCommand(("fridge",), 60, 3)
    assert (guards.fridge.base_stable, guards.fridge.label) == (("7",), "state")
    assert guards.experiment.source == FromSimulation()


def test_a_plan_that_guards_nothing_opens_nothing() -> None:
    site = Site(StoppedClock(datetime(2026, 1, 1, tzinfo=UTC)), PortOpener(), None)
    assert open_plan_telemetry(a_plan(), site) is None
    assert open_plan_telemetry(replace(PLAN, prometheus=None), site) is not None


SPENT = BudgetReading("uptime", "at least 0.999", Observed(FRESH, 0.98), BudgetState.SPENT)
UNKNOWN = BudgetReading(
    "commands",
    "at most 0.01",
    Observed(Freshness.UNAVAILABLE, why="no route"),
    BudgetState.UNKNOWN,
)
KEPT = BudgetReading("beats", "at least 0.9", Observed(FRESH, 0.95), BudgetState.KEPT)
MINE = ce.GuardOverridden(ce.ERROR_BUDGET, "anna", "it mends what spent it")
OTHER = ce.GuardOverridden(ce.EXPERIMENT, "anna", "agreed", "cryo-a")


def budgets(answers: tuple[BudgetReading, ...], *overrides: Event) -> list[Event]:
    answering = Answers()
    telemetry = Telemetry(NoMetrics(), answering, Budgets(answers))  # type: ignore[arg-type]  # metrics are not asked for
    return asyncio.run(require_budgets(telemetry, overrides))


def test_budgets_that_are_kept_let_the_rollout_begin() -> None:
    assert budgets((KEPT,)) == []
    assert budgets((), OTHER) == [OTHER]
    assert budgets((KEPT,), MINE, OTHER) == [OTHER], "an override of nothing is no record"


@pytest.mark.parametrize(
    ("one", "words"),
    [(SPENT, "uptime is 0.98, at least 0.999 is needed"), (UNKNOWN, "unknown: no route")],
)
def test_a_budget_that_is_spent_or_unknown_refuses_the_start(
    one: BudgetReading, words: str
) -> None:
    with pytest.raises(Refused) as refused:
        budgets((KEPT, one), OTHER)
    assert words in refused.value.why
    assert "--override-error-budget" in refused.value.hint


def test_an_override_is_recorded_with_the_numbers_it_passes_over() -> None:
    first, second = budgets((SPENT, KEPT), OTHER, MINE)
    assert isinstance(first, ce.GuardOverridden)
    assert (first.guard, first.by, first.why) == (ce.ERROR_BUDGET, "anna", MINE.why)
    assert first.evidence == {"uptime": "uptime is 0.98, at least 0.999 is needed"}
    assert second == OTHER


def test_a_command_of_the_lab_is_run_and_its_numbers_are_seen() -> None:
    def printing(text: str) -> PlannedSource:
        return PlannedSource("command", run=(sys.executable, "-c", f"print({text!r})"))

    warm = TemperatureContract(printing('{"value": 4.02}'), 0.15)
    lease = printing('{"owner": "eve", "expires": "2100-01-01T00:00:00Z", "token": 7}')
    contract = replace(CONTRACT, temperature=warm, fridge=None, experiment=lease)
    plan = replace(a_plan(), guards={"cryo-a": contract})

    async def seen() -> GuardReading:
        telemetry = open_plan_telemetry(plan, Site(SystemClock(), PortOpener(), None))
        assert telemetry is not None
        return await CryostatEyes(plan, telemetry.cryostats).look("cryo-a")

    reading = asyncio.run(seen())
    assert (reading.kelvin, reading.temperature_gap) == (4.02, "")
    assert (reading.held_by, reading.lease_token, reading.lease_gap) == ("eve", 7, "")
