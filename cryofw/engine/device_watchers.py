"""Takes heartbeats and metrics of the devices that are wanted, each on its own schedule."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from cryofw.rollout import events as e

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from collections.abc import Set as AbstractSet

    from cryofw.clock import Clock
    from cryofw.engine.hands_port import Hands
    from cryofw.health import Heartbeat, HeartbeatMissed, MetricSample
    from cryofw.rollout import Event, Rollout


class DeviceWatchers:
    """One watcher for each device that is wanted.

    Args:
        rollout: says which readings of a device mean something now.
        hands: take the readings.
        clock: the time.
        line: one exchange at a time on each device's line.
        tell: takes each reading as an event.
    """

    def __init__(
        self,
        rollout: Rollout,
        hands: Hands,
        clock: Clock,
        line: Callable[[str], asyncio.Lock],
        tell: Callable[[Event], None],
    ) -> None:
        self._rollout = rollout
        self._hands = hands
        self._clock = clock
        self._line = line
        self._tell = tell
        self._wanted: AbstractSet[str] = frozenset()
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self._samples: dict[str, asyncio.Task[None]] = {}
        self._wakes: dict[str, asyncio.Event] = {}

    def watch(
        self, wanted: AbstractSet[str], begun: Iterable[str], tasks: asyncio.TaskGroup
    ) -> None:
        """From now on these devices are watched, and no others.

        Args:
            wanted: their names; may change between calls, to what the next call would say.
            begun: those of them that were not wanted before.
            tasks: what watches belongs to it.
        """
        self._wanted = wanted
        for name in begun:
            self._wakes.setdefault(name, asyncio.Event()).set()
            if name not in self._watchers:
                watcher = tasks.create_task(self._watch_device(name, tasks), name=f"watch {name}")
                self._watchers[name] = watcher

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """What is under way."""
        return [*self._watchers.values(), *self._samples.values()]

    async def _watch_device(self, name: str, tasks: asyncio.TaskGroup) -> None:
        """Heartbeats and metrics on their own schedules, as long as they are wanted."""
        progress = self._rollout.state.devices[name]
        contract = progress.planned.evidence
        next_beat_s = next_sample_s = self._clock.monotonic()
        while name in self._wanted:
            self._wakes[name].clear()
            now_s = self._clock.monotonic()
            # Before anything is on trial only the baseline is of interest.
            if not self._rollout.beating(name):
                next_beat_s = now_s + contract.heartbeat_every_s
            elif now_s >= next_beat_s:
                await self._read(name, self._hands.heartbeat)
                next_beat_s = max(next_beat_s + contract.heartbeat_every_s, now_s)
            if contract.metrics and now_s >= next_sample_s:
                if self._rollout.measured(name):
                    if progress.planned.sources:
                        self._begin_sample(name, tasks)
                    else:
                        await self._read(name, self._hands.metrics)
                next_sample_s = max(next_sample_s + contract.sample_every_s, now_s)
            until_s = min(next_beat_s, next_sample_s) if contract.metrics else next_beat_s
            await self._sleep(name, until_s)
        del self._watchers[name], self._wakes[name]

    def _begin_sample(self, name: str, tasks: asyncio.TaskGroup) -> None:
        """Beside the heartbeats: a source of the lab may be slow."""
        if name not in self._samples:
            task = tasks.create_task(self._sample(name), name=f"sample {name}")
            self._samples[name] = task
            task.add_done_callback(lambda _done: self._samples.pop(name))

    async def _sample(self, name: str) -> None:
        """One sample, with what the lab measures."""
        lab = asyncio.ensure_future(self._hands.lab_metrics(name))
        try:
            async with self._line(name):
                if name not in self._wanted:
                    return
                reading = await self._hands.metrics(name)
            beside = await lab
        finally:
            lab.cancel()
        self._tell(e.ReadingTaken(name, reading if beside is None else reading.joined(beside)))

    async def _sleep(self, name: str, until_s: float) -> None:
        """Until the clock shows `until_s`, or the device is wanted anew."""
        wake = self._wakes[name]
        timer = asyncio.get_running_loop().call_at(until_s, wake.set)
        try:
            await wake.wait()
        finally:
            timer.cancel()

    async def _read(self, name: str, read: _Reader) -> None:
        async with self._line(name):
            if name not in self._wanted:
                return
            reading = await read(name)
        self._tell(e.ReadingTaken(name, reading))


class _Reader(Protocol):
    async def __call__(self, device: str, /) -> Heartbeat | HeartbeatMissed | MetricSample: ...
