"""The guards over one cryostat: readings in; may it flash, must it freeze, may it thaw out."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.rollout.guard_contract import CryostatContract, TemperatureContract
    from cryofw.rollout.guard_reading import GuardReading

BASE_READINGS = 3
"""Readings behind a base; their spread must be within a quarter of the rise allowed."""

GAPS_ALLOWED = 2
"""Readings in a row that may not count; at the first one nothing more is flashed already."""

HOLE_S = 60.0
"""A reading that is so much later than planned leaves a hole: what was before it is past."""

CALM = 0.5
"""Share of every limit below which a stage is calm: hysteresis against flapping."""


@dataclass(slots=True)
class CryostatGuard:
    """What is known about one cryostat in a rollout.

    Attributes:
        base_k: its temperature at rest; None until it was taken.
        latest: the reading in force; None when there is none since the process began.
        frozen: why it is frozen; empty while it is not.
        cycled: its fridge left its base in this freeze.
        held_out: why it is kept out of the wave; empty while it is not.
        blocked_t_s: since when it is frozen or held out; None if it is not, or not yet known.
        overridden: lease owner and token that a person overrode.
        override_by: a person's override that waits for the lease it is about.
    """

    name: str
    contract: CryostatContract
    base_k: float | None = None
    latest: GuardReading | None = None
    frozen: str = ""
    cycled: bool = False
    held_out: str = ""
    blocked_t_s: float | None = None
    overridden: tuple[str, int | None] | None = None
    override_by: str = ""
    _gaps: int = 0
    _window: deque[tuple[float, float]] = field(default_factory=deque)

    def observe(self, reading: GuardReading) -> None:
        """Take one reading; late and repeated ones change nothing."""
        if self.latest is not None and reading.t_s <= self.latest.t_s:
            return
        self.pass_time(reading.t_s)
        self.latest = reading
        if self.blocked_t_s is None and (self.frozen or self.held_out):
            self.blocked_t_s = reading.t_s
        temperature = self.contract.temperature
        if temperature is None:
            return
        kelvin = reading.kelvin
        if kelvin is None:
            self._gaps += 1
            self._window.clear()
            return
        self._gaps = 0
        self._window.append((reading.t_s, kelvin))
        # The oldest one kept is as old as the window, so that it is covered at any pace.
        while len(self._window) > 1 and reading.t_s - self._window[1][0] >= temperature.over_s:
            self._window.popleft()

    def pass_time(self, t_s: float) -> None:
        """It is `t_s` now: what nobody looked at for too long is unknown (a host that slept)."""
        if self.latest is not None and t_s - self.latest.t_s > 2 * self.contract.every_s + HOLE_S:
            self.latest = None
            self._window.clear()

    def forget(self) -> None:
        """Nobody looked for a while (a resume): nothing is known until the next reading."""
        self.latest = None
        self._gaps = 0
        self._window.clear()
        self.blocked_t_s = None

    # --- temperature ----------------------------------------------------------------------

    @property
    def rise_k(self) -> float | None:
        """Kelvin above the base now; None when that is unknown."""
        kelvin = self.latest.kelvin if self.latest else None
        return None if kelvin is None or self.base_k is None else kelvin - self.base_k

    @property
    def slope_k_per_s(self) -> float | None:
        """Least-squares slope over the window; None unless half of it is covered."""
        temperature = self.contract.temperature
        points = self._window
        if temperature is None or len(points) < BASE_READINGS:
            return None
        if points[-1][0] - points[0][0] < temperature.over_s / 2:
            return None
        mean_t = sum(t for t, _ in points) / len(points)
        mean_k = sum(k for _, k in points) / len(points)
        spread = sum((t - mean_t) ** 2 for t, _ in points)
        return sum((t - mean_t) * (k - mean_k) for t, k in points) / spread

    def base_found(self) -> float | None:
        """The base, once the latest readings agree on one; None before, or when it is taken."""
        temperature = self.contract.temperature
        if temperature is None or self.base_k is not None or len(self._window) < BASE_READINGS:
            return None
        latest = [kelvin for _, kelvin in list(self._window)[-BASE_READINGS:]]
        if max(latest) - min(latest) > temperature.max_rise_k / 4:
            return None
        return round(median(latest), 6)

    def too_warm(self) -> str:
        """Why the temperature demands a freeze; empty if it does not."""
        temperature, reading = self.contract.temperature, self.latest
        if temperature is None or reading is None:
            return ""
        kelvin = reading.kelvin
        if kelvin is None:
            if self._gaps <= GAPS_ALLOWED:
                return ""
            gap = reading.temperature_gap or "it is no temperature"
            return f"the temperature is unknown, {self._gaps} readings in a row: {gap}"
        return self._beyond(temperature, kelvin, 1.0)

    def _beyond(self, temperature: TemperatureContract, kelvin: float, share: float) -> str:
        """What is beyond `share` of its limit, in words; empty if nothing is."""
        slope, limit_k = self.slope_k_per_s, temperature.limit_k
        most = share * temperature.max_rise_k
        if self.base_k is not None and kelvin - self.base_k > most:
            rise_k = kelvin - self.base_k
            return f"{kelvin:.3f} K is {rise_k:.3f} K above its base, {most:.3f} K are allowed"
        if limit_k is not None:
            # Between base and limit; without a base a rise's room below the limit is calm.
            base_k = limit_k - temperature.max_rise_k if self.base_k is None else self.base_k
            most = min(limit_k, base_k + share * (limit_k - base_k))
            if base_k >= limit_k:
                most = limit_k
            if kelvin > most:
                return f"{kelvin:.3f} K is above {most:.3f} K"
        if temperature.slope_k_per_s is not None and slope is not None:
            most = share * temperature.slope_k_per_s
            if abs(slope) > most:
                return f"it changes by {slope * 60e3:.1f} mK/min, {most * 60e3:.1f} are allowed"
        return ""

    def knows_no_harm(self) -> bool:
        """The temperature is known and not too high: what passed may be confirmed."""
        if self.frozen or self.latest is None:
            return False
        temperature = self.contract.temperature
        return temperature is None or (self.latest.kelvin is not None and not self.too_warm())

    def may_revert(self) -> bool:
        """A reset that reverts may be sent: it was looked at, and is below the hard limit.

        Frozen without a hard limit, or without knowing the temperature, it waits for the thaw.
        """
        temperature = self.contract.temperature
        if self.latest is None:
            return False
        if temperature is None or not self.frozen:
            return True
        kelvin, hard_k = self.latest.kelvin, temperature.hard_limit_k
        return kelvin is not None and hard_k is not None and kelvin < hard_k

    def is_calm(self) -> bool:
        """Every reading of a whole window was fresh, and all is well within the limits."""
        temperature, reading = self.contract.temperature, self.latest
        if reading is None or self.fridge_elsewhere() or self._fridge_unknown():
            return False
        if temperature is None:
            return True
        points = self._window
        # A reading may be a little late: nine tenths of the window stand for all of it.
        if not points or points[-1][0] - points[0][0] < 0.9 * temperature.over_s:
            return False
        return not self._beyond(temperature, max(kelvin for _, kelvin in points), CALM)

    # --- admission ------------------------------------------------------------------------

    def fridge_elsewhere(self) -> str:
        """Why the fridge forbids to flash: a state that is not base-stable; empty if none."""
        fridge, reading = self.contract.fridge, self.latest
        if fridge is None or reading is None or reading.fridge is None or reading.fridge_gap:
            return ""
        if reading.fridge in fridge.base_stable:
            return ""
        wanted = " or ".join(fridge.base_stable)
        return f"the fridge is {reading.fridge}, not {wanted}"

    def tells_of_cycle(self, evidence: Mapping[str, object]) -> bool:
        """Whether the fridge was not at its base by the `evidence` of a record."""
        fridge, state = self.contract.fridge, evidence.get("fridge")
        return fridge is not None and isinstance(state, str) and state not in fridge.base_stable

    def _fridge_unknown(self) -> str:
        reading = self.latest
        if self.contract.fridge is None or reading is None:
            return ""
        if reading.fridge is not None and not reading.fridge_gap:
            return ""
        return f"the state of the fridge is unknown: {reading.fridge_gap or 'no reading'}"

    def kept_out(self) -> str:
        """Why the cryostat is out of the wave for now; empty if it is not."""
        reading = self.latest
        if reading is None:
            return ""
        fridge = self.fridge_elsewhere() or self._fridge_unknown()
        if fridge or self.contract.experiment is None:
            return fridge
        if reading.lease_gap:
            return f"whether an experiment runs is unknown: {reading.lease_gap}"
        if not reading.held_by or self.overridden == (reading.lease_owner, reading.lease_token):
            return ""
        left_s = reading.lease_expires_s - reading.t_s
        return f"{reading.held_by} holds it for an experiment, {left_s / 60:.0f} min left"

    def unsettled(self) -> str:
        """Why a cryostat in which nothing of ours flashes is not at rest; empty if it is."""
        temperature, rise_k = self.contract.temperature, self.rise_k
        if temperature is None or self.latest is None or self.latest.kelvin is None:
            return ""
        if self.base_k is None:
            known = len(self._window) >= BASE_READINGS and self.base_found() is None
            return "its temperature is not steady, so there is no base" if known else ""
        most_k = CALM * temperature.max_rise_k
        if rise_k is not None and rise_k > most_k:
            return f"it is {rise_k:.3f} K above its base, a flash begins below {most_k:.3f} K"
        return ""

    def ready(self, *, back: bool = False) -> bool:
        """Everything is known and nothing forbids to flash, heat budget aside.

        A flash that brings the last good image `back` does not wait for an experiment.
        """
        if self.frozen or self.latest is None:
            return False
        temperature = self.contract.temperature
        if temperature is not None:
            kelvin = self.latest.kelvin
            if kelvin is None or self.base_k is None or self.too_warm():
                return False
        if back:
            return not (self.fridge_elsewhere() or self._fridge_unknown())
        return not self.held_out and not self.kept_out()

    def admits(self, hot: int, *, back: bool = False) -> bool:
        """One more flash beside `hot` devices that flash or may, by the heat that is measured.

        `P_now + sum(P_flash) <= budget`: a rise by all that is allowed stands for the whole
        budget, warming is counted ahead by one window. The first flash needs a calm stage only.
        """
        contract, temperature = self.contract, self.contract.temperature
        if not self.ready(back=back):
            return False
        if temperature is None:
            return True
        rise_k, slope = self.rise_k or 0.0, self.slope_k_per_s or 0.0
        ahead_k = max(0.0, rise_k + max(0.0, slope) * temperature.over_s)
        if hot == 0:
            return ahead_k <= CALM * temperature.max_rise_k
        measured_w = contract.budget_w * ahead_k / temperature.max_rise_k
        return measured_w + (hot + 1) * contract.flash_w <= contract.budget_w * (1 + 1e-9)

    def evidence(self) -> dict[str, object]:
        """The numbers behind a decision."""
        temperature, reading, slope = self.contract.temperature, self.latest, self.slope_k_per_s
        found: dict[str, object] = {"gaps": self._gaps} if self._gaps else {}
        if temperature is not None:
            found |= {
                "temperature_k": reading.kelvin if reading else None,
                "base_k": self.base_k,
                "max_rise_k": temperature.max_rise_k,
                "limit_k": temperature.limit_k,
                "slope_k_per_s": None if slope is None else round(slope, 9),
                "slope_limit_k_per_s": temperature.slope_k_per_s,
            }
        if self.contract.fridge is not None:
            found["fridge"] = reading.fridge if reading else None
        if self.contract.experiment is not None and reading is not None:
            found["lease"] = {
                "owner": reading.lease_owner,
                "expires_s": reading.lease_expires_s,
                "token": reading.lease_token,
            }
        return found
