"""The home of a journal: one state directory with everything that must outlive a process.

journal.jsonl, checkpoint.json   the log that is the truth
checkpoint, cosigned/, tree/     what signs it, and its hashes
retired/                         the journals before it
rollouts/<id>/plan.json          what was decided to do, by its digest
rollouts/<id>/readings.jsonl     raw heartbeats and metrics
images/<hash>.bin                verified firmware: the release and every way back
requests/<id>/                   what people ask of a rollout that another process runs
sim/                             the simulated devices, if there are any
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from cryofw.engine.journal_home import DrivenDevice, JournalHome
from cryofw.engine.lab_acts import write_lab_event
from cryofw.engine.reading_log import ReadingLog
from cryofw.engine.request_box import RequestBox
from cryofw.engine.site import SIMULATED_EPOCH, is_simulated
from cryofw.engine.virtual_time import StoppedClock, SystemClock
from cryofw.errors import BadInput, VerificationFailed
from cryofw.journal import (
    JOURNAL_NAME,
    Checkpoint,
    FileStorage,
    Journal,
    StorageLocked,
    StorageMissing,
    TreeHead,
    checkpoint_name,
    origin_of,
    read_journal,
)
from cryofw.journal.chain import extends_chain, retired_journals
from cryofw.journal.host_directory import host_state_directory
from cryofw.journal.verification import LoadedJournal
from cryofw.release import ImageStore
from cryofw.rollout import (
    History,
    Plan,
    Rollout,
    RolloutSummary,
    connection_of,
    fields_of,
    parse_plan,
    step_from_record,
)
from cryofw.rollout import events as e
from cryofw.rollout.lab_events import LabEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from cryofw.clock import Clock
    from cryofw.engine.authorization import Authorization
    from cryofw.engine.journal_home import Driven
    from cryofw.fleet import Fleet
    from cryofw.image import PublicKey
    from cryofw.journal import NoteSigner, Record, Storage
    from cryofw.release import RecognisedImage
    from cryofw.rollout import Event, RolloutState, Running
    from cryofw.rollout.events import StopRequested

_LAB_CLOCK = "sim/clock"


class Home:
    """One state directory.

    Args:
        directory: made on the first write.
        storage: where entries lie; the directory's files by default.
        host: what this host keeps outside of it, see `JournalHome`; its own directory by default.

    Attributes:
        signer: what signs checkpoints of the journal, if anything does.
    """

    def __init__(
        self, directory: Path, storage: Storage | None = None, host: Storage | None = None
    ) -> None:
        self.directory = directory
        self.storage: Storage = storage or FileStorage(directory)
        self._host = host
        self.signer: NoteSigner | None = None

    @property
    def host(self) -> Storage:
        """What this host keeps outside of the state directory.

        Raises:
            Refused: there is no place for it.
        """
        if self._host is None:
            self._host = FileStorage(host_state_directory())
        return self._host

    @property
    def clock(self) -> Clock:
        """The time for records that no rollout writes: in a simulated lab it stands still."""
        is_lab = self.storage.exists("sim/lab.json")
        return StoppedClock(SIMULATED_EPOCH) if is_lab else SystemClock()

    def now(self) -> datetime:
        """The time of this lab for what people sign: never before the latest record."""
        now = self.clock.now()
        if self.storage.exists(_LAB_CLOCK):
            from cryofw.simulator.lab_store import clock_seconds

            now += timedelta(seconds=clock_seconds(self.storage.read(_LAB_CLOCK)))
        records = self.records()
        return max(now, datetime.fromisoformat(records[-1].t)) if records else now

    def head(self) -> TreeHead | None:
        """The journal as it stands now; None if nothing was written yet."""
        if not self.storage.exists(JOURNAL_NAME):
            return None
        loaded = read_journal(self.storage)
        if not loaded.leaves:
            return None
        return TreeHead(origin_of(loaded.leaves[0]), len(loaded.leaves), loaded.root)

    def open_journal(self, clock: Clock, who: str) -> Journal:
        """The journal, locked for writing; raises as `Journal.open`."""
        return Journal.open(self.storage, clock=clock, who=who, signer=self.signer)

    def authorization(self, plan: Plan, journal: Journal | None = None) -> Authorization | None:
        """What holds acts in a rollout against its policy; None if it has none.

        Args:
            plan: of the rollout.
            journal: if it is open here; else it is read, and nothing is believed about
                journals that people saw.

        Raises:
            VerificationFailed: its policy is missing, or another one.
        """
        if plan.policy is None:
            return None
        from cryofw.engine.authorization import Authorization
        from cryofw.engine.policy_store import PolicyStore

        store = PolicyStore(self.storage)
        policy, pinned = store.of_plan(plan), store.pinned()
        assert policy is not None
        return Authorization(
            plan,
            policy,
            pinned.policy if pinned else None,
            lambda head: journal is None or extends_chain(self.storage, journal, head),
            journal.records if journal else self.records(),
        )

    def journal_home(self, devices: Iterable[Driven]) -> JournalHome:
        """What is remembered, outside of the journal, of who drove these devices."""
        return JournalHome(self.storage, lambda: self.host, devices)

    def require_driver(self, fleet: Fleet, running: Mapping[str, Running]) -> None:
        """See that what is planned here could be deployed from here: the journal is the right one.

        Args:
            running: what the devices told, as `survey` gives it.

        Raises:
            ForeignJournal: another journal, or a later state of this one, drove a device.
            JournalCorrupt: the journal does not verify.
        """
        register = self.history().register
        devices = [
            DrivenDevice(
                one.name,
                one.hw or register.pinned_hw(one.name) or running[one.name].hw,
                connection_of(one),
            )
            for one in fleet.controllers
        ]
        began = self.storage.exists(JOURNAL_NAME)
        journal = read_journal(self.storage) if began else LoadedJournal()
        self.journal_home(devices).require_driver(journal)

    def records(self) -> Sequence[Record]:
        """All records, verified against the checkpoint; empty when there is no journal yet.

        Raises:
            JournalCorrupt: the journal does not verify.
            VerificationFailed: it is gone.
        """
        if not self.storage.exists(JOURNAL_NAME):
            self._require_never_written()
            return ()
        return read_journal(self.storage).records

    def require_records(self) -> Sequence[Record]:
        """As `records`, of a journal that was begun.

        Raises:
            StorageMissing: there is none; nothing was made.
        """
        records = self.records()
        if not records:
            raise StorageMissing(f"there is no journal in {self.directory}")
        return records

    def _require_never_written(self) -> None:
        """A checkpoint is written before the first record, so it tells whether there was one."""
        name = checkpoint_name(JOURNAL_NAME)
        if not self.storage.exists(name):
            return
        size = Checkpoint.decode(self.storage.read(name), JOURNAL_NAME).size
        if size:
            raise VerificationFailed(
                "the journal is missing",
                why=f"{name} covers {size} records, and {self.directory / JOURNAL_NAME} is gone",
                hint="restore the state directory from its backup",
            )

    def history(self) -> History:
        """The fold over all records, those of retired journals first."""
        return History.fold(self.all_records())

    def all_records(self) -> Sequence[Record]:
        """Those of retired journals and of this one, oldest first."""
        records = self.records()
        retired = retired_journals(self.storage, records[0]) if records else ()
        chain = [records, *(loaded.records for _, loaded in retired)]
        return [record for part in reversed(chain) for record in part]

    def records_of(self, rollout: str) -> Sequence[Record]:
        """The records of the journal in which a rollout was started; of this one if in none."""
        records = self.records()
        retired = retired_journals(self.storage, records[0]) if records else ()
        for part in (records, *(loaded.records for _, loaded in retired)):
            if any(r.rollout == rollout and r.kind == e.RolloutStarted.kind for r in part):
                return part
        return records

    def image_store(self, keys: Sequence[PublicKey]) -> ImageStore:
        """The images, verified with `keys`; a way back may also be one that was adopted."""

        def adopted() -> dict[str, str]:
            return self.history().register.foreign_files()

        return ImageStore(self.storage, keys, adopted)

    def keep_adopted(self, image: RecognisedImage) -> None:
        """Keep the file of an image that a device runs already, as a way back to it."""
        ImageStore(self.storage, ()).adopt(image)

    def readings(self, rollout: str) -> ReadingLog:
        """The raw readings of a rollout."""
        return ReadingLog(self.storage, rollout)

    def requests(self, rollout: str) -> RequestBox:
        """The requests to a rollout."""
        return RequestBox(self.storage, rollout)

    def save_plan(self, plan: Plan) -> None:
        """Keep a plan before its rollout starts."""
        self.storage.write_atomic(_plan_name(plan.rollout), plan.canonical)

    def load_plan(self, summary: RolloutSummary) -> Plan:
        """The plan of a rollout, checked against the digest in the journal.

        Raises:
            VerificationFailed: it is missing or another one.
        """
        name = _plan_name(summary.rollout)
        hint = "restore the state directory from its backup"
        if not self.storage.exists(name):
            raise VerificationFailed(f"{name} is missing", hint=hint)
        return parse_plan(self.storage.read(name), name, summary.plan_digest)

    def find(self, rollout: str | None) -> RolloutSummary:
        """A rollout by id, or by an unambiguous beginning of it; the latest when None.

        Raises:
            BadInput: there is none, or several.
        """
        rollouts = self.history().rollouts
        if not rollouts:
            raise BadInput(
                f"there is no rollout in {self.directory}", hint="start one with `cryofw deploy`"
            )
        if rollout is None:
            return list(rollouts.values())[-1]
        found = [s for name, s in rollouts.items() if name.startswith(rollout)]
        if len(found) != 1:
            known = ", ".join(list(rollouts)[-5:])
            what = "no rollout" if not found else f"{len(found)} rollouts"
            raise BadInput(f"{what} called {rollout}", why=f"the latest are: {known}")
        return found[0]

    def record(self, plan: Plan, event: Event, who: str) -> None:
        """Journal what a person said about a rollout that is not running.

        Raises:
            ActRefused, SignatureInvalid: it has a policy, which does not let them say it.
            StorageLocked: it is running; leave a request instead.
        """
        # A simulated lab's time stands still between runs: the journal repeats its latest time.
        simulated = is_simulated(plan.ports.values())
        clock = StoppedClock(SIMULATED_EPOCH) if simulated else SystemClock()
        with self.open_journal(clock, who) as journal:
            authorization = self.authorization(plan, journal)
            if authorization is not None:
                authorization.admit(event, self.now())
            device: str | None = getattr(event, "device", None)
            journal.append(event.kind, rollout=plan.rollout, device=device, **fields_of(event))

    def stop(self, plan: Plan, event: StopRequested, who: str) -> RolloutState:
        """Stop a rollout that nobody runs: no port is opened, nothing is sent.

        Raises:
            StorageLocked: it is running; leave a request instead.
        """
        simulated = is_simulated(plan.ports.values())
        clock = StoppedClock(SIMULATED_EPOCH) if simulated else SystemClock()
        with self.open_journal(clock, who) as journal:
            rollout = self.fold_rollout(plan, journal.records, self.readings(plan.rollout))
            rollout.state.paused = ""
            for step in [event, *rollout.receive(event)]:
                device: str | None = getattr(step, "device", None)
                journal.append(step.kind, rollout=plan.rollout, device=device, **fields_of(step))
            self._empty_requests(plan, journal)
        return rollout.state

    def _empty_requests(self, plan: Plan, journal: Journal) -> None:
        """What was asked of a rollout before it was stopped must not be obeyed by a rollback."""
        box = self.requests(plan.rollout)
        for name, event in box.waiting():
            if isinstance(event, LabEvent):
                write_lab_event(journal, event)
            box.remove(name)

    def fold_rollout(self, plan: Plan, records: Sequence[Record], readings: ReadingLog) -> Rollout:
        """A rollout as the journal and its raw readings have it, ready to go on.

        Readings are taken between the records where they were taken in the first place: a
        heartbeat from before a reset must not name the boot to stay in after it.
        """
        rollout = Rollout(plan)
        state = rollout.state
        waiting = readings.load(len(records))  # one at a time: there may be millions
        following = next(waiting, None)

        def replay(until: float) -> None:
            nonlocal following
            while following is not None and following.after <= until:
                if following.device in state.devices:
                    state.apply(e.ReadingTaken(following.device, following.reading))
                following = next(waiting, None)

        for record in records:
            replay(record.n)
            step = step_from_record(record) if record.rollout == plan.rollout else None
            if step is not None:
                state.apply(step)
        replay(math.inf)
        if records:
            state.approvals.hear(datetime.fromisoformat(records[-1].t).timestamp())
        state.restart()
        return rollout

    @property
    def holder(self) -> str:
        """Who has the journal open for writing, in words; empty if nobody has."""
        try:
            with self.storage.lock(JOURNAL_NAME):
                return ""
        except StorageLocked as locked:
            return locked.why or "another process"


def _plan_name(rollout: str) -> str:
    return f"rollouts/{rollout}/plan.json"
