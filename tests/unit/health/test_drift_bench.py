"""A small seeded slice of the benchmark of drift."""

from __future__ import annotations

import pytest

from tests.bench.drift import DRIFTING, STEADY, Row, Tally, broken, main, run_row

ROWS = {row.name: row for row in (*STEADY, *DRIFTING)}


@pytest.mark.parametrize(
    "name", ["white", "rho .8", "t2.2 noise", "shared noise, rho .8", "half of it missing"]
)
def test_false_alarms_of_steady_rows_stay_below_what_is_promised(name: str) -> None:
    tallies = run_row((ROWS[name], 0, 40))

    assert broken(tallies) == []
    ours = tallies["1 in 1,000"]
    assert ours.not_judged <= 0.1 * ours.series, "never judging would be no answer"
    assert tallies["cusum"].false > 5 * ours.false


def test_a_drift_is_found_and_its_neighbours_are_not_blamed() -> None:
    ours = run_row((ROWS["0.1 a day"], 0, 20))["1 in 100,000"]

    assert ours.found == 20
    assert ours.false == 0
    assert sorted(ours.delays)[10] < 8
    assert ours.in_range >= 15


def test_a_broken_promise_is_told() -> None:
    tallies = {
        f"1 in {n}": Tally(series=100, judged_days=2000, false=20) for n in ("1,000", "100,000")
    }

    assert len(broken(tallies)) == 2


def test_the_bench_prints_all_rows(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.bench.drift.STEADY", (Row("white", every_s=1800),))
    monkeypatch.setattr("tests.bench.drift.DRIFTING", (Row("ramp", ramp=1, every_s=1800),))

    assert main(["--runs", "2", "--workers", "1"]) == 0
    shown = capsys.readouterr().out
    assert "promised 0.020 %" in shown
    assert "found 100.0 %" in shown
