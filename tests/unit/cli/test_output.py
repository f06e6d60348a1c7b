from __future__ import annotations

import io
import json
import re

import pytest

from cryofw.cli.output import Output, Status


class Stream(io.TextIOWrapper):
    """A text stream of a given encoding that says whether it is a terminal."""

    def __init__(self, *, tty: bool, encoding: str = "utf-8") -> None:
        super().__init__(io.BytesIO(), encoding=encoding, newline="")
        self._tty = tty

    def isatty(self) -> bool:
        return self._tty

    @property
    def text(self) -> str:
        self.flush()
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode(self.encoding)


@pytest.mark.parametrize(
    ("tty", "environ", "colour", "cursor"),
    [
        (True, {}, True, True),
        (False, {}, False, False),
        (True, {"NO_COLOR": "1"}, False, True),
        (True, {"NO_COLOR": ""}, True, True),
        (True, {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False, True),
        (False, {"FORCE_COLOR": "1"}, True, False),
        (False, {"FORCE_COLOR": "0"}, False, False),
        (True, {"TERM": "dumb"}, False, False),
        (True, {"CI": "true"}, True, False),
    ],
)
def test_colour_and_cursor_are_two_questions(
    tty: bool, environ: dict[str, str], colour: bool, cursor: bool
) -> None:
    output = Output(Stream(tty=tty), environ)

    assert (output.colour, output.cursor) == (colour, cursor)


def test_a_state_is_a_symbol_and_a_word_with_or_without_colour() -> None:
    plain, coloured = Stream(tty=False), Stream(tty=True)

    Output(plain, {}).status(Status.FAILED, "rolled back", "c1-a")
    Output(coloured, {}).status(Status.FAILED, "rolled back", "c1-a")

    assert plain.text == "✗ rolled back  c1-a\n"
    assert coloured.text == "\x1b[31m✗ rolled back\x1b[0m  c1-a\n"


def test_a_terminal_without_unicode_gets_ascii_and_no_error() -> None:
    stream = Stream(tty=False, encoding="ascii")

    output = Output(stream, {})
    output.status(Status.OK, "verified", "für.bin")

    assert stream.text == "+ verified  f?r.bin\n"


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    stream = Stream(tty=False)

    Output(stream, {}).table(["name", "state"], [["c1-a", "ok"], ["rig-long", "stuck"]])

    assert stream.text == "name      state\nc1-a      ok\nrig-long  stuck\n"


def test_a_table_without_rows_is_its_header() -> None:
    stream = Stream(tty=False)

    Output(stream, {}).table(["name", "state"], [])

    assert stream.text == "name  state\n"


def test_json_is_one_line_and_never_nan() -> None:
    stream = Stream(tty=False)
    output = Output(stream, {})

    output.json({"b": "é", "a": [1]})

    assert stream.text == '{"b": "é", "a": [1]}\n'
    assert json.loads(stream.text) == {"a": [1], "b": "é"}
    with pytest.raises(ValueError, match="not JSON compliant"):
        output.json({"x": float("nan")})


def test_a_long_line_is_folded_under_its_text_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    text = "one two three four five six-and-seven eight nine"
    terminal, job = Stream(tty=True), Stream(tty=False)

    Output(terminal, {}).hanging("12:00  ", text, 7)
    Output(job, {}).hanging("12:00  ", text, 7)

    assert terminal.text == "12:00  one two three four five\n       six-and-seven eight nine\n"
    assert job.text == f"12:00  {text}\n"


def test_a_terminal_too_narrow_to_fold_gets_the_line_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    stream = Stream(tty=True)
    Output(stream, {}).hanging("a head of some width  ", "and a text behind it", 22)
    assert stream.text == "a head of some width  and a text behind it\n"


def test_a_command_in_backticks_is_never_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    """People paste it, and half a command is another command."""
    monkeypatch.setenv("COLUMNS", "40")
    stream = Stream(tty=True)

    Output(stream, {}).hanging("hint: ", "then run `cryofw release sign` on this", 6)

    assert stream.text == "hint: then run `cryofw release sign` on\n      this\n"


def test_a_table_folds_its_widest_cells_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "28")
    stream = Stream(tty=True)
    output = Output(stream, {})
    state = f"{output.mark(Status.OK, 'confirmed')}  0 of 361 beats missed"

    output.table(["device", "state and why"], [["c1-a", state], ["c1-b", "pending"]])

    plain = re.sub(r"\x1b\[[0-9;]*m", "", stream.text)
    assert plain == (
        "device  state and why\n"
        "c1-a    ✓ confirmed  0 of\n"
        "        361 beats missed\n"
        "c1-b    pending\n"
    )


def test_a_table_breaks_no_word_that_has_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "28")
    stream = Stream(tty=True)

    Output(stream, {"NO_COLOR": "1"}).table(
        ["name", "hash"], [["a b", "5a579b19eee142a7eb7a1a2102fd0ede"]]
    )

    assert stream.text == "name  hash\na b   5a579b19eee142a7eb7a1a2102fd0ede\n"
