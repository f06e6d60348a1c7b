"""The cohorts of a rollout: who is judged together, and against whom.

The devices of a wave that share a cryostat and a contract are one cohort. Its controls are not
updated before the wave's verdicts are in: of the same cryostat, because they share its weather.
Where none is left there, devices of it that run the new firmware already and stay as they are show
the weather; others only where it has neither. The verdict names whom it compared with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.health import Cohort, CohortRule, StagePools, StreamKind
from cryofw.rollout.device_state import DeviceState
from cryofw.rollout.streams import groups, ledger_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cryofw.health import AlphaLedger, EvidenceContract
    from cryofw.rollout.plan import Plan, PlannedStage
    from cryofw.rollout.progress import DeviceProgress

ENOUGH = 3
MOST = 8

UNTOUCHED = frozenset({DeviceState.PENDING, DeviceState.CHECKED})
STEADY = frozenset({DeviceState.CONFIRMED, DeviceState.SKIPPED})


class Cohorts:
    """All cohorts of one rollout.

    Args:
        plan: the plan; its digest breaks ties.
        devices: how far each device is.
    """

    def __init__(self, plan: Plan, devices: Mapping[str, DeviceProgress]) -> None:
        self._plan, self._devices = plan, devices
        self.ledger: AlphaLedger = ledger_of(plan)
        self._seed = bytes.fromhex(plan.digest)
        self._turn = {
            name: (at, wave)
            for at, stage in enumerate(plan.stages)
            for wave, names in enumerate(stage.waves)
            for name in names
        }
        # As they are looked through for controls: near ones as the stages have them, far ones
        # from the last to be updated, which stays a control for the longest time.
        self._near: dict[str, list[str]] = {}
        for name in self._turn:
            self._near.setdefault(plan.devices[name].cryostat, []).append(name)
        self._latest_first = sorted(self._turn, key=lambda n: self._turn[n], reverse=True)
        self._opened: set[tuple[str, int]] = set()
        self._groups: dict[str, dict[EvidenceContract, list[str]]] = {}
        self._pools: dict[tuple[str, EvidenceContract], StagePools] = {}
        self._own: dict[str, Cohort] = {}
        self._by_name: dict[str, Cohort] = {}
        self._compared: dict[str, list[Cohort]] = {}
        self._controlled: dict[str, list[Cohort]] = {}  # the same, and none is ever taken out
        self._states: dict[str, frozenset[DeviceState]] = {}  # in which controls count, by name
        self._asked: dict[str, int] = {}
        self._refusals: dict[str, str] = {}
        self._vouched: set[str] = set()
        self.regrouped: set[str] = set()
        """Devices that are compared otherwise than when somebody emptied it."""

    # --- who with whom ------------------------------------------------------------------

    def open_waves(self, stage: PlannedStage, first: int) -> None:
        """Wave `first` (from 0) starts: its cohorts and those of the next one take baselines."""
        for wave in (first, first + 1):
            if wave >= len(stage.waves) or (stage.name, wave) in self._opened:
                continue
            ready = self._ready(stage, wave)
            running = {self._plan.devices[name].cryostat for name in stage.waves[first]}
            if wave == first or all(self._may_open_early(running, m, c) for _, c, m in ready):
                self._opened.add((stage.name, wave))
                for name, contract, members in ready:
                    self._open(name, contract, members, self._pools_of(stage, contract))

    def _may_open_early(
        self, running: set[str], members: list[str], contract: EvidenceContract
    ) -> bool:
        """It has controls, and no better ones once the wave in the cryostats `running` is through.

        What is updated now in the same cryostat shares its weather; devices of others do not.
        """
        controls, states = self._controls(members, contract)
        cryostat = self._plan.devices[members[0]].cryostat
        if cryostat not in running:
            return bool(controls)
        near = any(self._plan.devices[name].cryostat == cryostat for name in controls)
        return near and states is UNTOUCHED

    def _ready(
        self, stage: PlannedStage, wave: int
    ) -> list[tuple[str, EvidenceContract, list[str]]]:
        """The cohorts of a wave: name, contract and members."""
        ready = [n for n in stage.waves[wave] if self._devices[n].state is DeviceState.CHECKED]
        by_cryostat: dict[str, list[str]] = {}
        for name in ready:
            by_cryostat.setdefault(self._plan.devices[name].cryostat, []).append(name)
        return [
            (f"{stage.name}/{wave + 1}/{cryostat}" + (f"/{i + 1}" if i else ""), contract, members)
            for cryostat, names in by_cryostat.items()
            for i, (contract, members) in enumerate(groups(names, self._plan.devices).items())
        ]

    def vouch(self, device: str, *, is_control: bool) -> None:
        """A person accepted `device`; others are compared with it only if they say so."""
        (self._vouched.add if is_control else self._vouched.discard)(device)

    def reopen(self, device: str, trial: int) -> None:
        """A device comes back alone, after its wave began: a new baseline, at trial `trial`."""
        planned = self._plan.devices[device]
        self._devices[device].baseline_taken = False
        if planned.evidence.metrics:
            name = f"{planned.stage}/{device}/{trial}"
            self._open(name, planned.evidence, [device], None, trial)

    def _open(
        self,
        name: str,
        contract: EvidenceContract,
        members: list[str],
        pools: StagePools | None,
        trial: int = 1,
    ) -> None:
        controls, states = self._controls(members, contract)
        rule = CohortRule(
            name,
            tuple(members),
            controls,
            contract.metrics,
            contract.sample_every_s,
            contract.baseline_samples,
            contract.min_samples,
            contract.planned_samples,
            self.ledger,
            self._seed,
            method=contract.method,
        )
        if pools is not None and states is STEADY:
            # What all devices have in common cancels against those that were updated too.
            for member in members:
                pools.drop(member)
        cohort = self._by_name[name] = Cohort(rule, trial, pools)
        self._states[name] = states
        for member in members:
            self.regrouped.update(self.peers(member))
            self._own[member], self._asked[member] = cohort, 0
            self._refusals.pop(member, None)
        for control in controls:
            self._compared.setdefault(control, []).append(cohort)
            self._controlled.setdefault(control, []).append(cohort)
        self.regrouped.update(members, controls)

    def _pools_of(self, stage: PlannedStage, contract: EvidenceContract) -> StagePools | None:
        if stage.name not in self._groups:
            self._groups[stage.name] = groups(stage.devices, self._plan.devices)
        members = self._groups[stage.name][contract]
        if len(members) < 2:
            return None
        key = (stage.name, contract)
        if key not in self._pools:
            index = sum(1 for name, _ in self._pools if name == stage.name)
            pools = self._pools[key] = StagePools(
                contract.metrics,
                members,
                contract.planned_samples,
                self.ledger.threshold(StreamKind.POOLED),
                self._seed + f"{stage.name}/pool/{index}/".encode(),
            )
            for name in members:
                if self._devices[name].state is not DeviceState.CHECKED:
                    pools.drop(name)
        return self._pools[key]

    def _controls(
        self, members: list[str], contract: EvidenceContract
    ) -> tuple[tuple[str, ...], frozenset[DeviceState]]:
        turn = max(self._turn[name] for name in members)

        def untouched(name: str) -> bool:
            device = self._devices[name]
            return self._turn[name] > turn and device.state in UNTOUCHED and not device.sent

        def steady(name: str) -> bool:
            device = self._devices[name]
            proven = not device.accepted or name in self._vouched
            return device.state in STEADY and proven

        near = [
            n
            for n in self._near[self._plan.devices[members[0]].cryostat]
            if n not in members and self._is_alike(n, contract)
        ]
        if found := [n for n in near if untouched(n)]:
            found.sort(key=lambda n: self._turn[n], reverse=True)
            return tuple(found[:MOST]), UNTOUCHED
        if found := [n for n in near if steady(n)]:
            return tuple(found[:MOST]), STEADY
        for names, is_one, states in (
            (self._latest_first, untouched, UNTOUCHED),
            (self._turn, steady, STEADY),
        ):
            far = (n for n in names if is_one(n) and self._is_alike(n, contract))
            if picked := self._one_of_each(n for n in far if n not in members):
                return picked, states
        return (), STEADY

    def _is_alike(self, name: str, contract: EvidenceContract) -> bool:
        planned = self._plan.devices[name]
        other = planned.evidence
        same = (other.metrics, other.sample_every_s) == (contract.metrics, contract.sample_every_s)
        return same and bool(planned.running_hash)

    def _one_of_each(self, names: Iterable[str]) -> tuple[str, ...]:
        """One of each cryostat in turn: their weathers average out."""
        by_cryostat: dict[str, list[str]] = {}
        for name in names:
            by_cryostat.setdefault(self._plan.devices[name].cryostat, []).append(name)
            if len(by_cryostat) == ENOUGH:
                return tuple(near[0] for near in by_cryostat.values())
        picked: list[str] = []
        while len(picked) < ENOUGH and by_cryostat:
            for other in list(by_cryostat):
                picked.append(by_cryostat[other].pop(0))
                if not by_cryostat[other]:
                    del by_cryostat[other]
        return tuple(picked[:ENOUGH])

    # --- readings -----------------------------------------------------------------------

    def observe(self, device: str, t_s: float, values: Mapping[str, float]) -> None:
        """Take a sample of a device, for its own cohort and for those it is a control of."""
        state = self._devices[device].state
        own = self._own.get(device)
        if own is not None:
            self._asked[device] += 1
            own.observe(device, t_s, values)
        for cohort in self._compared.get(device, ()):
            if state in self._states[cohort.rule.name] and not self._is_sent(device, cohort):
                cohort.observe(device, t_s, values)

    def _is_sent(self, device: str, cohort: Cohort) -> bool:
        """It was untouched when it was chosen, and is no more."""
        return self._states[cohort.rule.name] is UNTOUCHED and self._devices[device].sent

    # --- phases -------------------------------------------------------------------------

    def of(self, device: str) -> Cohort | None:
        """The cohort that judges a device; None before its wave, or if it has no metric."""
        return self._own.get(device)

    def freeze(self, name: str) -> None:
        """The first device of the cohort called `name` is about to be touched."""
        cohort = self._by_name[name]
        cohort.freeze()
        for device in cohort.rule.devices:
            if self._own[device] is cohort:  # it did not come back alone in the meantime
                self._refusals[device] = cohort.refusal(device)

    def refusal(self, device: str) -> str:
        """Why the contract cannot judge this device, now that its noise is known; or empty."""
        return self._refusals.get(device, "")

    def begin(self, device: str, t_s: float) -> None:
        """`device` runs the new firmware and has settled: samples after `t_s` count."""
        cohort = self._own.get(device)
        if cohort is not None:
            cohort.begin(device, t_s)

    def recalibrated(self, device: str) -> None:
        """`device`, still untouched, shows other figures: what it showed before is of no use.

        Baselines that it is part of begin anew; whoever was compared with it is no more.
        """
        self.regrouped.add(device)
        compared = self._compared.get(device, [])
        self._compared[device] = [cohort for cohort in compared if not cohort.frozen]
        own = self._own.get(device)
        for cohort in (*self._compared[device], *([] if own is None else [own])):
            if not cohort.frozen:
                self._restart(cohort)

    def _restart(self, cohort: Cohort) -> None:
        cohort.restart()
        self._asked.update(dict.fromkeys(cohort.rule.devices, 0))

    def disturb(self, cryostat: str, why: str, *, cycled: bool) -> None:
        """A cryostat froze: baselines that are being taken there begin again.

        Args:
            cryostat: its name.
            why: what happened.
            cycled: the fridge left its base: baselines that are fixed hold no more either.
        """
        for cohort in {id(c): c for c in self._own.values()}.values():
            devices = (*cohort.rule.devices, *cohort.rule.controls)
            own = self._plan.devices[cohort.rule.devices[0]].cryostat
            if not cohort.frozen:
                if any(self._plan.devices[name].cryostat == cryostat for name in devices):
                    self._restart(cohort)
            elif cycled and own == cryostat:
                cohort.void(f"{cryostat} left its base ({why})")
                for name in cohort.rule.devices:
                    if self._own[name] is cohort and self._is_waiting(name):
                        self.reopen(name, self._devices[name].trial)

    def _is_waiting(self, device: str) -> bool:
        """Checked, and not yet touched: it is not too late for another baseline."""
        progress = self._devices[device]
        return progress.state is DeviceState.CHECKED and progress.untouched

    def drop(self, device: str) -> None:
        """`device` takes no part any more."""
        cohort = self._own.get(device)
        if cohort is not None:
            cohort.drop(device)
        planned = self._plan.devices[device]
        pools = self._pools.get((planned.stage, planned.evidence))
        if pools is not None:
            pools.drop(device)

    def retry(self, device: str, trial: int) -> None:
        """`device` is updated once more, against the baseline it had, if that still holds."""
        cohort = self._own.get(device)
        if cohort is None:
            return
        if cohort.frozen and cohort.has_baseline(device) and not cohort.is_void:
            cohort.retry(device, trial)
        else:
            self.reopen(device, trial)

    # --- what they say ------------------------------------------------------------------

    def asked(self, device: str) -> int:
        """Samples asked of a device for the baseline of its cohort."""
        return self._asked.get(device, 0)

    def peers(self, device: str) -> tuple[str, ...]:
        """The controls of a device."""
        cohort = self._own.get(device)
        return () if cohort is None else cohort.rule.controls

    def compared_with(self, device: str) -> Iterator[str]:
        """The devices that this one is a control of, as far as it can be a control now."""
        state = self._devices[device].state
        for cohort in self._compared.get(device, ()):
            if state in self._states[cohort.rule.name] and not self._is_sent(device, cohort):
                yield from (m for m in cohort.rule.devices if self._own[m] is cohort)

    def chosen_by(self, device: str) -> Iterator[str]:
        """The devices that this one was chosen for as a control, whatever became of it."""
        for cohort in self._controlled.get(device, ()):
            yield from (m for m in cohort.rule.devices if self._own[m] is cohort)
