"""What the hands shall do, in the imperative. Each one looks at the device first.

A command is written to the journal as an intent (`kind`) before it is done. Every command is
safe to repeat: after a crash an intent without an outcome is simply given again, and the device's
own slots decide what is left to do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Command:
    """Base of all commands; `kind` is the intent's name in the journal."""

    kind: ClassVar[str] = ""
    device: str


@dataclass(frozen=True, slots=True)
class CheckDevice(Command):
    """Prove identity, application mode, image state, slot and reset path; send nothing."""

    kind = "device-check-requested"


@dataclass(frozen=True, slots=True)
class UploadImage(Command):
    """Take the lease and put the image into the second slot."""

    kind = "image-upload-requested"
    hash: str
    running: str
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class TestImage(Command):
    """Mark for test, reset, wait through the swap, and read what runs."""

    kind = "image-test-requested"
    __test__ = False
    hash: str
    running: str
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class ConfirmImage(Command):
    """Read hash and boot afresh, confirm, read back, release the lease."""

    kind = "image-confirm-requested"
    hash: str
    boot: int | None = None


@dataclass(frozen=True, slots=True)
class RollBackDevice(Command):
    """Bring the device back to `hash`, by whichever way its slots leave open, and prove it.

    With it come back the `coefficients` (hex by name, None: it had none) that a reset does not.
    """

    kind = "device-rollback-requested"
    hash: str
    why: str = ""
    coefficients: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SafeDevice(Command):
    """Put the front end of a frozen device into its safe state; nothing else changes."""

    kind = "device-safe-requested"
    why: str = ""


@dataclass(frozen=True, slots=True)
class CalibrateDevice(Command):
    """Calibrate the device as the plan says, and wait for the end.

    `asleep`: its front end is in the safe state, from where only its own calibration brings it
    back; what the plan says follows. `why` in words.
    """

    kind = "device-calibration-requested"
    asleep: bool = True
    why: str = ""


@dataclass(frozen=True, slots=True)
class ReadCoefficients(Command):
    """Read what the device has under `names` while its last good image runs: the way back."""

    kind = "coefficients-read-requested"
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ApplyCoefficients(Command):
    """Give the image on trial its coefficients (hex by name); over SMP a reset undoes it."""

    kind = "coefficients-apply-requested"
    hash: str
    values: Mapping[str, str]
    boot: int | None = None


@dataclass(frozen=True, slots=True)
class SaveCoefficients(Command):
    """Let the confirmed image keep its coefficients over a reset, and prove it."""

    kind = "coefficients-save-requested"
    hash: str
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RestoreCoefficients(Command):
    """Bring back the coefficients of a device whose firmware went back by itself."""

    kind = "coefficients-restore-requested"
    hash: str
    values: Mapping[str, str | None]


COMMANDS: dict[str, type[Command]] = {
    command.kind: command
    for command in (
        CheckDevice,
        UploadImage,
        TestImage,
        ConfirmImage,
        RollBackDevice,
        SafeDevice,
        CalibrateDevice,
        ReadCoefficients,
        ApplyCoefficients,
        SaveCoefficients,
        RestoreCoefficients,
    )
}
