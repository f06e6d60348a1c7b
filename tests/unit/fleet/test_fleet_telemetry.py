"""Sources, guards and error budgets of fleet.yaml: resolved, merged, refused at their place."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # no stubs here

from cryofw.fleet import (
    CalibrationTest,
    ErrorBudget,
    ExperimentGuard,
    Fleet,
    FleetError,
    FridgeGuard,
    FromCommand,
    FromDevice,
    FromPrometheus,
    FromSimulation,
    Guards,
    Prometheus,
    PromqlError,
    Recalibration,
    TemperatureGuard,
    TokenKind,
    fill_promql,
    fleet_json_schema,
    parse_fleet,
    promql_tokens,
)

REPOSITORY = Path(__file__).parents[3]

GOOD = """\
schema: cryofw.fleet/v1
lab: delft
telemetry:
  prometheus:
    {url: "https://prom.lab:9090/", token_env: PROM_TOKEN, ca: lab.pem, timeout: 3 s, stale: 90 s}
error_budget:
  - {name: uptime, query: 'avg(up{job="cryo"})', at_least: 0.999}
  - {name: failures, query: 'sum(failed_total)', at_most: 3}
defaults:
  reset: watchdog
  thermal: {stage: 4k, capacity: 1.5 W, flash: 60 mW, max_rise: 150 mK}
  guards:
    temperature:
      source: prometheus
      query: 'temp_kelvin{cryostat="${cryostat}", stage="${stage}"}'
      limit: 4.5 K
      hard_limit: 6 K
      slope: 5 mK/min
      every: 5 s
    fridge:
      {source: prometheus, query: 'fridge{c="${cryostat}"}', label: state, base_stable: [base, 3]}
    experiment: {source: command, run: [lease-of, "${cryostat}"], stale: 20 s, timeout: 2 s}
  calibration:
    test: t-mixture
    settle: 5 min
    recalibrate: {command: [calibrate, "${controller}", "${stage}"], timeout: 20 min}
    hold: 12 h
    metrics:
      snr: {unit: dB, worse: lower, margin: 0.5, reject: 1.5, golden: 27}
      enob:
        unit: bit
        worse: lower
        margin: 0.1
        reject: 0.4
        source: prometheus
        query: 'avg(enob{controller=~"${controller}"})'
stages:
  - {name: all, targets: [cryo, rig], soak: 1 h}
cryostats:
  cryo:
    controllers:
      c.1: {port: /dev/ttyUSB0}
      c2:
        port: "sim://c2"
        calibration:
          recalibrate: device
          metrics: {enob: {source: command, run: [enob, "${controller}"]}}
  rig:
    guards:
      {temperature: {source: simulated, limit: 400 K, hard_limit: 500 K}, fridge: none,
       experiment: none}
    controllers:
      r1:
        port: "sim://r1"
        calibration: {test: rank, recalibrate: none, metrics: {enob: {source: device}}}
"""


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return parse_fleet(GOOD, "labs/fleet.yaml")


def test_server_and_budgets(fleet: Fleet) -> None:
    assert fleet.prometheus == Prometheus(
        "https://prom.lab:9090", "PROM_TOKEN", "lab.pem", timeout_s=3, stale_s=90
    )
    uptime, failures = fleet.error_budgets
    assert uptime == ErrorBudget("uptime", 'avg(up{job="cryo"})', at_least=0.999)
    values = (0.999, 0.9, float("nan"))
    assert [uptime.keeps(value) for value in values] == [True, False, False]
    assert [failures.keeps(value) for value in (3, 4, float("nan"))] == [True, False, False]


def test_guards_are_filled_in_for_their_cryostat(fleet: Fleet) -> None:
    guards = fleet.cryostats["cryo"].guards
    assert guards.temperature == TemperatureGuard(
        FromPrometheus('temp_kelvin{cryostat="cryo", stage="4k"}', 90),
        limit_k=4.5,
        hard_limit_k=6,
        slope_k_per_s=0.005 / 60,
        over_s=120,
        every_s=5,
    )
    assert guards.fridge == FridgeGuard(
        FromPrometheus('fridge{c="cryo"}', 90), ("base", "3"), "state"
    )
    assert guards.experiment == ExperimentGuard(FromCommand(("lease-of", "cryo"), 20, 2))


def test_a_cryostat_may_take_another_source_or_none(fleet: Fleet) -> None:
    """What `defaults` say about their own source does not disturb another one."""
    guards = fleet.cryostats["rig"].guards
    assert guards.temperature is not None
    assert guards.temperature.source == FromSimulation()
    assert (guards.fridge, guards.experiment) == (None, None)
    begin, end = (
        GOOD.index("      {temperature: {source: sim"),
        GOOD.index("    controllers:\n      r1"),
    )
    bare = parse_fleet(f"{GOOD[:begin].rstrip()} none\n{GOOD[end:]}")
    assert bare.cryostats["rig"].guards == Guards()


def test_metrics_name_their_source(fleet: Fleet) -> None:
    metrics = fleet.by_name["c.1"].calibration.metrics
    assert metrics["snr"].source == FromDevice()
    assert metrics["snr"].golden == 27
    # The name goes into a regular expression: its dot means a dot.
    assert metrics["enob"].source == FromPrometheus('avg(enob{controller=~"c\\\\.1"})', 90)
    assert fleet.by_name["c2"].calibration.metrics["enob"].source == FromCommand(("enob", "c2"), 90)
    assert fleet.by_name["r1"].calibration.metrics["enob"].source == FromDevice()


def test_calibration_says_how_it_is_judged(fleet: Fleet) -> None:
    contract = fleet.by_name["c.1"].calibration
    assert (contract.test, contract.settle_s, contract.hold_s) == (
        CalibrationTest.T_MIXTURE,
        300,
        12 * 3600,
    )
    assert contract.recalibration == Recalibration(
        command=("calibrate", "c.1", "4k"), timeout_s=1200
    )
    assert fleet.by_name["c2"].calibration.recalibration == Recalibration(device=True)
    assert fleet.by_name["r1"].calibration.recalibration == Recalibration()
    assert fleet.by_name["r1"].calibration.test is CalibrationTest.RANK


def test_all_of_it_counts_in_the_digest(fleet: Fleet) -> None:
    assert json.loads(json.dumps(asdict(fleet)))["prometheus"]["token_env"] == "PROM_TOKEN"
    for old, new in [("4.5 K", "4.4 K"), ("12 h", "11 h"), ("0.999", "0.99"), ("90 s", "80 s")]:
        assert parse_fleet(GOOD.replace(old, new)).digest != fleet.digest, old


def test_the_schema_agrees() -> None:
    validator = Draft202012Validator(fleet_json_schema())
    document: Any = yaml.safe_load(GOOD)
    validator.validate(document)
    for short in ("none", {"temperature": "none"}):
        document["defaults"]["guards"] = short
        validator.validate(document)
    for path, value in [
        (("defaults", "guards"), "off"),
        (("defaults", "guards"), {"temperature": {"source": "device"}}),
        (("defaults", "guards"), {"temperature": {"slope": "5 mK"}}),
        (("defaults", "calibration", "recalibrate"), "never"),
        (("defaults", "calibration", "test"), "mann-whitney"),
        (("telemetry", "prometheus"), {}),
        (("telemetry", "prometheus", "token_env"), "a b"),
        (("error_budget",), [{"name": "x"}]),
    ]:
        wrong = yaml.safe_load(GOOD)
        holder = wrong
        for step in path[:-1]:
            holder = holder[step]
        holder[path[-1]] = value
        assert not validator.is_valid(wrong), path


MARK = "§"
TEMPERATURE = "      source: prometheus\n      query: 'temp"
CASES = [
    ('url: "https://prom.lab:9090/"', 'url: §"prom.lab:9090"', "not an http or https URL", "https"),
    ('"https://prom.lab:9090/"', '§"https://prom.lab:x/"', "is not a URL", "https"),
    ('"https://prom.lab:9090/"', '§"https://u:p@prom.lab"', "may hold no password", "token_env"),
    ('"https://prom.lab:9090/"', '§"https://prom.lab/?a=b"', "a query or a fragment", "https"),
    ('"https://prom.lab:9090/"', '§"http://prom.lab/"', "for everybody to read", "write https://"),
    (
        '"https://prom.lab:9090/", token_env: PROM_TOKEN, ca',
        '"http://prom.lab/", §ca',
        "`ca` is for https",
        "",
    ),
    ("token_env: PROM_TOKEN", "token_env: §s3cr/t", "is not a name of an env", "never stands"),
    ("telemetry:\n  prom", "telemetry:\n  §grafana: {}\n  prom", "unknown key `grafana`", ""),
    ("- {name: uptime", "- {§nme: x, name: uptime", "unknown key `nme`", "`name`"),
    ("{name: failures", "§{at_least: 1, name: failures", "one of `at_least` and", "at_least"),
    ("name: failures", "name: §uptime", "two error budgets are called `uptime`", ""),
    ("'sum(failed_total)'", "§'x{c=\"${stage}\"}'", "unknown `${stage}`", "no placeholder"),
    ("limit: 4.5 K", "limit: §4.5 W", "not a temperature", "mK"),
    ("hard_limit: 6 K", "hard_limit: §4 K", "`hard_limit` (4 K) must be above", "freezes"),
    ("slope: 5 mK/min", "slope: §5 mK", "not a rate of change", "5 mK/min"),
    ("every: 5 s\n", "every: 5 s\n      over: §6 s\n", "a slope over 6 s", "twice `every`"),
    (TEMPERATURE, "      source: §promethius\n      query: 'temp", "is not allowed", "prometheus"),
    (TEMPERATURE, "      source: §command\n      query: 'temp", "lacks `run`", "for example run"),
    ("'temp_kelvin{", "§'temp_kelvin{x=${stage}, ", "outside of quotes", '"${'),
    ("'temp_kelvin{", '§\'temp_kelvin{x="${controller}", ', "the unknown `${con", "${stage}"),
    ("base_stable: [base, 3]", "base_stable: §[]", "`base_stable` is empty", ""),
    ('[lease-of, "${cryostat}"]', '§[lease-of, "${device}"]', "unknown `${device}`", "${cryostat}"),
    ("fridge:\n", "fridge: §no guard\n    x:\n", "`no guard` is not a guard", "write `none`"),
    ("guards:\n    temp", "guards: §never\n  x:\n    temp", "is not a set of guards", "none"),
    ("recalibrate: device", "recalibrate: §self", "`self` recalibrates nothing", "`device`"),
    ("{command: [cal", "{device: true, §command: [cal", "either the device", "write `device`"),
    ("test: rank", "test: §ranks", "`ranks` is not allowed", "did you mean `rank`?"),
    ("golden: 27", "§run: [x]", "`run` without its `source`: it is device", "source: command"),
    ("{source: device}", "{source: device, §query: x}", "`query` without its `source`", "prom"),
]


@pytest.mark.parametrize(("old", "new", "message", "hint"), CASES, ids=[row[2] for row in CASES])
def test_defect_is_found_where_it_stands(old: str, new: str, message: str, hint: str) -> None:
    assert GOOD.count(old) >= 1
    marked = GOOD.replace(old, new, 1)
    before = marked[: marked.index(MARK)]
    place = before.count("\n") + 1, len(before) - before.rfind("\n")
    with pytest.raises(FleetError) as caught:
        parse_fleet(marked.replace(MARK, ""), "lab.yaml")
    found = {one.message: one for one in caught.value.findings}
    match = [one for text, one in found.items() if message in text]
    assert match, list(found)
    assert (match[0].line, match[0].column) == place
    assert hint in match[0].hint


def test_a_guard_needs_a_source_and_a_fridge_its_states() -> None:
    for old, new, message in [
        ("      source: prometheus\n      query: 'temp", "      query: 'temp", "lacks `source`"),
        (", base_stable: [base, 3]", "", "lacks `base_stable`"),
    ]:
        with pytest.raises(FleetError, match=message):
            parse_fleet(GOOD.replace(old, new, 1))


def test_a_query_needs_a_server() -> None:
    begin, end = GOOD.index("telemetry:"), GOOD.index("error_budget:")
    with pytest.raises(FleetError) as caught:
        parse_fleet(GOOD[:begin] + GOOD[end:])
    lines = {one.line for one in caught.value.findings}
    assert all("`telemetry.prometheus` is missing" in one.message for one in caught.value.findings)
    assert len(lines) == 5  # two budgets, temperature, fridge, and the metric


def test_a_simulated_guard_before_a_real_controller_is_refused() -> None:
    with pytest.raises(FleetError, match="a simulated guard protects nothing: `r1` is real"):
        parse_fleet(GOOD.replace('"sim://r1"', "/dev/ttyUSB7"))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_a_token_may_stay_on_this_computer_without_tls(host: str) -> None:
    text = GOOD.replace("https://prom.lab:9090/", f"http://{host}:9090")
    text = text.replace("ca: lab.pem, ", "")
    server = parse_fleet(text).prometheus
    assert server is not None
    assert server.token_env == "PROM_TOKEN"


HOSTILE = {"cryostat": 'a"} or up{x="`\n\\'}


def strings(query: str) -> list[str]:
    return [one.text for one in promql_tokens(query) if one.kind is TokenKind.STRING]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), st.sampled_from("'\""))
def test_a_value_never_leaves_its_quotes(value: str, quote: str) -> None:
    template = f"x{{a={quote}<${{cryostat}}>{quote}}}"
    filled = fill_promql(template, {"cryostat": value})
    [inside] = strings(filled)
    assert filled == f"x{{a={inside}}}"
    read = re.sub(r"\\(.)", lambda found: {"n": "\n"}.get(found[1], found[1]), inside[1:-1])
    assert read == f"<{value}>"


def test_back_quotes_cannot_be_escaped_and_are_refused() -> None:
    assert fill_promql("x{a=`${c}`}", {"c": "a\\b"}) == "x{a=`a\\b`}"
    with pytest.raises(PromqlError, match="back quote"):
        fill_promql("x{a=`${cryostat}`}", HOSTILE)


@pytest.mark.parametrize("query", ['x{a="b}', "x{a='b\n'}", "x{a=`b}"])
def test_an_open_quote_is_found(query: str) -> None:
    with pytest.raises(PromqlError, match="the quote at character 5 is not closed"):
        fill_promql(query, {})


def test_comments_and_other_dollars_are_left_alone() -> None:
    query = 'label_replace(x, "a", "$1", "b", "(.*)") # ${cryostat} and "\n'
    assert fill_promql(query, {}) == query


def uncommented(text: str) -> str:
    """The example with its commented settings in force: a key, and what is indented below it."""
    lines: list[str] = []
    in_block = False
    for line in text.splitlines():
        found = re.match(r"( *)# (  .*|- .*|[a-z_]+:(?: .*)?)$", line)
        begins = found is not None and not found[2].startswith(" ")
        in_block = found is not None and (begins or in_block)
        lines.append(found[1] + found[2] if found is not None and in_block else line)
    return "\n".join(lines)


def test_the_commented_examples_are_good() -> None:
    text = (REPOSITORY / "fleet.yaml").read_text()
    plain, full = parse_fleet(text), parse_fleet(uncommented(text))
    for cryostat, kinds in (("cryo-2", {"simulated"}), ("cryo-4", {"prometheus", "command"})):
        guards = full.cryostats[cryostat].guards
        assert guards.temperature is not None
        assert guards.fridge is not None
        assert guards.experiment is not None
        sources = (guards.temperature.source, guards.fridge.source, guards.experiment.source)
        assert {source.kind for source in sources} == kinds
    assert plain.cryostats["cryo-4"].guards == plain.cryostats["cryo-2"].guards
    assert full.prometheus is not None
    assert len(full.error_budgets) == 1
    contract = full.by_name["c2-a"].calibration
    assert contract.settle_s == 300
    assert contract.recalibration == Recalibration(device=True)
    assert isinstance(contract.metrics["amp_gain"].source, FromPrometheus)
    assert (REPOSITORY / "cryofw/cli/sample/fleet.yaml").read_text() == text
