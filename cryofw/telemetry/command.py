"""Commands of the lab that print JSON: run without a shell, bounded in time and output."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from typing import TYPE_CHECKING

from cryofw.telemetry.errors import CommandFailed

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Sequence

MAX_OUTPUT_BYTES = 1 << 20
_SHOWN = 400
# What the command leaves running may keep its pipes open: its own output is there by now.
_LAST_OUTPUT_S = 0.2


async def run_json(argv: Sequence[str], *, timeout_s: float) -> object:
    """The JSON that `argv` prints; it exits with 0 within `timeout_s` seconds.

    Its standard error is free for people; it is shown when the command fails.

    Raises:
        CommandFailed: it cannot be run, took too long, failed, or printed something else.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise _failed(argv, str(reason), "is it installed, and may we run it?") from None
    try:
        async with asyncio.timeout(timeout_s):
            output, said = await _outputs(argv, process)
    except TimeoutError:
        raise _failed(argv, f"not done after {timeout_s:g} s") from None
    finally:
        # Its session is its own: this ends it and all that it started, and nothing else.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    if process.returncode:
        text = said[-_SHOWN:].decode("utf-8", "replace").strip()
        raise _failed(argv, f"exit code {process.returncode}: {text or 'nothing on stderr'}")
    try:
        return json.loads(output)
    except (ValueError, RecursionError) as error:
        shown = output[:80].decode("utf-8", "replace").strip()
        raise _failed(argv, f"it printed no JSON: {shown or 'nothing'}: {error}") from None


async def _outputs(argv: Sequence[str], process: Process) -> tuple[bytes, bytes]:
    """Standard output and error of a process that ends."""
    assert process.stdout is not None
    assert process.stderr is not None
    output, said = bytearray(), bytearray()
    ended = asyncio.create_task(process.wait())
    readers = {
        asyncio.create_task(_collect(argv, process.stdout, output)),
        asyncio.create_task(_collect(argv, process.stderr, said)),
    }
    try:
        open_readers = set(readers)
        while not ended.done():
            await asyncio.wait({ended, *open_readers}, return_when=asyncio.FIRST_COMPLETED)
            for reader in [one for one in open_readers if one.done()]:
                open_readers.discard(reader)
                reader.result()
        if open_readers:
            done, _ = await asyncio.wait(open_readers, timeout=_LAST_OUTPUT_S)
            for reader in done:
                reader.result()
    finally:
        for task in (ended, *readers):
            task.cancel()
        await asyncio.gather(ended, *readers, return_exceptions=True)
    return bytes(output), bytes(said)


async def _collect(argv: Sequence[str], stream: asyncio.StreamReader, into: bytearray) -> None:
    while piece := await stream.read(64 << 10):
        into += piece
        if len(into) > MAX_OUTPUT_BYTES:
            raise _failed(argv, f"it printed more than {MAX_OUTPUT_BYTES:,} bytes")


def _failed(argv: Sequence[str], why: str, hint: str = "") -> CommandFailed:
    shown = " ".join(argv)
    return CommandFailed(f"the command {argv[0]} gave no reading", why=f"{shown}: {why}", hint=hint)
