"""One device's hardware as its software sees it: flash, bootloader, RAM, clock, sensors."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryofw.simulator.firmware import Firmware
from cryofw.simulator.settings_group import applied_value
from cryofw.simulator.slot_image import SlotError, SlotImage, read_slot_image
from cryofw.simulator.trailer import SwapType

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryofw.simulator.firmware import Need, Shift
    from cryofw.simulator.flash import FlashArea
    from cryofw.simulator.mcuboot import Bootloader
    from cryofw.simulator.physics import HeatedStage, MetricModel
    from cryofw.simulator.ram import Ram
    from cryofw.simulator.spec import ControllerSpec

STAGE_METRIC = "stage_temperature"
"""Metric that every device reports beside its own: the temperature of its stage in kelvin."""


@dataclass
class Board:
    """What the handlers of the server work on.

    `now_s` is the lab's clock. `persist` keeps RAM before something happens that must not be
    forgotten. `shifts` are calibration faults by themselves, beside the firmware's.
    """

    spec: ControllerSpec
    bootloader: Bootloader
    ram: Ram
    model: MetricModel
    stage: HeatedStage
    now_s: Callable[[], float]
    persist: Callable[[], None]
    firmware: Firmware = field(default_factory=Firmware)
    shifts: list[tuple[float, Shift]] = field(default_factory=list)
    lost_beats: float = 0.0
    _images: dict[int, tuple[int, SlotImage | SlotError]] = field(default_factory=dict)

    @property
    def up_ms(self) -> int:
        """Milliseconds since the application started."""
        return round((self.now_s() - self.ram.started_s) * 1000)

    def slot(self, index: int) -> FlashArea:
        """The flash of slot 0 or 1."""
        return self.bootloader.slot(index)

    def image(self, index: int) -> SlotImage | SlotError:
        """What slot 0 or 1 holds; read again only after the flash has changed."""
        generation = self.bootloader.flash.generation
        cached = self._images.get(index)
        if cached is None or cached[0] != generation:
            cached = (generation, read_slot_image(self.slot(index)))
            self._images[index] = cached
        return cached[1]

    @property
    def in_test_boot(self) -> bool:
        """Whether the running image reverts at the next reset."""
        return self.bootloader.swap_type() is SwapType.REVERT

    def metric(self, name: str, t_s: float) -> float | None:
        """A reading at time `t_s`, in its unit; None if the device has no such metric."""
        if name == STAGE_METRIC:
            return round(self.stage.temperature_k(t_s), 6)
        if name not in self.spec.metrics:
            return None
        shift = 0.0
        own = self.firmware.shift
        if own is not None and own.metric == name:
            shift += own.at(t_s - self.ram.started_s)
        for since_s, fault in self.shifts:
            if fault.metric == name:
                shift += fault.at(t_s - since_s)
        trim = self.firmware.trim
        if trim is not None and trim.metric == name and not self._is_calibrated(t_s):
            shift += trim.at(t_s - self.ram.started_s)
        need = self.firmware.need
        if need is not None and need.metric == name and not self._is_met(need):
            shift += need.by
        return self.model.value(name, t_s, rise_k=self.stage.rise_k(t_s), shift=shift)

    def _is_calibrated(self, t_s: float) -> bool:
        """A run of this boot has ended by then."""
        began_s = self.ram.calibration_s
        return began_s >= 0 and t_s >= began_s + self.spec.calibration_s

    def _is_met(self, need: Need) -> bool:
        applied = applied_value(self, need.setting)
        return applied is not None and math.isclose(applied, need.value, rel_tol=1e-6)

    def metric_names(self) -> list[str]:
        """All metrics of the device."""
        return [*self.spec.metrics, STAGE_METRIC]
