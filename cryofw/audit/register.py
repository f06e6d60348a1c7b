"""What an auditor remembers of devices apart from rollouts: whose hardware, who is left alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryofw.journal import Record

ADOPTED = "device-adopted"
PINNED = "device-pinned"
EXCLUDED = "device-excluded"
UNPINNED = "device-unpinned"
POLICY_KINDS = frozenset({"policy-pinned", "policy-unpinned"})

RECOVERY = "recovery-requested"
RECOVERED = "device-recovered"
NOT_RECOVERED = "recovery-failed"
RECOVERY_KINDS = frozenset({RECOVERY, RECOVERED, NOT_RECOVERED})

LAB_KINDS = frozenset({ADOPTED, PINNED, EXCLUDED, UNPINNED}) | POLICY_KINDS | RECOVERY_KINDS
"""Kinds of records that belong to no rollout, and speak of one device, or of the policy."""

NO_VERSION = ""
"""What an excluded device is pinned to."""


@dataclass(slots=True)
class RegisterLedger:
    """Devices as people took them over, and left them out.

    Attributes:
        hardware: device to the hardware id that it was adopted with; empty if it tells none.
        pins: device to the version that it may get; `NO_VERSION` for none.
        set_aside: hardware ids of controllers that were taken out while in quarantine.
        recovering: device to the image that it is to be given over serial recovery.
    """

    hardware: dict[str, str] = field(default_factory=dict)
    pins: dict[str, str] = field(default_factory=dict)
    set_aside: set[str] = field(default_factory=set)
    recovering: dict[str, str] = field(default_factory=dict)

    def take(self, record: Record, quarantine: set[str]) -> None:
        """Fold one record of a device; who is in `quarantine` follows the hardware."""
        device = str(record.device)
        match record.kind:
            case "device-adopted":
                self._adopt(device, record, quarantine)
            case "device-pinned":
                self.pins[device] = str(record.fields.get("version", NO_VERSION))
            case "device-excluded":
                self.pins[device] = NO_VERSION
            case "device-unpinned":
                self.pins.pop(device, None)
            case "recovery-requested":
                self.recovering[device] = str(record.fields.get("hash", ""))
            case "device-recovered" | "recovery-failed":
                self.recovering.pop(device, None)
            case _:
                pass

    def _adopt(self, device: str, record: Record, quarantine: set[str]) -> None:
        hardware = str(record.fields.get("hw", ""))
        replaces = record.fields.get("replaces")
        if replaces is not None and device in quarantine:
            quarantine.discard(device)
            self.set_aside.add(str(replaces))
        if hardware and hardware in self.set_aside:
            self.set_aside.discard(hardware)
            quarantine.add(device)
        self.hardware[device] = hardware
