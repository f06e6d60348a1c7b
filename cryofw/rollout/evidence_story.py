"""The numbers behind a verdict, a baseline and a comparison, as lines for an engineer. Pure.

Read from a record's fields, which a journal of any age or hand may hold: what is not there or is
of another type is left out.
"""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.health.figure import figure, signed
from cryofw.rollout.story import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cryofw.health import MetricContract

_WIDE = 160
_NARROW = 40
_LABELS = ("", "against", "pool", "beats", "together")
_HANG = 11  # columns of a label
_RICH = 1e9
_MOST = 1e300
_LOUD = 0.1  # of what is needed: a bet that stands so high is shown unasked

KINDS = frozenset({"verdict-reached", "baseline-taken", "cohort-frozen"})
"""Kinds of records that carry such numbers."""


@dataclass(frozen=True, slots=True)
class _Row:
    """One metric: its cells, and what the tests say of it."""

    cells: tuple[str, ...]
    tests: str


def tell_evidence(
    kind: str,
    fields: Mapping[str, object],
    *,
    width: int = 80,
    everything: bool = True,
    metrics: Iterable[MetricContract] = (),
) -> list[str]:
    """The evidence of a record, as lines; none where there is none.

    Args:
        kind: of the record.
        fields: its fields, plain JSON.
        width: columns that a line may have; what is wide puts a metric on one line.
        everything: also tests that found nothing, such as the pools of the stage.
        metrics: of the device's contract, for units and limits that the record does not name.
    """
    evidence = _mapping(fields.get("evidence"))
    match kind:
        case "verdict-reached":
            lines = _of_verdict(evidence, width, everything=everything)
        case "baseline-taken":
            lines = _of_baseline(evidence, {metric.name: metric for metric in metrics})
        case "cohort-frozen":
            devices = " ".join(_names(fields.get("devices")))
            lines = [f"together   {devices}", _against(_names(fields.get("controls")))]
        case _:
            lines = []
    return [printable(part) for line in lines for part in _wrapped(line, width)]


def _wrapped(line: str, width: int) -> list[str]:
    """What is said of something goes on below, set in; names and columns are never broken."""
    label = line[:_HANG]
    if not line or len(line) <= width or label.rstrip() not in _LABELS:
        return [line] if line else []
    return [
        f"{' ' * _HANG if more else label}{part}"
        for more, part in enumerate(_parts(line[_HANG:], width - _HANG))
    ]


def _parts(text: str, width: int) -> list[str]:
    width = max(width, _NARROW)
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


# --- a verdict --------------------------------------------------------------------------


def _of_verdict(evidence: Mapping[str, object], width: int, *, everything: bool) -> list[str]:
    cohort = _mapping(evidence.get("cohort"))
    metrics = {name: _mapping(one) for name, one in _mapping(evidence.get("metrics")).items()}
    own = {name: one for name, one in metrics.items() if "members" not in one}
    pools = {**_mapping(cohort.get("pools")), **_mapping(evidence.get("pools"))}
    ordered = sorted(own.items(), key=lambda item: _ORDER.get(_text(item[1], "shift"), 0))
    rows = [_metric_row(name, one, everything=everything) for name, one in ordered]
    lines = _table(rows, width)
    if own:
        lines.append(_against(_controls_of(own), _mapping(cohort.get("control_groups"))))
    lines += [
        _pool(name, one)
        for name, one in ((name, _mapping(one)) for name, one in pools.items())
        if everything or _stands_high(one, "e", "e_needed")
    ]
    return [*lines, _beats(_mapping(evidence.get("heartbeats"))), _symptom(evidence)]


_ORDER = {"regressed": 0, "undecided": 1, "fine": 2}


def _metric_row(name: str, one: Mapping[str, object], *, everything: bool) -> _Row:
    before, after, unit = _number(one, "before"), _number(one, "after"), _text(one, "unit")
    counts = [_number(one, "n_before") or 0, _number(one, "n_after") or 0]
    sd = _number(one, "sd")
    cells = (
        _text(one, "shift"),
        name,
        f"{_level(before, sd)} -> {_level(after, sd)} {unit}".rstrip(),
        _difference(before, after, sd, counts),
        "" if sd is None else f"sd {sd:.2g}",
        f"n {counts[0]:g}+{counts[1]:g}",
    )
    told = everything or _text(one, "shift") != "fine"
    return _Row(cells, ", ".join(word for word in _test_words(one) if word) if told else "")


def _test_words(one: Mapping[str, object]) -> list[str]:
    return [
        _bet(one, "e_peak", "e_needed"),
        _since(one),
        _clearance(one),
        _noise(one),
        _bound(one),
        f"blocks of {block:g}" if (block := _number(one, "block") or 1) != 1 else "",
        rule if (rule := _text(one, "rule")) not in ("", "conformal-ranks") else "",
    ]


def _since(one: Mapping[str, object]) -> str:
    count, level, before = (_number(one, key) for key in ("n_beyond", "beyond", "before"))
    if _text(one, "shift") != "regressed" or None in (count, level, before):
        return ""
    assert count is not None
    assert level is not None
    assert before is not None
    if count == _number(one, "n_after"):
        return ""
    return f"last {count:g} samples {level:.4g} ({level - before:+.3g})"


def _bet(one: Mapping[str, object], value: str, needed: str) -> str:
    won, need = _number(one, value), _number(one, needed)
    if won is None or need is None:
        return ""
    return f"bet {'>1e9' if won > _RICH else figure(won)} of {figure(need)}"


def _clearance(one: Mapping[str, object]) -> str:
    """Whether it is shown not to be worse by `reject`, by whichever test says so."""
    reject = _number(one, "reject")
    won, need = _number(one, "e_fine"), _number(one, "e_fine_needed")
    p, level = _number(one, "p_fine"), _number(one, "p_fine_needed")
    if reject is None or won is None or need is None or _text(one, "shift") == "regressed":
        return ""
    worse, bet = f"{reject:g} worse", _bet(one, "e_fine", "e_fine_needed")
    if won >= need:
        return f"{worse} excluded ({bet})"
    if p is None or level is None:
        return f"{worse} not excluded ({bet})"
    return f"{worse} {'excluded' if p <= level else 'not excluded'} (p {p:.2g} of {level:.2g})"


def _noise(one: Mapping[str, object]) -> str:
    ratio = _number(one, "noise_ratio")
    if ratio is None:
        return ""
    loud = _stands_high(one, "noise_e", "noise_e_needed")
    bet = f" ({_bet(one, 'noise_e', 'noise_e_needed')})" if loud else ""
    return f"noise x{ratio:.2f}{bet}"


def _bound(one: Mapping[str, object]) -> str:
    beyond = one.get("beyond_bound")
    if not (isinstance(beyond, list) and len(beyond) == 2):
        return ""
    bounds = [f"{key} {value:g}" for key in ("limit", "golden") if (value := _number(one, key))]
    return f"{beyond[0]} of {beyond[1]} blocks beyond {' and '.join(bounds) or 'its bound'}"


def _against(controls: Sequence[str], groups: Mapping[str, object] | None = None) -> str:
    """Who it was compared with, and whether they stayed what they were."""
    if not controls:
        return "against    nobody: before is compared with after"
    left = {
        name: who
        for name, group in (groups or {}).items()
        if (who := _text(_mapping(group), "left"))
    }
    kept = ", at their own baseline" if groups else ""
    if left:
        moved = ", ".join(f"{who} in {name}" for name, who in left.items())
        kept = f"; left its own baseline: {moved}"
    return f"against    {' '.join(controls)}{kept}"


def _controls_of(metrics: Mapping[str, Mapping[str, object]]) -> list[str]:
    return list(dict.fromkeys(c for one in metrics.values() for c in _names(one.get("controls"))))


def _pool(name: str, one: Mapping[str, object]) -> str:
    shift, count = _number(one, "shift"), _number(one, "n_after") or 0
    told = one.get("members")
    members = told if isinstance(told, int) else len(_names(told))
    moved = "no sample yet" if shift is None else f"worse by {shift:.3g}"
    bet = _bet(one, "e", "e_needed")
    return f"pool       {name} of {members} devices {moved}, n={count:g}, {bet}"


def _beats(one: Mapping[str, object]) -> str:
    beats = _number(one, "beats")
    if beats is None:
        return ""
    missed, retries, excused = (_number(one, k) or 0 for k in ("missed", "retries", "excused"))
    soaked_s = _number(one, "soaked_s")
    during = f" in {soaked_s:.0f} s" if soaked_s else ""
    words = [f"{missed:g} of {beats + missed:g} missed{during}", f"{retries:g} retries"]
    words += [f"{excused:g} shared with the controls"] if excused else []
    return f"beats      {', '.join([*words, _bet(one, 'e', 'e_needed')])}".rstrip(", ")


def _symptom(evidence: Mapping[str, object]) -> str:
    symptom, cause = _text(evidence, "symptom"), _number(evidence, "reset_cause")
    if not symptom:
        return ""
    return f"symptom    {symptom}" + ("" if cause is None else f", reset cause {int(cause):#x}")


# --- a baseline -------------------------------------------------------------------------


def _of_baseline(
    evidence: Mapping[str, object], contracts: Mapping[str, MetricContract]
) -> list[str]:
    rows = [
        _baseline_row(name, _mapping(one), contracts.get(name))
        for name, one in _mapping(evidence.get("metrics")).items()
    ]
    return [*_table(rows, 10_000), _against(_names(evidence.get("controls")))] if rows else []


def _baseline_row(name: str, one: Mapping[str, object], contract: MetricContract | None) -> _Row:
    unit = f" {contract.unit}" if contract else ""
    mean, sd, sees = (_number(one, key) for key in ("mean", "sd", "sees"))
    need = f" (must find {contract.reject:g})" if contract else ""
    finds = "finds no shift" if sees is None else f"finds {sees:.3g}{unit}{need}"
    block = _number(one, "block") or 1
    cells = (
        name,
        f"{_level(mean, sd)}{unit}",
        "" if sd is None else f"sd {sd:.2g}",
        f"n {_number(one, 'samples') or 0:g}",
    )
    return _Row(cells, finds + (f", blocks of {block:g}" if block != 1 else ""))


# --- cells ------------------------------------------------------------------------------


def _table(rows: Sequence[_Row], width: int) -> list[str]:
    """Columns; what the tests say stands beside them where there is room, else below."""
    widths = [max(map(len, column)) for column in zip(*(row.cells for row in rows), strict=True)]
    lines = []
    for row in rows:
        cells = "  ".join(c.ljust(w) for c, w in zip(row.cells, widths, strict=True))
        if width >= _WIDE:
            lines.append(f"{cells}  {row.tests}".rstrip())
        else:
            below = _parts(row.tests, width - _HANG)
            lines += [cells.rstrip(), *(f"{' ' * _HANG}{part}" for part in below)]
    return lines


def _difference(
    before: float | None, after: float | None, sd: float | None, counts: Sequence[float]
) -> str:
    if before is None or after is None:
        return "?"
    error = sd * math.sqrt(sum(1 / n for n in counts)) if sd and all(counts) else None
    return signed(after - before, error)


def _level(value: float | None, sd: float | None = None) -> str:
    """To one digit more than the noise leaves of a sample."""
    if value is None:
        return "?"
    decimals = math.ceil(-math.log10(sd)) + 1 if sd and sd > 0 else -1
    return f"{value:.{decimals}f}" if 0 <= decimals <= 6 else f"{value:.4g}"


def _stands_high(one: Mapping[str, object], value: str, needed: str) -> bool:
    won, need = _number(one, value), _number(one, needed)
    return won is not None and need is not None and won >= _LOUD * need


def _mapping(value: object) -> dict[str, object]:
    return {str(k): v for k, v in value.items()} if isinstance(value, dict) else {}


def _number(one: Mapping[str, object], key: str) -> float | None:
    value = one.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < _MOST else None


def _text(one: Mapping[str, object], key: str) -> str:
    value = one.get(key)
    return value if isinstance(value, str) else ""


def _names(value: object) -> list[str]:
    return [str(name) for name in value] if isinstance(value, list | tuple) else []
