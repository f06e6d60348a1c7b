"""Writes down what people say about the devices of a lab: one record each, of no rollout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.journal import StorageLocked
from cryofw.rollout import fields_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.engine.home import Home
    from cryofw.journal import Journal, Record
    from cryofw.rollout.lab_events import LabEvent


def write_lab_event(
    journal: Journal, event: LabEvent, more: Mapping[str, object] | None = None
) -> Record:
    """Write one down, with `more` fields beside its own.

    Raises:
        JournalWriteFailed, UnwritableRecord: as `Journal.append`.
    """
    device: str | None = getattr(event, "device", None)
    fields = fields_of(event) | dict(more or {})
    return journal.append(event.kind, device=device, **fields)


def say_of_lab(home: Home, event: LabEvent, who: str, nonce: str) -> str:
    """Write one down, or leave it to the rollout that another process runs.

    Args:
        nonce: keeps two requests of one kind apart.

    Returns:
        who will write it down, in words; empty if it was written.

    Raises:
        StorageLocked: another process has the journal, and runs no rollout.
    """
    running = home.history().open_rollout
    holder = home.holder
    if holder and running is not None:
        home.requests(running.rollout).put(event, nonce)
        return f"{running.rollout} runs in another process ({holder}); it was told"
    if holder:
        raise StorageLocked(
            "the journal is in use", why=holder, hint="try again when that command has ended"
        )
    with home.open_journal(home.clock, who) as journal:
        write_lab_event(journal, event)
    return ""
