"""A journal has one home: copies, older backups and empty directories are refused on its host."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cryofw.engine.journal_home import ForeignJournal, JournalHome, find_lost, rehome
from cryofw.errors import BadInput, Refused
from cryofw.journal import (
    FileStorage,
    Journal,
    JournalWriteFailed,
    MemoryDisk,
    MemoryStorage,
    read_journal,
)
from cryofw.journal.chain import retire
from cryofw.journal.verification import LoadedJournal
from tests.unit.audit.audited_lab import a_plan

if TYPE_CHECKING:
    from cryofw.clock import Clock
    from cryofw.rollout import PlannedDevice


def devices(port: str, *, hw: str = "") -> list[PlannedDevice]:
    """Two devices of a plan, on ports that begin so."""
    planned = list(a_plan().devices.values())[:2]
    return [
        replace(
            one,
            hw=hw and hw + one.name,
            connection=replace(one.connection, port=f"{port}{one.name}"),
        )
        for one in planned
    ]


class Lab:
    """A state directory, the host beside it, and a way to drive devices from a journal."""

    def __init__(self, clock: Clock, which: list[PlannedDevice]) -> None:
        self.clock = clock
        self.devices = which
        self.host = MemoryStorage()
        self.state = MemoryStorage()

    def drive(self, state: MemoryStorage, count: int = 3, why: str = "") -> None:
        """What a run does: look, refuse, remember, write."""
        home = JournalHome(state, lambda: self.host, self.devices)
        with Journal.open(state, clock=self.clock, who="a") as journal:
            home.require(journal)
            journal.on_commit = home.remember
            for index in range(count):
                journal.append("step-done", i=index, why=why)

    def copy(self) -> MemoryStorage:
        """The state directory as it is now, without the simulated devices' memory."""
        entries = self.state.disk.entries.items()
        return MemoryStorage(MemoryDisk({n: d for n, d in entries if not n.startswith("sim/")}))


@pytest.fixture(params=["socket://gateway.lab:", "hw"])
def lab(request: pytest.FixtureRequest, clock: Clock) -> Lab:
    """Devices that are known by their ports, or by their hardware ids."""
    if request.param == "hw":
        return Lab(clock, devices("/dev/ttyUSB-", hw="5a"))
    return Lab(clock, devices(request.param))


def test_journal_at_home_goes_on_and_on(lab: Lab) -> None:
    for _ in range(3):
        lab.drive(lab.state)


def test_copy_that_was_left_behind_is_refused_before_anything_is_written(lab: Lab) -> None:
    lab.drive(lab.state)
    copy = lab.copy()
    lab.drive(lab.state)
    before = copy.read("journal.jsonl")
    with pytest.raises(
        ForeignJournal, match="driven at 6 records of it; this copy has 3"
    ) as caught:
        lab.drive(copy)
    assert caught.value.exit_code == 5
    assert copy.read("journal.jsonl") == before


def test_of_two_copies_the_first_to_drive_is_the_home(lab: Lab) -> None:
    lab.drive(lab.state)
    fork = lab.copy()
    lab.drive(fork, 2, "another way")
    with pytest.raises(ForeignJournal):
        lab.drive(lab.state)
    lab.drive(fork)


def test_copy_that_went_on_otherwise_is_refused(lab: Lab, clock: Clock) -> None:
    lab.drive(lab.state)
    fork = lab.copy()
    with Journal.open(fork, clock=clock, who="a") as journal:
        for _ in range(9):
            journal.append("step-done", why="not on this host")
    lab.drive(lab.state)
    with pytest.raises(ForeignJournal, match="went on otherwise"):
        lab.drive(fork)


def test_empty_directory_cannot_start_over(lab: Lab) -> None:
    """Or a rollout's alpha could be had again by deleting its journal."""
    lab.drive(lab.state)
    with pytest.raises(ForeignJournal, match="here is an empty journal"):
        lab.drive(MemoryStorage())


def test_who_only_plans_is_told_the_same_and_leaves_nothing_behind(lab: Lab) -> None:
    home = JournalHome(lab.state, lambda: lab.host, lab.devices)
    home.require_driver(LoadedJournal())
    assert lab.host.list() == []
    lab.drive(lab.state)
    copy = lab.copy()
    home.require_driver(read_journal(copy))
    lab.drive(lab.state)
    with pytest.raises(ForeignJournal, match="driven at 6 records of it; this copy has 3"):
        home.require_driver(read_journal(copy))
    with pytest.raises(ForeignJournal, match="here is an empty journal"):
        home.require_driver(LoadedJournal())


def test_path_counts_by_its_name_not_by_what_it_links_to(tmp_path: Path, clock: Clock) -> None:
    """An adapter that comes back as another ttyUSB is the same device."""
    link, lab = tmp_path / "by-id-", Lab(clock, devices(f"{tmp_path}/by-id-"))
    for number in range(2):
        for device in lab.devices:
            name = Path(f"{link}{device.name}")
            name.unlink(missing_ok=True)
            name.symlink_to(f"/dev/ttyUSB{number}")
        if number == 0:
            lab.drive(lab.state)
    with pytest.raises(ForeignJournal):
        lab.drive(MemoryStorage())


def test_one_shared_device_is_enough(lab: Lab) -> None:
    lab.drive(lab.state)
    other = Lab(lab.clock, lab.devices[1:])
    other.host = lab.host
    with pytest.raises(ForeignJournal, match=f"last drove {lab.devices[1].name}:"):
        other.drive(other.state)


def test_host_that_dies_after_any_record_has_remembered_it(lab: Lab) -> None:
    """What was announced may have been done: a copy from before it is refused."""
    lab.drive(lab.state, 1)
    copy = lab.copy()
    home = JournalHome(lab.state, lambda: lab.host, lab.devices)
    journal = Journal.open(lab.state, clock=lab.clock, who="a")
    home.require(journal)
    journal.on_commit = home.remember
    journal.append("step-done")
    lab.state.die()  # nothing is closed
    with pytest.raises(ForeignJournal):
        lab.drive(copy)
    lab.drive(MemoryStorage(lab.state.disk))


def test_nothing_is_done_that_the_host_does_not_remember(lab: Lab) -> None:
    lab.drive(lab.state)
    home = JournalHome(lab.state, lambda: lab.host, lab.devices)
    with Journal.open(lab.state, clock=lab.clock, who="a") as journal:
        home.require(journal)
        journal.on_commit = home.remember
        lab.host.fail_at(0)
        with pytest.raises(JournalWriteFailed):
            journal.append("image-test-requested")
    lab.drive(lab.state)


def test_retired_journal_s_successor_is_at_home(lab: Lab, clock: Clock) -> None:
    lab.drive(lab.state)
    copy = lab.copy()
    retire(lab.state, clock=clock, who="a", why="")
    lab.drive(lab.state)
    retire(lab.state, clock=clock, who="a", why="")
    retire(lab.state, clock=clock, who="a", why="")
    lab.drive(lab.state)
    with pytest.raises(ForeignJournal):
        lab.drive(copy)


def test_person_may_go_on_from_a_backup_by_name(lab: Lab) -> None:
    lab.drive(lab.state)
    backup = lab.copy()
    lab.drive(lab.state)
    with pytest.raises(ForeignJournal) as caught:
        lab.drive(backup)
    named = caught.value.hint.partition("rehome ")[2].split()[0]
    lost = find_lost(backup, lab.host, named)
    with Journal.open(backup, clock=lab.clock, who="anna") as journal:
        record = rehome(journal, lost, "anna", "the disk died")
    assert (record.fields["by"], record.fields["size"]) == ("anna", 6)
    lab.drive(backup)
    lab.drive(backup)
    with pytest.raises(ForeignJournal):  # the lost one came back
        lab.drive(lab.state)


def test_word_for_one_loss_is_not_one_for_the_next(lab: Lab) -> None:
    lab.drive(lab.state)
    backup = lab.copy()
    lab.drive(lab.state)
    with Journal.open(backup, clock=lab.clock, who="anna") as journal:
        lost = find_lost(backup, lab.host, journal.head.origin)
        rehome(journal, lost, "anna", "the disk died")
    lab.drive(lab.state)  # it was not lost
    with pytest.raises(ForeignJournal):
        lab.drive(backup)


def test_rehome_needs_a_lost_journal_that_is_known(lab: Lab) -> None:
    lab.drive(lab.state)
    with Journal.open(lab.state, clock=lab.clock, who="anna") as journal:
        with pytest.raises(Refused, match="extends that one already"):
            rehome(journal, find_lost(lab.state, lab.host, journal.head.origin), "anna", "x")
        for unknown in ("", "cryofw/journal/", "0" * 12, journal.head.origin[:18]):
            with pytest.raises(BadInput, match="remembers no journals"):
                find_lost(lab.state, lab.host, unknown)


def test_damaged_memory_is_no_permission(lab: Lab) -> None:
    lab.drive(lab.state)
    for entry in lab.host.list("journals/"):
        lab.host.write_atomic(entry, b"{}")
    with pytest.raises(Refused, match="no longer knows"):
        lab.drive(lab.state)


def test_simulated_devices_remember_beside_their_flash(clock: Clock) -> None:
    lab = Lab(clock, devices("sim://"))
    lab.drive(lab.state)
    copy = lab.copy()  # a journal without its lab: new devices
    lab.drive(copy)
    assert lab.host.list() == []
    whole = MemoryStorage(MemoryDisk(dict(lab.state.disk.entries)))
    lab.drive(lab.state)
    lab.drive(whole)  # the lab travels with its journal
    lab.state.remove("journal.jsonl")
    lab.state.remove("checkpoint.json")
    with pytest.raises(ForeignJournal):
        lab.drive(lab.state)


def test_host_that_cannot_remember_is_told_before_it_begins(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "file").write_bytes(b"")
    state = MemoryStorage()
    place = FileStorage(tmp_path / "file" / "x")
    home = JournalHome(state, lambda: place, devices("/dev/ttyUSB-"))
    with (
        Journal.open(state, clock=clock, who="a") as journal,
        pytest.raises(Refused, match="cannot remember") as caught,
    ):
        home.require(journal)
    assert "CRYOFW_HOST_STATE" in caught.value.hint
