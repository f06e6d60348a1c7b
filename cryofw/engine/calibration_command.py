"""The lab's own way to calibrate a controller: a command, or the simulated lab in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from cryofw.engine.site import SCHEME
from cryofw.errors import Unreachable
from cryofw.telemetry import run_command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryofw.clock import Clock
    from cryofw.engine.site import Site
    from cryofw.rollout import Plan
    from cryofw.simulator import SimulatedLab


class CalibrationBenchFailed(Unreachable):
    """What calibrates a controller in the lab did not reach it."""


class CalibrationCommand(Protocol):
    """Calibrates one controller."""

    async def calibrate(self) -> None:
        """Return when it is calibrated.

        Raises:
            CommandFailed, CalibrationBenchFailed: it is not, or nobody knows.
        """


class LabCalibration:
    """Runs the command of fleet.yaml, without a shell.

    Args:
        argv: the program and its arguments; it exits with 0 when the controller is calibrated.
        timeout_s: after so many seconds it is ended, and has failed.
    """

    def __init__(self, argv: Sequence[str], *, timeout_s: float) -> None:
        self._argv = tuple(argv)
        self._timeout_s = timeout_s

    async def calibrate(self) -> None:
        """See `CalibrationCommand.calibrate`."""
        await run_command(self._argv, timeout_s=self._timeout_s)


class SimulatedCalibration:
    """A simulated lab in place of its command."""

    def __init__(self, lab: SimulatedLab, name: str, clock: Clock) -> None:
        self._lab = lab
        self._name = name
        self._clock = clock

    async def calibrate(self) -> None:
        """See `CalibrationCommand.calibrate`."""
        takes_s = self._lab.controller(self._name).calibrate()
        if takes_s is None:
            raise CalibrationBenchFailed(f"{self._name} was not calibrated", why="it does not run")
        await self._clock.sleep(takes_s)


def calibration_commands(plan: Plan, site: Site) -> dict[str, CalibrationCommand]:
    """What calibrates each device whose plan names a command; nothing is run yet."""
    found: dict[str, CalibrationCommand] = {}
    for name, planned in plan.devices.items():
        argv, port = planned.recalibration.command, planned.connection.port
        if argv is None:
            continue
        if site.lab is not None and port.startswith(SCHEME):
            found[name] = SimulatedCalibration(site.lab, port.removeprefix(SCHEME), site.clock)
        else:
            found[name] = LabCalibration(argv, timeout_s=planned.recalibration.timeout_s)
    return found
