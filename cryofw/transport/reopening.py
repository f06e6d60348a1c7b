"""Waiting for a port that goes away and comes back (a USB adapter that enumerates again)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.transport.stream import ByteStream, ChannelUntrusted, Opener, PortUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryofw.clock import Clock


async def open_when_back(
    opener: Opener,
    url: str,
    *,
    baud: int,
    clock: Clock,
    patience_s: float,
    first_wait_s: float = 0.2,
    longest_wait_s: float = 5.0,
    on_retry: Callable[[], None] | None = None,
) -> ByteStream:
    """Open `url`; while it is not there, try again for up to `patience_s` seconds of `clock`.

    Waits double from `first_wait_s` to `longest_wait_s`. There is no jitter: a run is reproducible.

    Raises:
        PortUnavailable: still not there after `patience_s`.
        ChannelUntrusted: at once; a certificate does not mend itself.
        UnknownPort: at once; waiting does not help.
    """
    from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_exponential

    deadline = clock.monotonic() + patience_s

    # tenacity's own stop_after_delay reads the system's time, which virtual time must not.
    def out_of_patience(state: RetryCallState) -> bool:
        return clock.monotonic() + state.upcoming_sleep > deadline

    def count(_: RetryCallState) -> None:
        if on_retry is not None:
            on_retry()

    retrying = AsyncRetrying(
        sleep=clock.sleep,
        wait=wait_exponential(multiplier=first_wait_s, max=longest_wait_s),
        stop=out_of_patience,
        retry=retry_if_exception(_may_come_back),
        before_sleep=count,
        reraise=True,
    )
    return await retrying(opener.open, url, baud=baud)


def _may_come_back(error: BaseException) -> bool:
    return isinstance(error, PortUnavailable) and not isinstance(error, ChannelUntrusted)
