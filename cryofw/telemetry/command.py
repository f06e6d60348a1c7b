"""Commands of the lab: run without a shell, bounded in time and output."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import selectors
import signal
import subprocess
import tempfile
import threading
from typing import IO, TYPE_CHECKING

from cryofw.telemetry.errors import CommandFailed
from cryofw.telemetry.thread import in_thread

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_OUTPUT_BYTES = 1 << 20
_SHOWN = 400
_SLICE_S = 0.05
# What the command leaves running may keep its pipes open: its own output is there by then.
_SLICES_AFTER_END = 4
_END_S = 2.0


async def run_json(argv: Sequence[str], *, timeout_s: float, given: bytes = b"") -> object:
    """The JSON that `argv` prints; it exits with 0 within `timeout_s` seconds.

    Its standard error is free for people; it is shown when the command fails. When this returns,
    the command and what it started in its session are gone.

    Raises:
        CommandFailed: it cannot be run, took too long, failed, or printed something else.
    """
    output = await run_command(argv, timeout_s=timeout_s, given=given)
    try:
        return json.loads(output)
    except (ValueError, RecursionError) as error:
        shown = output[:80].decode("utf-8", "replace").strip()
        raise _failed(argv, f"it printed no JSON: {shown or 'nothing'}: {error}") from None


async def run_command(argv: Sequence[str], *, timeout_s: float, given: bytes = b"") -> bytes:
    """What `argv` prints, with `given` on its standard input; as `run_json`.

    Raises:
        CommandFailed: it cannot be run, took too long, or failed.
    """
    stop = threading.Event()
    running = asyncio.ensure_future(in_thread(lambda: _run(argv, given, stop)))
    try:
        done, _ = await asyncio.wait({running}, timeout=timeout_s)
    finally:
        stop.set()
        await asyncio.wait({running}, timeout=_END_S)
    if not done:
        running.add_done_callback(lambda late: late.cancelled() or late.exception())
        raise _failed(argv, f"not done after {timeout_s:g} s")
    return running.result()


def _run(argv: Sequence[str], given: bytes, stop: threading.Event) -> bytes:
    """Runs in a thread: what the command prints until it ends, or `stop` is set."""
    # A file, not a pipe: a command that does not read its input does not stop us.
    with tempfile.TemporaryFile() as source:
        source.write(given)
        source.seek(0)
        return _run_on(argv, source, stop)


def _run_on(argv: Sequence[str], source: IO[bytes], stop: threading.Event) -> bytes:
    try:
        process = subprocess.Popen(  # noqa: S603  # fleet.yaml names it; there is no shell
            argv,
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise _failed(argv, str(reason), "is it installed, and may we run it?") from None
    with process:
        try:
            output, said = _outputs(argv, process, stop)
        finally:
            # Its session is its own: this ends it and all that it started, and nothing else.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        text = said[-_SHOWN:].decode("utf-8", "replace").strip()
        raise _failed(argv, f"exit code {process.returncode}: {text or 'nothing on stderr'}")
    return output


def _outputs(
    argv: Sequence[str], process: subprocess.Popen[bytes], stop: threading.Event
) -> tuple[bytes, bytes]:
    assert process.stdout is not None
    assert process.stderr is not None
    texts = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    slices_left = _SLICES_AFTER_END
    with selectors.DefaultSelector() as selector:
        for pipe in texts:
            selector.register(pipe, selectors.EVENT_READ)
        while not stop.is_set() and slices_left and selector.get_map():
            ready = selector.select(_SLICE_S)
            for key, _ in ready:
                piece = os.read(key.fd, 64 << 10)
                if not piece:
                    selector.unregister(key.fd)
                texts[key.fd] += piece
                if len(texts[key.fd]) > MAX_OUTPUT_BYTES:
                    raise _failed(argv, f"it printed more than {MAX_OUTPUT_BYTES:,} bytes")
            if not ready and process.poll() is not None:
                slices_left -= 1
    while not stop.is_set() and process.poll() is None:
        # It closed its pipes and goes on: its exit code is still to come.
        stop.wait(_SLICE_S)
    output, said = texts.values()
    return bytes(output), bytes(said)


def _failed(argv: Sequence[str], why: str, hint: str = "") -> CommandFailed:
    shown = " ".join(argv)
    return CommandFailed(f"the command {argv[0]} failed", why=f"{shown}: {why}", hint=hint)
