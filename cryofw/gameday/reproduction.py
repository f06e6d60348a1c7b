"""Turns the journal of a rollout that failed into a scenario that may be played again.

What the journal shows is a symptom; the scenario holds the simplest trouble that gives it. It is
the firmware's if no other device outlived the same moment, else the device's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from cryofw.gameday.scenario import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cryofw.journal import Record

_PERSON = {"pause-requested": "pause", "abort-requested": "abort", "stop-requested": "stop"}
_NOT_PLAYED = {
    "upload-failed": "a failed upload",
    "device-refused": "a refused device",
    "upload-interrupted": "an interrupted upload",
    "confirm-refused": "a refused confirm",
    "calibration-failed": "a failed calibration",
    "cryostat-held-out": "a cryostat that was held out (fridge, experiment)",
    "guard-overridden": "a guard that a person overrode",
    "device-accepted": "a held device that a person accepted",
    "retry-granted": "a test boot that was repeated",
}
_GONE_S = 36_000.0
"""How long a device is out of reach that never came back."""


@dataclass(frozen=True)
class Reproduction:
    """A scenario made of a journal.

    Attributes:
        text: the file.
        left_out: what the journal shows and the scenario does not play, one sentence each.
    """

    text: str
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class _Trouble:
    """A device failed `after_s` after its `nth` test boot; `key` and `body` are as in the file."""

    device: str
    nth: int
    after_s: float
    key: str
    body: Mapping[str, object]


def reproduce(records: Sequence[Record], rollout: str) -> Reproduction:
    """The scenario of a rollout.

    Args:
        records: of the journal that holds it.
        rollout: its id.
    """
    mine = [one for one in records if one.rollout == rollout]
    release: dict[str, object] = {}
    happenings: list[dict[str, object]] = []
    for trouble in _troubles(mine):
        behaviour = _behaviour(trouble)
        if behaviour and not _outlived(mine, trouble):
            release.update(behaviour)
        else:
            when = _when("test-booted", trouble.nth, trouble.device, trouble.after_s)
            body = {"device": trouble.device, **trouble.body}
            happenings.append({"when": when, trouble.key: body})
    happenings += [*_lab(mine), *_host(mine), *_people(mine)]
    document = {
        "schema": "cryofw.scenario/v1",
        "name": rollout,
        "title": f"what happened in {rollout}",
        "release": release,
        "happenings": happenings,
        "expect": {"ended": [_ended(mine)]},
    }
    return Reproduction(_yaml(document), tuple(_left_out(mine, bool(release or happenings))))


def _yaml(document: Mapping[str, object]) -> str:
    """One line for each key and each happening; JSON in it is YAML as well."""
    lines = []
    for key, value in document.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            lines += [f"{key}:", *(f"  - {json.dumps(one)}" for one in value)]
        else:
            lines.append(f"{key}: {json.dumps(value)}")
    return "\n".join(lines) + "\n"


def _t_s(record: Record) -> float:
    return datetime.fromisoformat(record.t).timestamp()


def _duration(seconds: float) -> str:
    return f"{max(0.0, seconds):.0f} s"


def _lasting(seconds: float) -> str:
    return f"{max(1.0, seconds):.0f} s"


def _when(after: str, nth: int, device: str, delay_s: float) -> dict[str, object]:
    named = {"device": device} if device else {}
    return {"after": after, "nth": nth, **named, "delay": _duration(delay_s)}


def _ended(mine: Sequence[Record]) -> str:
    found = [str(one.fields.get("outcome", "")) for one in mine if one.kind == "rollout-ended"]
    return found[-1] if found else "confirmed"


def _troubles(mine: Sequence[Record]) -> Iterator[_Trouble]:
    """The first failure of each test boot of each device, unless the host was at fault."""
    boots: dict[str, tuple[int, float]] = {}
    asked: dict[str, float] = {}
    done: set[tuple[str, int]] = set()
    for record in mine:
        device = record.device or ""
        if record.kind == "image-test-requested":
            asked[device] = _t_s(record)
            boots.setdefault(device, (0, _t_s(record)))
        elif record.kind == "test-booted":
            boots[device] = (boots.get(device, (0, 0.0))[0] + 1, _t_s(record))
        nth, since_s = boots.get(device, (0, 0.0))
        if device in boots and (device, nth) not in done:
            found = _trouble(record, device, nth, _t_s(record) - since_s)
            if found is not None:
                done.add((device, nth))
                yield found


def _trouble(record: Record, device: str, nth: int, after_s: float) -> _Trouble | None:
    if record.kind == "verdict-reached" and record.fields.get("outcome") == "failed":
        return _failed(record, device, nth, after_s)
    if record.kind == "device-reverted" and not record.fields.get("host_fault"):
        return _Trouble(device, nth, after_s, "hang", {})
    if record.kind in ("device-stuck", "device-unreachable"):
        return _Trouble(device, nth, after_s, "cable-pulled", {"for": _duration(_GONE_S)})
    return None


def _failed(record: Record, device: str, nth: int, after_s: float) -> _Trouble | None:
    """What a verdict found: a shift of a metric, silence, or a restart."""
    evidence = _mapping(record.fields.get("evidence"))
    soaked_s = _number(_mapping(evidence.get("heartbeats")).get("soaked_s"), after_s)
    for name, one in _mapping(evidence.get("metrics")).items():
        numbers = _mapping(one)
        if numbers.get("shift") == "regressed":
            by = _number(numbers.get("beyond", numbers.get("after"))) - _number(
                numbers.get("before")
            )
            samples = max(1.0, _number(numbers.get("n_after"), 1.0))
            share = min(1.0, _number(numbers.get("n_beyond"), samples) / samples)
            body = {"metric": name, "by": round(by, 6)}
            return _Trouble(device, nth, soaked_s * (1 - share), "calibration-shift", body)
    # Silent, restarted or reverted: a hang, which a watchdog or a power hook ends, gives them all.
    return _Trouble(device, nth, soaked_s, "hang", {}) if evidence.get("symptom") else None


def _behaviour(trouble: _Trouble) -> dict[str, object]:
    """The same as a firmware would do it; empty if it cannot."""
    if trouble.key == "calibration-shift":
        return {"shift": {**trouble.body, "after": _duration(trouble.after_s)}}
    if trouble.key == "hang":
        return {"hang_after": _duration(trouble.after_s if trouble.nth else 0.0)}
    return {}


def _outlived(mine: Sequence[Record], trouble: _Trouble) -> bool:
    """Another device ran the release for longer than this one did, and nothing was wrong."""
    if not trouble.nth:
        return any(one.kind == "test-booted" for one in mine)
    longest_s = 0.0
    booted: dict[str, float] = {}
    for record in mine:
        device = record.device or ""
        if record.kind == "test-booted":
            booted[device] = _t_s(record)
        passed = record.kind == "verdict-reached" and record.fields.get("outcome") == "passed"
        if passed and device != trouble.device and device in booted:
            longest_s = max(longest_s, _t_s(record) - booted[device])
    return longest_s > trouble.after_s


def _lab(mine: Sequence[Record]) -> Iterator[dict[str, object]]:
    """Cryostats that were frozen, and silence that many shared."""
    for index, record in enumerate(mine):
        if record.kind == "cryostat-frozen":
            where = str(record.fields.get("cryostat", ""))
            over = _next_s(mine[index:], "cryostat-thawed", "cryostat", where)
            body = {"cryostat": where, "for": _lasting((over or _t_s(record)) - _t_s(record))}
            yield {"when": _before(mine, index), "warm-up": body}
        elif record.kind == "common-cause-found":
            device = record.device or ""
            ends = [r for r in mine[index:] if (r.kind, r.device) == ("common-cause-ended", device)]
            lasted_s = _t_s(ends[0]) - _t_s(record) if ends else _GONE_S
            body = {"device": device, "for": _lasting(lasted_s)}
            yield {"when": _before(mine, index), "cable-pulled": body}


def _next_s(records: Sequence[Record], kind: str, key: str, value: str) -> float | None:
    found = [_t_s(r) for r in records if r.kind == kind and r.fields.get(key) == value]
    return found[0] if found else None


def _host(mine: Sequence[Record]) -> Iterator[dict[str, object]]:
    """A resume that no pause came before: the host had died, after the record before it."""
    for index, record in enumerate(mine):
        before = mine[index - 1] if index else None
        if record.kind == "rollout-resumed" and before and before.kind != "rollout-paused":
            body = {"back_after": _lasting(_t_s(record) - _t_s(before))}
            yield {"when": _before(mine, index), "host-dies": body}


def _people(mine: Sequence[Record]) -> Iterator[dict[str, object]]:
    for index, record in enumerate(mine):
        if record.kind in _PERSON:
            yield {"when": _before(mine, index), "person-asks": {"to": _PERSON[record.kind]}}


def _before(mine: Sequence[Record], index: int) -> dict[str, object]:
    """The moment of a record, told by the one before it."""
    last = next((r for r in reversed(mine[:index]) if r.kind in KINDS), mine[0])
    nth = sum((r.kind, r.device) == (last.kind, last.device) for r in mine[:index]) or 1
    return _when(last.kind, nth, last.device or "", _t_s(mine[index]) - _t_s(last))


def _left_out(mine: Sequence[Record], anything: bool) -> Iterator[str]:
    for kind, words in _NOT_PLAYED.items():
        whom = {
            one.device or str(one.fields.get("cryostat", "")) for one in mine if one.kind == kind
        }
        if whom:
            yield f"{words}: {', '.join(sorted(filter(None, whom))) or 'once'}"
    if any(one.kind == "coefficients-applied" for one in mine):
        yield "the coefficients of the release"
    if not anything:
        yield "nothing of this rollout went wrong in a way that can be played"


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _number(value: object, default: float = 0.0) -> float:
    return float(value) if isinstance(value, int | float) else default
