"""The pooled streams of a stage: its devices together, over all of its waves.

The waves of a stage are updated one after the other, each against controls of its own. What is
pooled are the differences, lined up by the time since each device's own update, so a pool can
open once the last wave's baseline is fixed; what came before waits for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.health.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cryofw.health.contract import MetricContract

Baseline = dict[int, float]
"""Grid slot to the difference between a device and its controls."""


class StagePools:
    """One pool for each metric of a stage.

    Args:
        metrics: the contract that all members share.
        members: the devices; those that are dropped before the pools open are not waited for.
        planned: samples expected in the soak.
        threshold: wealth at which a bet against the firmware is won; from the ledger.
        seed: breaks ties; names the stage.

    Attributes:
        open: metric name to its pool; empty until the last member's baseline is fixed.
    """

    def __init__(
        self,
        metrics: Iterable[MetricContract],
        members: Iterable[str],
        planned: int,
        threshold: float,
        seed: bytes,
    ) -> None:
        self._metrics = {m.name: m for m in metrics}
        self._planned, self._threshold, self._seed = planned, threshold, seed
        self._awaited = dict.fromkeys(members)
        self._baselines: dict[str, dict[str, Baseline]] = {name: {} for name in self._metrics}
        self._shared = dict.fromkeys(self._metrics, 1)
        self._early: list[tuple[str, str, int, float]] = []
        self.open: dict[str, Pool] = {}

    def enrol(
        self, device: str, baselines: Mapping[str, Baseline], shared: Mapping[str, int]
    ) -> None:
        """The baseline of `device` is complete and fixed.

        Args:
            device: a member; others, and those that were dropped, are passed over.
            baselines: metric name to its differences.
            shared: metric name to the block length that its wave asks for.
        """
        if device not in self._awaited:
            return
        for name, baseline in baselines.items():
            newest = max(baseline, default=0)  # waves begin their grids at different times
            self._baselines[name][device] = {s - newest: v for s, v in baseline.items()}
            self._shared[name] = max(self._shared[name], shared[name])
        self._settle(device)

    def drop(self, device: str) -> None:
        """`device` takes no part any more: nobody waits for it."""
        for baselines in self._baselines.values():
            baselines.pop(device, None)
        for pool in self.open.values():
            pool.drop(device)
        self._settle(device)

    def _settle(self, device: str) -> None:
        if device not in self._awaited:
            return
        del self._awaited[device]
        if self._awaited:
            return
        for name, metric in self._metrics.items():
            members = self._baselines[name]
            if len(members) > 1:
                seed = self._seed + name.encode()
                self.open[name] = Pool(
                    metric, members, self._planned, self._threshold, seed, self._shared[name]
                )
        early, self._early = self._early, []
        for sample in early:
            self.observe(*sample)

    def observe(self, device: str, metric: str, index: int, value: float) -> None:
        """Take a member's sample; see `Pool.observe`. Of others nothing is taken."""
        if self._awaited:
            self._early.append((device, metric, index, value))
        elif metric in self.open and self.open[metric].waits_for(device):
            self.open[metric].observe(device, index, value)
