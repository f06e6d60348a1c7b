"""What a simulated lab is made of: plain descriptions, independent of fleet.yaml."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryofw.errors import BadInput
from cryofw.smp import Framing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.fleet import Fleet


_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class BootloaderConfig:
    """How the bootloader was built; `decryption_key` is a private key in PEM, or there is none.

    One that is `overwrite_only` copies the secondary slot over the primary one: no test boot, and
    nothing to revert to. Only such a one may unpack images: `compressed` is empty, "lzma2", or
    "lzma2-arm-thumb" for both.
    """

    downgrade_prevention: bool = False
    hardware_counter: bool = False
    serial_recovery: bool = True
    decryption_key: str = field(default="", repr=False)
    overwrite_only: bool = False
    compressed: str = ""


@dataclass(frozen=True)
class MetricSpec:
    """One calibration figure of a healthy device; all deviations in the metric's own unit.

    `noise` is the deviation of the readout noise, `device` of the fixed offset between devices,
    `drift` of the slow drift that a whole cryostat shares, `per_kelvin` the change with the
    temperature rise of the stage; the noise forgets itself to 1/e in `correlation_s`.
    """

    nominal: float
    noise: float = 0.1
    device: float = 0.0
    drift: float = 0.0
    per_kelvin: float = 0.0
    correlation_s: float = 10.0


DEFAULT_METRICS: Mapping[str, MetricSpec] = {
    "readout_snr": MetricSpec(24.0, noise=0.15, device=0.3, drift=0.05, per_kelvin=-2.0),
    "adc_enob": MetricSpec(10.4, noise=0.02, device=0.05, drift=0.005, per_kelvin=-0.2),
    "clock_jitter": MetricSpec(3.0, noise=0.1, device=0.2, drift=0.03, per_kelvin=1.0),
}


@dataclass(frozen=True)
class ThermalSpec:
    """The temperature stage of a cryostat: a thermal RC that flashing heats.

    `base_k` is its temperature at rest, `resistance_k_per_w` the rise per watt, `time_constant_s`
    the RC, `flash_w` what one flashing controller dissipates.
    """

    base_k: float = 4.0
    resistance_k_per_w: float = 0.1
    time_constant_s: float = 90.0
    flash_w: float = 0.06


@dataclass(frozen=True)
class ServerProfile:
    """How the device's software was built; the defaults are those of the recorded servers.

    `buffer_size` bytes for one packet with its length and CRC; `reset_delay_s` between the answer
    to a reset and the reset; `dfu_window_s` in which the bootloader listens after a reset.
    `framing` is that of the application; the bootloader's recovery speaks the console's.
    `stats` are the statistics groups that group 2 shows, `tasks` the threads of taskstat: priority
    -> state; empty ones leave the command out.
    """

    buffer_size: int = 384
    buffer_count: int = 4
    framing: Framing = Framing.CONSOLE
    image_check: bool = True
    cryo_group: bool = True
    kernel_version: str = "3.4.99"
    build: str = "8cf626d8c364"
    machine: str = "arm"
    processor: str = "cortex-m3"
    stats: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    tasks: Mapping[int, int] = field(default_factory=dict, hash=False)
    reset_delay_s: float = 0.25
    dfu_window_s: float = 0.5
    app_start_s: float = 0.2
    recovery_buffer_size: int = 1024
    recovery_reply_size: int = 212


@dataclass(frozen=True)
class FlashTiming:
    """How long the chip is busy; it answers nothing meanwhile."""

    erase_sector_s: float = 0.0008
    program_kib_s: float = 0.0002


@dataclass(frozen=True)
class ControllerSpec:
    """One simulated controller: its identity, its chip, how it was built and what it measures.

    `slot_size`, `sector_size` and `write_size` in bytes; `watchdog_s` is the watchdog's timeout.
    `paced` makes bytes take their time at the baud rate of the port. `settings` are what every
    firmware of it knows in SMP group 3, with the values it was delivered with; without any, and
    without the firmware's own, it has no such group.
    """

    name: str
    board: str = "cc40"
    hw: bytes = b""
    serial_number: str = ""
    cryostat: str = ""
    slot_size: int = 512 * 1024
    sector_size: int = 4096
    write_size: int = 4
    watchdog: bool = True
    watchdog_s: float = 4.0
    paced: bool = True
    calibration_s: float = 5.0
    profile: ServerProfile = ServerProfile()
    bootloader: BootloaderConfig = BootloaderConfig()
    timing: FlashTiming = FlashTiming()
    metrics: Mapping[str, MetricSpec] = field(
        default_factory=lambda: dict(DEFAULT_METRICS), hash=False
    )
    settings: Mapping[str, float] = field(default_factory=dict, hash=False)

    @property
    def hardware_id(self) -> bytes:
        """`hw`, or one that follows from the name."""
        return self.hw or hashlib.sha256(f"hw:{self.name}".encode()).digest()[:12]


@dataclass(frozen=True)
class LabSpec:
    """All simulated controllers and the stages they sit on, by cryostat; one seed for chance."""

    controllers: tuple[ControllerSpec, ...]
    seed: int = 1
    stages: Mapping[str, ThermalSpec] = field(default_factory=dict, hash=False)

    def check(self) -> None:
        """Make sure that the names can stand for files and ports.

        Raises:
            BadInput: a name has other characters, or two devices have the same.
        """
        names = [one.name for one in self.controllers]
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise BadInput("two simulated devices have one name", why=", ".join(twice))
        for name in (*names, *(one.cryostat for one in self.controllers if one.cryostat)):
            if not _NAME.fullmatch(name):
                raise BadInput(
                    f"{name!r} is no name for a simulated device or cryostat",
                    hint="use letters, digits, '.', '_' and '-'",
                )


def spec_of_fleet(fleet: Fleet) -> LabSpec:
    """Describe the simulated controllers of a fleet (those with a `sim://` port)."""
    metrics = {
        name: MetricSpec(
            one.nominal,
            one.noise,
            device=2 * one.noise,
            drift=0.3 * one.noise,
            per_kelvin=0.0,
            correlation_s=one.correlation_s,
        )
        for name, one in fleet.simulation.metrics.items()
    } or dict(DEFAULT_METRICS)
    controllers = tuple(
        ControllerSpec(
            name=one.port.removeprefix("sim://"),
            board=one.board,
            hw=bytes.fromhex(one.hw) if one.hw else b"",
            serial_number=one.name,
            cryostat=one.cryostat,
            slot_size=one.slot_size or 512 * 1024,
            watchdog=one.reset.watchdog,
            bootloader=BootloaderConfig(
                overwrite_only=bool(one.bootloader.overwrites),
                compressed=one.bootloader.compressed or "",
            ),
            metrics=metrics,
            settings=dict(fleet.simulation.coefficients),
        )
        for one in fleet.controllers
        if one.is_simulated
    )
    stages = {
        name: ThermalSpec(flash_w=cryostat.thermal.flash_w)
        for name, cryostat in fleet.cryostats.items()
    }
    return LabSpec(controllers, fleet.simulation.seed, stages)
