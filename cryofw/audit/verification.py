"""The audit: is this the journal that was written, and does it keep the design's promises?"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.audit.evidence import Evidence
from cryofw.audit.ledger import ROLLOUT_KINDS, Ledger
from cryofw.audit.rules import broken_rules
from cryofw.audit.signatures import SignatureReport, verify_signatures
from cryofw.audit.trust import NO_TRUST, LogTrust
from cryofw.errors import VerificationFailed
from cryofw.journal import (
    JOURNAL_NAME,
    Checkpoint,
    JournalCorrupt,
    checkpoint_name,
    origin_of,
    read_leaf_hashes,
    scan_journal,
)
from cryofw.journal.form_check import FormCheck
from cryofw.journal.verification import read_records

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from cryofw.audit.check import Check
    from cryofw.journal import Record, Storage

_SHOWN = 20
_OTHER_KINDS = frozenset({"journal-repaired", "journal-closed"})


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

    origin: str
    signatures: SignatureReport
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


def verify_log(
    storage: Storage,
    name: str = JOURNAL_NAME,
    *,
    trust: LogTrust = NO_TRUST,
    since: Mapping[str, bytes] | None = None,
    checks: Sequence[Check] = (),
    evidence: bool = True,
    processes: int = 1,
) -> AuditReport:
    """Verify a journal to the byte, then rule by rule, then against the evidence beside it.

    Args:
        storage, name: where it lies.
        trust: whose signatures count.
        since: checkpoints that were kept elsewhere, by where they come from.
        checks: what else is held against the records, such as images and approvals.
        evidence: whether plans and raw readings are.
        processes: how many may run; more than one helps with journals of many megabytes.

    Raises:
        StorageMissing: there is no journal.
        JournalCorrupt, CheckpointCorrupt: it is not the one that was written.
        NoteInvalid, SignatureMissing: its signatures do not vouch for it.
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
    scan = scan_journal(data, checkpoint, read_leaf_hashes(storage, name))
    signatures = verify_signatures(storage, name, data, scan, trust, since or {})
    tally = _Tally()
    with FormCheck(data, scan.length, processes) as form:
        strict_from = len(scan.leaves) if form.runs_apart else 0
        records = tally.count(read_records(data, scan.length, strict_from=strict_from))
        violations = list(_violations(records, Evidence(storage) if evidence else None, checks))
        form.finish()
    if violations:
        raise AuditFailed(violations)
    return AuditReport(
        origin=origin_of(scan.leaves[0]) if scan.leaves else "",
        signatures=signatures,
        records=len(scan.leaves),
        anchored=scan.anchored,
        root=scan.tree.root(),
        rollouts=tally.kinds["rollout-started"],
        repairs=tally.kinds["journal-repaired"],
        torn_bytes=scan.torn_bytes,
        unknown_kinds=tuple(sorted(tally.kinds.keys() - ROLLOUT_KINDS - _OTHER_KINDS)),
        first_time=tally.first_time,
        last_time=tally.last_time,
    )


class _Tally:
    """Counts records as they pass."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.first_time = self.last_time = ""

    def count(self, records: Iterable[tuple[int, Record]]) -> Iterator[tuple[int, Record]]:
        for offset, record in records:
            self.kinds[record.kind] += 1
            self.last_time = record.t
            self.first_time = self.first_time or record.t
            yield offset, record


def find_violations(
    records: Iterable[Record], evidence: Evidence | None, checks: Sequence[Check] = ()
) -> list[Violation]:
    """Every broken rule, oldest first; without `evidence` plans and readings are not asked for."""
    return list(_violations(_with_offsets(records), evidence, checks))


def _with_offsets(records: Iterable[Record]) -> Iterator[tuple[int, Record]]:
    offset = 0
    for record in records:
        yield offset, record
        offset += len(record.line) + 1


def _violations(
    records: Iterable[tuple[int, Record]], evidence: Evidence | None, checks: Sequence[Check]
) -> Iterator[Violation]:
    ledger = Ledger()
    for offset, record in records:
        messages = broken_rules(ledger, record)
        plan = None
        if evidence is not None:
            if record.kind == "rollout-started":
                plan, problem = evidence.plan(record)
                messages += [problem] if problem else []
            problem = evidence.check_readings(record)
            messages += [problem] if problem else []
        ledger.take(record, plan)
        for check in checks:
            messages += check.problems(record, ledger.rollouts.get(record.rollout))
        for text in messages:
            yield Violation(record.n, offset, record.kind, text)
