"""The numbers behind a verdict as lines: all of them, aligned, folded, and from any journal."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryofw.health import MetricContract, Worse
from cryofw.rollout.evidence_story import KINDS, tell_evidence

FINE: dict[str, object] = {
    "shift": "fine", "unit": "bit", "before": 10.2801, "after": 10.2947, "sd": 0.0352,
    "n_before": 100, "n_after": 50, "margin": 0.1, "reject": 0.4, "limit": None,
    "controls": ["c3-c", "c4-c"], "e": 0.15, "e_peak": 1.0, "e_needed": 11636.4, "block": 4,
    "e_fine": 1.5e30, "e_fine_needed": 100.0, "noise_ratio": 0.96, "noise_e": 1.0,
    "noise_e_needed": 42666.7, "rule": "conformal-ranks",
}  # fmt: skip
LOST: dict[str, object] = {
    **FINE, "shift": "regressed", "unit": "dB", "before": 26.7311, "after": 26.4418,
    "sd": 0.2144, "e_peak": 106661.0, "n_beyond": 9, "beyond": 24.95, "limit": 20.0,
    "beyond_bound": [0, 50], "noise_e": 9000.0, "noise_ratio": 1.5, "block": 1,
}  # fmt: skip
OPEN: dict[str, object] = {
    **FINE, "shift": "undecided", "e_fine": 3.0, "p_fine": 0.21, "p_fine_needed": 0.03,
    "rule": "t-mixture",
}  # fmt: skip
GROUP: dict[str, object] = {"controls": ["c3-c", "c4-c"], "left": ""}
POOL: dict[str, object] = {
    "members": ["a", "b"], "shift": 0.02, "n_after": 40, "e": 1.0, "e_needed": 5333.0,
}  # fmt: skip
BEATS: dict[str, object] = {
    "beats": 148, "missed": 2, "retries": 3, "excused": 0, "soaked_s": 1490.0, "e": 0.1,
    "e_needed": 21333.3,
}  # fmt: skip


def verdict(**changes: object) -> dict[str, object]:
    evidence: dict[str, object] = {
        "metrics": {"enob": FINE, "snr": LOST},
        "cohort": {"control_groups": {"snr": GROUP, "enob": GROUP}, "pools": {"snr": POOL}},
        "heartbeats": BEATS,
    }
    return {"evidence": {**evidence, **changes}}


def test_a_verdict_shows_each_metric_the_worst_first_with_what_its_tests_say() -> None:
    assert tell_evidence("verdict-reached", verdict(), width=80) == [
        "regressed  snr   26.73 -> 26.44 dB     -0.29   sd 0.21   n 100+50",
        "           bet 107,000 of 11,600, last 9 samples 24.95 (-1.78), noise x1.50 (bet",
        "           9,000 of 42,700), 0 of 50 blocks beyond limit 20",
        "fine       enob  10.280 -> 10.295 bit  +0.015  sd 0.035  n 100+50",
        "           bet 1 of 11,600, 0.4 worse excluded (bet >1e9 of 100), noise x0.96,",
        "           blocks of 4",
        "against    c3-c c4-c, at their own baseline",
        "pool       snr of 2 devices worse by 0.02, n=40, bet 1 of 5,330",
        "beats      2 of 150 missed in 1490 s, 3 retries, bet 0.1 of 21,300",
    ]


def test_in_passing_only_what_found_something_is_told() -> None:
    lines = tell_evidence("verdict-reached", verdict(), everything=False)
    assert not any("pool" in line or "excluded" in line for line in lines)
    loud = {"snr": {**POOL, "e": 6000.0, "finding": "regressed"}}
    assert any(
        line.startswith("pool ")
        for line in tell_evidence("verdict-reached", verdict(pools=loud), everything=False)
    )


def test_a_wide_terminal_has_each_metric_on_one_line() -> None:
    lines = tell_evidence("verdict-reached", verdict(), width=200)
    assert [line.split()[0] for line in lines] == ["regressed", "fine", "against", "pool", "beats"]


def test_an_open_metric_says_how_far_from_passing_it_is_and_by_which_rule() -> None:
    lines = tell_evidence("verdict-reached", verdict(metrics={"enob": OPEN}), width=200)
    assert "0.4 worse not excluded (p 0.21 of 0.03)" in lines[0]
    assert lines[0].endswith("t-mixture")


def test_controls_that_left_their_baseline_are_named_with_the_metric() -> None:
    moved = {"control_groups": {"snr": {**GROUP, "left": "c3-c"}}, "pools": {}}
    lines = tell_evidence("verdict-reached", verdict(cohort=moved))
    assert "against    c3-c c4-c; left its own baseline: c3-c in snr" in lines
    alone = {"snr": {**LOST, "controls": []}}
    lines = tell_evidence("verdict-reached", verdict(metrics=alone, cohort={}))
    assert "against    nobody: before is compared with after" in lines


def test_a_symptom_is_told_with_its_reset_cause() -> None:
    fields = {"evidence": {"heartbeats": BEATS, "symptom": "rebooted", "reset_cause": 16}}
    lines = tell_evidence("verdict-reached", fields)
    assert [line.split()[0] for line in lines] == ["beats", "symptom"]
    assert lines[1] == "symptom    rebooted, reset cause 0x10"


def test_a_baseline_says_what_it_will_find() -> None:
    one = {"samples": 100, "mean": 26.7113, "sd": 0.2137, "block": 2, "sees": 0.7304}
    fields = {"evidence": {"metrics": {"snr": one, "enob": {**one, "sees": None}},
                           "controls": ["c4-c"]}}  # fmt: skip
    contract = MetricContract("snr", "dB", Worse.LOWER, margin=0.5, reject=1.5)
    assert tell_evidence("baseline-taken", fields, metrics=[contract]) == [
        "snr   26.71 dB  sd 0.21  n 100  finds 0.73 dB (must find 1.5), blocks of 2",
        "enob  26.71     sd 0.21  n 100  finds no shift, blocks of 2",
        "against    c4-c",
    ]


def test_a_frozen_cohort_names_its_devices_and_controls() -> None:
    fields: dict[str, object] = {"devices": ["a", "b"], "controls": []}
    assert tell_evidence("cohort-frozen", fields) == [
        "together   a b",
        "against    nobody: before is compared with after",
    ]


def test_nothing_of_a_journal_steers_the_terminal() -> None:
    fields = verdict(metrics={"\x1b[2Jsnr": {**LOST, "unit": "\x9bdB", "controls": ["\x07c"]}})
    lines = tell_evidence("verdict-reached", fields)
    assert all(line.isprintable() for line in lines)


def test_other_records_have_none() -> None:
    assert tell_evidence("image-uploaded", verdict()) == []
    assert tell_evidence("baseline-taken", {"evidence": {"samples": {}}}) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@pytest.mark.parametrize("kind", sorted(KINDS))
@settings(max_examples=40)
@given(st.data())
def test_a_journal_of_any_hand_is_told_without_a_crash(kind: str, data: st.DataObject) -> None:
    keys = st.sampled_from([*LOST, *POOL, *BEATS, "metrics", "pools", "symptom", "mean", "sees"])
    metric = st.dictionaries(keys, JSON, max_size=12)
    evidence = {
        "metrics": data.draw(st.dictionaries(st.text(max_size=8), metric, max_size=3) | JSON),
        "cohort": data.draw(JSON),
        "heartbeats": data.draw(st.dictionaries(keys, JSON, max_size=6) | JSON),
        "pools": data.draw(st.dictionaries(st.text(max_size=8), metric, max_size=2)),
    }
    fields = {"evidence": evidence, "devices": data.draw(JSON), "controls": data.draw(JSON)}
    lines = tell_evidence(kind, fields, width=data.draw(st.integers(0, 300)))
    assert all(line.isprintable() for line in lines)


def test_numbers_that_are_none_are_left_out() -> None:
    odd = {**LOST, "before": math.nan, "sd": -1, "n_after": "many", "noise_ratio": math.inf}
    (first, *_) = tell_evidence("verdict-reached", verdict(metrics={"snr": odd}))
    assert "?" in first
