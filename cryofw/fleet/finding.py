"""What is wrong with a fleet.yaml, and where: line, column, excerpt with a caret, hint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, order=True)
class Finding:
    """One defect of a file.

    `line` and `column` count from 1; 0 when the whole file is meant. `excerpt` is the line with
    a caret below the column, ready to print.
    """

    line: int
    column: int
    message: str
    hint: str = ""
    excerpt: str = ""

    def render(self, file_name: str) -> str:
        """The finding as compilers print it: place, message, excerpt, hint."""
        place = f"{file_name}:{self.line}:{self.column}" if self.line else file_name
        lines = [f"{place}: {self.message}"]
        if self.excerpt:
            lines.append(self.excerpt)
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


class FleetError(BadInput):
    """A fleet.yaml cannot be used; `findings` holds every defect, in the file's order."""

    def __init__(self, file_name: str, findings: Sequence[Finding]) -> None:
        self.file_name = file_name
        self.findings = tuple(findings)
        count = len(self.findings)
        super().__init__(
            f"{file_name} has {'an error' if count == 1 else f'{count} errors'}",
            why="\n".join(finding.render(file_name) for finding in self.findings),
            hint="`cryofw schema` prints what may stand in the file",
        )


def excerpt(text_line: str, line: int, column: int, length: int) -> str:
    """`text_line` behind its number, and carets under `length` characters from `column` on."""
    shown = "".join(char if char.isprintable() else " " for char in text_line)
    start, width = max(column - 1, 0), 100
    skip = 0
    if len(shown) > width:  # a very long line is shown around its column
        skip = max(0, min(start - width // 2, len(shown) - width))
    carets = "^" * max(1, min(length, len(shown) - start, skip + width - start))
    gutter = f"{line:5d} | "
    return (
        f"{gutter}{shown[skip : skip + width]}\n{' ' * (len(gutter) - 2)}| {' ' * (start - skip)}"
        f"{carets}"
    )
