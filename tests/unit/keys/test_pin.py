from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cryofw.keys import KeyFileError, KeyRefused, KeyringError, environment_pin
from cryofw.keys.pin import read_pin_source

if TYPE_CHECKING:
    from pathlib import Path


def test_the_variable_of_the_key_wins_over_the_common_one() -> None:
    source = environment_pin({"CRYOFW_PIN": "1111", "CRYOFW_PIN_MY_KEY": "2222"})

    assert source("my-key") == b"2222"
    assert source("other") == b"1111"


def test_the_passphrase_of_a_file_is_never_taken_for_a_pin() -> None:
    assert environment_pin({"CRYOFW_PASSPHRASE": "x", "CRYOFW_PIN": ""})("k") is None


@pytest.mark.parametrize("form", ["pin.txt", "file:pin.txt", "{0}/pin.txt", "file://{0}/pin.txt"])
def test_a_pin_source_is_a_file_beside_the_keyring_or_anywhere(tmp_path: Path, form: str) -> None:
    path = tmp_path / "pin.txt"
    path.touch(0o600)
    path.write_text("1234\nmore\n")

    assert read_pin_source(form.format(tmp_path), tmp_path) == b"1234"


def test_a_pin_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pin.txt"
    path.write_text("1234\n")
    path.chmod(0o644)

    with pytest.raises(KeyRefused, match="open to others"):
        read_pin_source("pin.txt", tmp_path)


@pytest.mark.parametrize("content", ["", "\n1234"])
def test_a_pin_file_without_a_pin_is_told(tmp_path: Path, content: str) -> None:
    path = tmp_path / "pin.txt"
    path.touch(0o600)
    path.write_text(content)

    with pytest.raises(KeyFileError, match="has no PIN"):
        read_pin_source("pin.txt", tmp_path)


def test_a_pin_source_on_another_host_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyringError, match="names a host"):
        read_pin_source("file://vault/pin", tmp_path)
