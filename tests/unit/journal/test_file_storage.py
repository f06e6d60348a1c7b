"""Storage in a directory: modes, locks between processes, a disk that is full."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from cryofw.journal import (
    FileStorage,
    Journal,
    JournalWriteFailed,
    MemoryStorage,
    Storage,
    StorageDenied,
    StorageFailed,
    StorageLocked,
    StorageMissing,
    StorageUnsafe,
    read_journal,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cryofw.clock import Clock


@pytest.fixture(params=["file", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return FileStorage(tmp_path / "state") if request.param == "file" else MemoryStorage()


def test_both_storages_keep_the_same_promises(storage: Storage) -> None:
    assert storage.list() == []
    assert not storage.exists("a/b.jsonl")
    storage.append("a/b.jsonl", b"one\n")
    storage.append("a/b.jsonl", b"two\n")
    storage.write_atomic("c.json", b"1")
    storage.write_atomic("c.json", b"22")
    assert storage.read("a/b.jsonl") == b"one\ntwo\n"
    assert storage.read("c.json") == b"22"
    assert storage.list() == ["a/b.jsonl", "c.json"]
    assert storage.list("a/") == ["a/b.jsonl"]
    storage.truncate("a/b.jsonl", 4)
    storage.append("a/b.jsonl", b"three\n")
    assert storage.read("a/b.jsonl") == b"one\nthree\n"
    storage.write_atomic("a/b.jsonl", b"new\n")
    storage.append("a/b.jsonl", b"next\n")
    assert storage.read("a/b.jsonl") == b"new\nnext\n"
    storage.remove("a/b.jsonl")
    storage.remove("a/b.jsonl")
    assert not storage.exists("a/b.jsonl")
    storage.append("a/b.jsonl", b"again")
    assert storage.read("a/b.jsonl") == b"again"


def test_both_storages_name_what_is_missing(storage: Storage) -> None:
    with pytest.raises(StorageMissing, match="none"):
        storage.read("none")
    with pytest.raises(StorageMissing, match="none"):
        storage.truncate("none", 0)


def test_both_storages_lock(storage: Storage) -> None:
    with storage.lock("journal.jsonl"), storage.lock("other"):
        with pytest.raises(StorageLocked), storage.lock("journal.jsonl"):
            pass
        assert storage.list() == []
    with storage.lock("journal.jsonl"):
        assert not storage.exists("journal.jsonl")


def test_lock_is_free_after_an_error_inside(storage: Storage) -> None:
    with pytest.raises(RuntimeError), storage.lock("x"):
        raise RuntimeError
    with storage.lock("x"):
        assert storage.list() == []


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a/../../x"])
def test_names_stay_inside_the_directory(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        FileStorage(tmp_path).write_atomic(name, b"")


def test_files_are_private_and_nothing_is_left_beside(tmp_path: Path) -> None:
    storage = FileStorage(tmp_path / "deep" / "state")
    storage.append("j", b"x")
    storage.write_atomic("c", b"x")
    names = sorted(path.name for path in storage.directory.iterdir())
    assert names == ["c", "j"]
    for path in storage.directory.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(storage.directory.stat().st_mode) == 0o700


def test_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "j").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageUnsafe, match="is a symbolic link"):
        FileStorage(tmp_path).append("j", b"x")
    assert not (tmp_path / "elsewhere").exists()


def test_nothing_of_a_private_directory_is_a_link_a_pipe_or_open_to_others(tmp_path: Path) -> None:
    storage = FileStorage(tmp_path / "private")
    storage.write_atomic("a/b", b"x")
    top = storage.directory

    def refused(match: str) -> None:
        for use in (
            lambda: storage.read("a/b"),
            lambda: storage.read_part("a/b", 0, 1),
            lambda: storage.append("a/b", b"y"),
            lambda: storage.write_atomic("a/b", b"y"),
            lambda: storage.truncate("a/b", 0),
        ):
            with pytest.raises(StorageUnsafe, match=match):
                use()

    for path in (top, top / "a", top / "a" / "b"):
        mode = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode | 0o002)
        refused("others may write")
        path.chmod(mode)
    (top / "a").rename(top / "c")
    (top / "a").symlink_to("c")
    refused("is a symbolic link")
    (top / "a").unlink()
    (top / "a").mkdir()
    os.mkfifo(top / "a" / "b")
    refused("is no regular file")
    os.mkfifo(top / "a" / "b.lock")
    with pytest.raises(StorageUnsafe), storage.lock("a/b"):
        pass
    assert (top / "c" / "b").read_bytes() == b"x"


def test_private_directory_may_itself_be_a_link_and_a_published_one_lie_as_it_likes(
    tmp_path: Path,
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "state").symlink_to("real")
    FileStorage(tmp_path / "state").write_atomic("a", b"x")
    assert (tmp_path / "real" / "a").read_bytes() == b"x"
    (tmp_path / "real" / "b").symlink_to("a")
    assert FileStorage(tmp_path / "state", public=True).read("b") == b"x"


def test_place_that_is_no_directory_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    storage = FileStorage(tmp_path / "file")
    for attempt in (
        lambda: storage.append("j", b"x"),
        lambda: storage.read("j"),
        lambda: storage.write_atomic("j", b"x"),
        lambda: storage.lock("j").__enter__(),
    ):
        with pytest.raises(StorageDenied, match="Not a directory") as caught:
            attempt()
        assert caught.value.exit_code == 3
    assert not storage.exists("j")
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_lock_between_processes_names_the_holder(tmp_path: Path) -> None:
    code = (
        "import sys; from cryofw.journal import FileStorage\n"
        "with FileStorage(sys.argv[1]).lock('journal.jsonl'):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        storage = FileStorage(tmp_path)
        with pytest.raises(StorageLocked) as caught, storage.lock("journal.jsonl"):
            pass
        assert f"process {holder.pid} (-c {tmp_path}" in caught.value.why
        holder.kill()
        holder.wait()
        with storage.lock("journal.jsonl"):  # the kernel freed it
            assert (tmp_path / "journal.jsonl.lock").read_text().count(str(os.getpid())) == 1


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond 4000 bytes: the kernel refuses the rest.

    Not a fixture: pytest reports a test before it tears fixtures down, and its own output may go
    to a file that is longer.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk_stops_the_journal_and_loses_nothing(tmp_path: Path, clock: Clock) -> None:
    storage = FileStorage(tmp_path)
    journal = Journal.open(storage, clock=clock, who="me")
    acknowledged = 0
    with full_disk():
        with pytest.raises(JournalWriteFailed, match="File too large"):  # noqa: PT012  # until full
            while True:
                journal.append("a", text="x" * 100)
                acknowledged += 1
        with pytest.raises(JournalWriteFailed, match="earlier write failed"):
            journal.append("b")
        journal.close()
    assert 10 < acknowledged < 40
    loaded = read_journal(storage)
    assert len(loaded.records) == acknowledged


def test_atomic_write_on_a_full_disk_keeps_the_old_bytes(tmp_path: Path) -> None:
    storage = FileStorage(tmp_path)
    storage.write_atomic("c", b"old")
    with full_disk(), pytest.raises(StorageFailed, match="File too large") as caught:
        storage.write_atomic("c", b"x" * 5000)
    assert caught.value.exit_code == 75
    assert storage.read("c") == b"old"
    assert storage.list() == ["c"]
    assert [path.name for path in storage.directory.iterdir()] == ["c"]


def test_journal_survives_kill_9_between_any_two_appends(tmp_path: Path) -> None:
    code = (
        "import sys; from cryofw.journal import FileStorage, Journal\n"
        "from datetime import UTC, datetime\n"
        "class Clock:\n"
        "    def now(self): return datetime.now(UTC)\n"
        "journal = Journal.open(FileStorage(sys.argv[1]), clock=Clock(), who='child')\n"
        "while True:\n"
        "    print(journal.append('a', pad='x' * 300).n, flush=True)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    next_n = 0
    for rounds in (1, 70, 3):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            acknowledged = [int(child.stdout.readline()) for _ in range(rounds)]
            child.kill()
        records = read_journal(FileStorage(tmp_path)).records
        assert acknowledged[0] == next_n or records[next_n].kind == "journal-repaired"
        assert len(records) > acknowledged[-1]
        next_n = len(records)
