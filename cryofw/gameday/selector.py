"""Selectors: how a scenario names devices, cryostats and stages of a fleet that it has never seen.

    first of stage 2 | last of stage fleet | 3 of cryostat cryo-1 | all of stage last | c1-a

Stages count from 1; a number beyond the last stage, or `last`, is the last one, so that a scenario
plays on fleets of any size. A name must exist.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cryofw.errors import BadInput
from cryofw.fleet.checks import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cryofw.fleet import Controller, Fleet, Stage

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
STAGE_PATTERN = rf"^{_NAME}$"
SELECTOR_PATTERN = rf"^((first|last|all|[1-9][0-9]{{0,2}}) of (stage|cryostat) {_NAME}|{_NAME})$"
SELECTOR_HINT = "first, last, all or a number, `of stage` 2 or `of cryostat` NAME; or a name"
_SELECTOR = re.compile(SELECTOR_PATTERN)


class NotInFleet(BadInput):
    """A scenario names something that the fleet does not have."""


def is_selector(text: str) -> bool:
    """Whether it has the form of one."""
    return _SELECTOR.fullmatch(text) is not None


def select_stage(fleet: Fleet, text: str) -> Stage:
    """The stage of this number, `last`, or of this name.

    Raises:
        NotInFleet: no stage has the name.
    """
    named = {stage.name: stage for stage in fleet.stages}
    if text in named:
        return named[text]
    if text == "last":
        return fleet.stages[-1]
    if text.isascii() and text.isdecimal() and int(text) > 0:
        return fleet.stages[min(int(text), len(fleet.stages)) - 1]
    raise NotInFleet(f"no stage is called `{text}`", hint=did_you_mean(text, named))


def select_devices(fleet: Fleet, text: str) -> tuple[str, ...]:
    """The controllers meant, in the order in which they are updated; never none.

    Raises:
        NotInFleet: a name is not in the fleet.
    """
    which, where, place = _parts(text)
    if not where:
        _require(text, fleet.by_name, "controller")
        return (text,)
    here = _controllers(fleet, where, place)
    return _chosen([one.name for one in here], which)


def select_cryostats(fleet: Fleet, text: str) -> tuple[str, ...]:
    """The cryostats meant, in the order in which they are updated; never none.

    Raises:
        NotInFleet: a name is not in the fleet.
    """
    which, where, place = _parts(text)
    if where == "stage":
        return _chosen(list(select_stage(fleet, place).targets), which)
    name = place if where else text
    _require(name, fleet.cryostats, "cryostat")
    return (name,)


def _parts(text: str) -> tuple[str, str, str]:
    """Which, of what (stage, cryostat, or empty for a bare name), and its name or number."""
    words = text.split(" ")
    return (words[0], words[2], words[3]) if len(words) == 4 else ("", "", text)


def _controllers(fleet: Fleet, where: str, place: str) -> Sequence[Controller]:
    if where == "stage":
        return fleet.stage_controllers(select_stage(fleet, place))
    _require(place, fleet.cryostats, "cryostat")
    return fleet.cryostats[place].controllers


def _chosen(names: Sequence[str], which: str) -> tuple[str, ...]:
    if which == "all":
        return tuple(names)
    if which == "last":
        return (names[-1],)
    number = 1 if which == "first" else int(which)
    return (names[min(number, len(names)) - 1],)


def _require(name: str, known: Iterable[str], what: str) -> None:
    names = list(known)
    if name not in names:
        raise NotInFleet(f"no {what} is called `{name}`", hint=did_you_mean(name, names))
