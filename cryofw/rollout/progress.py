"""How far one device is, as folded from the journal."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryofw.health import DeviceWatch, MetricSample, Outcome, StreamKind, Symptom
from cryofw.rollout.device_state import GOOD, HOT, SETTLED, DeviceState, check_move
from cryofw.rollout.pair import Pair

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryofw.health import AlphaLedger, Reading, Verdict
    from cryofw.rollout.plan import PlannedDevice

# RESET_USER of Zephyr's hwinfo.h: it has no cause for a lease, so controllers use this one.
RESET_USER = 1 << 13

# Checked: after a person had cleared it.
_BACK_ON_ITS_OWN = frozenset({DeviceState.SELF_REVERTED, DeviceState.CHECKED})
_WENT_BACK = frozenset({DeviceState.ROLLED_BACK, DeviceState.SELF_REVERTED})
_UNKNOWN = frozenset({DeviceState.TESTING, DeviceState.ROLLING_BACK, DeviceState.STUCK})

_COUNTED = frozenset({"state", "intent", "doom", "sent", "power_cycling"})


@dataclass(slots=True)
class DeviceProgress:
    """One device in one rollout.

    Attributes:
        intent: kind of the command in flight; empty when none is.
        sent: something was sent to it in this rollout.
        doom: why it is to be taken back; empty while it is not.
        failure: why it counts as a failure of the firmware; empty if it does not.
        spread: its failure was followed up already.
        running_hash: the last hash read from it.
        made_safe: it was asked into its safe state since it was frozen.
        asleep: its front end is in the safe state, and measures nothing.
        uncalibrated: why its calibration failed; empty if it did not.
        calibrated: what the plan says was done before its baseline.
        calibration_due: it is still to be done for the firmware that runs now.
        recalibrated: it was begun for the firmware on trial.
        power_cycling: a sibling's power hook is at work and takes it down too.
        host_reset: the host reset it in its present boot, cycling a sibling's power.
        may_swap: it was given up with marks on its slots that nobody could take back: its next
            reset may flash, until it is read again.
        confirmed_here: this rollout confirmed the release on it, and did not take it back.
        ledger: what its bets may spend.
        beats_planned: heartbeats expected from its test boot to the rollout's end.
        trial: counts its test boots for the ledger; nothing refunds what one has spent.
        tested: a test boot was asked for in this trial.
        pair: how its coefficients stand to its firmware.
        common_cause: why its silence is not its own; empty if it is, or if it answers.
        accepted: who accepted it while it was held, by name; empty if nobody.
        common_t_s: since when, as far as somebody watched; None until the next reading.
        beat_t_s: time of the latest heartbeat, answered or missed.
        sample_t_s: time of the latest sample.
        on_change: told whenever a field was set that others keep count of.
    """

    planned: PlannedDevice
    new_hash: str
    ledger: AlphaLedger
    beats_planned: int
    on_change: Callable[[DeviceProgress], None] | None = field(
        default=None, init=False, repr=False, compare=False
    )
    state: DeviceState = DeviceState.PENDING
    attempt: int = 1
    intent: str = ""
    sent: bool = False
    doom: str = ""
    failure: str = ""
    spread: bool = False
    quarantined: bool = False
    may_swap: bool = False
    confirmed_here: bool = False
    baseline_taken: bool = False
    boot: int | None = None
    running_hash: str = ""
    verdict: Verdict | None = None
    held_t_s: float | None = None
    host_reset: bool = False
    power_cycling: bool = False
    refusals: int = 0
    awaits_beat: bool = False
    made_safe: bool = False
    asleep: bool = False
    uncalibrated: str = ""
    calibrated: bool = False
    calibration_due: bool = False
    recalibrated: bool = False
    why: str = ""
    hint: str = ""
    trial: int = 1
    tested: bool = False
    common_cause: str = ""
    common_t_s: float | None = None
    accepted: str = ""
    pair: Pair = field(default_factory=Pair)
    beat_t_s: float = -math.inf
    sample_t_s: float = -math.inf
    watch: DeviceWatch = field(init=False)

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)
        if name in _COUNTED and self.on_change is not None:
            self.on_change(self)

    def __post_init__(self) -> None:
        self.watch = self._new_watch()

    def _new_watch(self) -> DeviceWatch:
        threshold = self.ledger.threshold(StreamKind.HEARTBEAT, self.trial)
        planned = self.planned
        return DeviceWatch(
            planned.evidence, self.new_hash, planned.running_hash, self.beats_planned, threshold
        )

    @property
    def name(self) -> str:
        """The device's name."""
        return self.planned.name

    def move(self, state: DeviceState, why: str = "") -> None:
        """Move by the table; an illegal move raises IllegalMove and changes nothing."""
        check_move(self.name, self.state, state)
        self.state = state
        if state is not DeviceState.CONFIRMED:
            self.accepted = ""  # what was accepted is the device as it was held
        self.why = why or self.why

    def takes(self, reading: Reading) -> bool:
        """Whether a reading is later than the last of its kind; if it is, it becomes the last."""
        if isinstance(reading, MetricSample):
            is_next = reading.t_s > self.sample_t_s
            self.sample_t_s = max(self.sample_t_s, reading.t_s)
        else:
            is_next = reading.t_s > self.beat_t_s
            self.beat_t_s = max(self.beat_t_s, reading.t_s)
        return is_next

    def pass_time(self, t_s: float) -> None:
        """Somebody watches again: what lasts until a deadline goes on from here."""
        if self.state is DeviceState.HELD and self.held_t_s is None:
            self.held_t_s = t_s
        if self.common_cause and self.common_t_s is None:
            self.common_t_s = t_s

    def begin_attempt(self, attempt: int) -> None:
        """Start over with a fresh watch; what the last test boot spent of alpha is spent."""
        self.attempt = attempt
        self.trial += self.tested
        self.tested = False
        self.common_cause = ""
        self.verdict = None
        self.baseline_taken = False
        self.held_t_s = None
        self.refusals = 0
        self.host_reset = self.asleep = False
        self.uncalibrated = ""
        self.calibration_due = False
        self.watch = self._new_watch()

    @property
    def known_hash(self) -> str:
        """What runs on it as last read; empty while nobody can know."""
        if self.state in _UNKNOWN:
            return ""
        return self.running_hash or self.planned.running_hash

    @property
    def hot(self) -> bool:
        """It flashes or may flash at any moment."""
        return self.state in HOT or bool(self.intent and self.sent)

    @property
    def untouched(self) -> bool:
        """Nothing was sent to it and nothing has to be undone."""
        return not self.sent and not self.intent

    @property
    def done(self) -> bool:
        """Nothing further follows for it in its wave."""
        if self.intent:
            return False
        if self.torn or (self.doom and self.state is DeviceState.CONFIRMED):
            return False
        # What was taken back in a common silence is over; what was confirmed has to be heard again.
        silent = bool(self.common_cause) and self.state is DeviceState.CONFIRMED
        if (self.failure and not self.spread) or silent or self.calibrates_back:
            return False
        return self.state in SETTLED or (bool(self.doom) and self.untouched)

    @property
    def torn(self) -> bool:
        """Firmware and coefficients are of two releases, or will be after the next reset."""
        if self.state is DeviceState.CONFIRMED:
            return self.pair.unsaved
        return self.pair.kept and self.state in _BACK_ON_ITS_OWN

    def came_back(self) -> None:
        """The last good image runs: a calibration of the other one is of no use to it."""
        self.calibration_due, self.recalibrated = self.recalibrated, False
        self.uncalibrated = ""

    @property
    def calibrates_back(self) -> bool:
        """It went back, and is calibrated for what runs now before it is left."""
        return self.calibration_due and self.state in _WENT_BACK

    @property
    def lost(self) -> bool:
        """Unreachable after something was sent: it cannot be skipped."""
        return self.state is DeviceState.UNREACHABLE and self.sent

    @property
    def bad(self) -> bool:
        """Over, and not proven good; a device that nothing was sent to counts only if refused."""
        if self.state in GOOD or (self.state is DeviceState.UNREACHABLE and not self.sent):
            return False
        return self.state in SETTLED

    @property
    def reverted_by_host(self) -> str:
        """Why its revert is no verdict on the firmware; empty if it may be one."""
        if self.watch.symptom is not Symptom.REVERTED:
            return ""
        if (self.watch.heartbeats.symptom_reset_cause or 0) & RESET_USER:
            return "its lease ran out while nobody watched, so it went back by itself"
        if self.host_reset:
            return "its power was cycled together with a sibling's"
        return ""

    @property
    def passed(self) -> bool:
        """The verdict in force is Passed."""
        return self.verdict is not None and self.verdict.outcome is Outcome.PASSED
