"""Which device to drive, and how patient to be with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryofw.smp import Framing


@dataclass(frozen=True)
class Timeouts:
    """How long to wait, in seconds.

    Attributes:
        request_s: for the answer to a request, on top of the time its bytes take on the line;
            doubles with each repetition.
        erase_s: for the answer to the first packet of an upload, and to an erase.
        boot_s: from the end of the silence after a reset until the device must answer (a swap of
            a large image on slow flash happens in it).
        poll_s: between two looks at a booting device.
        reopen_s: how long a port may stay away.
        calibration_s: how long a calibration run may take.
        hook_s: how long a power hook may run.
    """

    request_s: float = 2.0
    erase_s: float = 40.0
    boot_s: float = 90.0
    poll_s: float = 1.0
    reopen_s: float = 30.0
    calibration_s: float = 300.0
    hook_s: float = 60.0


@dataclass(frozen=True)
class RetryRule:
    """How often a failed request or a lost line is tried again.

    Attributes:
        count: repetitions after the first try.
        backoff_s: first wait before a lost port is opened again; doubles.
    """

    count: int = 3
    backoff_s: float = 1.0


@dataclass(frozen=True)
class Target:
    """One controller, as fleet.yaml names it.

    Attributes:
        name: the controller's name, for people.
        port: port URL.
        baud: bits per second.
        hw: hardware id in hex that must answer on the port; None: not pinned.
        board: board that must answer; "": any.
        power_hook: command that cycles the device's power; None: there is none.
        reset_lines: steps on DTR and RTS of its port that reset it (`transport.line_sequence`); at
            rest they are as the last step leaves them.
        watchdog: a watchdog resets a hung firmware.
        boot_time_s: after a reset nothing is sent for so many seconds (MCUboot's wait-for-DFU
            would take any byte as a wish for serial recovery).
        timeouts: how long to wait.
        retries: how often to try again.
        framing: how messages lie on its line; None: find out (console first, see `FramingProbe`).
        overwrites: its bootloader copies over the running image, without a test boot.
    """

    name: str
    port: str
    baud: int = 115200
    hw: str | None = None
    board: str = ""
    power_hook: tuple[str, ...] | None = None
    watchdog: bool = False
    reset_lines: tuple[str, ...] = ()
    boot_time_s: float = 5.0
    timeouts: Timeouts = field(default_factory=Timeouts)
    retries: RetryRule = field(default_factory=RetryRule)
    overwrites: bool = False
    framing: Framing | None = None
