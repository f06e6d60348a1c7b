"""The coefficients of a release on the command line: the option, and how a plan shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cryofw.cli.file import read_file
from cryofw.cli.options import PATH
from cryofw.errors import Refused

if TYPE_CHECKING:
    from pathlib import Path

    from cryofw.cli.output import Output
    from cryofw.release.coefficients import Coefficients
    from cryofw.rollout import Plan, PlannedDevice

_SHOWN = 8

coefficients_option = click.option(
    "--coefficients",
    "coefficients_path",
    type=PATH,
    help="Calibration coefficients that go and come back with the firmware (JSON or YAML).",
)


def read_coefficients(path: Path | None) -> Coefficients | None:
    """The file that `--coefficients` names; raises CoefficientsError with every defect."""
    if path is None:
        return None
    from cryofw.release.coefficients import parse_coefficients

    return parse_coefficients(read_file(path, "coefficients"), str(path))


def require_same_coefficients(plan: Plan, path: Path | None) -> None:
    """An open rollout goes on with those of its plan.

    Raises:
        Refused: the file that was given now is another one.
    """
    given = read_coefficients(path)
    if given is None or given.digest == plan.coefficients_digest:
        return
    planned = plan.coefficients_digest[:16] or "none"
    raise Refused(
        f"rollout {plan.rollout} was planned with other coefficients",
        why=f"the plan has {planned}, {path} is {given.digest[:16]}",
        hint="leave --coefficients out to go on as planned, or end it with `cryofw abort`",
    )


def show_coefficients(output: Output, plan: Plan) -> None:
    """What the release brings besides its firmware, to which device, and who writes it."""
    with_some = [device for device in plan.devices.values() if device.coefficients]
    if not with_some:
        return
    output.line(f"Coefficients {plan.coefficients_digest[:16]}, for {_names(with_some)}:")
    values: dict[str, dict[str, list[str]]] = {}
    for device in with_some:
        for name, one in device.coefficients.items():
            values.setdefault(name, {}).setdefault(str(one), []).append(device.name)
    for name, by_value in sorted(values.items()):
        for value, devices in by_value.items():
            who = "every one" if len(devices) == len(with_some) else _some(devices)
            output.line(f"  {name} = {value} on {who}")
    by_command = [device.name for device in with_some if device.coefficient_command]
    output.line("  before the confirm a reset takes them back; after it a rollback does")
    if by_command:
        output.line(
            f"  but a command writes those of {_some(by_command)}: no reset takes them back"
        )
    output.line()


def _names(devices: list[PlannedDevice]) -> str:
    return f"{len(devices)} device" + ("" if len(devices) == 1 else "s")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return " ".join(names[:_SHOWN]) + more
