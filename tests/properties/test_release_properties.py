"""A repository through any life against a model: labs follow it, and never go back."""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from cryofw.errors import CryofwError
from cryofw.journal.memory_storage import MemoryDisk
from cryofw.release import (
    Announcement,
    ReleaseInvalid,
    release_again,
    renew,
    revoke_release,
    rotate,
)
from tests.unit.release.publisher import Lab, Publisher, make_keyring

if TYPE_CHECKING:
    from cryofw.keys import Keyring
    from cryofw.release import OfferedRelease

# Role to the two keys that take turns in it.
TURNS = {
    "online": ("server", "server-2"),
    "targets": ("products", "products-2"),
    "cc40": ("cc40", "cc40-2"),
    "root": ("carol", "dora"),
}

Model = dict[str, tuple[int, bool]]
"""Version to its number, and whether it is revoked."""


@cache
def keyring() -> Keyring:
    return make_keyring(Path(tempfile.mkdtemp(prefix="cryofw-test-keys-")))


class Life(RuleBasedStateMachine):
    """What is staged, what is published, and a lab that looks now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="cryofw-test-"))
        self.publisher = Publisher(keyring(), self.directory)
        self.staged: Model = {}
        self.shown: Model = {}
        self.turn = dict.fromkeys(TURNS, 0)
        self.old: list[tuple[int, MemoryDisk]] = []
        self.seen = 0
        self.published = 1
        self.changed = False

    @initialize()
    def begin(self) -> None:
        self.publisher.init()
        self.veteran = self.publisher.lab("veteran")

    def next_number(self) -> int:
        return max((number for number, _ in self.staged.values()), default=0) + 1

    @rule()
    def add(self) -> None:
        version = f"1.{len(self.staged)}.0"
        record = self.publisher.add(version)
        assert record.number == self.next_number()
        self.staged[version] = (record.number, False)
        self.changed = True

    @precondition(lambda self: any(not revoked for _, revoked in self.staged.values()))
    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        usable = [v for v, (_, revoked) in self.staged.items() if not revoked]
        version = data.draw(st.sampled_from(usable))
        revoke_release(self.publisher.repository(), "cc40", version, "rita", "no")
        self.staged[version] = (self.staged[version][0], True)
        self.changed = True

    @precondition(lambda self: len([1 for _, r in self.staged.values() if not r]) > 1)
    @rule(data=st.data())
    def again(self, data: st.DataObject) -> None:
        usable = sorted((n, v) for v, (n, revoked) in self.staged.items() if not revoked)
        _, version = data.draw(st.sampled_from(usable[:-1]))
        said = Announcement("rita", "back")
        record = release_again(self.publisher.repository(), "cc40", version, said)
        assert record.number == self.next_number()
        self.staged[version] = (record.number, False)
        self.changed = True

    @rule(role=st.sampled_from(sorted(TURNS)))
    def rotate(self, role: str) -> None:
        keys = TURNS[role]
        old, self.turn[role] = keys[self.turn[role]], 1 - self.turn[role]
        new = self.publisher.pool().key(keys[self.turn[role]])
        rotate(self.publisher.repository(), role, [new], [old], None)
        self.changed = True

    @rule(role=st.sampled_from(["root", "targets", "cc40"]))
    def renew(self, role: str) -> None:
        renew(self.publisher.repository(), [role])
        self.changed = True

    @rule()
    def publish(self) -> None:
        self.old.append((self.published, MemoryDisk(dict(self.publisher.disk.entries))))
        self.publisher.publish()
        self.published += 1
        self.shown, self.changed = dict(self.staged), False

    @rule()
    def look(self) -> None:
        self.seen = self.published
        self.compare(self.veteran.client().releases("cc40"))

    @precondition(lambda self: any(version < self.seen for version, _ in self.old))
    @rule(data=st.data())
    def offer_an_old_copy(self, data: st.DataObject) -> None:
        older = [disk for version, disk in self.old if version < self.seen]
        disk = data.draw(st.sampled_from(older))
        try:
            offered = self.veteran.client(disk=disk).releases("cc40")
        except ReleaseInvalid:
            return
        raise AssertionError(f"an old copy was accepted: {offered}")

    def compare(self, releases: list[OfferedRelease]) -> None:
        found = {
            each.record.version: (each.record.number, each.record.revoked is not None)
            for each in releases
        }
        assert found == self.shown

    @invariant()
    def what_is_published_holds_together(self) -> None:
        if self.published > 1 and not self.changed:
            newcomer = self.publisher.lab(f"newcomer-{self.published}")
            self.compare(newcomer.client().releases("cc40"))

    def teardown(self) -> None:
        shutil.rmtree(self.directory)


def test_labs_follow_a_repository_through_any_life() -> None:
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=40,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Publisher:
    """A repository with two releases."""
    publisher = Publisher(keyring(), tmp_path_factory.mktemp("honest"))
    publisher.init()
    publisher.release("1.0.0", "1.1.0")
    return publisher


edits = st.one_of(
    st.tuples(st.just("flip"), st.integers(0, 1 << 20), st.integers(1, 255)),
    st.tuples(st.just("cut"), st.integers(0, 1 << 20), st.just(0)),
    st.tuples(st.just("repeat"), st.integers(0, 1 << 20), st.integers(1, 64)),
    st.tuples(st.just("replace"), st.integers(0, 1 << 20), st.just(0)),
)


@given(st.data(), edits)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_is_changed_on_the_server_a_lab_is_told_or_sees_the_truth(
    honest: Publisher, data: st.DataObject, edit: tuple[str, int, int]
) -> None:
    disk = MemoryDisk(dict(honest.disk.entries))
    names = sorted(name for name in disk.entries if not name.startswith("staged/"))
    name = data.draw(st.sampled_from(names))
    what, place, value = edit
    old = disk.entries[name]
    at = place % len(old)
    if what == "flip":
        new = old[:at] + bytes([old[at] ^ value]) + old[at + 1 :]
    elif what == "cut":
        new = old[:at]
    elif what == "repeat":
        new = old[:at] + old[at : at + 16] * value + old[at:]
    else:
        new = disk.entries[names[place % len(names)]]
    disk.entries[name] = new
    with tempfile.TemporaryDirectory() as state:
        lab = Lab(honest, Path(state))
        told: CryofwError | None = None
        found: dict[str, bytes] = {}
        try:
            client = lab.client(disk=disk)
            found = {r.record.version: client.read(r) for r in client.releases("cc40")}
        except CryofwError as error:
            told = error
    if told is not None:
        assert told.exit_code in (3, 4)
        assert told.hint
        return
    assert found == {version: honest.image(version) for version in found}
    assert list(found) == ["1.0.0", "1.1.0"]
