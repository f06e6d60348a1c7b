"""Resets by DTR and RTS: the steps, what the lines are at rest, and what opening a port does."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from cryofw.device import DeviceDriver, DeviceUnreachable, PowerHookFailed, Target
from cryofw.engine.virtual_time import LoopClock, run_virtual
from cryofw.errors import BadInput
from cryofw.transport import (
    ByteStream,
    LineStep,
    MemoryStream,
    NoControlLines,
    memory_pair,
    parse_line_steps,
    rest_of,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CLOCK = LoopClock(datetime(2026, 11, 20, tzinfo=UTC))
TARGET = Target("c1-a", "/dev/c1-a", reset_lines=("rts on", "100 ms", "rts off"), boot_time_s=5)


class Board:
    """A port that writes down when which line was set; opening it asserts both, as Linux does."""

    def __init__(self, *, lines: bool = True) -> None:
        self.lines = lines
        self.history: list[tuple[float, bool | None, bool | None]] = []
        self.streams: list[ByteStream] = []

    async def open(self, url: str, *, baud: int) -> ByteStream:
        near, _ = memory_pair(url)
        stream = WithLines(near, self) if self.lines else near
        self.streams.append(stream)
        return stream


class WithLines:
    def __init__(self, stream: MemoryStream, board: Board) -> None:
        self._stream = stream
        self._board = board
        self.broken = False

    async def read(self, max_bytes: int = 65536) -> bytes:
        return await self._stream.read(max_bytes)

    async def write(self, data: bytes) -> None:
        await self._stream.write(data)

    async def close(self) -> None:
        await self._stream.close()

    async def set_lines(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        if self.broken:
            raise NoControlLines("c1-a has none", why="Input/output error")
        self._board.history.append((round(CLOCK.monotonic(), 6), dtr, rts))


def run(script: Callable[[DeviceDriver], Awaitable[None]], board: Board, target: Target) -> None:
    async def main() -> None:
        driver = DeviceDriver(target, board, CLOCK)
        try:
            await script(driver)
        finally:
            await driver.close()

    run_virtual(main())


def test_steps_are_read() -> None:
    words = ("dtr off rts on", "100 ms", "rts off", "1.5s", "rts on dtr off")
    assert parse_line_steps(words) == (
        LineStep(dtr=False, rts=True),
        LineStep(wait_s=0.1),
        LineStep(rts=False),
        LineStep(wait_s=1.5),
        LineStep(dtr=False, rts=True),
    )


@pytest.mark.parametrize("word", ["", "rts", "rts maybe", "rts on rts off", "cts on", "5 min"])
def test_what_is_no_step(word: str) -> None:
    with pytest.raises(BadInput, match="no step") as caught:
        parse_line_steps([word])
    assert caught.value.hint


def test_at_rest_lines_are_as_the_sequence_leaves_them() -> None:
    assert rest_of(parse_line_steps(["dtr on", "rts on", "1 s", "rts off"])) == LineStep(
        True, False
    )
    assert rest_of(parse_line_steps(["rts on", "rts off"])) == LineStep(None, False)


def test_opening_lets_go_of_the_board_and_waits_for_its_boot() -> None:
    board = Board()

    async def script(driver: DeviceDriver) -> None:
        begun_s = CLOCK.monotonic()
        await driver.connect()
        assert board.history == [(round(begun_s, 6), None, False)]
        assert CLOCK.monotonic() - begun_s == pytest.approx(5.0)

    run(script, board, TARGET)


def test_a_port_without_a_sequence_is_left_alone() -> None:
    board = Board()

    async def script(driver: DeviceDriver) -> None:
        await driver.connect()

    run(script, board, replace(TARGET, reset_lines=()))
    assert board.history == []


def test_a_power_cycle_plays_the_sequence_and_keeps_quiet_afterwards() -> None:
    board = Board()

    async def script(driver: DeviceDriver) -> None:
        await driver.connect()
        board.history.clear()
        begun_s = CLOCK.monotonic()
        await driver.power_cycle()
        assert [(round(at_s - begun_s, 3), rts) for at_s, _, rts in board.history] == [
            (0.0, True),
            (0.1, False),
        ]
        assert driver._link.quiet_left_s == pytest.approx(5.0)

    run(script, board, TARGET)


def test_lines_that_do_not_move_are_a_reset_that_failed() -> None:
    board = Board()

    async def script(driver: DeviceDriver) -> None:
        await driver.connect()
        stream = board.streams[0]
        assert isinstance(stream, WithLines)
        stream.broken = True
        with pytest.raises(PowerHookFailed, match="reset lines of c1-a") as caught:
            await driver.power_cycle()
        assert "rts on, 100 ms, rts off" in caught.value.why
        assert "Input/output error" in caught.value.why
        assert caught.value.hint

    run(script, board, TARGET)


def test_a_port_that_has_no_lines_says_so_at_once() -> None:
    async def script(driver: DeviceDriver) -> None:
        with pytest.raises(DeviceUnreachable, match="cannot be let out of reset") as caught:
            await driver.connect()
        assert "only local ports and rfc2217" in caught.value.why
        assert "watchdog" in caught.value.hint

    run(script, Board(lines=False), TARGET)
