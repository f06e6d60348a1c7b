"""One wave played again on recorded data, through the `Cohort` that a rollout uses.

The recording is of devices that nobody updated: the replay acts as if some of them had been, so
every alarm is a false one, unless a shift was put on top of their samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.health.cohort import Cohort
from cryofw.health.finding import Shift
from cryofw.health.ledger import StreamKind
from cryofw.health.wave_replay import BASELINE_FACTOR, Alarm, ReplayOutcome, Seen, WaveReplay

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryofw.health.stage_pool import StagePools
    from cryofw.health.wave_replay import ReplayedWave, Row


def replay(
    wave: ReplayedWave,
    rows: Sequence[Row],
    shifts: Mapping[str, float] | None = None,
    pools: StagePools | None = None,
) -> WaveReplay | None:
    """Play `wave` on `rows`; None when they end before the soak does.

    Args:
        wave: what to play.
        rows: the recording on the wave's grid, up to `most_slots` of them.
        shifts: metric to how much worse the updated devices are made, in its unit; the replay
            then goes on to the end of the soak or until each of these metrics raised an alarm.
        pools: of the stage; nothing of a wave that did not fit stays in them.
    """
    if len(rows) < wave.least_slots:
        return None
    return _Replay(wave, rows, shifts or {}, pools or wave.open_pools()).run()


class _Replay:
    def __init__(
        self,
        wave: ReplayedWave,
        rows: Sequence[Row],
        shifts: Mapping[str, float],
        pools: StagePools,
    ) -> None:
        self._wave, self._rows = wave, rows
        self._cohort = Cohort(wave.rule, 1, pools)
        harm = {m.name: m.harm(1.0) for m in wave.rule.metrics}
        self._shifts = {name: harm[name] * by for name, by in shifts.items() if name in harm}
        self._alarms: dict[tuple[str, StreamKind, str], Alarm] = {}
        self._devices = wave.rule.devices  # those that are updated
        self._refused: dict[str, str] = {}

    def run(self) -> WaveReplay | None:
        wave, rows = self._wave, self._rows
        begun = self._baseline()
        end = begun + wave.rule.planned_samples
        if begun < 0 or end > len(rows):
            return None
        self._begin(begun)
        if not self._devices:
            return self._ended(ReplayOutcome.HELD, begun)
        for slot in range(begun, end):
            self._updated(slot, begun)
            if self._decided():
                return self._ended(ReplayOutcome.ROLLED_BACK, slot + 1)
        if not (why := self._open()):
            passed = ReplayOutcome.HELD if self._refused else ReplayOutcome.PASSED
            return self._ended(passed, end)
        if self._shifts:
            missed = ReplayOutcome.ROLLED_BACK if self._alarms else ReplayOutcome.HELD
            return self._ended(missed, end, why=why)
        return self._hold(begun, end, why)

    def _baseline(self) -> int:
        """Take the baseline; the first slot that counts after it, or -1 if rows are lacking."""
        wave, cohort = self._wave, self._cohort
        need = wave.rule.baseline_samples
        for slot in range(BASELINE_FACTOR * need):
            if slot >= len(self._rows):
                return -1
            self._observe(slot, self._rows[slot])
            if slot + 1 >= need and cohort.baseline_complete:
                break
        return slot + 1 + wave.slots(wave.settle_s)

    def _begin(self, begun: int) -> None:
        """Fix the baseline, update and settle: the slot `begun` is the first that counts."""
        wave, cohort = self._wave, self._cohort
        cohort.freeze()
        for settling in range(begun - wave.slots(wave.settle_s), begun):
            self._observe(settling, self._rows[settling])
        for device, why in {d: self._refusal(d) for d in wave.rule.devices}.items():
            if why:
                self._refused[device] = f"{device} would not be updated: {why}"
                cohort.drop(device)
            else:
                cohort.begin(device, (begun - 0.5) * wave.rule.every_s)
        self._devices = tuple(d for d in wave.rule.devices if d not in self._refused)

    def _refusal(self, device: str) -> str:
        """Why a rollout would not touch `device`: no baseline, or one that can judge nothing."""
        rule, cohort = self._wave.rule, self._cohort
        for name, stream in cohort.streams(device).items():
            if stream.baseline_count < rule.baseline_samples:
                counts = f"{stream.baseline_count} of {rule.baseline_samples}"
                return f"{name}: only {counts} baseline samples"
        return cohort.refusal(device)

    def _observe(self, slot: int, row: Row) -> None:
        for device in self._wave.members:
            self._cohort.observe(device, slot * self._wave.rule.every_s, row.get(device, {}))

    def _updated(self, slot: int, begun: int) -> None:
        """A slot after the update."""
        row = self._rows[slot]
        if self._shifts:
            worse = {device: self._worsened(row.get(device, {})) for device in self._devices}
            row = {**row, **worse}
        self._observe(slot, row)
        self._listen((slot + 1 - begun) * self._wave.rule.every_s)

    def _worsened(self, values: Mapping[str, float]) -> dict[str, float]:
        return {name: value + self._shifts.get(name, 0.0) for name, value in values.items()}

    def _listen(self, after_s: float) -> None:
        """Note each alarm that a rollout would act on: a control group may forbid it."""
        for device in self._devices:
            for metric, stream in self._cohort.streams(device).items():
                if (lost := stream.regressed) and (metric, StreamKind(lost), device) not in (
                    self._alarms
                ):
                    self._note(device, metric, StreamKind(lost), after_s)
        for metric, pool in self._cohort.pools.items():
            if pool.regressed and (metric, StreamKind.POOLED, "") not in self._alarms:
                self._note("", metric, StreamKind.POOLED, after_s)

    def _note(self, device: str, metric: str, kind: StreamKind, after_s: float) -> None:
        pooled = not device
        for asked in self._devices if pooled else (device,):
            for finding in self._cohort.findings(asked):
                if (
                    finding.metric == metric
                    and finding.shift is Shift.REGRESSED
                    and pooled == ("members" in finding.evidence)
                ):
                    alarm = Alarm(metric, kind, device, after_s, finding.reason)
                    self._alarms[metric, kind, device] = alarm

    def _decided(self) -> bool:
        if not self._shifts:
            return bool(self._alarms)
        return self._shifts.keys() <= {alarm.metric for alarm in self._alarms.values()}

    def _open(self) -> str:
        """A planned look at each device: what keeps the wave from passing; empty if nothing."""
        reasons = [
            f"{device}: {finding.reason}"
            for device in self._devices
            for finding in self._cohort.findings(device, soaked=True)
            if finding.shift is not Shift.FINE
        ]
        return reasons[0] if reasons else ""

    def _hold(self, begun: int, end: int, why: str) -> WaveReplay:
        for slot in range(end, len(self._rows)):
            self._updated(slot, begun)
            if self._decided():
                return self._ended(ReplayOutcome.ROLLED_BACK, slot + 1)
            if not self._open():
                later = not self._refused
                return self._ended(ReplayOutcome.HELD, slot + 1, why=why, passed_later=later)
        return self._ended(ReplayOutcome.HELD, len(self._rows), why=why)

    def _ended(
        self, outcome: ReplayOutcome, slots: int, *, why: str = "", passed_later: bool = False
    ) -> WaveReplay:
        wave = self._wave
        alarms = tuple(self._alarms.values())
        why = next(iter(self._refused.values()), "") or why
        if alarms:
            for device in self._devices:
                self._cohort.drop(device)  # taken back; the pools wait for it no more
        return WaveReplay(
            wave.stage, wave.number, outcome, passed_later, alarms, self._settled(),
            why or (alarms[0].reason if alarms else ""), self._seen(), slots,
            wave.rule.planned_samples * wave.rule.every_s,
        )  # fmt: skip

    def _settled(self) -> dict[str, Shift]:
        """The worst finding of each metric."""
        order = (Shift.FINE, Shift.UNDECIDED, Shift.REGRESSED)
        worst: dict[str, Shift] = {}
        for device in self._wave.rule.devices:
            for finding in self._cohort.findings(device):
                before = worst.get(finding.metric, Shift.FINE)
                worst[finding.metric] = max(before, finding.shift, key=order.index)
        return worst

    def _seen(self) -> dict[str, tuple[Seen, ...]]:
        found: dict[str, tuple[Seen, ...]] = {}
        for metric in self._wave.rule.metrics:
            members = self._wave.rule.devices
            streams = [self._cohort.streams(device)[metric.name] for device in members]
            found[metric.name] = tuple(
                Seen(
                    stream.noise,
                    metric.harm(stream.after - stream.before) if stream.count else 0.0,
                    stream.shift.length if stream.shift else 0,
                    stream.count,
                )
                for stream in streams
                if stream.baseline_count > 1
            )
        return found
