"""The log of a device that failed: on disk before the record, bounded, safe, proven by digest."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import pytest

from cryofw.audit.device_words import claimed_log, last_words, log_problem
from cryofw.device import DeviceLogLine
from cryofw.engine.log_shelf import LogShelf
from cryofw.journal import MemoryDisk, MemoryStorage, Record
from cryofw.rollout import Event
from cryofw.rollout import events as e

NOW = datetime(2026, 11, 20, 21, 7, 3, tzinfo=UTC)
NAME = "c1-a"
STUCK = e.DeviceStuck(NAME, "silent")


def shelf_of(storage: MemoryStorage, *texts: str) -> LogShelf:
    return LogShelf(storage, lambda _device: [DeviceLogLine(NOW, text) for text in texts])


def record(fields: dict[str, Any]) -> Record:
    return Record(
        v=1, n=1, t="2026-11-20T21:07:03.000Z", who="a", rollout="r-1", device=NAME,
        kind="device-stuck", fields=fields,
    )  # fmt: skip


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage(MemoryDisk())


def test_a_failure_keeps_what_was_printed(storage: MemoryStorage) -> None:
    fields = shelf_of(storage, "*** Booting ***", "E: hard fault").attach(STUCK)
    digest = fields["log"]["sha256"]  # type: ignore[index]  # a JSON object
    text = b"2026-11-20T21:07:03Z  *** Booting ***\n2026-11-20T21:07:03Z  E: hard fault\n"
    assert fields == {"log": {"lines": 2, "sha256": hashlib.sha256(text).hexdigest()}}
    assert storage.read(f"logs/{digest}.log") == text
    kept = record(fields)
    assert claimed_log(kept) == (digest, 2)
    assert not log_problem(storage, kept)
    assert last_words(storage, kept, 1) == ["2026-11-20T21:07:03Z  E: hard fault"]


def test_nothing_of_it_steers_a_terminal(storage: MemoryStorage) -> None:
    fields = shelf_of(storage, "\x1b[2J\x1b]0;owned\x07 \u202e ok\r", "\udc80").attach(STUCK)
    data = storage.read(storage.list()[0])
    assert data.count(b"\n") == 2
    assert not set(b"\x1b\x07\r\x00") & set(data)
    assert "\u202e" not in data.decode()
    assert not log_problem(storage, record(fields))


@pytest.mark.parametrize(
    ("event", "kept"),
    [
        (e.DeviceReverted(NAME, "aa", "it reset"), True),
        (e.DeviceRolledBack(NAME, "aa"), True),
        (e.UploadFailed(NAME, "full"), True),
        (e.ConfirmRefused(NAME, "another"), True),
        (e.DeviceUnreachable(NAME, "silent", sent=True), True),
        (e.DeviceUnreachable(NAME, "silent"), False),
        (e.ImageConfirmed(NAME, "aa"), False),
        (e.TestBooted(NAME, "aa", 1.0), False),
    ],
)
def test_only_failures_keep_one(storage: MemoryStorage, event: Event, *, kept: bool) -> None:
    assert bool(shelf_of(storage, "line").attach(event)) is kept
    assert bool(storage.list()) is kept


def test_a_device_that_printed_nothing_has_none(storage: MemoryStorage) -> None:
    assert shelf_of(storage).attach(STUCK) == {}


def test_a_log_that_was_changed_or_lost_is_found(storage: MemoryStorage) -> None:
    kept = record(shelf_of(storage, "one", "two").attach(STUCK))
    name = storage.list()[0]
    text = storage.read(name)
    storage.write_atomic(name, text.replace(b"two", b"owt"))
    assert "is not the log" in log_problem(storage, kept)
    assert last_words(storage, kept, 9) == []
    storage.remove(name)
    assert "missing" in log_problem(storage, kept)


@pytest.mark.parametrize(
    "claim", [{"sha256": "../../etc/passwd", "lines": 1}, {"sha256": 7}, {}, {"lines": True}]
)
def test_a_claim_that_is_none_is_found_and_reads_no_file(
    storage: MemoryStorage, claim: dict[str, Any]
) -> None:
    assert "no digest" in log_problem(storage, record({"log": claim}))
    assert last_words(storage, record({"log": claim}), 9) == []
