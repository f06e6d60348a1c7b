"""What a device printed is kept within bounds, however much it prints."""

from __future__ import annotations

from datetime import UTC, datetime

from cryofw.device.device_log import CHARACTERS_KEPT, LINES_KEPT, LONGEST_LINE, DeviceLog

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def log_of(*lines: str) -> DeviceLog:
    log = DeviceLog()
    for line in lines:
        log.add(NOW, line)
    return log


def test_the_last_lines_stay() -> None:
    log = log_of(*(f"line {n}" for n in range(LINES_KEPT + 7)))
    assert len(log.lines) == LINES_KEPT
    assert (log.lines[0].text, log.lines[-1].text) == ("line 7", f"line {LINES_KEPT + 6}")


def test_long_lines_leave_room_for_fewer() -> None:
    log = log_of(*("x" * 5000 for _ in range(100)), "the end")
    assert sum(len(line.text) for line in log.lines) <= CHARACTERS_KEPT
    assert log.lines[-1].text == "the end"
    assert {len(line.text) for line in log.lines[:-1]} == {LONGEST_LINE}
    assert len(log.lines) == CHARACTERS_KEPT // LONGEST_LINE


def test_empty_lines_are_lines() -> None:
    assert len(log_of(*[""] * (LINES_KEPT + 1)).lines) == LINES_KEPT
