"""Scenario files: strict, with line and column; the schema agrees with the loader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # no stubs here

from cryofw.fleet import parse_fleet
from cryofw.fleet.document import read_document
from cryofw.gameday.casting import cast, missing_need
from cryofw.gameday.happening import HostDies, WarmUp
from cryofw.gameday.scenario import (
    ScenarioError,
    parse_scenario,
    scenario_json_schema,
    scenario_names,
    shipped_scenario,
)

REPOSITORY = Path(__file__).parents[3]
SAMPLE = parse_fleet((REPOSITORY / "fleet.yaml").read_text(), "fleet.yaml")
HEAD = """\
schema: cryofw.scenario/v1
name: mine
title: what happened in March
expect: {ended: [confirmed]}
"""


def test_published_schema_is_current() -> None:
    published = json.loads((REPOSITORY / "docs/scenario.v1.schema.json").read_text())
    assert published == scenario_json_schema(), (
        "run `cryofw schema scenario > docs/scenario.v1.schema.json`"
    )


@pytest.mark.parametrize("name", scenario_names())
def test_shipped_scenarios_fit_the_schema_and_are_called_as_their_files(name: str) -> None:
    scenario = shipped_scenario(name)
    value = read_document(scenario.text, scenario.source).value

    assert scenario.name == name
    assert Draft202012Validator(scenario_json_schema()).is_valid(value)
    assert not missing_need(scenario, SAMPLE)


@pytest.mark.parametrize(
    ("line", "place", "message"),
    [
        ("sages: 2", "mine.yaml:5:1", "unknown key `sages`"),
        ("release: {hang_after: 20}", "mine.yaml:5:23", "`20` has none"),
        (
            "happenings: [{hang: {device: first one}}]",
            "mine.yaml:5:30",
            "`first one` selects nothing",
        ),
        ("happenings: [{when: {nth: 2}}]", "mine.yaml:5:14", "nothing happens here"),
        (
            "happenings: [{when: {after: boot-tested}, host-dies: {}}]",
            "mine.yaml:5:29",
            "no record is called `boot-tested`",
        ),
        (
            "happenings: [{host-dies: {}, disk-fails: {}}]",
            "mine.yaml:5:14",
            "host-dies and disk-fails in one",
        ),
        ("release: {shift: {by: -3}}", "mine.yaml:5:23", "`by` needs a `metric`"),
    ],
)
def test_every_defect_has_its_place(line: str, place: str, message: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(f"{HEAD}{line}\n".encode(), "mine.yaml")

    assert place in caught.value.why
    assert message in caught.value.why


def test_a_name_that_the_fleet_does_not_have_is_shown_in_the_scenario() -> None:
    scenario = parse_scenario(
        f"{HEAD}happenings: [{{hang: {{device: c1-z}}}}]\n".encode(), "mine.yaml"
    )

    with pytest.raises(ScenarioError) as caught:
        cast(scenario, SAMPLE)

    assert "mine.yaml:5:30: no controller is called `c1-z` in fleet.yaml" in caught.value.why


def test_moments_and_sizes_come_from_the_fleet() -> None:
    text = f"""{HEAD}
happenings:
  - when: {{after: test-booted, stage: 2, nth: 2, delay: 20 min}}
    warm-up: {{cryostat: first of stage 2, for: 15 min}}
  - when: {{after: stage-started, stage: last}}
    host-dies: {{at: sent, count: 3}}
"""
    first, second = cast(parse_scenario(text.encode(), "mine.yaml"), SAMPLE).game.happenings

    assert first.when.devices == ("c1-a", "c1-b", "c1-c")
    assert (first.when.nth, first.when.delay_s) == (2, 1200.0)
    assert isinstance(first.what, WarmUp)
    assert first.what.cryostat == "cryo-1"
    assert second.when.stage == "fleet"
    assert isinstance(second.what, HostDies)


def test_a_seed_varies_the_noise_and_the_delays_a_little() -> None:
    scenario = shipped_scenario("hung-canary")

    one, two, again = (cast(scenario, SAMPLE, seed).game for seed in (1, 2, 2))

    assert one.spec.seed != two.spec.seed
    assert two == again
    assert 600.0 == one.happenings[0].when.delay_s < two.happenings[0].when.delay_s <= 660.0


KINDS = st.sampled_from(["hang", "host-dies", "warm-up", "late-bytes", "person-asks", "nonsense"])
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "device": st.sampled_from(["first of stage 2", "c1-a", "first of", "0 of stage 1", 7]),
        "cryostat": st.sampled_from(["last of stage last", "a b"]),
        "for": st.sampled_from(["5 s", "5", 5, "0 s"]),
        "share": st.sampled_from(["5 %", "5"]),
        "to": st.sampled_from(["pause", "dance"]),
        "count": st.sampled_from([0, -1, 3, "3"]),
    },
)
WHENS = st.fixed_dictionaries(
    {},
    optional={
        "after": st.sampled_from(["test-booted", "Test"]),
        "stage": st.sampled_from([1, 0, "last", "a b"]),
        "delay": st.sampled_from(["0 s", "1 h", 5]),
    },
)


@given(st.dictionaries(KINDS, BODIES, max_size=2), st.none() | WHENS)
def test_schema_and_loader_agree(
    kinds: dict[str, dict[str, object]], when: dict[str, object] | None
) -> None:
    happening: dict[str, Any] = dict(kinds) if when is None else {**kinds, "when": when}
    document = {
        "schema": "cryofw.scenario/v1",
        "name": "mine",
        "title": "drawn",
        "happenings": [happening],
        "expect": {"ended": ["confirmed"]},
    }
    try:
        parse_scenario(json.dumps(document).encode(), "drawn.yaml")
        taken = True
    except ScenarioError as error:
        if "a duration of zero" in error.why:  # no pattern says so
            return
        taken = False

    assert Draft202012Validator(scenario_json_schema()).is_valid(document) == taken, document
