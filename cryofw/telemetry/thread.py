"""Blocking work of this room, in threads that keep no process alive. Real time only."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


async def in_thread(work: Callable[[], T]) -> T:
    """What `work` returns or raises, from a daemon thread; a late outcome is dropped."""
    outcome: Future[T] = Future()
    outcome.set_running_or_notify_cancel()

    def run() -> None:
        try:
            outcome.set_result(work())
        except Exception as error:  # noqa: BLE001  # the caller raises it
            outcome.set_exception(error)

    threading.Thread(target=run, name="telemetry", daemon=True).start()
    return await asyncio.wrap_future(outcome)
