"""The rollout: events in, decisions and commands out. Pure: no clock, no IO, no chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.rollout import commands as c
from cryofw.rollout import events as e
from cryofw.rollout.attention import Attention
from cryofw.rollout.cryostat_decision import next_for_cryostats
from cryofw.rollout.decision import next_for_device
from cryofw.rollout.record import step_from_record
from cryofw.rollout.release_events import next_untold
from cryofw.rollout.stage_decision import next_for_rollout
from cryofw.rollout.state import RolloutState

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

    from cryofw.journal import Record
    from cryofw.rollout.plan import Plan

Step = e.Event | c.Command


class Rollout:
    """One rollout of one plan."""

    def __init__(self, plan: Plan) -> None:
        self.state = RolloutState(plan)
        self.attention = Attention(self.state)

    @classmethod
    def from_records(cls, plan: Plan, records: Iterable[Record]) -> Rollout:
        """Fold the journal's records of this rollout; those of others are passed over."""
        rollout = cls(plan)
        name = plan.rollout
        for record in records:
            if record.rollout == name:
                step = step_from_record(record)
                if step is not None:
                    rollout.state.apply(step)
        return rollout

    def receive(self, event: e.Event) -> list[Step]:
        """Take an event; answer the decisions and commands that follow, in journal order.

        Everything answered is applied already: the caller writes `event` and the answer to the
        journal in this order, and does the commands only once they are on disk.
        """
        self.state.apply(event)
        return self.decide()

    def decide(self) -> list[Step]:
        """What follows from the state as it is."""
        steps: list[Step] = []
        while (step := self._next()) is not None:
            self.state.apply(step)
            steps.append(step)
        return steps

    def _next(self) -> Step | None:
        state = self.state
        if state.started and not state.ended and not state.paused:
            untold = next_untold(state.plan.origin, state.told)
            if untold is not None:
                return untold
            stopped = state.ending is e.Ending.STOPPED
            decided = None if stopped else next_for_cryostats(state)
            if decided is not None:
                return decided
            while state.dirty:
                name = next(iter(state.dirty))
                step = next_for_device(state, state.devices[name])
                if step is not None:
                    return step
                del state.dirty[name]
        return next_for_rollout(state)

    def watched(self) -> AbstractSet[str]:
        """Names of the devices whose heartbeats and metrics are wanted now; kept up to date."""
        self.attention.update()
        return self.attention.watched

    def beating(self, device: str) -> bool:
        """Its heartbeats are wanted, not only its metrics: it was updated, or is near one that was.

        Whether an updated device is silent alone, only its peers can tell.
        """
        state = self.state
        if state.roster.judged[state.devices[device].planned.cryostat]:
            return True
        return any(self.attention.is_on_trial(n) for n in state.cohorts.chosen_by(device))

    def guarded(self) -> AbstractSet[str]:
        """Names of the cryostats whose guards are wanted now; kept up to date."""
        self.attention.update()
        return self.attention.guarded

    def measured(self, device: str) -> bool:
        """Its metrics mean something now: not in a frozen cryostat, not with a torn pair."""
        progress = self.state.devices[device]
        torn = progress.torn or progress.pair.unapplied
        return not (torn or self.state.is_frozen(progress.planned.cryostat))

    @property
    def at_rest(self) -> bool:
        """Paused or ended: nothing is in flight and nothing is watched."""
        return bool(self.state.paused) or self.state.ended is not None
