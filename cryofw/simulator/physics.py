"""Numbers a lab measures: offsets, shared drift, noise that remembers, and heat.

Everything here is a pure function of the seed, names and time, so a reading does not depend on
who asked before, in which process, or under which PYTHONHASHSEED. Only the heat of a stage has a
state, because it depends on what was flashed.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.simulator.spec import MetricSpec, ThermalSpec

NOISE_STEP_S = 5.0
NOISE_CORRELATION_S = 10.0
DRIFT_STEP_S = 1800.0
_BLOCK = 64
_DECIMALS = 4


def uniforms(key: str, count: int) -> list[float]:
    """Return `count` independent numbers in [0, 1) that depend on `key` only."""
    numbers: list[float] = []
    counter = 0
    while len(numbers) < count:
        digest = hashlib.blake2b(f"{key}/{counter}".encode()).digest()
        numbers += [int.from_bytes(digest[i : i + 8], "big") / 2**64 for i in range(0, 64, 8)]
        counter += 1
    return numbers[:count]


def normals(key: str, count: int) -> list[float]:
    """Return `count` independent standard normal numbers that depend on `key` only."""
    pairs = uniforms(key, count + count % 2)
    result: list[float] = []
    for first, second in zip(pairs[::2], pairs[1::2], strict=True):
        radius = math.sqrt(-2 * math.log(1 - first))
        result += [radius * math.cos(math.tau * second), radius * math.sin(math.tau * second)]
    return result[:count]


@lru_cache(maxsize=4096)
def _noise_block(key: str, block: int, correlation_s: float) -> tuple[float, ...]:
    """Return one block of AR(1) noise; it begins in the stationary distribution."""
    phi = math.exp(-NOISE_STEP_S / correlation_s) if correlation_s > 0 else 0.0
    fresh = math.sqrt(1 - phi * phi)
    innovations = normals(f"noise/{key}/{block}", _BLOCK)
    values = [innovations[0]]
    for innovation in innovations[1:]:
        values.append(phi * values[-1] + fresh * innovation)
    return tuple(values)


def noise(key: str, t_s: float, correlation_s: float = NOISE_CORRELATION_S) -> float:
    """Autocorrelated noise of deviation 1 at time `t_s`, on a grid of `NOISE_STEP_S`."""
    block, index = divmod(int(t_s // NOISE_STEP_S), _BLOCK)
    return _noise_block(key, block, correlation_s)[index]


@lru_cache(maxsize=4096)
def _one_normal(key: str) -> float:
    return normals(key, 1)[0]


def drift(key: str, t_s: float) -> float:
    """Slow drift of deviation about 1: straight lines between knots, `DRIFT_STEP_S` apart."""
    knot, position = divmod(t_s / DRIFT_STEP_S, 1.0)
    low, high = (_one_normal(f"drift/{key}/{int(knot) + step}") for step in (0, 1))
    return low + position * (high - low)


@dataclass(frozen=True)
class MetricModel:
    """The figures of one device in one cryostat."""

    seed: int
    cryostat: str
    device: str
    metrics: Mapping[str, MetricSpec]

    def value(self, name: str, t_s: float, *, rise_k: float = 0.0, shift: float = 0.0) -> float:
        """Return a metric at time `t_s` of the lab, in its unit; KeyError if it has no such."""
        spec = self.metrics[name]
        own = f"{self.seed}/{self.device}/{name}"
        shared = f"{self.seed}/{self.cryostat}/{name}"
        value = (
            spec.nominal
            + spec.device * _one_normal(f"offset/{own}")
            + spec.drift * drift(shared, t_s)
            + spec.noise * noise(own, t_s, spec.correlation_s)
            + spec.per_kelvin * rise_k
            + shift
        )
        return round(value, _DECIMALS)


class HeatedStage:
    """Temperature of one stage: rises with the energy put into it, decays to its base.

    `heaters` warm it besides: begin and end in seconds, and watts.
    """

    def __init__(self, spec: ThermalSpec, *, rise_k: float = 0.0, at_s: float = 0.0) -> None:
        self.spec = spec
        self.heaters: tuple[tuple[float, float, float], ...] = ()
        self._rise_k = rise_k
        self._at_s = at_s

    def rise_k(self, t_s: float) -> float:
        """Kelvin above the base at time `t_s`."""
        return self._flashed_k(t_s) + sum(self._heated_k(t_s, *one) for one in self.heaters)

    def _flashed_k(self, t_s: float) -> float:
        elapsed_s = max(0.0, t_s - self._at_s)
        return self._rise_k * math.exp(-elapsed_s / self.spec.time_constant_s)

    def _heated_k(self, t_s: float, begin_s: float, end_s: float, watts: float) -> float:
        """The answer of an RC to a constant power between two moments."""
        if t_s <= begin_s:
            return 0.0
        on_s, off_s = min(t_s, end_s) - begin_s, max(0.0, t_s - end_s)
        reached_k = -watts * self.spec.resistance_k_per_w * math.expm1(-on_s / self._tau_s)
        return reached_k * math.exp(-off_s / self._tau_s)

    @property
    def _tau_s(self) -> float:
        return self.spec.time_constant_s

    def temperature_k(self, t_s: float) -> float:
        """Kelvin at time `t_s`."""
        return self.spec.base_k + self.rise_k(t_s)

    def deposit(self, energy_j: float, t_s: float) -> None:
        """Put energy into the stage at time `t_s`."""
        capacity_j_per_k = self.spec.time_constant_s / self.spec.resistance_k_per_w
        self._rise_k = self._flashed_k(t_s) + energy_j / capacity_j_per_k
        self._at_s = t_s

    def to_json(self) -> dict[str, float]:
        """State to keep between processes."""
        return {"rise_k": self._rise_k, "at_s": self._at_s}
