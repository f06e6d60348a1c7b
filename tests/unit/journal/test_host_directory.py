"""Where a host remembers what must not travel with a state directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryofw.errors import Refused
from cryofw.journal.host_directory import host_state_directory


def test_own_variable_wins_over_the_desktop_s_and_the_home(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CRYOFW_HOST_STATE", "/own")
    monkeypatch.setenv("XDG_STATE_HOME", "/xdg")
    monkeypatch.setenv("HOME", "/srv/anna")
    assert host_state_directory() == Path("/own")
    monkeypatch.delenv("CRYOFW_HOST_STATE")
    assert host_state_directory() == Path("/xdg/cryofw")
    monkeypatch.delenv("XDG_STATE_HOME")
    assert host_state_directory() == Path("/srv/anna/.local/state/cryofw")


def test_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CRYOFW_HOST_STATE", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "~")  # as for a user of whom the system knows no directory
    with pytest.raises(Refused) as caught:
        host_state_directory()
    assert "CRYOFW_HOST_STATE" in caught.value.hint
