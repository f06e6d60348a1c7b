"""What to do with DTR and RTS, step by step: for boards whose reset hangs on them.

    rts on              assert a line
    dtr off rts on      set both in one step, where the port can
    100 ms              wait

"On" is asserted, which on the pins of a TTL adapter is the low level, as in pyserial and esptool.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.errors import BadInput
from cryofw.transport.stream import ByteStream, ControlLines, NoControlLines

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

_SET = re.compile(r"(dtr|rts) (on|off)(?: (?!\1)(dtr|rts) (on|off))?")
_WAIT = re.compile(r"(\d+(?:\.\d+)?) ?(ms|s)")


@dataclass(frozen=True)
class LineStep:
    """Lines to set (None: as it is), then seconds to wait."""

    dtr: bool | None = None
    rts: bool | None = None
    wait_s: float = 0.0


def parse_line_steps(words: Iterable[str]) -> tuple[LineStep, ...]:
    """Read the steps of a sequence.

    Raises:
        BadInput: one of them is none.
    """
    return tuple(_parse(word) for word in words)


def rest_of(steps: Sequence[LineStep]) -> LineStep:
    """Return where a sequence leaves the lines: what they are at rest."""
    dtr = rts = None
    for step in steps:
        dtr = dtr if step.dtr is None else step.dtr
        rts = rts if step.rts is None else step.rts
    return LineStep(dtr, rts)


async def play(
    stream: ByteStream,
    steps: Iterable[LineStep],
    sleep: Callable[[float], Awaitable[None]],
) -> None:
    """Do the steps on the port of `stream`.

    Raises:
        NoControlLines: it has no such lines.
        StreamLost: it broke.
    """
    if not isinstance(stream, ControlLines):
        raise NoControlLines(
            "the port has no DTR and RTS",
            why="only local ports and rfc2217:// have them",
            hint="name another reset path: a watchdog, or a hook.",
        )
    for step in steps:
        if step.dtr is not None or step.rts is not None:
            await stream.set_lines(dtr=step.dtr, rts=step.rts)
        if step.wait_s:
            await sleep(step.wait_s)


def _parse(word: str) -> LineStep:
    wait = _WAIT.fullmatch(word)
    if wait is not None:
        return LineStep(wait_s=float(wait[1]) / (1000 if wait[2] == "ms" else 1))
    levels = _SET.fullmatch(word)
    if levels is None:
        raise BadInput(
            f"{word!r} is no step of a reset sequence",
            hint="steps are `dtr on`, `rts off`, both as `dtr off rts on`, and times: `100 ms`",
        )
    values = {levels[1]: levels[2] == "on"}
    if levels[3]:
        values[levels[3]] = levels[4] == "on"
    return LineStep(values.get("dtr"), values.get("rts"))
