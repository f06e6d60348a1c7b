from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cryofw.keys import (
    KeyFileError,
    KeyRefused,
    environment_passphrase,
    file_passphrase,
    first_of,
    no_passphrase,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_the_variable_of_the_key_wins_over_the_common_one() -> None:
    source = environment_passphrase(
        {"CRYOFW_PASSPHRASE": "common", "CRYOFW_PASSPHRASE_MY_KEY_2": "own"}
    )

    assert source("my-key.2") == b"own"
    assert source("other") == b"common"


def test_an_empty_variable_is_no_passphrase() -> None:
    assert environment_passphrase({"CRYOFW_PASSPHRASE": ""})("k") is None
    assert environment_passphrase({})("k") is None


@pytest.mark.parametrize("content", [b"open sesame\n", b"open sesame", b"open sesame\r\nrest\n"])
def test_the_first_line_of_a_file_is_the_passphrase(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secret"
    path.touch(0o600)
    path.write_bytes(content)

    assert file_passphrase(path)("k") == b"open sesame"


def test_a_passphrase_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"x\n")
    path.chmod(0o644)

    with pytest.raises(KeyRefused, match="is open to others"):
        file_passphrase(path)("k")


def test_an_empty_or_missing_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    with pytest.raises(KeyFileError, match="cannot read the passphrase file"):
        file_passphrase(path)("k")
    path.touch(0o600)
    with pytest.raises(KeyFileError, match="has no passphrase"):
        file_passphrase(path)("k")


def test_sources_are_asked_in_turn() -> None:
    asked = []

    def last(name: str) -> bytes:
        asked.append(name)
        return b"typed"

    assert first_of(no_passphrase, lambda _: b"first", last)("k") == b"first"
    assert asked == []
    assert first_of(no_passphrase, last)("k") == b"typed"
    assert first_of(no_passphrase)("k") is None
