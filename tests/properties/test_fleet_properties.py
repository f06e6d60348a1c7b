"""Any text gives a fleet or a FleetError whose findings stand in the text."""

from __future__ import annotations

from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from cryofw.fleet import Fleet, FleetError, parse_fleet

REPOSITORY = Path(__file__).parents[2]
EXAMPLE = (REPOSITORY / "fleet.yaml").read_text()
LINES = [line for line in EXAMPLE.splitlines() if line.split("#")[0].strip()]
TOKENS = st.sampled_from(
    ["{", "}", "[", "]", ":", ": ", ", ", "- ", "\n", " ", "#", '"', "'", "&a ", "*a", "|", ">",
     "no", "null", "~", "1e9", "-1", "0x1F", "50 %", "1 h", ".nan", "<<", "!!str ", "\t", "é"]
)  # fmt: skip


def read(text: str) -> Fleet | None:
    """The fleet, or None after its findings were looked at."""
    try:
        return parse_fleet(text)
    except FleetError as error:
        look_at(error, len(text.splitlines()))
        return None


def look_at(error: FleetError, lines: int) -> None:
    assert error.findings
    for finding in error.findings:
        assert 1 <= finding.line <= max(lines, 1) + 1
        assert finding.column >= 1
        assert finding.message
    assert list(error.findings) == sorted(error.findings)


@given(st.text(max_size=60))
@example("? a")
@example("a: !")
@example("\ufeff")
@example("\x1f")
def test_any_text_is_read_or_refused(text: str) -> None:
    assert read(text) is None


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 10**6), TOKENS, st.integers(0, 4))
def test_damaged_example_is_read_or_refused(place: int, token: str, drop: int) -> None:
    text = "\n".join(LINES)
    at = place % len(text)
    fleet = read(text[:at] + token + text[at + drop :])
    assert fleet is None or len(fleet.controllers) >= 1


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 3))
def test_example_with_lines_missing_is_read_or_refused(place: int, count: int) -> None:
    at = place % len(LINES)
    fleet = read("\n".join(LINES[:at] + LINES[at + count :]))
    assert fleet is None or len(fleet.controllers) >= 1


def test_example_without_its_comments_is_the_same_fleet() -> None:
    assert parse_fleet("\n".join(LINES)).digest == parse_fleet(EXAMPLE).digest
