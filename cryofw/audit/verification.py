"""The audit: is this the journal that was written, and does it keep the design's promises?"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from cryofw.audit.evidence import Evidence
from cryofw.audit.export import require_own_tiles
from cryofw.audit.journal_rules import JOURNAL_KINDS
from cryofw.audit.ledger import ROLLOUT_KINDS, Ledger
from cryofw.audit.register import LAB_KINDS
from cryofw.audit.rules import broken_rules
from cryofw.audit.signatures import SignatureReport, parse_checkpoint, verify_signatures
from cryofw.audit.standing import ATTESTED
from cryofw.audit.trust import NO_TRUST, LogTrust
from cryofw.errors import VerificationFailed
from cryofw.journal import (
    CLOSED,
    JOURNAL_NAME,
    Checkpoint,
    JournalCorrupt,
    checkpoint_name,
    origin_of,
    read_leaf_hashes,
    scan_journal,
)
from cryofw.journal.chain import Predecessor, named_if_retired, predecessor
from cryofw.journal.form_check import FormCheck
from cryofw.journal.line_reader import read_records

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from cryofw.audit.check import Check
    from cryofw.journal import JournalScan, Record, SignedHead, Storage

_SHOWN = 20
_OTHER_KINDS = frozenset({ATTESTED, *JOURNAL_KINDS, *LAB_KINDS})


@dataclass(frozen=True)
class Violation:
    """A record that should not stand there: its number, its first byte, and why."""

    record: int
    offset: int
    kind: str
    message: str
    journal: str = ""
    """Of a retired journal, its name."""

    def __str__(self) -> str:
        place = f"{self.journal}: " if self.journal else ""
        return f"{place}record {self.record} at byte {self.offset} ({self.kind}): {self.message}"


@dataclass(frozen=True)
class AuditReport:
    """A journal that holds.

    Attributes:
        anchored: how many records are covered by the checkpoint.
        continues: the journal before it, which holds too; None if there is none at hand.
        absent: the name of the journal before it, if it lies elsewhere.
    """

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
    continues: AuditReport | None = None
    absent: str = ""


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
    kept = {source: parse_checkpoint(text, source) for source, text in (since or {}).items()}
    audit = _Audit(storage, trust, kept, checks, evidence, processes)
    last = audit.read(name)
    if last.violations:
        raise AuditFailed(last.violations)
    return last.report


@dataclass(frozen=True)
class _Audited:
    """One journal of a chain, with the rules that it and those before it break."""

    report: AuditReport
    violations: list[Violation]
    is_closed: bool


@dataclass
class _Audit:
    """One run over a journal and those that it continues, oldest first, with one ledger."""

    storage: Storage
    trust: LogTrust
    since: Mapping[str, SignedHead]
    checks: Sequence[Check]
    evidence: bool
    processes: int
    ledger: Ledger = field(default_factory=Ledger)
    seen: set[str] = field(default_factory=set)

    def read(self, name: str) -> _Audited:
        if name in self.seen:
            raise JournalCorrupt(
                f"{name} continues itself",
                why="a journal continues an older one",
                record=0,
                offset=0,
            )
        self.seen.add(name)
        entry = checkpoint_name(name)
        if not self.storage.exists(entry):
            self.storage.read(name)
            raise JournalCorrupt(
                f"{name} has no checkpoint", why="nothing says how long it was and what it held"
            )
        checkpoint = Checkpoint.decode(self.storage.read(entry), name)
        data = self.storage.read(name)
        with named_if_retired(name):
            scan = scan_journal(data, checkpoint, read_leaf_hashes(self.storage, name))
        before = self._predecessor(data)
        earlier: _Audited | None = None
        if before is not None and self.storage.exists(before.name):
            earlier = self.read(before.name)
            _require_same(before, earlier)
        signatures = self._signatures(name, data, scan, earlier)
        if name == JOURNAL_NAME:
            require_own_tiles(self.storage, data, scan.leaves)
        tally, violations = self._records(name, data, scan)
        kinds = tally.kinds
        report = AuditReport(
            origin=origin_of(scan.leaves[0]) if scan.leaves else "",
            signatures=signatures,
            records=len(scan.leaves),
            anchored=scan.anchored,
            root=scan.tree.root(),
            rollouts=kinds["rollout-started"],
            repairs=kinds["journal-repaired"],
            torn_bytes=scan.torn_bytes,
            unknown_kinds=tuple(sorted(kinds.keys() - ROLLOUT_KINDS - _OTHER_KINDS)),
            first_time=tally.first_time,
            last_time=tally.last_time,
            continues=earlier.report if earlier else None,
            absent="" if before is None or earlier is not None else before.name,
        )
        found = [*(earlier.violations if earlier else ()), *violations]
        return _Audited(report, found, tally.last_kind == CLOSED)

    def _predecessor(self, data: bytes) -> Predecessor | None:
        first = next(read_records(data, data.find(b"\n") + 1), None)
        return None if first is None else predecessor(first[1])

    def _signatures(
        self, name: str, data: bytes, scan: JournalScan, earlier: _Audited | None
    ) -> SignatureReport:
        """Checkpoints kept elsewhere are held against the journal of the chain that they are of."""
        origins = set()
        one = earlier.report if earlier else None
        while one is not None:
            origins.add(one.origin)
            one = one.continues
        own = origin_of(scan.leaves[0]) if scan.leaves else ""
        since = {
            source: kept
            for source, kept in self.since.items()
            if kept.head.origin == own or (name == JOURNAL_NAME and kept.head.origin not in origins)
        }
        return verify_signatures(self.storage, name, data, scan, self.trust, since)

    def _records(self, name: str, data: bytes, scan: JournalScan) -> tuple[_Tally, list[Violation]]:
        tally = _Tally()
        evidence = Evidence(self.storage) if self.evidence else None
        with FormCheck(data, scan.length, self.processes) as form:
            strict_from = len(scan.leaves) if form.runs_apart else 0
            records = tally.count(read_records(data, scan.length, strict_from=strict_from))
            found = list(_violations(self.ledger, records, evidence, self.checks))
            form.finish()
        if name != JOURNAL_NAME:
            found = [replace(violation, journal=name) for violation in found]
        return tally, found


def _require_same(before: Predecessor, earlier: _Audited) -> None:
    report = earlier.report
    if (report.origin, report.records, report.root) != (
        before.head.origin, before.head.size, before.head.root,
    ):  # fmt: skip
        raise JournalCorrupt(
            f"{before.name} is not the journal that record 0 continues",
            why=f"that one had {before.head.short}",
            record=0,
            offset=0,
        )
    if not earlier.is_closed:
        raise JournalCorrupt(
            f"{before.name} was not closed",
            why="record 0 continues it, and it could have gone on",
            record=0,
            offset=0,
        )


class _Tally:
    """Remembers kinds and times of records as they pass."""

    def __init__(self) -> None:
        self._kinds: list[str] = []
        self.first_time = self.last_time = ""

    def count(self, records: Iterable[tuple[int, Record]]) -> Iterator[tuple[int, Record]]:
        note, record = self._kinds.append, None
        for offset, record in records:
            note(record.kind)
            if not self.first_time:
                self.first_time = record.t
            yield offset, record
        self.last_time = record.t if record else ""

    @property
    def last_kind(self) -> str:
        return self._kinds[-1] if self._kinds else ""

    @property
    def kinds(self) -> Counter[str]:
        return Counter(self._kinds)


def find_violations(
    records: Iterable[Record], evidence: Evidence | None, checks: Sequence[Check] = ()
) -> list[Violation]:
    """Every broken rule, oldest first; without `evidence` plans and readings are not asked for."""
    return list(_violations(Ledger(), _with_offsets(records), evidence, checks))


def _with_offsets(records: Iterable[Record]) -> Iterator[tuple[int, Record]]:
    offset = 0
    for record in records:
        yield offset, record
        offset += len(record.line) + 1


def _violations(
    ledger: Ledger,
    records: Iterable[tuple[int, Record]],
    evidence: Evidence | None,
    checks: Sequence[Check],
) -> Iterator[Violation]:
    closed = ""
    for offset, record in records:
        messages = [*broken_rules(ledger, record), *([closed] if closed else [])]
        if record.kind == CLOSED:
            closed = f"record {record.n} had closed this journal"
        plan = None
        if evidence is not None:
            if record.kind == "rollout-started":
                plan, problem = evidence.plan(record)
                messages += [problem] if problem else []
            for problem in (evidence.check_readings(record), evidence.check_log(record)):
                messages += [problem] if problem else []
        ledger.take(record, plan)
        for check in checks:
            messages += check.problems(record, ledger.rollouts.get(record.rollout))
        for text in messages:
            yield Violation(record.n, offset, record.kind, text)
