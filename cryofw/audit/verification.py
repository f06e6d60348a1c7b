"""The audit: is this the journal that was written, and does it keep the design's promises?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.audit.evidence import Evidence
from cryofw.audit.ledger import ROLLOUT_KINDS, Ledger
from cryofw.audit.rules import broken_rules
from cryofw.errors import VerificationFailed
from cryofw.journal import (
    JOURNAL_NAME,
    Checkpoint,
    JournalCorrupt,
    checkpoint_name,
    verify_journal,
)

if TYPE_CHECKING:
    from cryofw.journal import Record, Storage

_SHOWN = 20
_OTHER_KINDS = frozenset({"journal-repaired"})


@dataclass(frozen=True)
class Violation:
    """A record that should not stand there: its number, its first byte, and why."""

    record: int
    offset: int
    kind: str
    message: str

    def __str__(self) -> str:
        return f"record {self.record} at byte {self.offset} ({self.kind}): {self.message}"


@dataclass(frozen=True)
class AuditReport:
    """A journal that holds. `anchored` records are covered by the checkpoint."""

    records: int
    anchored: int
    root: bytes
    rollouts: int
    repairs: int
    torn_bytes: int
    unknown_kinds: tuple[str, ...]
    first_time: str
    last_time: str


class AuditFailed(VerificationFailed):
    """The bytes are those that were written, but they tell of a broken promise."""

    def __init__(self, violations: list[Violation]) -> None:
        self.violations = tuple(violations)
        first = violations[0]
        more = len(violations) - _SHOWN
        lines = [str(violation) for violation in violations[:_SHOWN]]
        super().__init__(
            f"the journal breaks a rule at record {first.record}, byte {first.offset}",
            why="\n".join([*lines, *([f"and {more} more"] if more > 0 else [])]),
            hint=f"`cryofw audit show --around {first.record}` shows what stands around it",
        )


def verify_log(storage: Storage, name: str = JOURNAL_NAME) -> AuditReport:
    """Verify a journal to the byte, then rule by rule, then against the evidence beside it.

    Raises:
        StorageMissing: there is no journal.
        JournalCorrupt, CheckpointCorrupt: it is not the one that was written.
        RecordTooNew: a newer cryofw went on with it.
        AuditFailed: it is, but its records break rules or their evidence is gone.
    """
    entry = checkpoint_name(name)
    checkpoint = Checkpoint.decode(storage.read(entry), name) if storage.exists(entry) else None
    data = storage.read(name)
    if checkpoint is None:
        raise JournalCorrupt(
            f"{name} has no checkpoint", why="nothing says how long it was and what it held"
        )
    report = verify_journal(data, checkpoint)
    violations = find_violations(report.records, Evidence(storage))
    if violations:
        raise AuditFailed(violations)
    kinds = {record.kind for record in report.records}
    return AuditReport(
        records=len(report.records),
        anchored=report.anchored,
        root=report.root,
        rollouts=sum(record.kind == "rollout-started" for record in report.records),
        repairs=sum(record.kind == "journal-repaired" for record in report.records),
        torn_bytes=report.torn_bytes,
        unknown_kinds=tuple(sorted(kinds - ROLLOUT_KINDS - _OTHER_KINDS)),
        first_time=report.records[0].t if report.records else "",
        last_time=report.records[-1].t if report.records else "",
    )


def find_violations(records: tuple[Record, ...], evidence: Evidence | None) -> list[Violation]:
    """Every broken rule, oldest first; without `evidence` plans and readings are not asked for."""
    ledger, offset = Ledger(), 0
    violations: list[Violation] = []
    for record in records:
        messages = broken_rules(ledger, record)
        plan = None
        if evidence is not None:
            if record.kind == "rollout-started":
                plan, problem = evidence.plan(record)
                messages += [problem] if problem else []
            problem = evidence.check_readings(record)
            messages += [problem] if problem else []
        violations += [Violation(record.n, offset, record.kind, text) for text in messages]
        ledger.take(record, plan)
        offset += len(record.line) + 1
    return violations
