"""Group 64, "cryo": what a controller made for cryofw answers besides the standard groups."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from cryofw.smp.message import Group, Op, Request
from cryofw.smp.messages import fields

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class CryoCommand(IntEnum):
    """Commands of group 64."""

    HEARTBEAT = 0
    METRICS = 1
    CALIBRATE = 2
    SAFE = 3
    IDENTITY = 4
    LEASE = 5


_READ_HEARTBEAT: Final = Request(Op.READ, Group.CRYO, CryoCommand.HEARTBEAT)
_READ_IDENTITY: Final = Request(Op.READ, Group.CRYO, CryoCommand.IDENTITY)


def read_heartbeat() -> Request:
    """Ask for a sign of life; answered with a `Heartbeat`."""
    return _READ_HEARTBEAT


def read_metrics(names: Sequence[str] = ()) -> Request:
    """Ask for the metrics with these names, or for all; answered with `Metrics`."""
    body = {"names": list(names)} if names else {}
    return Request(Op.READ, Group.CRYO, CryoCommand.METRICS, body)


def start_calibration(run_id: int) -> Request:
    """Start a calibration run under this id; its end is seen by `read_calibration`."""
    return Request(Op.WRITE, Group.CRYO, CryoCommand.CALIBRATE, {"id": run_id})


def read_calibration() -> Request:
    """Ask for the last calibration run; answered with a `Calibration`."""
    return Request(Op.READ, Group.CRYO, CryoCommand.CALIBRATE)


def enter_safe_state() -> Request:
    """Put the front end into its safe state: heaters and drives off."""
    return Request(Op.WRITE, Group.CRYO, CryoCommand.SAFE)


def read_safe_state() -> Request:
    """Ask whether the front end is in its safe state; answered with a `SafeState`."""
    return Request(Op.READ, Group.CRYO, CryoCommand.SAFE)


def read_identity() -> Request:
    """Ask who it is; answered with a `ControllerIdentity`."""
    return _READ_IDENTITY


def write_lease(owner: str, rollout: str, token: int, ttl_s: int) -> Request:
    """Take or renew the lease for `ttl_s` seconds; refused under an older fencing token."""
    body = {"owner": owner, "rollout": rollout, "token": token, "ttl": ttl_s}
    return Request(Op.WRITE, Group.CRYO, CryoCommand.LEASE, body)


def release_lease(owner: str, rollout: str, token: int) -> Request:
    """Give the lease back: the same write with no time left; nothing reverts by it."""
    return write_lease(owner, rollout, token, 0)


def read_lease() -> Request:
    """Ask who holds the lease; answered with a `Lease`."""
    return Request(Op.READ, Group.CRYO, CryoCommand.LEASE)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A sign of life.

    Attributes:
        seq: counts heartbeats since boot.
        up_ms: milliseconds since boot.
        boot_id: changes with every boot.
        reset_cause: as the device numbers them; None if not told.
        image_hash: TLV hash of the running image, b"" if not told.
        unknown: further fields.
    """

    seq: int
    up_ms: int
    boot_id: int
    reset_cause: int | None
    image_hash: bytes
    unknown: Mapping[str, object]

    @classmethod
    def from_body(cls, body: Mapping[str, object]) -> Heartbeat:
        """Read it; raises `MessageError` if seq, up or boot is missing."""
        return cls(
            seq=fields.uint(body, "seq"),
            up_ms=fields.uint(body, "up"),
            boot_id=fields.uint(body, "boot"),
            reset_cause=fields.optional_uint(body, "rst"),
            image_hash=fields.optional_bytes(body, "img"),
            unknown=fields.unknown(body, ("seq", "up", "boot", "rst", "img", "rc")),
        )


@dataclass(frozen=True, slots=True)
class Metrics:
    """Readings by name at `t_ms` of the device's uptime; the units stand in fleet.yaml."""

    t_ms: int
    values: Mapping[str, float]

    @classmethod
    def from_body(cls, body: Mapping[str, object]) -> Metrics:
        """Read them (a value that is no number is NaN); raises `MessageError` without a time."""
        return cls(fields.uint(body, "t"), fields.numbers(body, "m"))


@dataclass(frozen=True, slots=True)
class Calibration:
    """A calibration run: its id, whether it is done, and what it measured so far."""

    run_id: int
    done: bool
    values: Mapping[str, float]

    @classmethod
    def from_body(cls, body: Mapping[str, object]) -> Calibration:
        """Read it; raises `MessageError` without an id."""
        return cls(fields.uint(body, "id"), fields.flag(body, "done"), fields.numbers(body, "m"))


@dataclass(frozen=True, slots=True)
class SafeState:
    """Whether the front end is safe; a device that does not say is not."""

    safe: bool

    @classmethod
    def from_body(cls, body: Mapping[str, object]) -> SafeState:
        """Read it; raises `MessageError` on another type."""
        return cls(fields.flag(body, "safe"))


@dataclass(frozen=True, slots=True)
class ControllerIdentity:
    """Who a controller is.

    Attributes:
        hardware_id: the chip's own id.
        board: board name.
        serial_number: as printed on it; "" if not told.
        watchdog: it has a watchdog that resets a hung firmware; None if not told.
    """

    hardware_id: bytes
    board: str
    serial_number: str
    watchdog: bool | None

    @classmethod
    def from_body(cls, body: Mapping[str, object]) -> ControllerIdentity:
        """Read it; raises `MessageError` without a board."""
        return cls(
            hardware_id=fields.optional_bytes(body, "hw"),
            board=fields.text(body, "board"),
            serial_number=fields.optional_text(body, "sn"),
            watchdog=fields.optional_flag(body, "wdt"),
        )


@dataclass(frozen=True, slots=True)
class Lease:
    """Who may write to the device, and for how many more seconds; `ttl_s` 0 is nobody."""

    owner: str
    rollout: str
    token: int
    ttl_s: int

    @classmethod
    def from_body(cls, body: Mapping[str, object]) -> Lease:
        """Read it; raises `MessageError` if a field has another type."""
        return cls(
            owner=fields.optional_text(body, "owner"),
            rollout=fields.optional_text(body, "rollout"),
            token=fields.optional_uint(body, "token") or 0,
            ttl_s=fields.optional_uint(body, "ttl") or 0,
        )
