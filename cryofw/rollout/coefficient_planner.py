"""Which coefficients each device of a plan gets, and why a file of them does not fit the fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryofw.fleet import Fleet
    from cryofw.release.coefficients import Coefficients


def coefficient_objections(
    file: Coefficients | None, fleet: Fleet, planned: Iterable[str]
) -> list[str]:
    """What is wrong with `file` for these devices; nothing if there is none."""
    if file is None:
        return []
    found = [
        f"{name}: has coefficients, but is no controller of fleet.yaml"
        for name in file.controllers
        if name not in fleet.by_name
    ]
    found += [
        f"{name}: the release brings coefficients, but none for it; say {{}} if it needs none"
        for name in planned
        if not file.covers(name)
    ]
    return found
