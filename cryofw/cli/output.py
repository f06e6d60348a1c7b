"""What commands print: plain or coloured lines, tables and JSON.

State is a symbol and a word, never colour alone. Colour follows NO_COLOR (https://no-color.org)
and FORCE_COLOR; cursor movement is a separate question, and the answer is no unless a person
watches a terminal, so that FORCE_COLOR in a CI job never brings cursor codes into its log.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from enum import Enum
from itertools import zip_longest
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_NARROW = 24
"""Columns below which a text is not folded: it would be harder to read than what wraps."""

_COLOUR_CODE = re.compile(r"\x1b\[[0-9;]*m")
_WORD = re.compile(r"\s*(?:`[^`]+`|\S)+")
"""With the spaces before it; a command in backticks is one, because people paste it."""

_COLOURS = {
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
    "dim": "2",
}


class Status(Enum):
    """A state as people read it: symbol, symbol for terminals without Unicode, colour."""

    OK = ("✓", "+", "green")
    FAILED = ("✗", "x", "red")
    WARNING = ("!", "!", "yellow")
    RUNNING = ("▸", ">", "cyan")
    HELD = ("‖", "=", "yellow")
    NOTHING = ("·", "-", "dim")

    def __init__(self, symbol: str, ascii_symbol: str, colour: str) -> None:
        self.symbol = symbol
        self.ascii_symbol = ascii_symbol
        self.colour = colour


class Output:
    """Writes to one stream, by default standard output as it is now.

    Args:
        stream: text stream to write to.
        environ: where NO_COLOR, FORCE_COLOR and TERM are read; the process's own by default.
    """

    def __init__(
        self, stream: IO[str] | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        self._stream = sys.stdout if stream is None else stream
        environ = os.environ if environ is None else environ
        tty = self._stream.isatty()
        dumb = environ.get("TERM") == "dumb"
        self.cursor: bool = tty and not dumb and "CI" not in environ
        """Whether lines already printed may be drawn again."""
        self.colour: bool = _wants_colour(environ, tty and not dumb)
        self.width: int | None = shutil.get_terminal_size().columns if tty else None
        """Columns of the terminal; None where lines may be as long as they are."""
        self.unicode: bool = _can_encode(self._stream, "✓✗▸‖·")

    def style(self, text: str, colour: str, *, bold: bool = False) -> str:
        """Return `text` in `colour` where this stream shows colour, else unchanged."""
        if not self.colour:
            return text
        return f"\x1b[{'1;' if bold else ''}{_COLOURS[colour]}m{text}\x1b[0m"

    def line(self, text: str = "") -> None:
        """Print one line; what the stream cannot encode is replaced, never an error."""
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        data = text.encode(encoding, "replace").decode(encoding)
        self._stream.write(data + "\n")
        self._stream.flush()

    def hanging(self, head: str, text: str, column: int, colour: str = "") -> None:
        """Print `text` behind `head`; what a terminal has no room for goes on at `column`.

        Args:
            head: what stands before the text, with its spaces; may hold colour codes.
            column: how wide the head is as people see it.
            colour: of the text, if it has one.
        """
        room = None if self.width is None else self.width - column
        lines = [text] if room is None or room < _NARROW else _folded(text, room)
        for line in lines:
            self.line(f"{head}{self.style(line, colour) if colour else line}".rstrip())
            head = " " * column

    def status(self, status: Status, word: str, text: str = "") -> None:
        """Print symbol, word and text, as in `✓ verified  fw.bin`."""
        self.hanging(f"{self.mark(status, word)}  ", text, len(word) + 4)

    def mark(self, status: Status, word: str) -> str:
        """Return symbol and word of a state, coloured where that is shown."""
        symbol = status.symbol if self.unicode else status.ascii_symbol
        return self.style(f"{symbol} {word}", status.colour)

    def table(self, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print left-aligned columns; a terminal that is too narrow gets cells of several lines.

        No word is broken: one that has no room wraps as the terminal does it, and is still copied
        as one. Cells must be free of colour codes, except the last.
        """
        body = [list(row) for row in rows]
        columns = list(zip(header, *body, strict=True))
        widths = [max(map(_seen, column)) for column in columns]
        if self.width is not None:
            widths = _narrowed(widths, columns, self.width)
        self.line(self.style(_columns(header, widths), "dim"))
        for row in body:
            cells = [_folded(cell, width) for cell, width in zip(row, widths, strict=True)]
            for line in zip_longest(*cells, fillvalue=""):
                self.line(_columns(line, widths))

    def json(self, value: object) -> None:
        """Print one JSON document on one line, keys in the given order.

        JSON leaves DEL, C1 and bidirectional controls as they are; here nothing steers a terminal.
        """
        import json

        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        if not text.isprintable():
            text = "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
        self.line(text)


def _seen(text: str) -> int:
    """How many columns a text takes, without its colour codes."""
    return len(_COLOUR_CODE.sub("", text))


def _folded(text: str, room: int) -> list[str]:
    """Lines of at most `room` columns, at least one; longer only where a single word is."""
    lines = [""]
    for word in _WORD.findall(text):
        if lines[-1] and _seen(lines[-1]) + _seen(word) > room:
            lines.append(word.lstrip())
        else:
            lines[-1] += word
    return lines


def _narrowed(widths: list[int], columns: Sequence[Sequence[str]], room: int) -> list[int]:
    """Widths that fit into `room`, the widest columns made narrower; as they were if none do."""
    least = [
        max((_seen(word.lstrip()) for cell in column for word in _WORD.findall(cell)), default=0)
        for column in columns
    ]
    fitting = list(widths)
    while sum(fitting) + 2 * (len(fitting) - 1) > room:
        wide = [at for at, width in enumerate(fitting) if width > least[at]]
        if not wide:
            return widths
        fitting[max(wide, key=fitting.__getitem__)] -= 1
    return fitting


def _columns(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _wants_colour(environ: Mapping[str, str], terminal: bool) -> bool:
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR", "0") not in {"", "0"}:
        return True
    return terminal


def _can_encode(stream: IO[str], text: str) -> bool:
    try:
        text.encode(getattr(stream, "encoding", None) or "ascii")
    except (LookupError, UnicodeEncodeError):
        return False
    return True
