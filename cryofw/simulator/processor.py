"""The life of one device's processor: power, bootloader, application, watchdog, lease.

It knows no bytes and no timers of its own: what is due stands in RAM, and who runs it says when.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from cryofw.simulator import lease
from cryofw.simulator.application import ApplicationServer
from cryofw.simulator.firmware import Firmware, read_firmware
from cryofw.simulator.flash import PowerCut, PowerLostError
from cryofw.simulator.ram import Mode, ResetCause
from cryofw.simulator.recovery import RecoveryServer
from cryofw.simulator.settings_group import load_values
from cryofw.simulator.slot_image import SlotImage
from cryofw.simulator.trailer import SwapType

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryofw.simulator.board import Board
    from cryofw.simulator.faults import CutPower

CRASH_AFTER_S = 0.3
_FLASHING_BYTES_PER_S = 7500  # an upload at 115200 baud: what the heat of a flashed byte is


class Processor:
    """Runs the software of one board; `server` answers requests while some software does.

    Args:
        seed: of the lab, for boot identities.
        log: takes lines for the console.
    """

    def __init__(self, board: Board, *, seed: int, log: Callable[..., None]) -> None:
        self.board = board
        self.server: ApplicationServer | RecoveryServer | None = None
        self._seed = seed
        self._log = log
        self._cut: CutPower | None = None
        self._slow_until_s = 0.0
        self._slow_factor = 1.0

    # -- power

    def resume(self) -> None:
        """Go on from RAM, as if the simulating process had never ended."""
        ram = self.board.ram
        match ram.mode:
            case Mode.BOOTING if not {"window", "app"} & ram.timers.keys():
                self._run_bootloader(SwapType(ram.planned_swap))
            case Mode.BOOTING | Mode.RECOVERY:
                self.server = RecoveryServer(self.board)
            case Mode.APPLICATION | Mode.HUNG:
                self.server = ApplicationServer(self.board)
                self.board.firmware = self._read_firmware()
                if not ram.settings.running:
                    load_values(self.board)  # it was delivered so
            case Mode.OFF | Mode.DEAD:
                pass

    def cut_power(self, fault: CutPower) -> None:
        """Let the supply fail at a flash operation that is still to come."""
        self._cut = fault
        self.board.bootloader.flash.arm(PowerCut(fault.after_operations, fault.torn))

    def power_failed(self) -> None:
        """The armed power cut came: off, and on again when the fault says so."""
        self.account()
        self.lose_power(self._cut.off_s if self._cut else None)

    def lose_power(self, off_s: float | None) -> None:
        """Take the power away, for `off_s` seconds or for good."""
        ram = self.board.ram
        ram.clear(power_lost=True)
        ram.mode = Mode.OFF
        self.server = None
        self._cut = None
        self.board.shifts.clear()
        self.board.bootloader.flash.arm(None)
        if off_s is not None:
            ram.timers["power"] = self.board.now_s() + off_s

    # -- boot

    def boot(self, cause: ResetCause) -> None:
        """Reset: run the bootloader; the application follows by timer, if there is one."""
        board, ram = self.board, self.board.ram
        ram.clear(power_lost=False)
        ram.mode = Mode.BOOTING
        ram.boots += 1
        ram.boot_id = self._new_boot_id()
        ram.reset_cause = int(cause)
        ram.planned_swap = int(board.bootloader.planned_swap())
        board.persist()  # a process that is killed now has to do the same boot again
        self._run_bootloader(SwapType.NONE)

    def _run_bootloader(self, begun: SwapType) -> None:
        board, ram = self.board, self.board.ram
        try:
            outcome = board.bootloader.boot(begun)
        except PowerLostError:
            self.power_failed()
            return
        busy_s = self.account()
        ram.security_counter = board.bootloader.counter.value
        self._log(*outcome.log)
        if outcome.image is None and not board.spec.bootloader.serial_recovery:
            ram.mode, self.server = Mode.DEAD, None
            return
        self.server = RecoveryServer(board)
        if outcome.image is None:
            ram.mode = Mode.RECOVERY
        else:
            window_s = max(board.spec.profile.dfu_window_s, busy_s)
            ram.timers["window"] = board.now_s() + window_s

    def _new_boot_id(self) -> int:
        key = f"boot/{self._seed}/{self.board.spec.name}/{self.board.ram.boots}"
        return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=4).digest(), "big")

    def enter_recovery(self) -> None:
        """A request came while the bootloader listened: it stays there."""
        self.board.ram.mode = Mode.RECOVERY
        self.board.ram.timers.pop("window", None)

    def _leave_bootloader(self) -> None:
        self.server = None
        self._log(
            "I: Bootloader chainload address offset: 0x20000",
            "I: Jumping to the first image slot",
        )
        start_s = self.board.spec.profile.app_start_s
        self.board.ram.timers["app"] = self.board.now_s() + start_s

    def _read_firmware(self) -> Firmware:
        image = self.board.image(0)
        if not isinstance(image, SlotImage):
            return Firmware()
        return read_firmware(self.board.slot(0).read(0, image.size))

    def _start_application(self) -> None:
        board, ram = self.board, self.board.ram
        now_s = board.now_s()
        ram.mode = Mode.APPLICATION
        ram.started_s = now_s
        self.server = ApplicationServer(board)
        firmware = board.firmware = self._read_firmware()
        load_values(board)
        self._log(f"*** Booting Zephyr OS build {board.spec.profile.build} ***")
        image = board.image(0)
        name = image.hash.hex() if isinstance(image, SlotImage) else ""
        ram.crashes.setdefault(name, firmware.boot_loop)
        for key in ("*", name):
            if ram.crashes.get(key, 0) > 0:
                ram.crashes[key] -= 1
                ram.timers["crash"] = now_s + CRASH_AFTER_S
                break
        if firmware.hang_s is not None:
            ram.timers["hang"] = now_s + firmware.hang_s
        if ram.lease.lapsed and board.in_test_boot:
            ram.timers["revert"] = now_s

    def hang(self, *, watchdog: bool) -> None:
        """The application stops; a watchdog that it armed resets it in a while."""
        ram = self.board.ram
        if ram.mode is not Mode.APPLICATION:
            return
        ram.mode = Mode.HUNG
        for name in ("reset", "crash"):
            ram.timers.pop(name, None)
        if watchdog and self.board.spec.watchdog:
            ram.timers["watchdog"] = self.board.now_s() + self.board.spec.watchdog_s

    def _expire_lease(self) -> None:
        board = self.board
        if board.bootloader.swap_type() not in (SwapType.REVERT, SwapType.TEST):
            return
        if board.ram.mode is Mode.APPLICATION and board.in_test_boot:
            self._log("<wrn> cryo: the lease ran out in a test boot, reverting")
            self.boot(ResetCause.LEASE)
        else:
            board.ram.lease.lapsed = True

    def on_timer(self, name: str) -> None:
        """Do what was due under `name`."""
        match name:
            case "power":
                self.boot(ResetCause.POWER_ON)
            case "window":
                self._leave_bootloader()
            case "app":
                self._start_application()
            case "reset":
                self.boot(ResetCause.SOFTWARE)
            case "crash":
                self.boot(ResetCause.CPU_LOCKUP)
            case "watchdog":
                self.boot(ResetCause.WATCHDOG)
            case "hang":
                self.hang(watchdog=self.board.firmware.watchdog)
            case "revert":
                self.board.ram.lease.lapsed = False
                self.boot(ResetCause.LEASE)
            case _:
                assert name == lease.TIMER, name
                self._expire_lease()

    # -- what flashing costs

    def slow_erase(self, until_s: float, factor: float) -> None:
        """Let erasing take `factor` times as long for a while."""
        self._slow_until_s, self._slow_factor = until_s, factor

    def account(self) -> float:
        """Turn what the flash did into heat, and return how long it took, in seconds."""
        board = self.board
        activity = board.bootloader.flash.take_activity()
        now_s, timing = board.now_s(), board.spec.timing
        erase_s = activity.erased_sectors * timing.erase_sector_s
        if now_s < self._slow_until_s:
            erase_s *= self._slow_factor
        flashing_s = activity.programmed_bytes / _FLASHING_BYTES_PER_S
        board.stage.deposit(board.stage.spec.flash_w * flashing_s, now_s)
        return erase_s + activity.programmed_bytes / 1024 * timing.program_kib_s
