"""A rollout gone through on paper, as if every device passed: who will be compared with whom?

It asks the cohorts that the rollout itself will use, so the plan promises what will happen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.rollout.cohorts import Cohorts
from cryofw.rollout.device_state import DeviceState
from cryofw.rollout.progress import DeviceProgress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.health import AlphaLedger
    from cryofw.rollout.plan import Plan, PlannedDevice, PlannedStage


@dataclass(frozen=True, slots=True)
class Comparisons:
    """Of one stage.

    Attributes:
        controls: device that is judged to its controls; none: before is compared with after.
        updated: devices that will be updated; others run the release already or do not answer.
        near: devices with controls of their own cryostat.
        far: devices whose controls are all of others.
        alone: devices without any.
        steady: of those with controls, those whose controls run the new firmware already.
        early: waves (from 0) that take their baseline while the one before them is watched.
    """

    controls: Mapping[str, tuple[str, ...]]
    updated: tuple[str, ...]
    near: tuple[str, ...]
    far: tuple[str, ...]
    alone: tuple[str, ...]
    steady: tuple[str, ...]
    early: frozenset[int]


class Rehearsal:
    """Goes through the stages of a plan, in their order.

    Args:
        plan: the plan.
        ledger: its ledger; beats: device name to its planned heartbeats.
    """

    def __init__(self, plan: Plan, ledger: AlphaLedger, beats: Mapping[str, int]) -> None:
        self._plan = plan
        self._devices = {
            name: DeviceProgress(planned, plan.release.hash, ledger, beats[name])
            for name, planned in plan.devices.items()
        }
        self._cohorts = Cohorts(plan, self._devices)

    def go_through(self, stage: PlannedStage) -> Comparisons:
        """The next stage."""
        for name in stage.devices:
            self._devices[name].state = self._state(self._plan.devices[name])
        updated = [n for n in stage.devices if self._devices[n].state is DeviceState.CHECKED]
        early, steady = set(), set[str]()
        for wave, names in enumerate(stage.waves):
            self._cohorts.open_waves(stage, wave)
            following = stage.waves[wave + 1] if wave + 1 < len(stage.waves) else ()
            if any(self._cohorts.of(name) is not None for name in following):
                early.add(wave + 1)
            steady |= {name for name in names if self._are_steady(self._cohorts.peers(name))}
            for name in set(names) & set(updated):
                self._devices[name].state = DeviceState.CONFIRMED
        return self._comparisons(updated, frozenset(steady), frozenset(early))

    def _state(self, device: PlannedDevice) -> DeviceState:
        if not device.running_hash:
            return DeviceState.UNREACHABLE
        runs_it = device.running_hash == self._plan.release.hash
        return DeviceState.SKIPPED if runs_it else DeviceState.CHECKED

    def _are_steady(self, controls: tuple[str, ...]) -> bool:
        done = (DeviceState.CONFIRMED, DeviceState.SKIPPED)
        return any(self._devices[name].state in done for name in controls)

    def _comparisons(
        self, updated: list[str], steady: frozenset[str], early: frozenset[int]
    ) -> Comparisons:
        judged = [name for name in updated if self._cohorts.of(name) is not None]
        controls = {name: self._cohorts.peers(name) for name in judged}
        own = {name: self._neighbours(name, controls[name]) for name in judged}
        return Comparisons(
            controls,
            tuple(updated),
            near=tuple(n for n in judged if own[n]),
            far=tuple(n for n in judged if controls[n] and not own[n]),
            alone=tuple(n for n in judged if not controls[n]),
            steady=tuple(n for n in judged if n in steady),
            early=early,
        )

    def _neighbours(self, name: str, controls: tuple[str, ...]) -> int:
        devices = self._plan.devices
        return sum(devices[c].cryostat == devices[name].cryostat for c in controls)
