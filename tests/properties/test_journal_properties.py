"""The journal as a state machine: a host that dies in any write loses nothing acknowledged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cryofw.journal import (
    Checkpoint,
    Entry,
    HostDied,
    Journal,
    JournalWriteFailed,
    MemoryStorage,
    read_journal,
    verify_journal,
)
from cryofw.journal.record import decode, make_record

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)  # fmt: skip
field_names = st.text(max_size=6).filter(
    lambda name: name not in {"v", "n", "t", "who", "rollout", "device", "kind"}
)


@given(
    st.dictionaries(field_names, json_values, max_size=4),
    st.text(max_size=5),
    st.none() | st.text(max_size=5),
    st.integers(min_value=0),
)
def test_any_record_comes_back_from_its_line(
    fields: dict[str, object], who: str, device: str | None, n: int
) -> None:
    entry = Entry("step-done", who, device, fields)
    record = make_record(entry, n, "2026-11-20T21:07:03.114Z", who)
    assert b"\n" not in record.line
    assert decode(record.line) == record
    assert decode(record.line).line == record.line


class _Clock:
    def __init__(self) -> None:
        self.time = datetime(2026, 11, 20, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class JournalMachine(RuleBasedStateMachine):
    """Against the simplest model: a list of what was acknowledged."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = _Clock()
        self.storage = MemoryStorage()
        self.acknowledged: list[int] = []
        self.maybe: list[int] = []
        self.counter = 0
        self.open = False

    @initialize()
    def begin(self) -> None:
        self._open()

    def _open(self) -> None:
        try:
            self.journal = Journal.open(self.storage, clock=self.clock, who="me")
        except HostDied:
            self.storage = self.storage.die()
            self.journal = Journal.open(self.storage, clock=self.clock, who="me")
        self.storage.die_at(-1)  # a fault that opening did not reach is over
        written = [
            record.fields["i"] for record in self.journal.records if record.kind == "step-done"
        ]
        # What was being written when the host died may be there, from its beginning on.
        rest = written[len(self.acknowledged) :]
        assert written[: len(self.acknowledged)] == self.acknowledged
        assert rest == self.maybe[: len(rest)]
        self.acknowledged = [int(str(one)) for one in written]
        self.maybe = []
        self.open = True

    @precondition(lambda self: self.open)
    @rule(count=st.integers(1, 40), back_s=st.integers(-100, 100))
    def append(self, count: int, back_s: int) -> None:
        self.clock.time += timedelta(seconds=back_s)
        self._append(count)

    def _append(self, count: int) -> None:
        wanted = list(range(self.counter, self.counter + count))
        self.counter += count
        self.maybe = wanted
        self.journal.append_many(Entry("step-done", fields={"i": i}) for i in wanted)
        self.acknowledged += wanted
        self.maybe = []

    @precondition(lambda self: self.open)
    @rule(
        write=st.integers(0, 2), kept=st.integers(0, 3000), count=st.integers(1, 40),
        at_open=st.booleans(),
    )  # fmt: skip
    def die(self, write: int, kept: int, count: int, at_open: bool) -> None:
        if at_open:  # killed between two writes, and once more while the next process opens
            self.storage = self.storage.die()
            self.storage.die_at(write, kept)
            self._open()
            return
        self.storage.die_at(write, kept)
        try:
            while True:
                self._append(count)
        except HostDied:
            self.storage = self.storage.die()
            self._open()

    @precondition(lambda self: self.open)
    @rule(kept=st.integers(0, 3000))
    def disk_full(self, kept: int) -> None:
        self.storage.fail_at(0, kept)
        try:
            self._append(1)
        except JournalWriteFailed:
            self.journal.close()
            self._open()

    @precondition(lambda self: self.open)
    @rule()
    def reopen(self) -> None:
        self.journal.close()
        checkpoint = Checkpoint.decode(self.storage.read("checkpoint.json"), "journal.jsonl")
        report = verify_journal(self.storage.read("journal.jsonl"), checkpoint) if (
            self.storage.exists("journal.jsonl")
        ) else None  # fmt: skip
        assert report is None or report.anchored == len(report.records) == self.journal.size
        self._open()

    @invariant()
    def readers_see_what_the_writer_has(self) -> None:
        if self.open and self.storage.exists("journal.jsonl"):
            seen = read_journal(self.storage)
            assert seen.records == list(self.journal.records)
            assert seen.root == self.journal.root
            times = [record.t for record in seen.records]
            assert times == sorted(times)


JournalMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=15, deadline=None)
TestJournalMachine = JournalMachine.TestCase
