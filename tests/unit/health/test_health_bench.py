"""A small seeded slice of the benchmark: the goals that few runs can carry."""

from __future__ import annotations

import pytest

from tests.bench.health import (
    ALPHA,
    FAULTY,
    HEALTHY,
    Row,
    Tally,
    goals,
    main,
    run_grid,
    wilson,
)

SLICE = {
    "independent": 100,
    "rho .5": 100,
    "rho .8": 150,
    "t2.2 noise": 100,
    "shared drift of 1 sigma": 100,
    "10 x 4": 10,
    "2 sigma": 100,
    "1 sigma on 10, 3 controls": 25,
}


def rows() -> dict[str, Row]:
    return {row.name: row for row in (*HEALTHY, *FAULTY)}


@pytest.fixture(scope="module")
def grid() -> dict[str, dict[str, Tally]]:
    found = {}
    for name, runs in SLICE.items():
        found.update(run_grid([rows()[name]], runs))
    return found


def test_the_goals_hold_on_a_slice(grid: dict[str, dict[str, Tally]]) -> None:
    reached = goals(grid)

    assert [words for met, words in reached if not met] == []
    assert len(reached) == 2 * 6 + 2


def test_cryofw_beats_every_rival_where_they_break(grid: dict[str, dict[str, Tally]]) -> None:
    many = grid["10 x 4"]

    assert many["argo-0"].found > 0.5
    assert many["cusum"].found > 0.5
    assert many["cryofw"].found <= 1 / 10
    assert grid["rho .8"]["mann-whitney"].found > 0.1
    assert wilson(len(grid["rho .8"]["cryofw"].delays), 150)[0] <= ALPHA


def test_the_grid_does_not_depend_on_how_it_is_cut() -> None:
    row = rows()["independent"]

    assert run_grid([row], 60) == run_grid([row], 60)
    assert run_grid([row], 60)["independent"]["cryofw"].runs == 60


def test_wilsons_interval() -> None:
    low, high = wilson(10, 100)

    assert (low, high) == pytest.approx((0.0552, 0.1744), abs=1e-4)
    assert wilson(0, 100)[0] == 0


def test_the_report_names_rows_rules_and_goals(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["health", "--runs", "4", "--jobs", "1", "--rows", "2 sigma, rho"]
    monkeypatch.setattr("sys.argv", options)

    assert main() == 0
    output = capsys.readouterr().out
    assert "2 sigma, rho .8" in output
    assert "mann-whitney" in output
    assert "goals (4 runs a row" in output
