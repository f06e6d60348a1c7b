"""Is each line the one that cryofw writes for its record? For long journals, in another process.

Reading JSON and writing it again takes longer than everything else that is checked, and needs
nothing of it.
"""

from __future__ import annotations

import multiprocessing
import sys
from typing import TYPE_CHECKING, Self

from cryofw.errors import CryofwError
from cryofw.journal.line_reader import read_records

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from types import TracebackType

_WORTH_A_PROCESS = 8 << 20  # bytes of journal


class FormCheck:
    """The check of one journal, in a process of its own if that is worth it; a context.

    Without another process it checks nothing: who reads the records then reads them strictly.

    Args:
        data: the journal.
        length: bytes of whole lines in it.
        processes: how many may run, this one among them.
    """

    def __init__(self, data: bytes, length: int, processes: int) -> None:
        self._data = data
        self._length = length
        # A forked process sees the journal where it lies; a spawned one would have to be sent it.
        can_fork = sys.platform == "linux"
        self.runs_apart = processes > 1 and length >= _WORTH_A_PROCESS and can_fork
        """Whether another process does it."""

    def __enter__(self) -> Self:
        if self.runs_apart:
            context = multiprocessing.get_context("fork")
            self._answer, theirs = context.Pipe(duplex=False)
            self._process = context.Process(target=self._run, args=(theirs,), daemon=True)
            self._process.start()
            theirs.close()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.runs_apart:
            self._process.terminate()
            self._process.join()
            self._answer.close()

    def _run(self, answer: Connection) -> None:
        try:
            self._check()
        except CryofwError:
            answer.send(False)
        else:
            answer.send(True)

    def _check(self) -> None:
        for _ in read_records(self._data, self._length):
            pass

    def finish(self) -> None:
        """Wait for the answer; raise what `read_records` raises for a line in another form."""
        if not self.runs_apart:
            return
        try:
            sound = self._answer.recv() is True
        except EOFError:  # it was killed: what it would have said is not known
            sound = False
        if not sound:
            self._check()
