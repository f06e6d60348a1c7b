"""Who may have a request under way on a line: first come, first served."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Slots:
    """Places for requests under way: as many as the device has buffers for, one by default.

    An ordinary request takes one; what must be alone on the line takes all. They are given in the
    order of asking, so a stream of packets (which takes what is free, and only if nobody waits)
    lets every other request in.
    """

    def __init__(self) -> None:
        self.capacity = 1
        self.on_free: Callable[[], None] | None = None
        """Called when a place is free and nobody waits for it."""
        self.on_wait: Callable[[], None] | None = None
        """Called when somebody begins to wait for a place."""
        self._taken = 0
        self._alone = False
        self._waiting: deque[tuple[bool, asyncio.Future[None]]] = deque()

    @property
    def taken(self) -> int:
        """Places that are taken."""
        return self._taken

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for a place."""
        return bool(self._waiting)

    def try_take(self) -> bool:
        """Take a place if one is free and nobody waits."""
        if self._waiting or self._alone or self._taken >= self.capacity:
            return False
        self._taken += 1
        return True

    def give(self) -> None:
        """Give one place back."""
        self._taken -= 1
        self._alone = False
        self._let_in()

    @contextlib.asynccontextmanager
    async def hold(self, *, alone: bool = False) -> AsyncIterator[None]:
        """Hold one place inside this block, or all of them: `alone`."""
        await self._take(alone)
        try:
            yield
        finally:
            self.give()

    async def _take(self, alone: bool) -> None:
        if not self._waiting and self._is_free(alone):
            self._enter(alone)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (alone, turn)
        self._waiting.append(entry)
        if self.on_wait is not None:
            self.on_wait()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                with contextlib.suppress(ValueError):
                    self._waiting.remove(entry)
                self._let_in()
            else:
                self.give()
            raise

    def _is_free(self, alone: bool) -> bool:
        if alone:
            return not self._taken
        return not self._alone and self._taken < self.capacity

    def _enter(self, alone: bool) -> None:
        self._taken += 1
        self._alone = alone

    def _let_in(self) -> None:
        while self._waiting:
            alone, turn = self._waiting[0]
            if turn.cancelled():  # its task has yet to hear of it
                self._waiting.popleft()
                continue
            if not self._is_free(alone):
                return
            self._waiting.popleft()
            self._enter(alone)
            turn.set_result(None)
        if self.on_free is not None and not self._alone and self._taken < self.capacity:
            self.on_free()
