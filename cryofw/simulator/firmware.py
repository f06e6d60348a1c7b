"""What a simulated firmware does, read from a marker that its image carries.

The marker is `CRYOFW-SIM`, a zero byte, a JSON object, a zero byte, anywhere in the image.
An image without a (readable) marker is a good firmware.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MARKER = b"CRYOFW-SIM\x00"


@dataclass(frozen=True)
class Shift:
    """A metric moves by `by` (its own unit), beginning `after_s` after boot, over `ramp_s`."""

    metric: str
    by: float
    after_s: float = 0.0
    ramp_s: float = 0.0

    def at(self, up_s: float) -> float:
        """The shift `up_s` seconds after the boot."""
        if up_s < self.after_s:
            return 0.0
        if self.ramp_s <= 0:
            return self.by
        return self.by * min(1.0, (up_s - self.after_s) / self.ramp_s)


@dataclass(frozen=True)
class Need:
    """A metric that moves by `by` unless the coefficient `setting` has the value `value`."""

    setting: str
    value: float
    metric: str
    by: float


@dataclass(frozen=True)
class Firmware:
    """Behaviour of one image; the defaults are a good firmware.

    `hang_s`: seconds after the boot at which it stops answering. `watchdog`: whether it armed
    the watchdog, which then resets a hung device. `boot_loop`: number of boots that crash before
    one succeeds. `drop_beats`: share of heartbeats that get no answer. `need`: the coefficient it
    was calibrated with. `settings`: further settings that it knows, with their values if none is
    stored. `settings_group`: it was built with SMP group 3. `keeps_settings`: its storage works.
    `trim`: a shift for as long as it was not calibrated in its present boot.
    """

    version: str = ""
    hang_s: float | None = None
    watchdog: bool = True
    boot_loop: int = 0
    shift: Shift | None = None
    drop_beats: float = 0.0
    need: Need | None = None
    settings: Mapping[str, float] = field(default_factory=dict, hash=False)
    settings_group: bool = True
    trim: Shift | None = None
    keeps_settings: bool = True


def _number(value: object, default: float = 0.0) -> float:
    return float(value) if isinstance(value, int | float) else default


def _shift(value: object) -> Shift | None:
    if not isinstance(value, dict) or not isinstance(value.get("metric"), str):
        return None
    return Shift(
        metric=value["metric"],
        by=_number(value.get("by")),
        after_s=_number(value.get("after_s")),
        ramp_s=_number(value.get("ramp_s")),
    )


def _need(value: object) -> Need | None:
    if not isinstance(value, dict):
        return None
    setting, metric = value.get("setting"), value.get("metric")
    if not isinstance(setting, str) or not isinstance(metric, str):
        return None
    return Need(setting, _number(value.get("value")), metric, _number(value.get("by")))


def _settings(value: object) -> dict[str, float]:
    return {k: _number(v) for k, v in value.items()} if isinstance(value, dict) else {}


def read_firmware(image: bytes) -> Firmware:
    """Read the behaviour out of an image; never raises, because any bytes may be flashed."""
    start = image.find(MARKER)
    if start < 0:
        return Firmware()
    start += len(MARKER)
    end = image.find(b"\x00", start)
    try:
        fields = json.loads(image[start:end])
    except ValueError:
        return Firmware()
    if not isinstance(fields, dict):
        return Firmware()
    hang = fields.get("hang_s")
    return Firmware(
        version=str(fields.get("version", "")),
        hang_s=None if hang is None else _number(hang),
        watchdog=fields.get("wdt") is not False,
        boot_loop=int(_number(fields.get("bootloop"))),
        shift=_shift(fields.get("shift")),
        drop_beats=_number(fields.get("drop_beats")),
        need=_need(fields.get("need")),
        settings=_settings(fields.get("settings")),
        settings_group=fields.get("settings_group") is not False,
        trim=_shift(fields.get("trim")),
        keeps_settings=fields.get("keeps_settings") is not False,
    )
