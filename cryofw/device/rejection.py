"""What a device's return codes mean, for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryofw.device.errors import RequestFailed
from cryofw.smp import CryoCode, Group, ImageCode, MgmtCode, SettingsCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.smp import SmpStatus

_PASSING: Final = frozenset((MgmtCode.NO_MEMORY, MgmtCode.BUSY, MgmtCode.TIMEOUT))

_IMAGE: Final[Mapping[int, tuple[str, str]]] = {
    ImageCode.NO_IMAGE: ("there is no image in the slot", "Upload the image again."),
    ImageCode.HASH_NOT_FOUND: (
        "no slot holds an image with this hash",
        "Upload the image again, and read the slots with `cryofw inventory`.",
    ),
    ImageCode.NO_FREE_SLOT: (
        "slot 1 may not be written: an image in it is pending, or a test boot runs",
        "End the running update first: confirm it, or reset the device to revert it.",
    ),
    ImageCode.FLASH_WRITE_FAILED: ("writing the flash failed", "The flash may be worn out."),
    ImageCode.FLASH_ERASE_FAILED: ("erasing the flash failed", "The flash may be worn out."),
    ImageCode.INVALID_IMAGE_HEADER_MAGIC: (
        "the file is no MCUboot image",
        "Sign it first: `cryofw sign`.",
    ),
    ImageCode.CURRENT_VERSION_IS_NEWER: (
        "the device runs a newer version and takes no older one",
        "Raise the version of the image.",
    ),
    ImageCode.IMAGE_ALREADY_PENDING: (
        "an image is pending already, or a test boot runs",
        "End the running update first: confirm it, or reset the device to revert it.",
    ),
    ImageCode.INVALID_IMAGE_TOO_LARGE: (
        "the image is larger than the slot",
        "Make the image smaller; `cryofw inspect` shows its size.",
    ),
    ImageCode.IMAGE_CONFIRMATION_DENIED: (
        "the firmware denies the confirmation",
        "Its log lines may say why.",
    ),
    ImageCode.IMAGE_SETTING_TEST_TO_ACTIVE_DENIED: (
        "the device runs this image already",
        "There is nothing to test.",
    ),
}

_CRYO: Final[Mapping[int, tuple[str, str]]] = {
    CryoCode.LEASE_HELD: (
        "someone else holds the lease on it",
        "Wait until that rollout has ended, or until its lease has run out.",
    ),
    CryoCode.OLD_TOKEN: (
        "a newer run has taken over",
        "Continue the newer run; this one is over.",
    ),
    CryoCode.BUSY: ("it is busy with another run", "Try again when it has finished."),
}

_SETTINGS: Final[Mapping[int, tuple[str, str]]] = {
    SettingsCode.KEY_TOO_LONG: (
        "the name is too long for its firmware",
        "CONFIG_MCUMGR_GRP_SETTINGS_NAME_LEN says how long it may be.",
    ),
    SettingsCode.KEY_NOT_FOUND: (
        "its firmware knows no setting of this name",
        "Is it spelt as in the firmware?",
    ),
    SettingsCode.ROOT_KEY_NOT_FOUND: (
        "its firmware knows no setting of this name, or not with a value of this size",
        "Do name and type match the firmware?",
    ),
    SettingsCode.READ_NOT_SUPPORTED: ("its firmware does not tell this setting", ""),
    SettingsCode.WRITE_NOT_SUPPORTED: ("its firmware does not let this setting be changed", ""),
}

_GENERAL: Final[Mapping[int, tuple[str, str]]] = {
    MgmtCode.NO_MEMORY: ("it has no free buffer", "Does another program talk to it?"),
    MgmtCode.NOT_SUPPORTED: (
        "its firmware does not know this request",
        "In serial recovery it knows few; `cryofw inventory` shows the mode.",
    ),
    MgmtCode.BUSY: ("it is busy", "Try again later."),
    MgmtCode.ACCESS_DENIED: ("its firmware does not allow it", "Its log lines may say why."),
}


def unsupported(status: SmpStatus | None) -> bool:
    """Tell whether the device does not know the group or command at all."""
    return status is not None and status.group is None and status.rc == MgmtCode.NOT_SUPPORTED


def passes_by_itself(status: SmpStatus | None) -> bool:
    """Tell whether the device is short of buffers or busy this moment; nothing was done."""
    return status is not None and status.group is None and status.rc in _PASSING


def rejection(device: str, doing: str, status: SmpStatus) -> RequestFailed:
    """Explain a refusal; `doing` is what was asked ("mark the image for test")."""
    why, hint = _table(status).get(status.rc, ("", "Its log lines may say why."))
    return RequestFailed(f"{device} refused to {doing}", status, why=why, hint=hint)


def _table(status: SmpStatus) -> Mapping[int, tuple[str, str]]:
    if status.group == Group.IMAGE:
        return _IMAGE
    if status.group == Group.SETTINGS:
        return _SETTINGS
    if status.group == Group.CRYO:
        return _CRYO
    return _GENERAL if status.group is None else {}
