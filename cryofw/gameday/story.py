"""A game told: what was drawn, what took place, what the journals say, and how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.audit import Filter, tell
from cryofw.journal import JOURNAL_NAME, MemoryDisk, MemoryStorage, read_journal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryofw.gameday.game import Game, Note, Result
    from cryofw.gameday.happening import Moment


def tell_game(game: Game, result: Result) -> Iterator[str]:
    """The lines of the story of a game that was played."""
    yield game.name
    yield "devices:"
    for controller in game.fleet.controllers:
        yield f"  {controller.name} in {controller.cryostat}"
    yield "what was to happen:"
    for happening in game.happenings:
        yield f"  {_moment(happening.when)}: {happening.what}"
    for operator in result.journals:
        yield f"the journal of {operator}:"
        yield from _journal(result, operator)
    ended = result.ended.value if result.ended is not None else "not at all"
    yield f"ended: {ended} ({result.why})"
    yield f"digest {result.digest}, {result.sends} writes to lines, {result.visits} visits"
    yield f"broken: {result.broken}" if result.broken else "every invariant held"


def _journal(result: Result, operator: str) -> Iterator[str]:
    journal = result.journals[operator]
    disk = MemoryDisk({JOURNAL_NAME: journal[: journal.rfind(b"\n") + 1]})
    is_first = operator == next(iter(result.journals))
    notes = list(result.notes) if is_first else []
    for line in tell(read_journal(MemoryStorage(disk)).records, Filter()):
        while notes and notes[0].records <= line.n:
            yield _note(notes.pop(0))
        why = f": {'; '.join(line.reasons)}" if line.reasons else ""
        yield f"  {line.n:>4} {line.time} {line.text}{why}"
    yield from map(_note, notes)


def _note(note: Note) -> str:
    return f"     ~ {note.t_s:.3f} s: {note.text}"


def _moment(when: Moment) -> str:
    which = f"{when.nth}. {when.after or 'rollout-started'}"
    where = "".join(f" of {name}" for name in (when.device, when.stage) if name)
    return f"{when.delay_s:g} s after the {which}{where}"
