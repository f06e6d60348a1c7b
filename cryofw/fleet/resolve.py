"""From the document as written to the fleet as used, with every cross-check of values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryofw.fleet import controller_document as controllers
from cryofw.fleet import fleet_document as documents
from cryofw.fleet.calibration_resolver import CalibrationResolver
from cryofw.fleet.document import Problem
from cryofw.fleet.fleet import (
    EVERYTHING,
    BootloaderSetting,
    Controller,
    Count,
    Cryostat,
    HeartbeatRule,
    Reach,
    ResetPath,
    Retries,
    Share,
    SimulatedMetric,
    Simulation,
    Stage,
    Thermal,
)
from cryofw.fleet.settings import Layers, at_path, read_piece, require
from cryofw.fleet.source_resolver import SourceResolver
from cryofw.fleet.window import Window
from cryofw.image import Compression

if TYPE_CHECKING:
    from cryofw.fleet.document import Document, Path

_THERMAL_HINT = "for example thermal: {stage: 4k, capacity: 1.5 W, flash: 60 mW, max_rise: 150 mK}"


@dataclass
class Resolver:
    """Resolves the pieces of one document; `problems` collects what is wrong with the values."""

    document: Document
    problems: list[Problem] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sources = SourceResolver(self.document, self.problems)
        self.calibrations = CalibrationResolver(self.sources)

    def _problem(self, path: Path, message: str, hint: str = "", *, on_key: bool = False) -> None:
        self.problems.append(Problem(path, message, hint, on_key))

    def cryostat(self, name: str) -> Cryostat | None:
        """The cryostat `name`, or None if it cannot be resolved."""
        layers = Layers(self.document, (("defaults",), ("cryostats", name)))
        thermal = self._thermal(layers, name)
        raw = at_path(self.document.value, ("cryostats", name, "controllers"))
        names = list(raw) if isinstance(raw, dict) else []
        resolved = [self.controller(name, one) for one in names]
        built = tuple(one for one in resolved if one is not None)
        values = {"cryostat": name, "stage": thermal.stage if thermal else ""}
        guards = self.sources.guards(layers, values)
        if thermal is None or guards is None or len(built) != len(names):
            return None
        return Cryostat(name, thermal, built, guards)

    def _thermal(self, layers: Layers, name: str) -> Thermal | None:
        written = layers.read("thermal", controllers.ThermalDocument)
        if written is None:
            return None
        if layers.merged("thermal") is None:
            message = f"the heat budget of `{name}` is not known: `thermal` is missing"
            self._problem(("cryostats", name), message, _THERMAL_HINT, on_key=True)
            return None
        needed = ("stage", "capacity", "flash", "max_rise")
        missing = require(layers, ("thermal",), written, needed, _THERMAL_HINT)
        self.problems += missing
        if missing:
            return None
        assert written.stage is not None
        assert written.capacity is not None
        assert written.flash is not None
        assert written.max_rise is not None
        headroom = 0.8 if written.headroom is None else written.headroom
        thermal = Thermal(
            written.stage, written.capacity, headroom, written.flash, written.max_rise
        )
        if thermal.flashes_at_once < 1:
            message = "one flash alone exceeds the heat budget"
            hint = f"{headroom:.0%} of {thermal.capacity_w:g} W is less than {thermal.flash_w:g} W"
            self._problem(layers.origin("thermal", "flash"), message, hint)
            return None
        return thermal

    def controller(self, cryostat: str, name: str) -> Controller | None:
        """The controller `name`, or None if it cannot be resolved."""
        own: Path = ("cryostats", cryostat, "controllers", name)
        layers = Layers(self.document, (("defaults",), ("cryostats", cryostat), own))
        written = read_piece(controllers.ControllerDocument, at_path(self.document.value, own))
        heartbeat = self._heartbeat(layers)
        reset = self._reset(layers, cryostat, name)
        calibration = self.calibrations.contract(layers, cryostat, name)
        retries = layers.read("retries", controllers.RetriesDocument)
        coefficients = layers.read("coefficients", controllers.CoefficientsDocument)
        bootloader = self._bootloader(layers)
        settings = self._plain_settings(layers)
        if written is None or settings is None or retries is None:
            return None
        if heartbeat is None or reset is None or calibration is None or coefficients is None:
            return None
        if bootloader is None:
            return None
        command = self._coefficient_command(layers, coefficients, cryostat, name)
        if coefficients.command and command is None:
            return None
        board = settings.board or at_path(self.document.value, ("board",))
        return Controller(
            name=name,
            cryostat=cryostat,
            port=written.port,
            baud=settings.baud or 115_200,
            hw=written.hw,
            board=board if isinstance(board, str) else "",
            heartbeat=heartbeat,
            reset=reset,
            calibration=calibration,
            retries=_retries(retries),
            owner=settings.owner,
            slot_size=settings.slot_size,
            framing=settings.framing or "auto",
            boot_time_s=5.0 if settings.boot_time is None else settings.boot_time,
            coefficient_command=command,
            bootloader=bootloader,
        )

    def _bootloader(self, layers: Layers) -> BootloaderSetting | None:
        written = layers.read("bootloader", controllers.BootloaderDocument)
        if written is None:
            return None
        compressed = Compression(written.compressed) if written.compressed else None
        if compressed and written.mode == "swap":
            message = "a bootloader that swaps does not unpack images"
            hint = "write mode: overwrite-only, or leave `compressed` out"
            self._problem(layers.origin("bootloader", "compressed"), message, hint)
            return None
        if written.mode is None:
            return BootloaderSetting(True if compressed else None, compressed)
        return BootloaderSetting(written.mode == "overwrite-only", compressed)

    def _coefficient_command(
        self,
        layers: Layers,
        written: controllers.CoefficientsDocument,
        cryostat: str,
        name: str,
    ) -> tuple[str, ...] | None:
        if written.command is None:
            return None
        path = layers.origin("coefficients", "command")
        if written.device:
            message = "either the device keeps its coefficients or the command does"
            self._problem(path, message, "write `device`, or {command: [...]}", on_key=True)
        thermal = layers.read("thermal", controllers.ThermalDocument)
        values = {
            "controller": name,
            "cryostat": cryostat,
            "stage": (thermal.stage if thermal else None) or "",
        }
        return self.sources.fill_command(written.command, values, path, "command")

    def _plain_settings(self, layers: Layers) -> controllers.SettingsDocument | None:
        plain = {
            key: value
            for key in ("board", "baud", "framing", "boot_time", "slot_size", "owner")
            if (value := layers.merged(key)) is not None
        }
        return read_piece(controllers.SettingsDocument, plain)

    def _heartbeat(self, layers: Layers) -> HeartbeatRule | None:
        written = layers.read("heartbeat", controllers.HeartbeatDocument)
        if written is None:
            return None
        every_s = written.every or 2.0
        timeout_s = written.timeout or min(every_s, 2.0)
        if timeout_s > every_s:
            message = "the heartbeat's timeout is longer than the time between two heartbeats"
            self._problem(layers.origin("heartbeat", "timeout"), message)
            return None
        misses = 4 if written.misses_allowed is None else written.misses_allowed
        return HeartbeatRule(every_s, timeout_s, misses)

    def _reset(self, layers: Layers, cryostat: str, name: str) -> ResetPath | None:
        written = layers.read("reset", controllers.ResetDocument)
        if written is None:
            return None
        if written.shared_by and not written.hook:
            message = "`shared_by` without `hook`: there is no command that could be shared"
            self._problem(layers.origin("reset", "shared_by"), message, on_key=True)
        by_lines, by_hook = layers.origin("reset", "lines"), layers.origin("reset", "hook")
        if written.lines and written.hook and len(by_lines) == len(by_hook):
            message = "`lines` and `hook`: one of them restarts it from outside"
            self._problem(by_lines, message, on_key=True)
        if written.lines and (not written.hook or len(by_lines) > len(by_hook)):
            return ResetPath(bool(written.watchdog), lines=tuple(written.lines))
        hook = None
        if written.hook:
            values, path = (
                {"controller": name, "cryostat": cryostat},
                layers.origin("reset", "hook"),
            )
            hook = self.sources.fill_command(written.hook, values, path, "hook")
            if hook is None:
                return None
        others = tuple(one for one in written.shared_by or () if one != name)
        return ResetPath(bool(written.watchdog), hook, others)

    def stage(self, index: int) -> Stage | None:
        """The stage at `index`, or None if it cannot be resolved."""
        raw = at_path(self.document.value, ("stages", index))
        written = read_piece(documents.StageDocument, raw)
        if written is None:
            return None
        waves = tuple(
            Count(wave) if isinstance(wave, int) else Share(wave) for wave in written.waves or ()
        )
        window = written.window
        return Stage(
            name=written.name,
            targets=tuple(written.targets),
            soak_s=written.soak,
            then_approve=written.then == "approve",
            cryostats_at_once=written.cryostats_at_once,
            waves=waves or (EVERYTHING,),
            on_failure=Reach(written.on_failure or Reach.STAGE),
            min_reachable=0.5 if written.min_reachable is None else written.min_reachable,
            deadline_s=written.deadline or written.soak,
            window=Window(window.cron, window.for_, window.tz) if window else None,
        )

    def simulation(self) -> Simulation:
        """What `sim://` controllers imitate; the built-in default if the section is missing."""
        raw = at_path(self.document.value, ("simulation",))
        written = read_piece(documents.SimulationDocument, {} if raw is None else raw)
        if written is None:
            return Simulation()
        metrics = {
            name: SimulatedMetric(one.nominal, one.noise, one.correlation)
            for name, one in written.metrics.items()
        }
        return Simulation(written.seed, metrics, dict(written.coefficients))


def _retries(written: controllers.RetriesDocument) -> Retries:
    fallback = Retries()
    return Retries(
        fallback.count if written.count is None else written.count,
        fallback.backoff_s if written.backoff is None else written.backoff,
    )
