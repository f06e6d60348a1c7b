"""Raw readings beside the journal: one file a rollout, one JSON line a reading.

The journal holds verdicts and the digests of the readings behind them; the readings themselves
are too many for it. They are written in batches: a crash may lose the latest few, which only makes
a soak longer, never shorter.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING, NamedTuple

from cryofw.errors import VerificationFailed
from cryofw.health import Phase, Reading, reading_from_json, reading_to_json
from cryofw.rollout import GuardReading, guard_from_json, guard_to_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cryofw.journal import Storage

_BATCH_LINES = 4096
_BATCH_AGE_S = 30.0
_PART_SIZE = 1 << 20
_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


class LoggedReading(NamedTuple):
    """A reading and where in the rollout it belongs; `after`: records in the journal by then."""

    device: str
    attempt: int
    phase: Phase
    reading: Reading
    after: int = 0


class LoggedGuardReading(NamedTuple):
    """A reading of the guards of a cryostat."""

    cryostat: str
    reading: GuardReading
    after: int = 0


def readings_name(rollout: str) -> str:
    """Name of a rollout's readings in the state directory."""
    return f"rollouts/{rollout}/readings.jsonl"


class ReadingLog:
    """The readings of one rollout, appended.

    Args:
        storage: the state directory.
        rollout: the rollout's id.
    """

    def __init__(self, storage: Storage, rollout: str) -> None:
        self._storage = storage
        self._name = readings_name(rollout)
        self._buffer: list[bytes] = []
        self._oldest_t_s = 0.0
        self._torn_at: int | None = None
        self._digests: dict[str, tuple[int, hashlib._Hash]] = {}

    def load(self, size: float = math.inf) -> Iterator[LoggedReading]:
        """Read everything back, passing over a torn last line; to be exhausted before adding.

        Readings are written before the records that rest upon them. Where a crash came in between
        there are some from after records that were never written: they are lost as those are, and
        cut off before the next is added.

        Readings of guards are digested but not handed out: after a break nothing is known about
        a cryostat until it is looked at anew.

        Args:
            size: records in the journal.

        Raises:
            VerificationFailed: a line is not a reading.
        """
        if not self._storage.exists(self._name):
            return
        for number, (at, line) in enumerate(self._lines(), start=1):
            logged = _parse(line, self._name, number)
            if logged.after > size:
                self._torn_at = at
                return
            if isinstance(logged, LoggedGuardReading):
                self._digest(_guard_key(logged.cryostat), line)
                continue
            self._digest(logged.device, line)
            yield logged

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """The whole lines and where they begin, read in parts: there may be millions.

        Where a torn one begins is kept.

        A line ends with a line feed and with nothing else.
        """
        at, rest = 0, b""
        while part := self._storage.read_part(self._name, at + len(rest), _PART_SIZE):
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                yield at, line
                at += len(line) + 1
        self._torn_at = at if rest else None

    def add(self, logged: LoggedReading) -> None:
        """Keep one reading; it is on disk after the batch is full, old enough, or flushed."""
        fields = reading_to_json(logged.reading)
        head = {
            "d": logged.device, "a": logged.attempt, "p": logged.phase.value, "n": logged.after,
        }  # fmt: skip
        self._add(logged.device, logged.reading.t_s, head | fields)

    def add_guard(self, logged: LoggedGuardReading) -> None:
        """Keep one reading of the guards of a cryostat, likewise."""
        fields = {"c": logged.cryostat, "n": logged.after, **guard_to_json(logged.reading)}
        self._add(_guard_key(logged.cryostat), logged.reading.t_s, fields)

    def _add(self, name: str, t_s: float, fields: Mapping[str, object]) -> None:
        line = _ENCODER.encode(fields).encode()
        if not self._buffer:
            self._oldest_t_s = t_s
        self._buffer.append(line)
        self._digest(name, line)
        age_s = t_s - self._oldest_t_s
        if len(self._buffer) >= _BATCH_LINES or age_s >= _BATCH_AGE_S:
            self.flush()

    def flush(self) -> None:
        """Put what is buffered on disk."""
        if self._buffer:
            if self._torn_at is not None:
                self._storage.truncate(self._name, self._torn_at)
                self._torn_at = None
            lines, self._buffer = self._buffer, []
            self._storage.append(self._name, b"".join(line + b"\n" for line in lines))

    def evidence(self, device: str) -> dict[str, object]:
        """Count and SHA-256 over this device's lines so far, for the journal."""
        count, digest = self._digests.get(device, (0, hashlib.sha256()))
        return {"count": count, "sha256": digest.hexdigest()}

    def guard_evidence(self, cryostat: str) -> dict[str, object]:
        """The same over the readings of a cryostat's guards."""
        return self.evidence(_guard_key(cryostat))

    def _digest(self, name: str, line: bytes) -> None:
        count, digest = self._digests.get(name, (0, hashlib.sha256()))
        digest.update(line + b"\n")
        self._digests[name] = (count + 1, digest)


def _guard_key(cryostat: str) -> str:
    """A device may have the name of its cryostat; no name has a space."""
    return f"cryostat {cryostat}"


def _parse(line: bytes, name: str, number: int) -> LoggedReading | LoggedGuardReading:
    try:
        fields = json.loads(line)
        if "c" in fields:
            return LoggedGuardReading(str(fields["c"]), guard_from_json(fields), int(fields["n"]))
        phase = Phase(fields["p"])
        return LoggedReading(
            str(fields["d"]), int(fields["a"]), phase, reading_from_json(fields), int(fields["n"])
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise VerificationFailed(
            f"{name} is damaged",
            why=f"line {number}: {error}",
            hint="restore the state directory from its backup",
        ) from None
