"""Cycling a device's power: the reset path for a firmware that hangs."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Protocol

from cryofw.device.errors import PowerHookFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

OUTPUT_SHOWN = 400


class PowerHook(Protocol):
    """Takes a device's power away and gives it back."""

    async def cycle(self, device: str) -> None:
        """Cycle the power of `device` (its name in fleet.yaml); return when it is back on.

        Raises:
            PowerHookFailed: it did not work, or nobody knows.
        """


class CommandPowerHook:
    """Runs a command of the lab, without a shell.

    Args:
        argv: the program and its arguments; it exits with 0 when the power is back on.
        timeout_s: after so many seconds it is killed.
    """

    def __init__(self, argv: Sequence[str], *, timeout_s: float = 60.0) -> None:
        self._argv = tuple(argv)
        self._timeout_s = timeout_s

    async def cycle(self, device: str) -> None:
        """See `PowerHook.cycle`."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
        except (OSError, ValueError) as error:
            raise self._failed(device, str(error)) from error
        try:
            async with asyncio.timeout(self._timeout_s):
                output, _ = await process.communicate()
        except TimeoutError:
            raise self._failed(device, f"not done after {self._timeout_s:g} s") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode:
            said = output.decode("utf-8", "replace").strip()[-OUTPUT_SHOWN:]
            raise self._failed(device, f"exit code {process.returncode}: {said or 'no output'}")

    def _failed(self, device: str, why: str) -> PowerHookFailed:
        return PowerHookFailed(
            f"The power hook of {device} failed",
            why=f"{' '.join(self._argv)}: {why}",
            hint=f"Cycle the power of {device} by hand, then `cryofw quarantine` tells how on.",
        )
