"""What a device refuses with: SMP return codes, in the shapes of version 1 and 2.

Version 1 answers `{"rc": n}` in one table; version 2 answers `{"err": {"group", "rc"}}` with a
table per group, and still `{"rc": n}` for what the protocol itself refuses. A reader of either
version takes both. Codes without a name are kept as numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class MgmtCode(IntEnum):
    """The codes of `{"rc": n}` (Zephyr `enum mcumgr_err_t`)."""

    OK = 0
    UNKNOWN = 1
    NO_MEMORY = 2
    INVALID_VALUE = 3
    TIMEOUT = 4
    NO_ENTRY = 5
    BAD_STATE = 6
    MESSAGE_SIZE = 7
    NOT_SUPPORTED = 8
    CORRUPT = 9
    BUSY = 10
    ACCESS_DENIED = 11
    VERSION_TOO_OLD = 12
    VERSION_TOO_NEW = 13


class OsCode(IntEnum):
    """The codes of group 0 (Zephyr `enum os_mgmt_err_code_t`)."""

    OK = 0
    UNKNOWN = 1
    INVALID_FORMAT = 2
    QUERY_YIELDS_NO_ANSWER = 3
    RTC_NOT_SET = 4
    RTC_COMMAND_FAILED = 5
    QUERY_RESPONSE_VALUE_NOT_VALID = 6


class ImageCode(IntEnum):
    """The codes of group 1 (Zephyr `enum img_mgmt_err_code_t`)."""

    OK = 0
    UNKNOWN = 1
    FLASH_CONFIG_QUERY_FAIL = 2
    NO_IMAGE = 3
    NO_TLVS = 4
    INVALID_TLV = 5
    TLV_MULTIPLE_HASHES_FOUND = 6
    TLV_INVALID_SIZE = 7
    HASH_NOT_FOUND = 8
    NO_FREE_SLOT = 9
    FLASH_OPEN_FAILED = 10
    FLASH_READ_FAILED = 11
    FLASH_WRITE_FAILED = 12
    FLASH_ERASE_FAILED = 13
    INVALID_SLOT = 14
    NO_FREE_MEMORY = 15
    FLASH_CONTEXT_ALREADY_SET = 16
    FLASH_CONTEXT_NOT_SET = 17
    FLASH_AREA_DEVICE_NULL = 18
    INVALID_PAGE_OFFSET = 19
    INVALID_OFFSET = 20
    INVALID_LENGTH = 21
    INVALID_IMAGE_HEADER = 22
    INVALID_IMAGE_HEADER_MAGIC = 23
    INVALID_HASH = 24
    INVALID_FLASH_ADDRESS = 25
    VERSION_GET_FAILED = 26
    CURRENT_VERSION_IS_NEWER = 27
    IMAGE_ALREADY_PENDING = 28
    INVALID_IMAGE_VECTOR_TABLE = 29
    INVALID_IMAGE_TOO_LARGE = 30
    INVALID_IMAGE_DATA_OVERRUN = 31
    IMAGE_CONFIRMATION_DENIED = 32
    IMAGE_SETTING_TEST_TO_ACTIVE_DENIED = 33
    ACTIVE_SLOT_NOT_KNOWN = 34


class SettingsCode(IntEnum):
    """The codes of group 3 (Zephyr `enum settings_mgmt_ret_code_t`)."""

    OK = 0
    UNKNOWN = 1
    KEY_TOO_LONG = 2
    KEY_NOT_FOUND = 3
    READ_NOT_SUPPORTED = 4
    ROOT_KEY_NOT_FOUND = 5
    WRITE_NOT_SUPPORTED = 6
    DELETE_NOT_SUPPORTED = 7


class CryoCode(IntEnum):
    """The codes of group 64."""

    OK = 0
    UNKNOWN = 1
    INVALID_VALUE = 2
    LEASE_HELD = 3
    OLD_TOKEN = 4
    BUSY = 5


_GROUP_CODES: Final[Mapping[int, type[IntEnum]]] = {
    0: OsCode,
    1: ImageCode,
    3: SettingsCode,
    64: CryoCode,
}


@dataclass(frozen=True, slots=True)
class SmpStatus:
    """An error that a device answered.

    Attributes:
        group: whose table `rc` is from; None for the general one.
        rc: the code, kept also when it has no name here.
        reason: text from the device (`rsn`), often empty.
    """

    group: int | None
    rc: int
    reason: str = ""

    @property
    def name(self) -> str:
        """The code's name, or "rc 77" for one that is not known."""
        table = MgmtCode if self.group is None else _GROUP_CODES.get(self.group)
        try:
            return table(self.rc).name if table else f"rc {self.rc}"
        except ValueError:
            return f"rc {self.rc}"

    def __str__(self) -> str:
        where = "" if self.group is None else f"group {self.group} "
        text = f"{where}{self.name}"
        if not self.name.startswith("rc "):
            text += f" ({self.rc})"
        return f"{text}: {self.reason}" if self.reason else text


def status_of(body: Mapping[str, object]) -> SmpStatus | None:
    """Return the error in an answer's body, None if there is none (`rc` 0 is success).

    A code that is no integer is an error too: what cannot be read is not a success.
    """
    error = body.get("err")
    if isinstance(error, Mapping):
        group = error.get("group")
        return _status(group if isinstance(group, int) else None, error.get("rc"), body)
    if "err" in body:
        return SmpStatus(None, MgmtCode.UNKNOWN, f"unreadable err: {error!r}")
    return _status(None, body["rc"], body) if "rc" in body else None


def _status(group: int | None, rc: object, body: Mapping[str, object]) -> SmpStatus | None:
    reason = body.get("rsn")
    reason = reason if isinstance(reason, str) else ""
    if not isinstance(rc, int):
        return SmpStatus(group, MgmtCode.UNKNOWN, reason or f"unreadable rc: {rc!r}")
    return SmpStatus(group, rc, reason) if rc else None
