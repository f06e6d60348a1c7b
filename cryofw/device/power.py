"""Cycling a device's power: the reset path for a firmware that hangs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
from typing import IO, TYPE_CHECKING, Protocol

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
        if not self._argv:
            raise self._failed(device, "no command is named")
        # A file, not a pipe: what the hook leaves running would keep a pipe open.
        with tempfile.TemporaryFile() as output:
            code = await self._run(device, output)
            if code:
                output.seek(max(0, output.seek(0, os.SEEK_END) - OUTPUT_SHOWN))
                said = output.read().decode("utf-8", "replace").strip()
                raise self._failed(device, f"exit code {code}: {said or 'no output'}")

    async def _run(self, device: str, output: IO[bytes]) -> int:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise self._failed(device, str(error)) from error
        try:
            async with asyncio.timeout(self._timeout_s):
                return await process.wait()
        except TimeoutError:
            raise self._failed(device, f"not done after {self._timeout_s:g} s") from None
        finally:
            if process.returncode is None:
                # Its session is its own, so this ends what it has started too, and nothing else.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()

    def _failed(self, device: str, why: str) -> PowerHookFailed:
        return PowerHookFailed(
            f"the power hook of {device} failed",
            why=f"{' '.join(self._argv)}: {why}",
            hint=f"cycle the power of {device} by hand, then `cryofw quarantine` tells how on.",
        )
