"""Opening ports whose locks are held: the lock goes where the port's name leads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.transport.lock import PortLocked
from cryofw.transport.stream import PortUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.transport.lock import PortLock
    from cryofw.transport.stream import ByteStream, Opener


class LockedOpener:
    """Lets each lock follow its port before the port is opened.

    An adapter that comes back after a reset may have another number (`/dev/serial/by-id/...` leads
    to ttyUSB3 instead of ttyUSB1), and ttyUSB1 may be another device by then.

    Args:
        opener: opens the ports.
        locks: held ones, by port URL; ports without one are opened as they are.
    """

    def __init__(self, opener: Opener, locks: Mapping[str, PortLock]) -> None:
        self._opener = opener
        self._locks = dict(locks)

    async def open(self, url: str, *, baud: int) -> ByteStream:
        """See `Opener.open`.

        Raises:
            PortUnavailable: also while another program, or another port of this one that has not
                moved on yet, holds what the name leads to now.
        """
        lock = self._locks.get(url)
        if lock is None:
            return await self._opener.open(url, baud=baud)
        _follow(lock, url)
        stream = await self._opener.open(url, baud=baud)
        try:
            moved = _follow(lock, url)
        except PortUnavailable:
            await stream.close()
            raise
        if moved:
            await stream.close()
            raise PortUnavailable(
                f"cannot open {url}", why="it came back elsewhere in that moment", hint="try again"
            )
        return stream


def _follow(lock: PortLock, url: str) -> bool:
    try:
        return lock.follow()
    except PortLocked as error:
        raise PortUnavailable(f"cannot open {url}", why=error.why, hint=error.hint) from error
