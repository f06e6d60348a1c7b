"""Evidence for people: what a plan's rests on, and the numbers of a verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.health import Method
from cryofw.rollout.evidence_story import tell_evidence

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cryofw.cli.output import Output
    from cryofw.health import MetricContract
    from cryofw.rollout import Plan, PlannedDevice


_PLAIN_WIDTH = 100


def show_evidence(output: Output, plan: Plan) -> None:
    """Metrics that the lab measures, calibrations and tests; devices that are alike in one line."""
    alike: dict[str, list[str]] = {}
    for name, planned in plan.devices.items():
        alike.setdefault("; ".join(_evidence_words(planned)), []).append(name)
    for words, names in alike.items():
        if words:
            who = "all" if len(names) == len(plan.devices) else " ".join(names)
            output.line(f"Evidence of {who}: {words}")


def _evidence_words(planned: PlannedDevice) -> list[str]:
    words = [f"{metric} from {one.kind}" for metric, one in sorted(planned.sources.items())]
    how = planned.recalibration
    if how.is_asked:
        by = "itself" if how.device else "the lab"
        when = "before its baseline, in its test boot and after a return"
        words.append(f"calibrated by {by} {when}")
    if planned.evidence.method is not Method.RANKS:
        words.append(f"judged by the {planned.evidence.method}")
    return words


def show_numbers(
    output: Output,
    kind: str,
    fields: Mapping[str, object],
    *,
    everything: bool = True,
    indent: int = 4,
    metrics: Iterable[MetricContract] = (),
) -> None:
    """The numbers behind a record of `kind`, set in below it; nothing if it has none."""
    width = (output.width or _PLAIN_WIDTH) - indent
    for line in tell_evidence(kind, fields, width=width, everything=everything, metrics=metrics):
        output.line(output.style(f"{'':{indent}}{line}", "dim"))
