"""Is it alive, in the same boot, and running what it should?

Silence is a matter of statistics: `BeatTest` says when so many misses are no accident. The other
symptoms are facts, and one observation of them suffices.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING

from cryofw.health.reading import Heartbeat, HeartbeatMissed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cryofw.health.beats import BeatTest
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
        bet: the bet on its silence.
        boot_id: the boot to stay in; None until a first heartbeat names it.
        missed_since_t_s: time of the first of the latest misses in a row; None after an answer.
        heard_t_s: time of the latest answer.
        excused: misses that it shared with its controls, and that count for nothing.
    """

    contract: EvidenceContract
    expected_hash: str
    last_good_hash: str
    bet: BeatTest
    boot_id: int | None = None
    beats: int = 0
    missed: int = 0
    missed_in_a_row: int = 0
    retries: int = 0
    soaked_s: float = 0.0
    first_up_ms: int | None = None
    last: Heartbeat | None = None
    symptom_reset_cause: int | None = None
    missed_since_t_s: float | None = None
    heard_t_s: float | None = None
    excused: int = 0
    _fact: Symptom | None = None
    _detail: str = ""
    _why: str = ""
    _run: int = 0
    _before_run: Mapping[str, Any] | None = None
    _last_t_s: float = field(default=float("-inf"))

    @property
    def symptom(self) -> Symptom | None:
        """What was found, if anything; a fact goes before silence."""
        return self._fact or (Symptom.SILENT if self.bet.alarmed else None)

    @property
    def detail(self) -> str:
        """The symptom in words; empty without one."""
        if self._fact is None and self.bet.alarmed:
            return f"{self.bet.words()}; the last one: {self._why}"
        return self._detail

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
        if not self.missed_in_a_row:
            self._before_run, self._run = self.bet.state(), 0
            self.missed_since_t_s = reading.t_s
        self.missed += 1
        self.missed_in_a_row += 1
        self._run += 1
        self._why = reading.why
        self.bet.observe(answered=False, retries=reading.retries)

    def excuse(self) -> None:
        """The latest misses in a row had a cause outside of the device: the bet forgets them."""
        if self._before_run is not None:
            self.bet.restore(self._before_run)
            self.excused += self._run
        self.missed_in_a_row = self._run = 0
        self.missed_since_t_s = self._before_run = None

    def _beat(self, beat: Heartbeat) -> None:
        self.missed_in_a_row = 0
        self.missed_since_t_s = None
        self.heard_t_s = beat.t_s
        self.bet.observe(answered=True, retries=beat.retries)
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
        if self._fact is None:
            self._fact, self._detail = symptom, detail

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
            "excused": self.excused,
            "retries": self.retries,
            "e": float(f"{self.bet.value:.6g}"),
            "e_needed": float(f"{self.bet.threshold:.6g}") if self.bet.threshold < inf else None,
            "soaked_s": round(self.soaked_s, 3),
            "boot": self.boot_id,
            "hash": self.last.image_hash if self.last else None,
        }
