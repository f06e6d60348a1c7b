"""Raw readings beside the journal: batched, read back, and digested per device."""

from __future__ import annotations

import hashlib

import pytest

from cryofw.engine.reading_log import LoggedReading, ReadingLog, readings_name
from cryofw.errors import VerificationFailed
from cryofw.health import Heartbeat, HeartbeatMissed, MetricSample, Phase
from cryofw.journal import MemoryStorage

NAME = readings_name("r-1")


def beat(device: str, t_s: float) -> LoggedReading:
    return LoggedReading(device, 1, Phase.SOAK, Heartbeat(t_s, "aa", 7, int(t_s * 1000)))


def test_what_was_flushed_is_read_back() -> None:
    storage = MemoryStorage()
    log = ReadingLog(storage, "r-1")
    readings = [
        beat("c1", 1.5),
        LoggedReading("c1", 1, Phase.BASELINE, MetricSample(2.0, {"snr": 25.0}, 11)),
        LoggedReading("c2", 2, Phase.SOAK, HeartbeatMissed(3.0, "timeout", 3)),
    ]
    for reading in readings:
        log.add(reading)
    assert not storage.exists(NAME)  # a batch is not full yet
    log.flush()
    assert list(ReadingLog(storage, "r-1").load()) == readings


def test_a_batch_is_written_when_it_is_full_or_old() -> None:
    storage = MemoryStorage()
    log = ReadingLog(storage, "r-1")
    for i in range(4096):
        log.add(beat("c1", i / 1000))
    assert len(storage.read(NAME).splitlines()) == 4096
    log.add(beat("c1", 100))
    log.add(beat("c1", 131))
    assert len(storage.read(NAME).splitlines()) == 4098


def test_the_evidence_is_the_digest_of_the_devices_own_lines() -> None:
    storage = MemoryStorage()
    log = ReadingLog(storage, "r-1")
    for i in range(10):
        log.add(beat("c1", i))
        log.add(beat("c2", i))
    log.flush()
    lines = [line for line in storage.read(NAME).splitlines() if b'"c1"' in line]
    digest = hashlib.sha256(b"".join(line + b"\n" for line in lines)).hexdigest()
    assert log.evidence("c1") == {"count": 10, "sha256": digest}
    again = ReadingLog(storage, "r-1")
    list(again.load())
    assert again.evidence("c1") == log.evidence("c1")
    assert again.evidence("c3")["count"] == 0


def test_a_torn_last_line_is_cut_off_before_the_next_one() -> None:
    storage = MemoryStorage()
    first = ReadingLog(storage, "r-1")
    first.add(beat("c1", 1))
    first.flush()
    storage.append(NAME, b'{"d":"c1","a":1,"p":"so')
    log = ReadingLog(storage, "r-1")
    assert [r.reading.t_s for r in log.load()] == [1]
    log.add(beat("c1", 2))
    log.flush()
    assert [r.reading.t_s for r in ReadingLog(storage, "r-1").load()] == [1, 2]


@pytest.mark.parametrize(
    "line", [b"nonsense", b"{}", b'{"d":"c1","a":1,"p":"soak","t":"x"}', b'{"d":1,"a":1,"p":"no"}']
)
def test_a_damaged_line_is_named(line: bytes) -> None:
    storage = MemoryStorage()
    log = ReadingLog(storage, "r-1")
    log.add(beat("c1", 1))
    log.flush()
    storage.append(NAME, line + b"\n")
    with pytest.raises(VerificationFailed, match="line 2"):
        list(ReadingLog(storage, "r-1").load())


def test_readings_from_after_records_that_were_lost_are_lost_with_them() -> None:
    """A crash came between the readings and the records that rest upon them."""
    storage = MemoryStorage()
    log = ReadingLog(storage, "r-1")
    kept = [beat("c1", 1)._replace(after=7), beat("c2", 2)._replace(after=8)]
    for reading in [*kept, beat("c1", 3)._replace(after=9), beat("c2", 4)._replace(after=11)]:
        log.add(reading)
    log.flush()

    again = ReadingLog(storage, "r-1")
    assert list(again.load(8)) == kept
    assert again.evidence("c1")["count"] == 1
    new = beat("c1", 5)._replace(after=8)
    again.add(new)
    again.flush()
    assert list(ReadingLog(storage, "r-1").load()) == [*kept, new]
