"""PortLock between real processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cryofw.errors import Refused
from cryofw.transport import PortLock, PortLocked, default_lock_directory, port_keys

HOLDER = """
import sys
from pathlib import Path
from cryofw.transport import PortLock
PortLock(sys.argv[1], Path(sys.argv[2]), command="cryofw deploy night-run").acquire()
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def another_process_holding(url: str, directory: Path) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, url, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        if process.stdin is not None and not process.stdin.closed:
            process.stdin.close()


def test_the_second_process_is_refused_and_told_by_whom(tmp_path: Path) -> None:
    with another_process_holding("socket://lab:4001", tmp_path) as holder:
        with pytest.raises(PortLocked) as caught:
            PortLock("rfc2217://LAB:4001", tmp_path).acquire()
        assert str(holder.pid) in caught.value.why
        assert "cryofw deploy night-run" in caught.value.why
        assert caught.value.exit_code == 5
        PortLock("socket://lab:4002", tmp_path).acquire()


def test_kill_minus_nine_frees_the_port(tmp_path: Path) -> None:
    lock = PortLock("/dev/ttyUSB7", tmp_path)
    with another_process_holding("/dev/ttyUSB7", tmp_path) as holder:
        with pytest.raises(PortLocked):
            lock.acquire()
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with lock, pytest.raises(PortLocked, match=f"process {os.getpid()}"):
            PortLock("/dev/ttyUSB7", tmp_path).acquire()


def test_an_orderly_end_frees_the_port(tmp_path: Path) -> None:
    with another_process_holding("/dev/ttyUSB7", tmp_path):
        pass
    PortLock("/dev/ttyUSB7", tmp_path).acquire()


@pytest.fixture
def names(tmp_path: Path) -> tuple[str, str]:
    """A device node and a by-id link to it."""
    by_id = tmp_path / "by-id"
    by_id.mkdir()
    (tmp_path / "ttyUSB0").touch()
    (by_id / "usb-FTDI_C1A").symlink_to("../ttyUSB0")
    return str(tmp_path / "ttyUSB0"), str(by_id / "usb-FTDI_C1A")


def test_two_names_of_one_port_collide(names: tuple[str, str], tmp_path: Path) -> None:
    locks = tmp_path / "locks"
    for first, second in (names, names[::-1]):
        with PortLock(first, locks), pytest.raises(PortLocked, match=Path(second).name):
            PortLock(second, locks).acquire()


def test_a_refused_lock_holds_nothing(names: tuple[str, str], tmp_path: Path) -> None:
    node, by_id = names
    locks = tmp_path / "locks"
    with PortLock(node, locks):
        refused = PortLock(by_id, locks)
        with pytest.raises(PortLocked):
            refused.acquire()
    Path(by_id).unlink()
    Path(by_id).symlink_to("../ttyUSB1")
    PortLock(by_id, locks).acquire()


def test_a_lock_follows_the_port_to_its_new_node(names: tuple[str, str], tmp_path: Path) -> None:
    _, by_id = names
    locks = tmp_path / "locks"
    with PortLock(by_id, locks) as lock:
        Path(by_id).unlink()
        Path(by_id).symlink_to("../ttyUSB1")
        lock.follow()
        with pytest.raises(PortLocked):
            PortLock(str(tmp_path / "ttyUSB1"), locks).acquire()


def test_following_onto_someone_elses_node_is_refused(
    names: tuple[str, str], tmp_path: Path
) -> None:
    _, by_id = names
    locks = tmp_path / "locks"
    with PortLock(by_id, locks) as lock, PortLock(str(tmp_path / "ttyUSB1"), locks):
        Path(by_id).unlink()
        Path(by_id).symlink_to("../ttyUSB1")
        with pytest.raises(PortLocked):
            lock.follow()
        with pytest.raises(PortLocked):
            PortLock(by_id, locks).acquire()
        PortLock(str(tmp_path / "ttyUSB0"), locks).acquire()  # another device may be there now


def test_a_port_that_stays_where_it_is_changes_nothing(
    names: tuple[str, str], tmp_path: Path
) -> None:
    node, by_id = names
    with PortLock(by_id, tmp_path / "locks") as lock:
        assert not lock.follow()
        Path(by_id).unlink()
        assert lock.follow()  # unplugged
        with pytest.raises(PortLocked):
            PortLock(by_id, tmp_path / "locks").acquire()
        Path(by_id).symlink_to("../ttyUSB0")
        assert lock.follow()
        with pytest.raises(PortLocked):
            PortLock(node, tmp_path / "locks").acquire()


def test_a_device_number_is_a_name_too() -> None:
    assert "char:1:3" in port_keys("/dev/null")


def test_different_ports_have_different_lock_files(tmp_path: Path) -> None:
    urls = ["sim://c1-a", "sim://c1_a", "sim://c1/a", "sim://c1_2f_a", "/dev/a", "/dev/b"]
    locks = [PortLock(url, tmp_path) for url in urls]
    for lock in locks:
        lock.acquire()
    for lock in locks:
        lock.release()


def test_lock_files_are_private(tmp_path: Path) -> None:
    directory = tmp_path / "locks"
    with PortLock("sim://c1-a", directory):
        assert directory.stat().st_mode & 0o777 == 0o700
        assert [path.stat().st_mode & 0o777 for path in directory.iterdir()] == [0o600]


def test_a_directory_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Refused, match="cannot lock"):
        PortLock("sim://c1-a", tmp_path / "file" / "locks").acquire()


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("data")
    with PortLock("sim://c1-a", tmp_path / "locks"):
        name = next((tmp_path / "locks").iterdir()).name
    (tmp_path / "locks" / name).unlink()
    (tmp_path / "locks" / name).symlink_to(victim)
    with pytest.raises(Refused, match="cannot lock"):
        PortLock("sim://c1-a", tmp_path / "locks").acquire()
    assert victim.read_text() == "data"


def test_a_directory_that_is_not_ours_alone_holds_no_lock(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(Refused, match="symbolic link"):
        PortLock("/dev/x", tmp_path / "link").acquire()
    (tmp_path / "real").chmod(0o777)
    with pytest.raises(Refused, match="others may write"):
        PortLock("/dev/x", tmp_path / "real").acquire()
    assert not list((tmp_path / "real").iterdir())


def test_default_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert default_lock_directory() == tmp_path / "cryofw-locks"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "absent"))
    assert default_lock_directory().name == f"cryofw-locks-{os.getuid()}"
