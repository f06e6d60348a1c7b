"""Bad fleet.yaml files: each defect is found at its line and column, with a sentence and a hint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cryofw.fleet import FleetError, load_fleet, parse_fleet

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """\
schema: cryofw.fleet/v1
lab: delft
board: cc40
defaults:
  heartbeat: {every: 2 s}
  reset: watchdog
  thermal: {stage: 4k, capacity: 1.5 W, headroom: 80 %, flash: 60 mW, max_rise: 150 mK}
  calibration:
    every: 30 s
    metrics:
      snr: {unit: dB, worse: lower, margin: 0.5, reject: 1.5, limit: 20}
      jitter: {unit: ns, worse: higher, margin: 0.5, reject: 2}
stages:
  - {name: rig, targets: [rig-1], soak: 10 min}
  - name: all
    targets: [cryo-1]
    waves: [1, 50 %, 100 %]
    soak: 1 h
    window: {cron: "0 20 * * 1-4", for: 6 h, tz: UTC}
cryostats:
  rig-1: {controllers: {rig-a: {port: "sim://rig-a", hw: "5a310001"}}}
  cryo-1:
    controllers:
      c1-a: {port: /dev/ttyUSB0, hw: "5a310002"}
      c1-b: {port: "rfc2217://term:4001", owner: host-a}
      c1-c: {port: "sim://c1-c"}
"""

# What to replace, by what (the mark § stands where the finding must point), message, hint.
MARK = "§"
CASES = [
    ("lab: delft", "lab: §no", "`no` is true or false to some readers", '"no" in quotes'),
    ("every: 2 s", "every: §12:30", "`12:30` is a number in base 60", "in quotes"),
    ("lab: delft", "lab: §2026-01-01", "is a date to some readers", "in quotes"),
    ("lab: delft", "lab: §0755", "`0755` is an octal number", "in quotes"),
    ("lab: delft", "lab: §1_000", "`1_000` is a number to some readers", "in quotes"),
    ("lab: delft", "lab: §1e-3", "expected text for `lab`, got `0.001`", '"1e-3"'),
    ("lab: delft", "lab: §12", "expected text for `lab`, got `12`", 'quotes: "12"'),
    ("lab: delft", "lab: §true", "expected text for `lab`, got `true`", ""),
    ("margin: 0.5, reject: 1.5", 'margin: §"0.5", reject: 1.5', "a number", "without quotes"),
    ("limit: 20", "limit: §.nan", "a finite number", ""),
    ("lab: delft", "lab:§", "a value is missing here", "delete the key"),
    ("lab: delft", "lab: §~", "a value is missing here", "delete the key"),
    ("lab: delft", 'lab: §""', "`lab` is empty", ""),
    ("lab: delft", 'lab: §"\\e[2J"', "characters that cannot be shown", ""),
    ("lab: delft", "lab: §[delft]", "expected text for `lab`, got a list", ""),
    ("lab: delft", "lab: delft\n§lab: other", "duplicate key `lab`", "line 2"),
    ("lab: delft", "lab: §!!python/name:os.system delft", "the tag", "plain value"),
    ("lab: delft\nboard: cc40\ndefaults:", "lab: [\nboard: cc40\ndefaults§:", "not valid YAML", ""),
    ("lab: delft", "§\tlab: delft", "not valid YAML", "spaces, not with tabs"),
    ("lab: delft", "lab: §*nowhere", "the alias `*nowhere` is not defined", ""),
    ("lab: delft", "lab: &a [§*a]", "the alias `*a` contains itself", ""),
    ("lab: delft", "lab: delft\n§<<: {lab: x}", "merge key `<<` is not supported", "defaults"),
    ("lab: delft", "lab: delft\n§12: x", "the key `12` is not text", "in quotes"),
    ("lab: delft", "lab: delft\n§[a]: x", "a key must be plain text", ""),
    ("stages:", "§---\nstages:", "a second YAML document", "one per file"),
    ("lab: delft", "lab: delft\n§boards: x", "unknown key `boards`", "did you mean `board`?"),
    (
        "- {name: rig, targets: [rig-1], soak: 10 min}",
        "- §{name: rig, targets: [rig-1]}",
        "`soak` is missing",
        "cryofw init",
    ),
    ("soak: 10 min", "§sok: 10 min", "unknown key `sok`", "did you mean `soak`?"),
    (
        "snr: {unit: dB, worse: lower,",
        "§snr: {unit: dB,",
        "`calibration.metrics.snr` lacks `worse`",
        "margin: 0.5",
    ),
    (
        "thermal: {stage: 4k, capacity: 1.5 W, headroom: 80 %, flash: 60 mW,",
        "§thermal: {stage: 4k, capacity: 1.5 W, headroom: 80 %,",
        "`thermal` lacks `flash`",
        "for example thermal:",
    ),
    ("worse: lower", "worse: §lowr", "`lowr` is not allowed", "did you mean `lower`?"),
    ("schema: cryofw.fleet/v1", "schema: §cryofw.fleet/v2", "is not allowed for `schema`", "v1"),
    ('c1-c: {port: "sim://c1-c"}', "§c1-c: {}", "`port` is missing in `c1-c`", ""),
    ("c1-c:", "§c1 c:", "`c1 c` is not a name", "letters, digits"),
    ('hw: "5a310002"', 'hw: §"5A31"', "`5A31` is not a hardware id", "lower-case hex"),
    ("capacity: 1.5 W", "capacity: §1.5", "a power needs a unit", "60 mW"),
    ("flash: 60 mW", "flash: §60 mK", "`mK` is not one of its units", "uW, mW, W"),
    ("max_rise: 150 mK", "max_rise: §-1 mK", "`-1 mK` is not a temperature", "150 mK"),
    ("headroom: 80 %", "headroom: §120 %", "`120 %` is more than everything", "100 %"),
    ("soak: 10 min", "soak: §600", "a duration needs a unit, `600` has none", "10 min"),
    ("soak: 10 min", "soak: §0 s", "of zero makes no sense", ""),
    ("soak: 10 min", "soak: §ten", "`ten` is not a duration", "10 min"),
    ("margin: 0.5, reject: 1.5", "margin: §-1, reject: 1.5", "`-1` is out of range", "above 0"),
    ("margin: 0.5, reject: 1.5", "margin: 2, reject: §1.5", "must be larger than its `margin`", ""),
    ("targets: [rig-1]", "targets: [§rig-2]", "unknown target `rig-2`", "did you mean `rig-1`?"),
    ("targets: [rig-1]", "targets: §[]", "`targets` is empty", ""),
    ("targets: [cryo-1]", "targets: [cryo-1, §rig-1]", "`rig-1` is in two stages", "stage `rig`"),
    ("- name: all", "- name: §rig", "two stages are called `rig`", ""),
    ("[1, 50 %, 100 %]", "[2, §2, 100 %]", "wave `2` does not grow", "cumulative"),
    ("[1, 50 %, 100 %]", "[1, §50 %]", "the last wave is `50 %`", "end with 100 %"),
    ("[1, 50 %, 100 %]", "[3, §50 %, 100 %]", "wave `50 %` shrinks in `cryo-1`", "2 after 3"),
    ("[1, 50 %, 100 %]", "[§0, 100 %]", "a wave has at least one controller", ""),
    ("soak: 1 h", "soak: §9 min", "a soak of 9 min is shorter", "at least 10 min"),
    ('"0 20 * * 1-4"', '§"0 25 * * 1-4"', "hour 25 lies outside 0 to 23", "Monday"),
    ('"0 20 * * 1-4"', '§"0 20 * *"', "has 5 fields", "Monday"),
    ('"0 20 * * 1-4"', '§"0 20 31 2 *"', "never comes", ""),
    ("tz: UTC", "tz: §Europe/Delft", "not a known time zone", "Europe/Amsterdam"),
    ('"sim://c1-c"', "§/dev/ttyUSB0", "the port `/dev/ttyUSB0` is used twice", "`c1-a`"),
    ('"sim://c1-c"', '§"RFC2217://TERM:4001"', "unknown kind of port", "rfc2217"),
    ('"sim://c1-c"', "§ttyUSB0", "`ttyUSB0` is not a port", "the whole path"),
    ('"sim://c1-c"', '§"socket://host"', "`socket://host` is not a port", "HOST:PORT"),
    ('"sim://c1-c"', '§"socket://h:70000"', "70000 is not a TCP port", ""),
    (
        '"rfc2217://term:4001", owner: host-a',
        '§"rfc2217://term:4001"',
        "the network port of `c1-b` needs an `owner`",
        "owner: host",
    ),
    (
        '"rfc2217://term:4001", owner: host-a',
        '§"tls://gate:4001?ca=/etc/ca.pem"',
        "the network port of `c1-b` needs an `owner`",
        "owner: host",
    ),
    ('"sim://c1-c"', '§"tls://gate"', "`tls://gate` is not a port", "HOST:PORT"),
    ('"rfc2217://term:4001"', '§"tls://g:1?ca=ca.pem"', "`ca=ca.pem` is no", "an absolute path"),
    ('"rfc2217://term:4001"', '§"tls://g:1?verify=no"', "`verify=no` is no", "known: ca="),
    ('"rfc2217://term:4001"', '§"tls://g:1?ca=/a&ca=/b"', "`ca` stands twice", ""),
    ('"rfc2217://term:4001"', '§"tls://g:1?ca=/a&key=/k"', "a key without its", "add cert="),
    ('"5a310002"', '§"5a310001"', "hardware id `5a310001` is used twice", "`rig-a`"),
    ("c1-c:", "§rig-a:", "the controller `rig-a` is in two cryostats", "`rig-1`"),
    ("reset: watchdog", "reset: §watchdg", "`watchdg` is not a reset path", "`watchdog`"),
    ("reset: watchdog", "reset: {hook: §[]}", "`hook` is empty", ""),
    (
        "reset: watchdog",
        "reset: {hook: §[pdu, '${device}']}",
        "unknown `${device}`",
        "${controller}",
    ),
    ("reset: watchdog", "reset: {hook: §[pdu]}", "the hook of `c1-", "shared_by"),
    (
        "reset: watchdog",
        "reset: {hook: [pdu, '${controller}'], shared_by: [§c1-x]}",
        "unknown controller `c1-x`",
        "did you mean `c1-",
    ),
    ("reset: watchdog", "reset: {§shared_by: [c1-a]}", "`shared_by` without `hook`", ""),
    (
        '{port: "sim://c1-c"}',
        "{port: /dev/ttyS9, reset: {hook: [pdu], §lines: [rts on]}}",
        "`lines` and `hook`",
        "",
    ),
    ("reset: watchdog", "reset: {lines: [§rts maybe]}", "`rts maybe`", ""),
    (
        '{port: "sim://c1-c"}',
        '{port: "sim://c1-c", reset: {lines: §[rts on, 100 ms, rts off]}}',
        "the port of `c1-c` has no DTR and RTS",
        "rfc2217://",
    ),
    ("flash: 60 mW", "flash: §2 W", "one flash alone exceeds the heat budget", "80% of 1.5 W"),
    ("every: 2 s", "every: 2 s, timeout: §3 s", "timeout is longer than", ""),
    (
        "      c1-c:",
        "    calibration: {§false_rollback: 0.1}\n    controllers2:\n      c1-c:",
        "one budget for the whole rollout",
        "under `defaults` only",
    ),
    ('{port: "sim://c1-c"}', '{port: "sim://c1-c", §thermal: {}}', "unknown key", "cryostat"),
    (
        "stages:",
        "simulation: {metrics: {§snrr: {nominal: 1}}}\nstages:",
        "no calibration asks for the metric `snrr`",
        "did you mean `snr`?",
    ),
]


def test_the_table_starts_from_a_good_file() -> None:
    assert len(parse_fleet(GOOD).controllers) == 4


@pytest.mark.parametrize(("old", "new", "message", "hint"), CASES, ids=[row[2] for row in CASES])
def test_defect_is_found_where_it_stands(old: str, new: str, message: str, hint: str) -> None:
    assert GOOD.count(old) >= 1
    marked = GOOD.replace(old, new, 1)
    before = marked[: marked.index(MARK)]
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    with pytest.raises(FleetError) as caught:
        parse_fleet(marked.replace(MARK, ""), "lab.yaml")
    found = caught.value.findings
    match = [one for one in found if message in one.message]
    assert match, [one.message for one in found]
    assert (match[0].line, match[0].column) == (line, column)
    assert hint in match[0].hint
    assert f"lab.yaml:{line}:{column}: " in str(caught.value)
    assert caught.value.exit_code == 3


def test_one_defect_gives_one_finding() -> None:
    """A defect of `defaults` concerns every controller, yet is told once."""
    for old, new, *_ in CASES:
        with pytest.raises(FleetError) as caught:
            parse_fleet(GOOD.replace(old, new.replace(MARK, ""), 1))
        places = [(one.line, one.column, one.message) for one in caught.value.findings]
        assert len(places) == len(set(places))
        # A renamed key is unknown there and missing here; nothing causes more than three.
        assert len(places) <= 3, places


def test_all_defects_are_told_at_once_in_the_order_of_the_file() -> None:
    text = GOOD
    for old, new in [
        ("lab: delft", "lab: no"),
        ("reset: watchdog", "reset: watchdg"),
        ("flash: 60 mW", "flash: 60 mK"),
        ("worse: lower", "worse: lowr"),
        ("reject: 2}", "reject: 0.1}"),
        ("targets: [rig-1]", "targets: [rig-2]"),
        ("soak: 1 h", "soak: 1"),
        (", owner: host-a", ""),
        ("sim://c1-c", "/dev/ttyUSB0"),
    ]:
        assert old in text
        text = text.replace(old, new, 1)
    with pytest.raises(FleetError) as caught:
        parse_fleet(text)
    lines = [one.line for one in caught.value.findings]
    assert lines == [2, 6, 7, 11, 12, 14, 18, 25, 26]
    assert caught.value.what.endswith("has 9 errors")


def test_excerpt_points_at_the_value() -> None:
    with pytest.raises(FleetError) as caught:
        parse_fleet(GOOD.replace("soak: 10 min", "soak: 10 mins"))
    finding = caught.value.findings[0]
    assert finding.render("fleet.yaml").splitlines() == [
        "fleet.yaml:14:41: `10 mins` is not a duration: `mins` is not one of its units",
        "   14 |   - {name: rig, targets: [rig-1], soak: 10 mins}",
        "      |                                         ^^^^^^^",
        "  hint: write a number and a unit (ms, s, min, h, d), for example 10 min",
    ]


def test_excerpt_of_a_long_line_shows_its_middle() -> None:
    long = "x" * 150
    with pytest.raises(FleetError) as caught:
        parse_fleet(GOOD.replace("lab: delft", f"lab: delft  # {long}\n{long}: 1  # {long}"))
    excerpt = caught.value.findings[0].excerpt.splitlines()
    assert all(len(line) <= 110 for line in excerpt)
    assert excerpt[1].index("^") == excerpt[0].index("x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("# nothing\n", "the file is empty"),
        ("just text", "a mapping of keys to values"),
        ("- a\n- b\n", "a mapping of keys to values"),
        ("a: \x00", "may not stand here"),
        ("[" * 5000, "nested deeper than"),
        ("{a: " * 5000, "nested deeper than"),
        ("a: " + "9" * 9000, "unknown key"),
        ("x: " + "y" * (1 << 20), "larger than 1 MiB"),
        ("lab: &a x\nboard: &a y\n", "the anchor `&a` is defined twice"),
    ],
)
def test_hopeless_file_is_refused(text: str, message: str) -> None:
    with pytest.raises(FleetError) as caught:
        parse_fleet(text)
    assert message in str(caught.value)


def test_billion_laughs_end_early() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(FleetError) as caught:
        parse_fleet("\n".join(lines))
    assert "once aliases are expanded" in str(caught.value)


def test_aliases_are_expanded() -> None:
    text = GOOD.replace("capacity: 1.5 W", "capacity: &power 1.5 W")
    text = text.replace("flash: 60 mW", "flash: *power", 1)
    with pytest.raises(FleetError, match="one flash alone exceeds"):
        parse_fleet(text)


def test_missing_file_and_directory_are_bad_input(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="No such file"):
        load_fleet(tmp_path / "none.yaml")
    with pytest.raises(FleetError, match="Is a directory"):
        load_fleet(tmp_path)


def test_file_that_is_not_utf8_is_bad_input(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_bytes(b"schema: cryofw.fleet/v1\nlab: caf\xe9\n")
    with pytest.raises(FleetError) as caught:
        load_fleet(path)
    assert (caught.value.findings[0].line, caught.value.findings[0].column) == (2, 9)


def test_byte_order_mark_is_no_defect(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert load_fleet(path).lab == "delft"
