"""What is done to a device without a running application, apart from any rollout."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryofw.rollout.lab_events import LabEvent

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class RecoveryRequested(LabEvent):
    """A person lets the bootloader overwrite what is in the running slot.

    Attributes:
        hash: hex hash of the image that it is given, version: its version.
        file_sha256: hex digest of the file; image: `last-good` or `given`.
    """

    kind = "recovery-requested"
    device: str
    by: str
    hash: str
    version: str
    file_sha256: str
    image: str = ""
    why: str = ""
    proof: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeviceRecovered(LabEvent):
    """It runs the image, confirmed; its hash was read back, and heartbeats followed."""

    kind = "device-recovered"
    device: str
    by: str
    hash: str
    hw: str = ""
    boot: int | None = None
    sent_bytes: int = 0
    starts: int = 0
    beats: int = 0
    duration_s: float = 0.0


@dataclass(frozen=True, slots=True)
class RecoveryFailed(LabEvent):
    """It was not brought back; `sent`: its running slot was written to."""

    kind = "recovery-failed"
    device: str
    by: str
    hash: str
    why: str
    hint: str = ""
    sent: bool = False
