"""The series behind an expression, of all shapes of PromQL."""

from __future__ import annotations

import pytest

from cryofw.telemetry.selector import Selector, selectors


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ('avg(snr_db{controller="a"})', ['snr_db{controller="a"}']),
        ("a:b:c", ["a:b:c"]),
        ("{__name__=~'a.*'} offset 1d", ["{__name__=~'a.*'}"]),
        ('sum by (x) (rate(m_total{a="}"}[5m]))', ['m_total{a="}"} [5m]']),
        ("sum(x) by (a) / on (a) group_left (b) y", ["x", "y"]),
        ("sum without(z)(n) > bool 3", ["n"]),
        ("max_over_time(x[1h:30s])", ["x [1h:30s]"]),
        ("max_over_time(rate(x[5m])[30m:1m])", ["x [5m]"]),
        ("quantile(0.9, x) and inf > 3 or nan", ["x"]),
        ('label_replace(up, "a", "$1", "b", "(.*)")', ["up"]),
        ("time() - timestamp(x @ 1609746000)", ["x"]),
        ("x + x # y", ["x"]),
        ("1 - sum(increase(a[28d])) / sum(increase(b[28d]))", ["a [28d]", "b [28d]"]),
        ("lease{c='1'} or on() vector(0)", ["lease{c='1'}"]),
        ("vector(1) + 2e3 + .5", []),
        ("SUM(x) AND y", ["x", "y"]),
        ("x{", ["x{"]),
        ("(", []),
    ],
)
def test_selectors_are_found(query: str, found: list[str]) -> None:
    shown = [f"{one.text} [{one.over}]" if one.over else one.text for one in selectors(query)]
    assert shown == found


def test_a_series_and_its_range_are_two_things() -> None:
    assert selectors("x / avg_over_time(x[5m])") == (Selector("x"), Selector("x", "5m"))
