"""The lab's own way to write coefficients: a command, or the simulated lab in its place."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol

from cryofw.engine.site import SCHEME
from cryofw.errors import Unreachable
from cryofw.release import Coefficient, CoefficientError, CoefficientType, decoded
from cryofw.telemetry import run_command, run_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cryofw.engine.site import Site
    from cryofw.rollout import Plan
    from cryofw.simulator import SimulatedController

TIMEOUT_S = 120.0
READ, SET, RESTORE = "read", "set", "restore"


class CoefficientCommandFailed(Unreachable):
    """The lab's command did not do what was asked, or told something else than coefficients."""


class CoefficientCommand(Protocol):
    """Writes the coefficients of one controller, by name; what it writes stays over a reset."""

    async def read(self, names: Iterable[str]) -> dict[str, bytes | None]:
        """What the controller has; None for what it has not."""

    async def set(self, values: Mapping[str, bytes]) -> None:
        """Write values for the firmware that runs now."""

    async def restore(self, values: Mapping[str, bytes | None]) -> None:
        """Bring back values as they were read before; None: take it away."""


class LabCommand:
    """Runs the command of fleet.yaml, with `read`, `set` or `restore` as its last argument.

    On its standard input it gets `{"controller": NAME, "coefficients": {NAME: {"type", "value"}}}`,
    without values for a read; a read prints `{NAME: value}`.

    Args:
        argv: the command.
        controller: whose coefficients.
        types: the type of each coefficient, by name.
    """

    def __init__(
        self, argv: Sequence[str], controller: str, types: Mapping[str, CoefficientType]
    ) -> None:
        self._argv = tuple(argv)
        self._controller = controller
        self._types = dict(types)

    async def read(self, names: Iterable[str]) -> dict[str, bytes | None]:
        """See `CoefficientCommand.read`.

        Raises:
            CommandFailed: it could not be run, or failed.
            CoefficientCommandFailed: it told something that is no such coefficient.
        """
        wanted = list(names)
        given = self._document({name: {} for name in wanted})
        told = await run_json([*self._argv, READ], timeout_s=TIMEOUT_S, given=given)
        if not isinstance(told, dict):
            raise self._failed(READ, f"it printed {str(told)[:80]}, not an object of coefficients")
        return {name: self._encoded(name, told.get(name)) for name in wanted}

    async def set(self, values: Mapping[str, bytes]) -> None:
        """See `CoefficientCommand.set`; raises CommandFailed."""
        await self._write(SET, values)

    async def restore(self, values: Mapping[str, bytes | None]) -> None:
        """See `CoefficientCommand.restore`; raises CommandFailed."""
        await self._write(RESTORE, values)

    async def _write(self, verb: str, values: Mapping[str, bytes | None]) -> None:
        fields = {
            name: {"value": None if data is None else decoded(self._types[name], data)}
            for name, data in values.items()
        }
        given = self._document(fields)
        await run_command([*self._argv, verb], timeout_s=TIMEOUT_S, given=given)

    def _document(self, fields: Mapping[str, Mapping[str, object]]) -> bytes:
        coefficients = {
            name: {"type": self._types[name].value, **more} for name, more in fields.items()
        }
        document = {"controller": self._controller, "coefficients": coefficients}
        return json.dumps(document, sort_keys=True).encode() + b"\n"

    def _encoded(self, name: str, value: object) -> bytes | None:
        if value is None:
            return None
        try:
            return Coefficient.of(self._types[name], value).data
        except CoefficientError as error:
            raise self._failed(READ, f"{name} is no {self._types[name]}: {error}") from None

    def _failed(self, verb: str, why: str) -> CoefficientCommandFailed:
        return CoefficientCommandFailed(
            f"the command for the coefficients of {self._controller} told something else",
            why=f"{' '.join(self._argv)} {verb}: {why}",
            hint="docs/operating.md, Coefficients, says what it gets and prints",
        )


def coefficient_commands(plan: Plan, site: Site) -> dict[str, CoefficientCommand]:
    """The command of each device of a plan that has one; a simulated lab answers for its own."""
    commands: dict[str, CoefficientCommand] = {}
    for name, planned in plan.devices.items():
        if not planned.coefficients or not planned.coefficient_command:
            continue
        port = planned.connection.port
        if site.lab is not None and port.startswith(SCHEME):
            commands[name] = SimulatedCommand(site.lab.controller(port.removeprefix(SCHEME)))
        else:
            types = {key: one.type for key, one in planned.coefficients.items()}
            commands[name] = LabCommand(planned.coefficient_command, name, types)
    return commands


class SimulatedCommand:
    """A simulated lab in place of its command: it writes past SMP, into RAM and storage."""

    def __init__(self, controller: SimulatedController) -> None:
        self._controller = controller

    async def read(self, names: Iterable[str]) -> dict[str, bytes | None]:
        """See `CoefficientCommand.read`."""
        return {name: self._controller.setting(name) for name in names}

    async def set(self, values: Mapping[str, bytes]) -> None:
        """See `CoefficientCommand.set`."""
        self._controller.keep_settings(values)

    async def restore(self, values: Mapping[str, bytes | None]) -> None:
        """See `CoefficientCommand.restore`."""
        self._controller.keep_settings(values)
