"""Who is where and how far: what decisions ask again and again, without looking at every device.

A fleet has thousands of devices and each of them has dozens of events, so nothing that follows
each event may look at all of them. What never changes is laid out once. What does is kept by the
devices themselves: each tells the roster of every change of the fields that count here, so no
handler has to think of it.
"""

from __future__ import annotations

from itertools import accumulate, chain
from typing import TYPE_CHECKING

from cryofw.rollout.device_state import WATCHED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cryofw.rollout.plan import Plan, PlannedStage
    from cryofw.rollout.progress import DeviceProgress


class Roster:
    """All devices of one rollout.

    Args:
        plan: the plan.
        devices: how far each device is; from here on they tell of their changes.

    Attributes:
        turn: device name to the indices of its stage and wave.
        busy: devices with a command in flight.
        doomed: devices that are to be taken back.
        bad: devices that are over and not proven good.
        judged: cryostat name to its devices that run the release, on trial or confirmed.
        changed: devices that changed since somebody emptied it.
    """

    def __init__(self, plan: Plan, devices: Mapping[str, DeviceProgress]) -> None:
        self.turn = {
            name: (at, wave)
            for at, stage in enumerate(plan.stages)
            for wave, names in enumerate(stage.waves)
            for name in names
        }
        self._near: dict[str, list[DeviceProgress]] = {}
        for progress in devices.values():
            self._near.setdefault(progress.planned.cryostat, []).append(progress)
        self._staff = {
            stage.name: [devices[name] for wave in stage.waves for name in wave]
            for stage in plan.stages
        }
        self._ends = {
            stage.name: list(accumulate(len(names) for names in stage.waves))
            for stage in plan.stages
        }
        self._first_wave: dict[tuple[int, str], int] = {}
        self._in_wave: dict[tuple[int, int], dict[str, None]] = {}
        for name, (at, wave) in self.turn.items():
            cryostat = plan.devices[name].cryostat
            self._first_wave.setdefault((at, cryostat), wave)
            self._in_wave.setdefault((at, wave), {})[cryostat] = None
        self._found: dict[str, int] = {}
        self.busy: dict[str, DeviceProgress] = {}
        self.doomed: dict[str, DeviceProgress] = {}
        self.bad: dict[str, DeviceProgress] = {}
        self.judged: dict[str, set[str]] = {}
        self.changed: dict[str, DeviceProgress] = {}
        for progress in devices.values():
            progress.on_change = self.note
            self.note(progress)

    def note(self, progress: DeviceProgress) -> None:
        """A field of `progress` that counts here was set."""
        name = progress.name
        for names, belongs in (
            (self.busy, progress.intent),
            (self.doomed, progress.doom),
            (self.bad, progress.bad),
        ):
            if belongs:
                names[name] = progress
            else:
                names.pop(name, None)
        judged = self.judged.setdefault(progress.planned.cryostat, set())
        if progress.state in WATCHED:
            judged.add(name)
        else:
            judged.discard(name)
        self.changed[name] = progress

    # --- who is where -------------------------------------------------------------------

    def inhabitants(self, cryostat: str) -> Sequence[DeviceProgress]:
        """The devices of a cryostat, in the order of the plan."""
        return self._near.get(cryostat, ())

    def of_stage(self, stage: PlannedStage) -> Sequence[DeviceProgress]:
        """The devices of a stage, in the order of its waves."""
        return self._staff[stage.name]

    def size_until(self, stage: PlannedStage, wave: int) -> int:
        """How many of them are in its waves up to `wave` (from 0)."""
        return self._ends[stage.name][wave]

    def is_in_turn(self, name: str, stage: int, wave: int) -> bool:
        """A device is in a wave of the stage with this index, up to `wave`."""
        own_stage, own_wave = self.turn[name]
        return own_stage == stage and own_wave <= wave

    def is_coming(self, name: str, stage: int, wave: int) -> bool:
        """A device is in the wave or in the next one."""
        own_stage, own_wave = self.turn[name]
        return own_stage == stage and wave <= own_wave <= wave + 1

    def cryostats_of(self, stage: int, wave: int) -> Mapping[str, None]:
        """The cryostats of a wave; none before the first one."""
        return self._in_wave.get((stage, wave), {})

    def first_wave(self, stage: int, cryostat: str) -> int | None:
        """The first wave of a stage that has a device of the cryostat."""
        return self._first_wave.get((stage, cryostat))

    # --- how far ------------------------------------------------------------------------

    def any(
        self,
        question: str,
        devices: Sequence[DeviceProgress],
        holds: Callable[[DeviceProgress], bool],
        first: int | None = None,
    ) -> bool:
        """Whether something holds for any device; asks first the one that it held for before.

        Nothing is remembered but where to begin, so the answer is always that of the devices.
        While a wave goes on, the first one that is asked mostly answers, and each is passed by
        once; all of them are asked when it holds for nobody any more.

        Args:
            question: names what is asked, and of whom.
            devices: of whom.
            holds: the question.
            first: only the first so many of them.
        """
        count = len(devices) if first is None else first
        begin = self._found.get(question, 0)
        if begin >= count:
            begin = 0
        for at in chain(range(begin, count), range(begin)):
            if holds(devices[at]):
                self._found[question] = at
                return True
        return False
