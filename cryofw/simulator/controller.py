"""One simulated controller: bytes in, bytes out, timers and time through ports; no IO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from cryofw.simulator.board import Board
from cryofw.simulator.cryo_group import start_calibration
from cryofw.simulator.faults import (
    CorruptBytes,
    CutLines,
    CutPower,
    DelayBytes,
    DropBytes,
    DuplicateBytes,
    Fault,
    FillBuffers,
    Hang,
    LoopBoots,
    LoseHeartbeats,
    OverrunBuffers,
    PrintNoise,
    PullCable,
    ResetWhileReceiving,
    ShiftCalibration,
    SlowErase,
)
from cryofw.simulator.firmware import Shift
from cryofw.simulator.flash import Flash, PowerLostError
from cryofw.simulator.line import CallLater, Line, Timer
from cryofw.simulator.mcuboot import Bootloader, SecurityCounter, Validator
from cryofw.simulator.physics import HeatedStage, MetricModel
from cryofw.simulator.processor import Processor
from cryofw.simulator.ram import Mode, Ram, ResetCause
from cryofw.simulator.settings_group import keep_values
from cryofw.simulator.spec import ThermalSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryofw.simulator.flash_storage import FlashStorage
    from cryofw.simulator.spec import ControllerSpec

_SAME_TIME_S = 1e-9


@dataclass(frozen=True)
class Ports:
    """What a controller needs from around it.

    `now_s`: the lab's clock. `send`: takes bytes for the host. `validator`: the bootloader's
    judgement on an image. `save`: keeps RAM where it outlives the process. `unplug`: is told
    for how many seconds the cable is out.
    """

    now_s: Callable[[], float]
    call_later: CallLater
    send: Callable[[bytes], None]
    validator: Validator
    save: Callable[[Ram], None] = lambda _ram: None
    unplug: Callable[[float], None] = lambda _for_s: None


class SimulatedController:
    """A controller with bootloader, application, serial line and a place on a stage.

    Starts as its RAM says, when `resume` is called; `power_on` brings a new one up.
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
        self.ram = ram or Ram()
        self._ports = ports
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
        self._processor = Processor(self.board, seed=seed, log=self._log)
        self._beats_until_s = 0.0
        self._timer: Timer | None = None
        self._timer_due_s = 0.0

    # -- what a person or a test does to it

    def resume(self) -> None:
        """Go on from the RAM it was made with, as if the process had never ended."""
        self._processor.resume()
        self._run_due()
        self._settle()

    def power_on(self) -> None:
        """Give it power, if it has none; it boots."""
        if self.ram.mode is Mode.OFF:
            self.ram.timers.pop("power", None)
            self._processor.boot(ResetCause.POWER_ON)
            self._settle()

    def power_off(self) -> None:
        """Take its power away; RAM is lost, the flash is not."""
        self._processor.lose_power(None)
        self._settle()

    def power_cycle(self, off_s: float = 1.0) -> None:
        """Take its power away for `off_s` seconds, as a power hook does."""
        self._processor.lose_power(off_s)
        self._settle()

    def inject(self, fault: Fault) -> None:
        """Let a fault act from now on."""
        now_s = self._ports.now_s()
        match fault:
            case CutPower():
                self._processor.cut_power(fault)
            case Hang():
                self._processor.hang(watchdog=fault.watchdog)
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
                self._processor.slow_erase(now_s + fault.for_s, fault.factor)
            case CorruptBytes() | DropBytes() | DuplicateBytes() | DelayBytes() | FillBuffers():
                self.line.add_fault(fault)
            case CutLines() | PrintNoise() | OverrunBuffers() | ResetWhileReceiving():
                self.line.add_fault(fault)
            case _:
                assert_never(fault)
        self._settle()

    def measure(self) -> dict[str, float]:
        """What instruments of the lab show of it: a device that does not run has no signal."""
        if self.ram.mode is not Mode.APPLICATION:
            return {}
        now_s = self._ports.now_s()
        values = {name: self.board.metric(name, now_s) for name in self.board.metric_names()}
        return {name: value for name, value in values.items() if value is not None}

    def setting(self, name: str) -> bytes | None:
        """A setting of the running firmware, read past SMP as by a debugger."""
        value = self.ram.settings.running.get(name)
        return None if value is None else bytes.fromhex(value)

    def keep_settings(self, values: Mapping[str, bytes | None]) -> None:
        """Write settings past SMP: they take effect, and they stay; None: the storage forgets."""
        keep_values(self.board, values)
        self._settle()

    def calibrate(self) -> float | None:
        """Begin what a calibration bench of the lab does; the seconds it takes.

        None: it does not run, so there is nothing to calibrate.
        """
        if self.ram.mode is not Mode.APPLICATION:
            return None
        start_calibration(self.board, {"id": self.ram.calibration_id + 1})
        self._settle()
        return self.spec.calibration_s

    # -- the line

    def receive(self, data: bytes, session: int = 0) -> None:
        """Take bytes from the host; `session` tells one opened link from another."""
        self._run_due()
        if self.ram.mode is Mode.APPLICATION and self.line.resets(data):
            self._processor.boot(ResetCause.BROWNOUT)
            self._settle()
            return
        data = self.line.filter_received(data)
        server = self._processor.server
        if not data or server is None or self.ram.mode is Mode.HUNG:
            return
        if self.line.buffers_in_use() >= self._buffer_count():
            return  # a packet without a free buffer is lost in silence
        if self.board.lost_beats and self._ports.now_s() >= self._beats_until_s:
            self.board.lost_beats = 0.0
        before = self.bootloader.flash.generation
        try:
            replies = server.receive(data, session)
        except PowerLostError:
            self._processor.power_failed()
            self._settle()
            return
        if replies and self.ram.mode is Mode.BOOTING:
            self._processor.enter_recovery()
        flashed = before != self.bootloader.flash.generation
        busy_s = self._processor.account() if flashed else 0.0
        if replies:
            self.line.answer(b"".join(replies), busy_s=busy_s)
        if server.take_changed():
            self._settle()

    def _buffer_count(self) -> int:
        """MCUboot's recovery has one buffer."""
        return self.spec.profile.buffer_count if self.ram.mode is Mode.APPLICATION else 1

    def _log(self, *lines: str) -> None:
        self.line.send("".join(f"{line}\r\n" for line in lines).encode())

    # -- time

    def _run_due(self) -> None:
        now_s = self._ports.now_s()
        ran = False
        while self.ram.timers:
            due_s, name = min((due_s, name) for name, due_s in self.ram.timers.items())
            if due_s > now_s + _SAME_TIME_S:
                break
            del self.ram.timers[name]
            self._processor.on_timer(name)
            ran = True
        if ran:
            self._settle()

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
        """Stop timer and line; the device stays as it is, for whoever resumes it."""
        self.line.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _save(self) -> None:
        self._ports.save(self.ram)
