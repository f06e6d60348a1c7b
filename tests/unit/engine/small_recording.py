"""A small lab and recordings of it: a rig with one controller, a cryostat with three."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from cryofw.telemetry import Recorder, Recording

if TYPE_CHECKING:
    from collections.abc import Callable

FLEET = """\
schema: cryofw.fleet/v1
lab: lab
board: cc40
defaults:
  heartbeat: {every: 10 s, misses_allowed: 4}
  reset: watchdog
  thermal: {stage: 4k, capacity: 1.5 W, headroom: 80 %, flash: 60 mW, max_rise: 150 mK}
  calibration:
    every: 10 s
    baseline_samples: 60
    min_samples: 20
    metrics:
      snr: {unit: dB, worse: lower, margin: 0.5, reject: 1.5}
      jitter: {unit: ns, worse: higher, margin: 0.5, reject: 2}
stages:
  - {name: rig, targets: [rig], soak: 10 min}
  - {name: cryo, targets: [cryo], soak: 10 min}
cryostats:
  rig: {controllers: {rig-a: {port: "sim://rig-a"}}}
  cryo:
    controllers:
      c-a: {port: "sim://c-a"}
      c-b: {port: "sim://c-b"}
      c-c: {port: "sim://c-c"}
"""
DEVICES = ("rig-a", "c-a", "c-b", "c-c")
START_S = 1_795_000_000.0


def record(
    hours: float,
    *,
    devices: tuple[str, ...] = DEVICES,
    every_s: float = 10.0,
    seed: int = 1,
    change: Callable[[str, str, float], float] = lambda device, metric, t_s: 0.0,
    cooldown: Callable[[float], str] = lambda t_s: "",
) -> Recording:
    """Healthy noise of .2 dB and .3 ns, with `change` on top; the clocks jitter by a second."""
    noise = random.Random(seed)
    recorder = Recorder("recording")
    for slot in range(int(hours * 3600 / every_s)):
        t_s = START_S + slot * every_s
        for device in devices:
            for metric, nominal, sd in (("snr", 27, 0.2), ("jitter", 5, 0.3)):
                value = noise.gauss(nominal, sd) + change(device, metric, t_s - START_S)
                at_s = t_s + noise.uniform(-1, 1)
                recorder.add(device, metric, at_s, value, cooldown(t_s - START_S))
    return recorder.build()
