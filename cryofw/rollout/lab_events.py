"""What people say about the devices of a lab, apart from any rollout. As `events`: one record each.

They belong to no rollout, so they outlive all of them; `DeviceRegister` is the fold over them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from cryofw.rollout.events import Event


class ImageStanding(StrEnum):
    """What is known of the image behind a hash that a device runs."""

    VERIFIED = "verified"
    """Its file is at hand, and signed by a key of the keyring."""
    FOREIGN = "foreign"
    """Its file is at hand and has this hash; no key of the keyring vouches for it."""
    UNKNOWN = "unknown"
    """Nobody has the file: there is no way back to it after a confirm."""


@dataclass(frozen=True, slots=True)
class LabEvent(Event):
    """Base of these events: their records name a device, or the policy, and no rollout."""


@dataclass(frozen=True, slots=True)
class DeviceAdopted(LabEvent):
    """A person takes a device as it is: who it is, and what it runs, were read from it.

    Attributes:
        hash, version: of the image that runs, as the device reports them.
        image: an `ImageStanding`.
        hw: its hardware id in hex, board: its board, serial: its serial number; empty if it does
            not tell.
        port: where it was read.
        security_counter: of the image: of its file, else as the person says; None if unknown.
        file_sha256: hex digest of the file at hand; empty if there is none.
        key_hash: hex hash of the key that the file names; empty if it names none.
        replaces: hardware id of the controller that it takes the place of, empty if that was not
            known; None if it takes no place.
    """

    kind = "device-adopted"
    device: str
    by: str
    hash: str
    version: str
    image: str
    why: str = ""
    hw: str = ""
    board: str = ""
    serial: str = ""
    port: str = ""
    security_counter: int | None = None
    file_sha256: str = ""
    key_hash: str = ""
    replaces: str | None = None


@dataclass(frozen=True, slots=True)
class DevicePinned(LabEvent):
    """The device takes part only in rollouts of this version."""

    kind = "device-pinned"
    device: str
    version: str
    by: str
    why: str


@dataclass(frozen=True, slots=True)
class DeviceExcluded(LabEvent):
    """The device takes part in no rollout."""

    kind = "device-excluded"
    device: str
    by: str
    why: str


@dataclass(frozen=True, slots=True)
class DeviceUnpinned(LabEvent):
    """The device takes part in every rollout again."""

    kind = "device-unpinned"
    device: str
    by: str
    why: str


@dataclass(frozen=True, slots=True)
class PolicyPinned(LabEvent):
    """From now on rollouts start under this policy; it speaks of no device.

    Attributes:
        digest: hex SHA-256 of its file; version: its number; source: where it came from.
    """

    kind = "policy-pinned"
    digest: str
    version: int
    source: str
    by: str


@dataclass(frozen=True, slots=True)
class PolicyUnpinned(LabEvent):
    """From now on acts are recorded and not signed."""

    kind = "policy-unpinned"
    by: str
    why: str
