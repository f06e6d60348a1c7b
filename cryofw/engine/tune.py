"""Tunes the evidence of a fleet.yaml on a recording, and tries the result before it is told.

Each proposal is written into a copy of the file and read back by the strict loader; the healthy
data are replayed with it. The file itself is never touched.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cryofw.engine.backtest import Backtester, RecordingTooShort
from cryofw.engine.replayed_plan import false_rollback_of
from cryofw.fleet import Fleet, parse_fleet
from cryofw.fleet.document import read_document
from cryofw.fleet.quantity import duration_text
from cryofw.fleet.settings import at_path
from cryofw.health.backtest_summary import Share, false_share, held_share
from cryofw.health.tuning import (
    BASELINES,
    Measured,
    Proposal,
    StagePlan,
    measure,
    propose,
)
from cryofw.rollout.planner import evidence_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryofw.health.backtest import RolloutReplay
    from cryofw.health.contract import MetricContract
    from cryofw.telemetry import Recording

MEASURED_WITH = (300, 100)
"""Baseline samples with which noise is measured: fewer tell little about autocorrelation."""
_TRIED = 60  # rollouts to try a proposal on
HELD = 0.05
"""Share of healthy rollouts that may be held."""


@dataclass(frozen=True)
class Tuning:
    """A proposal that was tried.

    Attributes:
        proposal: what to ask for, with reasons.
        before: (rolled back, held) with fleet.yaml as it is; None when its rollouts do not fit.
        after: the same with the proposal.
        passes: the data do not say that too many would go back, or more than 5 % be held.
        overridden: controllers that keep settings of their own.
    """

    proposal: Proposal
    before: tuple[Share, Share] | None
    after: tuple[Share, Share]
    passes: bool
    overridden: tuple[str, ...]


def tune(
    text: str,
    name: str,
    recording: Recording,
    *,
    seed: int = 1,
    jobs: int | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Tuning:
    """Find the least evidence with which healthy rollouts pass and `reject` is seen.

    Args:
        text: fleet.yaml; `name` for messages.
        recording: of healthy devices.
        seed: decides who is updated first; `jobs`: processes.
        tell: called with what is done next.

    Raises:
        RecordingTooShort, RecordingTooCoarse, NothingToReplay: as `Backtester`.
        FleetError: `text` is no fleet.yaml.
    """
    fleet = parse_fleet(text, name)
    tell("measuring the noise")
    now = max(one.calibration.baseline_samples for one in fleet.controllers)
    first = Backtester(fleet, recording, seed=seed, jobs=jobs)
    as_it_is = _replayed(first)
    ample, rollouts = now, as_it_is
    for baseline in MEASURED_WITH:
        if baseline <= ample:
            break
        wider = _with_baseline(text, name, baseline)
        longer = _replayed(Backtester(wider, recording, seed=seed, jobs=jobs))
        if isinstance(longer, list):
            ample, rollouts = baseline, longer
    if isinstance(rollouts, RecordingTooShort):
        raise rollouts
    measured = measure(rollouts, ample)
    proposals = _proposals(text, name, fleet, now, measured, first.shift_threshold)
    tried: list[_Tried] = []
    for proposal in proposals:
        tell(f"trying {proposal.baseline_samples.proposed:g} baseline samples")
        candidate = parse_merged(text, name, fragment(proposal))
        result = _replayed(Backtester(candidate, recording, seed=seed, jobs=jobs))
        if isinstance(result, list):
            tried.append(_Tried(proposal, candidate, _shares(result)))
            if tried[-1].passes:
                break
        else:
            too_short = result
    if not tried:
        raise too_short
    best = min(tried, key=lambda one: one.rank)
    before = _shares(as_it_is) if isinstance(as_it_is, list) else None
    proposal = _explained(best, tried)
    return Tuning(proposal, before, best.shares, best.passes, _overridden(best.fleet, proposal))


@dataclass(frozen=True)
class _Tried:
    proposal: Proposal
    fleet: Fleet
    shares: tuple[Share, Share]

    @property
    def passes(self) -> bool:
        """The data do not say that too many go back or are held."""
        false, held = self.shares
        allowed = false_rollback_of(self.fleet)
        return false.interval[0] <= allowed and held.interval[0] <= HELD

    @property
    def rank(self) -> tuple[bool, float]:
        """The best first."""
        false, held = self.shares
        return not self.passes, (false.count + held.count) / false.total


def _shares(rollouts: list[RolloutReplay]) -> tuple[Share, Share]:
    return false_share(rollouts), held_share(rollouts)


def _proposals(
    text: str,
    name: str,
    fleet: Fleet,
    now: int,
    measured: Mapping[str, Mapping[str, Measured]],
    threshold: float,
) -> list[Proposal]:
    """Worth trying, the quickest first; those that raise a reject come last."""
    metrics, stages = _contracts(fleet), _stages(fleet, threshold)
    shared = at_path(read_document(text, name).value, ("defaults", "calibration", "metrics"))
    every = [
        _of_defaults(propose(metrics, stages, measured, now, baseline), shared)
        for baseline in sorted({*BASELINES, now})
    ]
    seeing = [one for one in every if not one.blind] or every[-1:]
    every_s = stages[0].every_s
    return sorted(seeing, key=lambda one: (one.gives_way, one.duration_s(every_s)))


def _explained(best: _Tried, tried: list[_Tried]) -> Proposal:
    """With what became of less evidence as the reason."""
    change = best.proposal.baseline_samples
    worse = [one for one in tried if one.proposal.baseline_samples.proposed < change.proposed]
    if not worse:
        return best.proposal
    less = worse[-1]
    false, held = less.shares
    why = (
        f"with {less.proposal.baseline_samples.proposed:g}, of {false.total} healthy rollouts "
        f"{false.count} went back and {held.count} were held"
    )
    return replace(best.proposal, baseline_samples=replace(change, why=why))


def _replayed(backtester: Backtester) -> list[RolloutReplay] | RecordingTooShort:
    """The rollouts, or why there are too few."""
    try:
        return backtester.healthy(_TRIED)
    except RecordingTooShort as error:
        return error


def _contracts(fleet: Fleet) -> dict[str, MetricContract]:
    """Each metric as the first controller that has it asks for it."""
    found: dict[str, MetricContract] = {}
    for stage in fleet.stages:
        for controller in fleet.stage_controllers(stage):
            for metric in evidence_of(controller, stage).metrics:
                found.setdefault(metric.name, metric)
    return found


def _stages(fleet: Fleet, threshold: float) -> list[StagePlan]:
    found = []
    for stage in fleet.stages:
        contract = evidence_of(fleet.stage_controllers(stage)[0], stage)
        found.append(
            StagePlan(
                stage.name, contract.sample_every_s, contract.settle_s, stage.soak_s, threshold
            )
        )
    return found


def _of_defaults(proposal: Proposal, shared: object) -> Proposal:
    """Without the metrics that single cryostats or controllers define."""
    names = shared if isinstance(shared, dict) else {}
    return replace(
        proposal,
        margins={n: one for n, one in proposal.margins.items() if n in names},
        rejects={n: one for n, one in proposal.rejects.items() if n in names},
    )


# --- the file -------------------------------------------------------------------------------


def fragment(proposal: Proposal) -> dict[str, Any]:
    """The proposal as fleet.yaml would hold it: mappings by key, stages by name."""
    metrics = {
        name: {"margin": proposal.margins[name].proposed, "reject": one.proposed}
        for name, one in proposal.rejects.items()
    }
    calibration: dict[str, Any] = {"baseline_samples": int(proposal.baseline_samples.proposed)}
    if metrics:
        calibration["metrics"] = metrics
    stages = [
        {"name": name, "soak": duration_text(soak.proposed)}
        for name, soak in proposal.soaks.items()
    ]
    return {"defaults": {"calibration": calibration}, "stages": stages}


def merged(document: object, piece: object) -> object:
    """`piece` put into `document`: mappings by key, lists of named mappings by name."""
    if isinstance(document, dict) and isinstance(piece, dict):
        return document | {k: merged(document.get(k), v) for k, v in piece.items()}
    if isinstance(document, list) and isinstance(piece, list):
        by_name = {one["name"]: one for one in piece}
        return [merged(one, by_name.get(one["name"], {})) for one in document]
    return piece


def parse_merged(text: str, name: str, piece: Mapping[str, Any]) -> Fleet:
    """fleet.yaml with `piece` in it, read by the strict loader.

    Raises:
        FleetError: the result is no fleet.yaml.
    """
    value = merged(read_document(text, name).value, piece)
    return parse_fleet(json.dumps(value, ensure_ascii=False), name)  # JSON is YAML


def _with_baseline(text: str, name: str, baseline: int) -> Fleet:
    piece = {"defaults": {"calibration": {"baseline_samples": baseline}}}
    return parse_merged(text, name, piece)


def _overridden(fleet: Fleet, proposal: Proposal) -> tuple[str, ...]:
    """Controllers for which a nearer setting of the file wins."""
    found = []
    for controller in fleet.controllers:
        calibration = controller.calibration
        alike = calibration.baseline_samples == proposal.baseline_samples.proposed and all(
            (metric.margin, metric.reject)
            == (proposal.margins[name].proposed, proposal.rejects[name].proposed)
            for name, metric in calibration.metrics.items()
            if name in proposal.margins
        )
        if not alike:
            found.append(controller.name)
    return tuple(found)
