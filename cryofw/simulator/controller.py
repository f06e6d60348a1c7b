"""One simulated controller: bytes in, bytes out, timers and time through ports; no IO."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from cryofw.simulator import lease
from cryofw.simulator.application import ApplicationServer
from cryofw.simulator.board import Board
from cryofw.simulator.faults import (
    CorruptBytes,
    CutPower,
    DelayBytes,
    DropBytes,
    DuplicateBytes,
    Fault,
    FillBuffers,
    Hang,
    LoopBoots,
    LoseHeartbeats,
    PullCable,
    ShiftCalibration,
    SlowErase,
)
from cryofw.simulator.firmware import Firmware, Shift, read_firmware
from cryofw.simulator.flash import Flash, FlashStorage, PowerCut, PowerLostError
from cryofw.simulator.line import CallLater, Line, Timer
from cryofw.simulator.mcuboot import Bootloader, SecurityCounter, Validator
from cryofw.simulator.physics import HeatedStage, MetricModel
from cryofw.simulator.ram import Mode, Ram, ResetCause
from cryofw.simulator.recovery import RecoveryServer
from cryofw.simulator.slot_image import SlotImage
from cryofw.simulator.spec import ThermalSpec
from cryofw.simulator.trailer import SwapType

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryofw.simulator.spec import ControllerSpec

CRASH_AFTER_S = 0.3
_FLASHING_BYTES_PER_S = 7500  # an upload at 115200 baud: what the heat of a flashed byte is


@dataclass(frozen=True)
class Ports:
    """What a controller needs from around it.

    `now_s`: the lab's clock. `send`: takes bytes for the host. `save`: keeps RAM where it
    outlives the process. `validator`: the bootloader's judgement on an image.
    """

    now_s: Callable[[], float]
    call_later: CallLater
    send: Callable[[bytes], None]
    validator: Validator
    save: Callable[[Ram], None] = lambda _ram: None
    unplug: Callable[[float], None] = lambda _for_s: None


class SimulatedController:
    """A controller with bootloader, application, serial line and a place on a stage.

    Starts as its RAM says; `power_on` brings a new one up. All times are seconds of `now_s`.
    """

    def __init__(
        self,
        spec: ControllerSpec,
        storage: FlashStorage,
        ports: Ports,
        *,
        seed: int = 1,
        stage: HeatedStage | None = None,
        ram: Ram | None = None,
    ) -> None:
        self.spec = spec
        self._ports = ports
        self._seed = seed
        self.ram = ram or Ram()
        flash = Flash(storage, sector_size=spec.sector_size, write_size=spec.write_size)
        counter = SecurityCounter(self.ram.security_counter)
        self.bootloader = Bootloader(flash, ports.validator, spec.bootloader, counter)
        self.line = Line(f"{seed}/{spec.name}", ports.now_s, ports.call_later, ports.send)
        self.board = Board(
            spec=spec,
            bootloader=self.bootloader,
            ram=self.ram,
            model=MetricModel(seed, spec.cryostat, spec.name, spec.metrics),
            stage=stage or HeatedStage(ThermalSpec()),
            now_s=ports.now_s,
            persist=self._save,
        )
        self._server: ApplicationServer | RecoveryServer | None = None
        self._cut: CutPower | None = None
        self._erase_factor = (0.0, 1.0)
        self._beats_until_s = 0.0
        self._timer: Timer | None = None
        self._timer_due_s = 0.0

    # -- what a person or a test does to it

    def resume(self) -> None:
        """Go on from the RAM it was made with, as if the process had never ended."""
        match self.ram.mode:
            case Mode.BOOTING if not {"window", "app"} & self.ram.timers.keys():
                self._boot(ResetCause(self.ram.reset_cause))
            case Mode.BOOTING | Mode.RECOVERY:
                self._server = RecoveryServer(self.board)
            case Mode.APPLICATION | Mode.HUNG:
                self._server = ApplicationServer(self.board)
                self.board.firmware = self._read_firmware()
            case Mode.OFF | Mode.DEAD:
                pass
        self._run_due()
        self._settle()

    def power_on(self) -> None:
        """Give it power, if it has none; it boots."""
        if self.ram.mode is Mode.OFF:
            self._boot(ResetCause.POWER_ON)
            self._settle()

    def power_off(self) -> None:
        """Take its power away; RAM is lost, the flash is not."""
        self._lose_power(None)
        self._settle()

    def power_cycle(self, off_s: float = 1.0) -> None:
        """Take its power away for `off_s` seconds, as a power hook does."""
        self._lose_power(off_s)
        self._settle()

    def inject(self, fault: Fault) -> None:
        """Let a fault act from now on."""
        now_s = self._ports.now_s()
        match fault:
            case CutPower():
                self._cut = fault
                self.bootloader.flash.arm(PowerCut(fault.after_operations, fault.torn))
            case Hang():
                self._hang(watchdog=fault.watchdog)
            case LoopBoots():
                self.ram.crashes["*"] = fault.boots
            case LoseHeartbeats():
                self.board.lost_beats = fault.share
                self._beats_until_s = now_s + fault.for_s
            case ShiftCalibration():
                shift = Shift(fault.metric, fault.by, 0.0, fault.ramp_s)
                self.board.shifts.append((now_s, shift))
            case PullCable():
                self.line.unplugged_until_s = now_s + fault.for_s
                self._ports.unplug(fault.for_s)
            case SlowErase():
                self._erase_factor = (now_s + fault.for_s, fault.factor)
            case CorruptBytes() | DropBytes() | DuplicateBytes() | DelayBytes() | FillBuffers():
                self.line.add_fault(fault)
            case _:
                assert_never(fault)
        self._settle()

    # -- the line

    def receive(self, data: bytes, session: int = 0) -> None:
        """Take bytes from the host; `session` tells one opened link from another."""
        self._run_due()
        received = len(data)
        data = self.line.filter_received(data)
        if not data or self._server is None or self.ram.mode is Mode.HUNG:
            return
        if self.ram.mode is Mode.BOOTING and "window" not in self.ram.timers:
            return  # the application is starting; nobody listens
        if self.board.lost_beats and self._ports.now_s() >= self._beats_until_s:
            self.board.lost_beats = 0.0
        before = self.bootloader.flash.generation
        try:
            replies = self._server.receive(data, session)
        except PowerLostError:
            self._account()
            self._lose_power(self._cut.off_s if self._cut else None)
            self._settle()
            return
        if replies and self.ram.mode is Mode.BOOTING:
            self.ram.mode = Mode.RECOVERY
            self.ram.timers.pop("window", None)
        busy_s = self._account() if before != self.bootloader.flash.generation else 0.0
        if replies:
            self.line.send(b"".join(replies), busy_s=busy_s, received=received)
        if self._server.take_changed() or self.ram.mode is Mode.RECOVERY:
            self._settle()

    def _log(self, *lines: str) -> None:
        self.line.send("".join(f"{line}\r\n" for line in lines).encode())

    # -- power and boot

    def _lose_power(self, off_s: float | None) -> None:
        self.ram.clear(power_lost=True)
        self.ram.mode = Mode.OFF
        self._server = None
        self._cut = None
        self.board.shifts.clear()
        self.bootloader.flash.arm(None)
        if off_s is not None:
            self.ram.timers["power"] = self._ports.now_s() + off_s

    def _boot(self, cause: ResetCause) -> None:
        ram, profile = self.ram, self.spec.profile
        ram.clear(power_lost=False)
        ram.mode = Mode.BOOTING
        ram.boots += 1
        ram.boot_id = self._new_boot_id()
        ram.reset_cause = int(cause)
        self._save()  # a process killed during the swap runs the bootloader again
        try:
            outcome = self.bootloader.boot()
        except PowerLostError:
            self._account()
            self._lose_power(self._cut.off_s if self._cut else None)
            return
        busy_s = self._account()
        ram.security_counter = self.bootloader.counter.value
        self._log(*outcome.log)
        if outcome.image is None:
            ram.mode = Mode.RECOVERY if self.spec.bootloader.serial_recovery else Mode.DEAD
            self._server = RecoveryServer(self.board) if ram.mode is Mode.RECOVERY else None
            return
        self._server = RecoveryServer(self.board)
        ram.timers["window"] = self._ports.now_s() + max(profile.dfu_window_s, busy_s)

    def _new_boot_id(self) -> int:
        key = f"boot/{self._seed}/{self.spec.name}/{self.ram.boots}"
        return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=4).digest(), "big")

    def _read_firmware(self) -> Firmware:
        image = self.board.image(0)
        if not isinstance(image, SlotImage):
            return Firmware()
        return read_firmware(self.board.slot(0).read(0, image.size))

    def _start_application(self) -> None:
        ram, now_s = self.ram, self._ports.now_s()
        ram.mode = Mode.APPLICATION
        ram.started_s = now_s
        self._server = ApplicationServer(self.board)
        firmware = self.board.firmware = self._read_firmware()
        self._log(f"*** Booting Zephyr OS build {self.spec.profile.build} ***")
        image = self.board.image(0)
        name = image.hash.hex() if isinstance(image, SlotImage) else ""
        ram.crashes.setdefault(name, firmware.boot_loop)
        for key in ("*", name):
            if ram.crashes.get(key, 0) > 0:
                ram.crashes[key] -= 1
                ram.timers["crash"] = now_s + CRASH_AFTER_S
                break
        if firmware.hang_s is not None:
            ram.timers["hang"] = now_s + firmware.hang_s
        if ram.lease.lapsed and self.board.in_test_boot:
            ram.timers["revert"] = now_s

    def _hang(self, *, watchdog: bool) -> None:
        if self.ram.mode is not Mode.APPLICATION:
            return
        self.ram.mode = Mode.HUNG
        for name in ("reset", "crash"):
            self.ram.timers.pop(name, None)
        if watchdog and self.spec.watchdog:
            self.ram.timers["watchdog"] = self._ports.now_s() + self.spec.watchdog_s

    def _expire_lease(self) -> None:
        if self.bootloader.swap_type() not in (SwapType.REVERT, SwapType.TEST):
            return
        if self.ram.mode is Mode.APPLICATION and self.board.in_test_boot:
            self._log("<wrn> cryo: the lease ran out in a test boot, reverting")
            self._boot(ResetCause.LEASE)
        else:
            self.ram.lease.lapsed = True

    # -- time

    def _run_due(self) -> None:
        now_s = self._ports.now_s()
        ran = False
        while self.ram.timers:
            due_s, name = min((due_s, name) for name, due_s in self.ram.timers.items())
            if due_s > now_s + 1e-9:
                break
            del self.ram.timers[name]
            self._on_timer(name)
            ran = True
        if ran:
            self._settle()

    def _on_timer(self, name: str) -> None:
        match name:
            case "power":
                self._boot(ResetCause.POWER_ON)
            case "window":
                self._server = None
                self._log(
                    "I: Bootloader chainload address offset: 0x20000",
                    "I: Jumping to the first image slot",
                )
                self.ram.timers["app"] = self._ports.now_s() + self.spec.profile.app_start_s
            case "app":
                self._start_application()
            case "reset":
                self._boot(ResetCause.SOFTWARE)
            case "crash":
                self._boot(ResetCause.CPU_LOCKUP)
            case "watchdog":
                self._boot(ResetCause.WATCHDOG)
            case "hang":
                self._hang(watchdog=self.board.firmware.watchdog)
            case "revert":
                self.ram.lease.lapsed = False
                self._boot(ResetCause.LEASE)
            case _:
                assert name == lease.TIMER, name
                self._expire_lease()

    def _settle(self) -> None:
        """Save what changed and wait for the next timer."""
        self._save()
        due_s = min(self.ram.timers.values(), default=-1.0)
        if self._timer is not None:
            if due_s == self._timer_due_s:
                return
            self._timer.cancel()
            self._timer = None
        if due_s >= 0:
            self._timer_due_s = due_s
            delay_s = max(0.0, due_s - self._ports.now_s())
            self._timer = self._ports.call_later(delay_s, self._on_wake)

    def _on_wake(self) -> None:
        self._timer = None
        self._run_due()
        if self._timer is None:
            self._settle()

    def detach(self) -> None:
        """Stop the timers; the device stays as it is, for whoever resumes it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _save(self) -> None:
        self._ports.save(self.ram)

    def _account(self) -> float:
        """Turn what the flash did into heat, and return how long it took."""
        activity = self.bootloader.flash.take_activity()
        now_s, timing = self._ports.now_s(), self.spec.timing
        until_s, factor = self._erase_factor
        erase_s = activity.erased_sectors * timing.erase_sector_s
        if now_s < until_s:
            erase_s *= factor
        flashing_s = activity.programmed_bytes / _FLASHING_BYTES_PER_S
        self.board.stage.deposit(self.board.stage.spec.flash_w * flashing_s, now_s)
        return erase_s + activity.programmed_bytes / 1024 * timing.program_kib_s
