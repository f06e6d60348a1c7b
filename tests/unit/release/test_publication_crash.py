"""A publisher that is killed at any write leaves the old or the new repository, never half."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from cryofw.journal.memory_storage import HostDied, MemoryDisk, MemoryStorage
from cryofw.release import Announcement, release_again, renew, revoke_release, rotate
from tests.unit.release.publisher import MemoryFetcher, Publisher

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cryofw.keys import Keyring
    from tests.unit.release.publisher import Lab

    Stage = Callable[[Publisher], object]


class DyingStorage(MemoryStorage):
    """Loses power before the n-th write or removal."""

    def __init__(self, disk: MemoryDisk, after: int) -> None:
        super().__init__(disk)
        self.left = after

    def write_atomic(self, name: str, data: bytes) -> None:
        self._count()
        super().write_atomic(name, data)

    def remove(self, name: str) -> None:
        self._count()
        super().remove(name)

    def _count(self) -> None:
        if self.left == 0:
            raise HostDied("power lost")
        self.left -= 1


def rotated(role: str, new: str, old: str) -> Stage:
    return lambda p: rotate(p.repository(), role, [p.pool().key(new)], [old], None)


def everything(p: Publisher) -> None:
    """Every key but the first root's two, and a release, in one publication."""
    for role, new, old in (
        ("online", "server-2", "server"),
        ("targets", "products-2", "products"),
        ("cc40", "cc40-2", "cc40"),
        ("root", "dora", "anna"),
    ):
        rotate(p.repository(), role, [p.pool().key(new)], [old], None)
    p.add("1.1.0")


CHANGES: dict[str, Stage] = {
    "a release": lambda p: p.add("1.1.0"),
    "a rollback": lambda p: release_again(
        p.repository(), "cc40", "0.9.0", Announcement("rita", "1.0.0 drifts")
    ),
    "a revocation": lambda p: revoke_release(p.repository(), "cc40", "1.0.0", "rita", "drifts"),
    "a renewal of everything": lambda p: renew(p.repository(), ["root", "targets", "cc40"]),
    "another online key": rotated("online", "server-2", "server"),
    "another targets key": rotated("targets", "products-2", "products"),
    "another product key": rotated("cc40", "cc40-2", "cc40"),
    "another root key": rotated("root", "dora", "carol"),
    "a second product": lambda p: rotate(
        p.repository(), "cc41", [p.pool().key("cc41")], [], None, new_product=True
    ),
    "everything at once": everything,
}


def seen(lab: Lab) -> list[tuple[str, int, bool]]:
    releases = lab.client().releases("cc40")
    return [
        (each.record.version, each.record.number, each.record.revoked is not None)
        for each in releases
        if lab.client().read(each)
    ]


@pytest.mark.parametrize("change", CHANGES)
def test_labs_see_the_old_or_the_new_repository_wherever_the_publisher_dies(
    publisher: Publisher, change: str
) -> None:
    publisher.release("0.9.0", "1.0.0")
    veteran = publisher.lab("veteran")
    old = seen(veteran)
    CHANGES[change](publisher)
    before = dict(publisher.disk.entries)
    publisher.publish()
    new = seen(publisher.lab("newcomer-of-the-whole"))
    deaths = 0
    while True:
        publisher.disk = MemoryDisk(dict(before))
        publisher.storage = DyingStorage(publisher.disk, deaths)
        try:
            publisher.publish()
            died = False
        except HostDied:
            died = True
        now = seen(publisher.lab(f"newcomer-{deaths}"))
        assert now in (old, new), f"write {deaths}"
        # A lab from before: it must never be asked to go back.
        shutil.copytree(veteran.state, publisher.directory / f"veteran-{deaths}", symlinks=True)
        witness = publisher.lab(f"veteran-{deaths}")
        assert seen(witness) == now
        if not died:
            break
        publisher.storage = MemoryStorage(publisher.disk)
        publisher.publish()
        assert seen(witness) == new, f"resumed after write {deaths}"
        deaths += 1
    assert deaths > 4
    assert now == new


def test_a_killed_init_leaves_no_repository_or_a_whole_one(
    keyring: Keyring, tmp_path: Path
) -> None:
    for deaths in range(100):
        publisher = Publisher(keyring, tmp_path / str(deaths))
        publisher.storage = DyingStorage(publisher.disk, deaths)
        try:
            publisher.init()
        except HostDied:
            publisher.storage = MemoryStorage(publisher.disk)
            if publisher.repository().exists:
                assert publisher.lab("early").versions() == []
                continue
            publisher.init()
            assert publisher.lab().versions() == []
        else:
            assert deaths > 10
            return
    raise AssertionError("it never ends")


def test_a_staged_change_dies_without_a_trace_or_can_be_published(publisher: Publisher) -> None:
    before = dict(publisher.disk.entries)
    for deaths in range(3):
        publisher.disk = MemoryDisk(dict(before))
        publisher.storage = DyingStorage(publisher.disk, deaths)
        try:
            publisher.add("1.0.0")
        except HostDied:
            assert publisher.lab(str(deaths)).versions() == []
            publisher.storage = MemoryStorage(publisher.disk)
            publisher.add("1.0.0")
        publisher.storage = MemoryStorage(publisher.disk)
        publisher.publish()
        assert publisher.lab(str(deaths)).versions() == ["1.0.0"]


def test_what_is_staged_is_never_served(publisher: Publisher) -> None:
    publisher.add("1.0.0")
    fetcher = MemoryFetcher(publisher.disk)
    client = publisher.lab().client()
    client._fetcher = fetcher

    assert client.releases("cc40") == []
    assert fetcher.asked
    assert not [name for name in fetcher.asked if name.startswith("staged")]
