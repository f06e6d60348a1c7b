"""What `cryofw gate tune` prints: a piece of fleet.yaml with its reasons as comments, and JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cryofw.cli.gateview import at_most, share_json
from cryofw.engine.tune import fragment
from cryofw.fleet.quantity import duration_text
from cryofw.fleet.scalar import ambiguity, resolve_plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryofw.engine.tune import Tuning
    from cryofw.fleet import Fleet
    from cryofw.health.backtest_summary import Share
    from cryofw.health.tuning import Change


def tuning_text(fleet: Fleet, tuning: Tuning) -> str:
    """YAML: what to put into fleet.yaml, mappings by key and stages by name."""
    proposal = tuning.proposal
    lines = [f"# {line}" for line in _head(fleet, tuning)]
    lines += ["defaults:", "  calibration:"]
    lines += _setting("    ", "baseline_samples", proposal.baseline_samples)
    if proposal.margins:
        lines.append("    metrics:")
    for name, margin in proposal.margins.items():
        lines.append(f"      {_key(name)}:")
        lines += _setting("        ", "margin", margin)
        lines += _setting("        ", "reject", proposal.rejects[name])
    lines.append("stages:")
    for name, soak in proposal.soaks.items():
        lines += [f"  - name: {_key(name)}", *_comment("    ", soak, duration_text)]
        lines.append(f"    soak: {duration_text(soak.proposed)}")
    return "\n".join(lines)


def _head(fleet: Fleet, tuning: Tuning) -> list[str]:
    found = []
    if tuning.before is None:
        found.append("as it is: the recording holds too few rollouts to tell")
    else:
        found.append(f"as it is: {_ended(*tuning.before)}")
    found.append(f"with this: {_ended(*tuning.after)}")
    if not tuning.passes:
        found.append("still too many are held or rolled back: nothing that was tried is enough")
        found.append("`cryofw gate backtest` shows which metric it is, and when")
    found.append(f"put it into {fleet.source_path}: mappings by key, stages by name")
    if tuning.overridden:
        found.append(f"settings of their own have {', '.join(tuning.overridden)}")
    return found


def _ended(false: Share, held: Share) -> str:
    return (
        f"of {false.total} rollouts replayed on healthy data, {false.count} would have been "
        f"rolled back by mistake ({at_most(false)}), {held.count} held"
    )


def _setting(indent: str, key: str, change: Change) -> list[str]:
    return [*_comment(indent, change, lambda v: f"{v:g}"), f"{indent}{key}: {change.proposed:g}"]


def _comment(indent: str, change: Change, text: Callable[[float], str]) -> list[str]:
    was = "" if change.proposed == change.now else f"was {text(change.now)}: "
    return [f"{indent}# {was}{' '.join(change.why.split())}"]


def _key(name: str) -> str:
    """A name that every reader of YAML takes for text."""
    plain = name.replace("-", "").replace("_", "").isalnum()
    return (
        name if plain and resolve_plain(name) == name and not ambiguity(name) else json.dumps(name)
    )


def tuning_json(tuning: Tuning) -> dict[str, object]:
    """For programs; shares are [count, total, lower, upper]."""
    proposal = tuning.proposal
    settings = {"baseline_samples": proposal.baseline_samples}
    settings |= {f"{name}.margin": one for name, one in proposal.margins.items()}
    settings |= {f"{name}.reject": one for name, one in proposal.rejects.items()}
    settings |= {f"{name}.soak_s": one for name, one in proposal.soaks.items()}
    return {
        "passes": tuning.passes,
        "before": None if tuning.before is None else [share_json(one) for one in tuning.before],
        "after": [share_json(one) for one in tuning.after],
        "fleet": fragment(proposal),
        "settings": [
            {"setting": name, "now": one.now, "proposed": one.proposed, "why": one.why}
            for name, one in settings.items()
        ],
        "overridden": list(tuning.overridden),
    }
