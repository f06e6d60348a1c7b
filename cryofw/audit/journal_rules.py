"""The rules about a journal as a file: how it begins, who takes its place, and how it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.journal import CLOSED
from cryofw.journal.chain import CONTINUED

if TYPE_CHECKING:
    from cryofw.audit.ledger import Ledger
    from cryofw.journal import Record

REHOMED = "journal-rehomed"
REPAIRED = "journal-repaired"
JOURNAL_KINDS = frozenset({CLOSED, CONTINUED, REHOMED, REPAIRED})
_BY_A_PERSON = frozenset({CLOSED, CONTINUED, REHOMED})


def journal_rules_broken(ledger: Ledger, record: Record) -> list[str]:
    """A sentence for each rule that a record about the journal itself breaks."""
    found = []
    if record.kind in _BY_A_PERSON and not record.fields.get("by"):
        found.append("it does not say who did it")
    if record.kind == CONTINUED and record.n:
        found.append("only the first record of a journal continues another one")
    if record.kind == CLOSED:
        opened = [name for name, one in ledger.rollouts.items() if one.is_open]
        if opened:
            found.append(f"the journal was closed while {', '.join(opened)} was open")
    return found
