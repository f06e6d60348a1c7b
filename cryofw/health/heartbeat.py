"""Is it alive, in the same boot, and running what it should?

Interim rule until the Shiryaev-Roberts test: more than `misses_allowed` consecutive misses is
silence. The other symptoms are facts, not statistics, and one observation of them suffices.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from cryofw.health.reading import Heartbeat, HeartbeatMissed

if TYPE_CHECKING:
    from cryofw.health.contract import EvidenceContract


class Symptom(StrEnum):
    """Five different findings, because they call for different next steps."""

    SILENT = "silent"
    REBOOTED = "rebooted"
    WRONG_IMAGE = "wrong-image"
    REVERTED = "reverted"
    IN_RECOVERY = "in-recovery"


@dataclass(slots=True)
class HeartbeatWatch:
    """Heartbeats of one device since it was last (re)started on purpose.

    Attributes:
        expected_hash: hex hash that must run.
        last_good_hash: hex hash whose return means a revert.
        boot_id: the boot to stay in; None until a first heartbeat names it.
    """

    contract: EvidenceContract
    expected_hash: str
    last_good_hash: str
    boot_id: int | None = None
    beats: int = 0
    missed: int = 0
    missed_in_a_row: int = 0
    retries: int = 0
    soaked_s: float = 0.0
    first_up_ms: int | None = None
    last: Heartbeat | None = None
    symptom: Symptom | None = None
    detail: str = ""
    symptom_reset_cause: int | None = None
    _last_t_s: float = field(default=float("-inf"))

    def observe(self, reading: Heartbeat | HeartbeatMissed) -> None:
        """Take a heartbeat or a miss; late and repeated ones change nothing."""
        if reading.t_s <= self._last_t_s:
            return
        self._last_t_s = reading.t_s
        self.retries += reading.retries
        match reading:
            case HeartbeatMissed():
                self._miss(reading)
            case Heartbeat():
                self._beat(reading)

    def _miss(self, reading: HeartbeatMissed) -> None:
        self.missed += 1
        self.missed_in_a_row += 1
        if self.missed_in_a_row > self.contract.misses_allowed:
            self._find(
                Symptom.SILENT,
                f"{self.missed_in_a_row} heartbeats in a row unanswered "
                f"({self.contract.misses_allowed} allowed): {reading.why}",
            )

    def _beat(self, beat: Heartbeat) -> None:
        self.missed_in_a_row = 0
        if self._is_symptom(beat):
            self.symptom_reset_cause = beat.reset_cause
            return
        self.beats += 1
        self._soak(beat)
        self.last = beat
        if self.boot_id is None:
            self.boot_id = beat.boot_id

    def _is_symptom(self, beat: Heartbeat) -> bool:
        if beat.recovery:
            self._find(Symptom.IN_RECOVERY, "the bootloader's serial recovery answers")
        elif beat.image_hash == self.last_good_hash != self.expected_hash:
            self._find(Symptom.REVERTED, f"runs the last good image {beat.image_hash[:8]} again")
        elif beat.image_hash != self.expected_hash:
            self._find(
                Symptom.WRONG_IMAGE,
                f"runs {beat.image_hash[:8]}, not {self.expected_hash[:8]}",
            )
        elif None not in (self.boot_id, beat.boot_id) and beat.boot_id != self.boot_id:
            self._find(
                Symptom.REBOOTED,
                f"boot {self.boot_id:08x} became {beat.boot_id:08x}"
                + ("" if beat.reset_cause is None else f", reset cause {beat.reset_cause:#x}"),
            )
        else:
            return False
        return True

    def _find(self, symptom: Symptom, detail: str) -> None:
        if self.symptom is None:
            self.symptom, self.detail = symptom, detail

    def _soak(self, beat: Heartbeat) -> None:
        """Soak is the device's own uptime; without one, the host's time between near beats."""
        if beat.up_ms is not None:
            if self.first_up_ms is None:
                self.first_up_ms = beat.up_ms
            self.soaked_s = max(self.soaked_s, (beat.up_ms - self.first_up_ms) / 1000)
        elif self.last is not None:
            gap_s = beat.t_s - self.last.t_s
            if gap_s <= (self.contract.misses_allowed + 1) * self.contract.heartbeat_every_s:
                self.soaked_s += gap_s

    def evidence(self) -> dict[str, object]:
        """Counts for the journal; retries are shown, never hidden."""
        return {
            "beats": self.beats,
            "missed": self.missed,
            "retries": self.retries,
            "soaked_s": round(self.soaked_s, 3),
            "boot": self.boot_id,
            "hash": self.last.image_hash if self.last else None,
        }
