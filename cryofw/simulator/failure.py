"""Refusals of an SMP server, and how each protocol version words them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cryofw.smp import CryoCode, Group, ImageCode, MgmtCode, OsCode, SettingsCode

GENERIC = -1


@dataclass(frozen=True, slots=True)
class Failure:
    """A refusal: a code of `group`, or a generic one that stays `{"rc": n}` in both versions."""

    rc: int
    group: int = GENERIC
    reason: str = ""


Answer = Mapping[str, object] | Failure | None
"""What a handler gives: a body, a refusal, or None for silence."""

NOT_SUPPORTED = Failure(MgmtCode.NOT_SUPPORTED)
INVALID = Failure(MgmtCode.INVALID_VALUE)

_IMAGE_V1: Mapping[int, int] = {
    ImageCode.NO_IMAGE: MgmtCode.NO_ENTRY,
    ImageCode.NO_TLVS: MgmtCode.NO_ENTRY,
    ImageCode.NO_FREE_SLOT: MgmtCode.BAD_STATE,
    ImageCode.CURRENT_VERSION_IS_NEWER: MgmtCode.BAD_STATE,
    ImageCode.IMAGE_ALREADY_PENDING: MgmtCode.BAD_STATE,
    ImageCode.NO_FREE_MEMORY: MgmtCode.NO_MEMORY,
    ImageCode.INVALID_SLOT: MgmtCode.INVALID_VALUE,
    ImageCode.INVALID_PAGE_OFFSET: MgmtCode.INVALID_VALUE,
    ImageCode.INVALID_OFFSET: MgmtCode.INVALID_VALUE,
    ImageCode.INVALID_LENGTH: MgmtCode.INVALID_VALUE,
    ImageCode.INVALID_IMAGE_HEADER: MgmtCode.INVALID_VALUE,
    ImageCode.INVALID_HASH: MgmtCode.INVALID_VALUE,
    ImageCode.INVALID_FLASH_ADDRESS: MgmtCode.INVALID_VALUE,
}
_V1: Mapping[int, Mapping[int, int]] = {
    Group.OS: {OsCode.INVALID_FORMAT: MgmtCode.INVALID_VALUE},
    Group.IMAGE: _IMAGE_V1,
    Group.SETTINGS: {
        SettingsCode.KEY_TOO_LONG: MgmtCode.INVALID_VALUE,
        SettingsCode.KEY_NOT_FOUND: MgmtCode.NO_ENTRY,
        SettingsCode.READ_NOT_SUPPORTED: MgmtCode.NO_ENTRY,
    },
    Group.CRYO: {
        CryoCode.INVALID_VALUE: MgmtCode.INVALID_VALUE,
        CryoCode.LEASE_HELD: MgmtCode.ACCESS_DENIED,
        CryoCode.OLD_TOKEN: MgmtCode.ACCESS_DENIED,
        CryoCode.BUSY: MgmtCode.BUSY,
    },
}


def refusal_body(failure: Failure, *, version: int) -> Mapping[str, object]:
    """Word a refusal for SMP version 1 or 2.

    Version 1 has one table of codes, so a group's code is translated; it also carries a reason.
    """
    if failure.group == GENERIC:
        return {"rc": int(failure.rc)}
    if version > 1:
        return {"err": {"group": int(failure.group), "rc": int(failure.rc)}}
    table = _V1.get(failure.group, {})
    body: dict[str, object] = {"rc": int(table.get(failure.rc, MgmtCode.UNKNOWN))}
    if failure.reason:
        body["rsn"] = failure.reason
    return body
