"""What a device knows while it has power, in a form that outlives the simulating process."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import IntFlag, StrEnum


class Mode(StrEnum):
    """What the processor is doing."""

    OFF = "off"
    BOOTING = "booting"
    RECOVERY = "recovery"
    APPLICATION = "application"
    HUNG = "hung"
    DEAD = "dead"


class ResetCause(IntFlag):
    """Bits as Zephyr's hwinfo driver numbers them; a lease that ran out sets SOFTWARE and USER."""

    SOFTWARE = 1 << 1
    BROWNOUT = 1 << 2
    POWER_ON = 1 << 3
    WATCHDOG = 1 << 4
    CPU_LOCKUP = 1 << 8
    USER = 1 << 13
    LEASE = SOFTWARE | USER


@dataclass
class Upload:
    """An upload in progress; `buffer` holds what is not yet in flash. Sizes in bytes."""

    active: bool = False
    size: int = 0
    offset: int = 0
    sha: bytes = b""
    buffer: bytes = b""


@dataclass
class Lease:
    """Who may write; `highest_token` outlives leases, resets and power cuts (it is in flash).

    `session` is the link on which the lease was last written. `lapsed` remembers that the lease
    ran out while a test boot was under way and the application could not act.
    """

    owner: str = ""
    rollout: str = ""
    token: int = 0
    expires_s: float = 0.0
    session: int = 0
    highest_token: int = 0
    lapsed: bool = False


@dataclass
class Settings:
    """Values by name, in hex: as written, as in effect, and as kept in the settings partition.

    `stored` outlives resets and power cuts; it lies in flash, beside the slots.
    """

    running: dict[str, str] = field(default_factory=dict)
    applied: dict[str, str] = field(default_factory=dict)
    stored: dict[str, str] = field(default_factory=dict)


@dataclass
class Ram:
    """State of one device beside its flash; times in seconds of the lab's clock.

    `planned_swap` (a `trailer.SwapType`) is what the present boot set out to do.
    """

    mode: Mode = Mode.OFF
    boots: int = 0
    boot_id: int = 0
    planned_swap: int = 1
    started_s: float = 0.0
    reset_cause: int = 0
    security_counter: int = 0
    safe: bool = False
    calibration_id: int = 0
    calibration_s: float = -1.0
    crashes: dict[str, int] = field(default_factory=dict)
    timers: dict[str, float] = field(default_factory=dict)
    upload: Upload = field(default_factory=Upload)
    recovery: Upload = field(default_factory=Upload)
    lease: Lease = field(default_factory=Lease)
    settings: Settings = field(default_factory=Settings)

    def clear(self, *, power_lost: bool) -> None:
        """Forget what a reset forgets; a power cut also loses the lease (kept in retained RAM)."""
        self.timers = {name: due for name, due in self.timers.items() if name == "lease"}
        self.upload, self.recovery = Upload(), Upload()
        self.calibration_id, self.calibration_s = 0, -1.0
        self.safe = False
        self.settings = Settings(stored=self.settings.stored)
        if power_lost:
            self.timers = {}
            self.lease = Lease(highest_token=self.lease.highest_token)

    def to_json(self) -> bytes:
        """Serialize; `from_json` reads it back."""
        return json.dumps(self, default=_plain, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Ram:
        """Read what `to_json` wrote.

        Raises:
            ValueError, KeyError, TypeError: it is something else.
        """
        fields = json.loads(data)
        for name, kind in (("upload", Upload), ("recovery", Upload), ("lease", Lease)):
            values = fields[name]
            for key in ("sha", "buffer"):
                if key in values:
                    values[key] = bytes.fromhex(values[key])
            fields[name] = kind(**values)
        fields["mode"] = Mode(fields["mode"])
        fields["settings"] = Settings(**fields.get("settings", {}))
        return cls(**fields)


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    return vars(value)
