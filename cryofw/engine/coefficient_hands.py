"""Writes the coefficients of devices: each act reads back, and may be done again after a crash."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from cryofw.device import (
    BootChanged,
    ChangeNotSeen,
    DeviceSilent,
    DeviceUnreachable,
    ImageNotRunning,
    InRecovery,
    LeaseRefused,
)
from cryofw.errors import CryofwError
from cryofw.rollout import coefficient_events as coe
from cryofw.rollout import commands as c
from cryofw.rollout import events as e

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cryofw.device import DeviceDriver
    from cryofw.engine.coefficient_command import CoefficientCommand
    from cryofw.engine.lease_keeper import Find, LeaseKeeper
    from cryofw.rollout import PlannedDevice

_NOT_NOW = (
    DeviceSilent,
    DeviceUnreachable,
    InRecovery,
    LeaseRefused,
    ImageNotRunning,
    BootChanged,
)
"""What says nothing about the coefficients; the heartbeats find out what is wrong."""


class CoefficientWriter(Protocol):
    """Writes the coefficients of one device, as bytes by name, and reads them back."""

    async def read(self, names: Iterable[str]) -> Mapping[str, bytes | None]:
        """What it has."""

    async def apply(self, values: Mapping[str, bytes], running: str, boot: int | None) -> None:
        """Give them to the image `running` (hex), in this boot."""

    async def save(self, values: Mapping[str, bytes], running: str) -> None:
        """Let it keep them over a reset."""

    async def restore(self, values: Mapping[str, bytes | None], running: str) -> None:
        """Bring back what was read before."""


class SettingsWriter:
    """Over SMP: what is applied lasts until a reset, what is saved stays."""

    def __init__(self, driver: DeviceDriver) -> None:
        self._driver = driver

    async def read(self, names: Iterable[str]) -> Mapping[str, bytes | None]:
        """See `DeviceDriver.read_settings`."""
        return await self._driver.read_settings(names)

    async def apply(self, values: Mapping[str, bytes], running: str, boot: int | None) -> None:
        """See `DeviceDriver.apply_settings`."""
        await self._driver.apply_settings(values, running, boot)

    async def save(self, values: Mapping[str, bytes], running: str) -> None:
        """See `DeviceDriver.save_settings`."""
        await self._driver.save_settings(values, running)

    async def restore(self, values: Mapping[str, bytes | None], running: str) -> None:
        """See `DeviceDriver.restore_settings`."""
        await self._driver.restore_settings(values, running)


class CommandWriter:
    """By the lab's command: what it sets stays at once, so nothing but itself takes it back."""

    def __init__(self, driver: DeviceDriver, command: CoefficientCommand) -> None:
        self._driver = driver
        self._command = command

    async def read(self, names: Iterable[str]) -> Mapping[str, bytes | None]:
        """See `CoefficientCommand.read`."""
        return await self._command.read(names)

    async def apply(self, values: Mapping[str, bytes], running: str, boot: int | None) -> None:
        """Set them and read them back; raises as the command, ImageNotRunning, ChangeNotSeen."""
        await self._require(running, boot)
        await self._command.set(values)
        await self._require(running, boot)
        await self._require_values(values)

    async def save(self, values: Mapping[str, bytes], running: str) -> None:
        """They are kept already; set again what is not there."""
        await self._require(running, None)
        if await self._command.read(values) != dict(values):
            await self._command.set(values)
        await self._require_values(values)

    async def restore(self, values: Mapping[str, bytes | None], running: str) -> None:
        """Let the command restore them, and read them back."""
        await self._require(running, None)
        await self._command.restore(values)
        await self._require_values(values)

    async def _require(self, running: str, boot: int | None) -> None:
        seen = await self._driver.observe()
        name = self._driver.target.name
        if seen.active_hash != running:
            raise ImageNotRunning(
                f"{name} does not run the image that the coefficients belong to",
                why=f"{seen.active_hash} runs, expected {running}",
                hint="it reverted, or its bootloader found the image not valid.",
            )
        if boot is not None and seen.boot_id != boot:
            raise BootChanged(
                f"{name} has booted since it was to get its coefficients",
                why=f"boot {seen.boot_id}, expected was boot {boot}",
            )

    async def _require_values(self, values: Mapping[str, bytes | None]) -> None:
        found = await self._command.read(values)
        wrong = [
            f"{name} is {_shown(found.get(name))}, wanted {_shown(value)}"
            for name, value in values.items()
            if found.get(name) != value
        ]
        if wrong:
            raise ChangeNotSeen(
                f"{self._driver.target.name} does not have its coefficients",
                why=f"the command of the lab ended well, but reads: {'; '.join(wrong)}",
                hint="run it by hand with `read`.",
            )


class CoefficientHands:
    """Does the commands about coefficients, on the devices of one plan.

    Args:
        leases: who may write to the devices.
        commands: the lab's command of each device that has one; the others keep settings.
        now_s: seconds since 1970.
    """

    def __init__(
        self,
        leases: LeaseKeeper,
        commands: Mapping[str, CoefficientCommand],
        now_s: Callable[[], float],
    ) -> None:
        self._leases = leases
        self._commands = commands
        self._now_s = now_s

    def writer(self, driver: DeviceDriver) -> CoefficientWriter:
        """How the coefficients of this device are written."""
        command = self._commands.get(driver.target.name)
        return SettingsWriter(driver) if command is None else CommandWriter(driver, command)

    async def problem(self, planned: PlannedDevice, driver: DeviceDriver, running: str) -> str:
        """Why this device must not be sent this release's coefficients; empty if it may.

        Args:
            planned: the device.
            driver: its driver.
            running: hash of the release if it runs already, else empty.
        """
        if not planned.coefficients:
            return ""
        try:
            found = await self.writer(driver).read(planned.coefficients)
        except CryofwError as error:
            return f"its coefficients cannot be read: {error}"
        wanted = {name: one.data for name, one in planned.coefficients.items()}
        if not running or found == wanted:
            return ""
        names = ", ".join(name for name, value in wanted.items() if found.get(name) != value)
        return f"it runs this release already, with other coefficients: {names}"

    async def do(self, command: c.Command, driver: DeviceDriver, find: Find) -> e.Event:
        """Do one command; what it raises is in the event.

        Args:
            command: about coefficients.
            driver: of its device.
            find: finds a device that may be silent, cycling its power: the last good image runs.
        """
        name, writer = command.device, self.writer(driver)
        on_trial = isinstance(command, c.ApplyCoefficients | c.SaveCoefficients)
        try:
            async with self._leases.hold(name, driver.observe if on_trial else find):
                match command:
                    case c.ReadCoefficients():
                        found = await writer.read(command.names)
                        return coe.CoefficientsRead(name, _hex(found))
                    case c.ApplyCoefficients():
                        await writer.apply(_bytes(command.values), command.hash, command.boot)
                        return coe.CoefficientsApplied(name, self._now_s())
                    case c.SaveCoefficients():
                        await writer.save(_bytes(command.values), command.hash)
                    case c.RestoreCoefficients():
                        await writer.restore(_optional_bytes(command.values), command.hash)
                    case _:
                        msg = f"no hands for {command}"
                        raise AssertionError(msg)
        except CryofwError as error:
            if isinstance(command, c.RestoreCoefficients):
                return _stuck(name, error)
            if on_trial and isinstance(error, _NOT_NOW):
                return coe.CoefficientsDeferred(name, str(error))
            return coe.CoefficientsFailed(name, _FAILED[type(command)] + str(error), error.hint)
        await self._leases.release(name)
        if isinstance(command, c.SaveCoefficients):
            return coe.CoefficientsSaved(name)
        return coe.CoefficientsRestored(name)

    async def bring_back(
        self, driver: DeviceDriver, values: Mapping[str, str | None], running: str
    ) -> None:
        """Restore them after the last good image came back; raises CryofwError."""
        if values:
            await self.writer(driver).restore(_optional_bytes(values), running)


_FAILED: Mapping[type[c.Command], str] = {
    c.ReadCoefficients: "its coefficients could not be read: ",
    c.ApplyCoefficients: "it could not be given its coefficients: ",
    c.SaveCoefficients: "it does not keep its coefficients: ",
}


def _stuck(name: str, error: CryofwError) -> e.DeviceStuck:
    why = f"its firmware is back, its old coefficients are not: {error}"
    return e.DeviceStuck(name, why, error.hint)


def _hex(values: Mapping[str, bytes | None]) -> dict[str, str | None]:
    return {name: None if value is None else value.hex() for name, value in values.items()}


def _bytes(values: Mapping[str, str]) -> dict[str, bytes]:
    return {name: bytes.fromhex(text) for name, text in values.items()}


def _optional_bytes(values: Mapping[str, str | None]) -> dict[str, bytes | None]:
    return {n: None if text is None else bytes.fromhex(text) for n, text in values.items()}


def _shown(value: bytes | None) -> str:
    return "not there" if value is None else value.hex()
