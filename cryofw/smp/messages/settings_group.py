"""Group 3, settings: values by name that a firmware reads, applies and keeps.

As Zephyr's settings management answers it ("Settings (Config) Management Group", and
`settings_mgmt.c`): a write changes the running firmware only, a commit lets it take effect, and
only a save outlives a reset. A save exports everything that the firmware keeps, not one name, and
is answered with success whatever became of it: that it worked shows only after a load.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from cryofw.smp.message import Group, Op, Request
from cryofw.smp.messages import fields

if TYPE_CHECKING:
    from collections.abc import Mapping


class SettingsCommand(IntEnum):
    """Commands of group 3."""

    VALUE = 0
    DELETE = 1
    COMMIT = 2
    STORE = 3


_COMMIT: Final = Request(Op.WRITE, Group.SETTINGS, SettingsCommand.COMMIT)
_LOAD: Final = Request(Op.READ, Group.SETTINGS, SettingsCommand.STORE)
_SAVE: Final = Request(Op.WRITE, Group.SETTINGS, SettingsCommand.STORE)


def read_setting(name: str) -> Request:
    """Ask for the value that the running firmware uses; answered with a `SettingValue`."""
    return Request(Op.READ, Group.SETTINGS, SettingsCommand.VALUE, {"name": name})


def write_setting(name: str, value: bytes) -> Request:
    """Give the running firmware a value; a reset forgets it unless it is saved."""
    body = {"name": name, "val": value}
    return Request(Op.WRITE, Group.SETTINGS, SettingsCommand.VALUE, body)


def delete_setting(name: str) -> Request:
    """Remove a value from the storage; the running firmware keeps it until it boots again."""
    return Request(Op.WRITE, Group.SETTINGS, SettingsCommand.DELETE, {"name": name})


def commit_settings() -> Request:
    """Let what was written take effect."""
    return _COMMIT


def load_settings() -> Request:
    """Let the running firmware take all its values from the storage."""
    return _LOAD


def save_settings() -> Request:
    """Keep all values of the running firmware in the storage."""
    return _SAVE


@dataclass(frozen=True, slots=True)
class SettingValue:
    """The value of one setting; what its bytes mean only the firmware knows.

    Attributes:
        value: the bytes.
        max_size: the most bytes that the device answers with, if it cut the wish; else None.
    """

    value: bytes
    max_size: int | None

    @classmethod
    def from_body(cls, body: Mapping[str, object]) -> SettingValue:
        """Read it; raises `MessageError` without a value."""
        return cls(fields.byte_string(body, "val"), fields.optional_uint(body, "max_size"))
