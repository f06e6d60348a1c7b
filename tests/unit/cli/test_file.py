from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from cryofw.cli.file import read_file, write_file
from cryofw.errors import BadInput, Refused

if TYPE_CHECKING:
    from pathlib import Path


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_file_is_written_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    write_file(tmp_path / "a.bin", b"content")

    assert (tmp_path / "a.bin").read_bytes() == b"content"
    assert (tmp_path / "a.bin").stat().st_nlink == 1
    assert names(tmp_path) == ["a.bin"]


def test_an_existing_file_stays_without_force(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"precious")

    with pytest.raises(Refused, match="exists already"):
        write_file(tmp_path / "a.bin", b"content")

    assert (tmp_path / "a.bin").read_bytes() == b"precious"
    assert names(tmp_path) == ["a.bin"]
    write_file(tmp_path / "a.bin", b"content", force=True)
    assert (tmp_path / "a.bin").read_bytes() == b"content"


def test_a_dangling_link_counts_as_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.bin").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(Refused):
        write_file(tmp_path / "a.bin", b"content")

    assert names(tmp_path) == ["a.bin"]


def test_a_file_system_without_links_works_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(source: object, target: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", no_links)  # as on FAT, which a test cannot mount

    write_file(tmp_path / "a.bin", b"content")

    assert (tmp_path / "a.bin").read_bytes() == b"content"
    with pytest.raises(Refused):
        write_file(tmp_path / "a.bin", b"other")
    assert names(tmp_path) == ["a.bin"]


def test_a_missing_directory_is_told_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot write"):
        write_file(tmp_path / "none" / "a.bin", b"content")

    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["none", "directory", "empty"])
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "empty").touch()

    with pytest.raises(BadInput, match=f"the image {tmp_path / name}"):
        read_file(tmp_path / name, "image")
