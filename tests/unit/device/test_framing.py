"""How a device lays its messages on the line: told, or found out without disturbing anybody."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

import pytest

from cryofw.device import DeviceDriver, DeviceSilent, Mode, Target, Timeouts
from cryofw.device.framing_probe import PROBE_EVERY_S
from cryofw.device.link import Link
from cryofw.engine.virtual_time import LoopClock, run_virtual
from cryofw.smp import RESYNC_S, Framing, RequestReceived, ServerConnection, UploadPlan, messages
from tests.unit.device.scripted_controller import Fault, Firmware, Kind, ScriptedController

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cryofw.transport import ByteStream, MemoryStream

OLD, NEW = Firmware("old"), Firmware("new", size=9000)
TARGET = Target("c1-a", "/dev/c1-a", hw="5A31", timeouts=Timeouts(boot_s=30))
CLOCK = LoopClock(datetime(2026, 11, 20, tzinfo=UTC))
T = TypeVar("T")


class RawController(ScriptedController):
    """Speaks bare messages; drops half of one after 3 s, as Zephyr and MCUboot do."""

    written: bytes = b""

    async def open(self, url: str, *, baud: int) -> ByteStream:
        stream = await super().open(url, baud=baud)
        self._server = ServerConnection(max_packet=384, framing=Framing.RAW)
        return stream

    async def _serve(self, far: MemoryStream) -> None:
        last_s = 0.0
        while data := await far.read():
            self.written += data
            if self._now() - last_s >= 3:
                self._server.discard_half()
            last_s = self._now()
            for event in self._server.receive_data(data):
                if isinstance(event, RequestReceived):
                    await self._take(event, far)


def drive(
    device: ScriptedController,
    script: Callable[[DeviceDriver], Awaitable[T]],
    target: Target = TARGET,
) -> T:
    async def run() -> T:
        driver = DeviceDriver(target, device, CLOCK)
        try:
            return await script(driver)
        finally:
            await driver.close()

    result = run_virtual(run())
    assert device.errors == []
    assert not device.slot_0_overwritten
    return result


def chunk(request: RequestReceived) -> bool:
    return (request.header.group, request.header.command) == (1, 1)


def test_a_raw_device_is_found_out_and_remembered() -> None:
    device = RawController(OLD)

    async def script(driver: DeviceDriver) -> None:
        begun = CLOCK.monotonic()
        assert (await driver.observe()).mode is Mode.APPLICATION
        assert CLOCK.monotonic() - begun < 2.1 + RESYNC_S
        device.cut()
        begun = CLOCK.monotonic()
        await driver.observe()
        assert CLOCK.monotonic() - begun < 2, "known over connections"
        report = await driver.upload(NEW.data, NEW.hex)
        assert report.checked
        assert report.retries <= 1, "the line that was cut"

    drive(device, script)
    assert device.other == NEW


def test_a_raw_device_that_is_known_never_sees_a_framed_byte() -> None:
    device = RawController(OLD)
    told = replace(TARGET, framing=Framing.RAW)
    drive(device, lambda driver: driver.upload(NEW.data, NEW.hex), told)
    assert device.other == NEW
    assert b"\x06\x09" not in device.written


def test_a_framed_request_is_no_request_to_a_raw_server() -> None:
    """Whatever is asked first: it is dropped, and so may be asked again."""
    device = RawController(OLD)
    told = replace(TARGET, framing=Framing.CONSOLE)

    async def script(driver: DeviceDriver) -> None:
        with pytest.raises(DeviceSilent):
            await driver.upload(NEW.data, NEW.hex)

    drive(device, script, told)
    assert device.written
    assert device.requests == []


def test_packets_on_a_raw_line_fill_the_buffer_and_go_one_by_one() -> None:
    device = RawController(OLD, faults=[Fault(Kind.SILENCE, chunk, nth=5)])
    told = replace(TARGET, framing=Framing.RAW)

    async def script(driver: DeviceDriver) -> None:
        report = await driver.upload(NEW.data, NEW.hex)
        assert report.checked
        assert report.retries == 1

    drive(device, script, told)
    heard = [
        at
        for at, (group, command, _) in zip(device.heard_at, device.requests, strict=True)
        if (group, command) == (1, 1)
    ]
    plan, off, packets = UploadPlan.of(NEW.data, max_packet=384), 0, 0
    while off < plan.size:
        off, packets = plan.end_of_chunk(off), packets + 1
    assert len(heard) == packets + 1
    assert heard[6] - heard[5] >= RESYNC_S, "sooner it would be the rest of the damaged packet"


class ConsoleWithShell(ScriptedController):
    """A silent console: keeps what a shell on it would have read as text."""

    text: bytes = b""

    async def _serve(self, far: MemoryStream) -> None:
        while data := await far.read():
            self.text += data


def test_the_probe_holds_nothing_that_a_shell_could_take_for_a_command() -> None:
    device = ConsoleWithShell(OLD)

    async def script(driver: DeviceDriver) -> None:
        for _ in range(6):
            with pytest.raises(DeviceSilent):
                await driver.identify()

    drive(device, script)
    assert b"\x08\x00\x00\x01" in device.text, "it was tried"
    for line in device.text.split(b"\n"):
        if not line.startswith((b"\x06\x09", b"\x04\x14")):
            assert not any(0x20 <= byte < 0x7F or byte == 0x0D for byte in line), line
    _, *others = device.text.split(b"\x08\x00\x00\x01")
    assert others
    for after in others:
        assert b"\x06\x09" not in after or after.index(b"\n") < after.index(b"\x06\x09")
    assert len(others) <= 6 * 40 // PROBE_EVERY_S


def test_who_was_heard_on_a_console_is_never_asked_otherwise() -> None:
    device = ScriptedController(OLD, faults=[Fault(Kind.SILENCE, lambda _: True, nth=1, times=99)])

    async def script() -> None:
        link = Link(TARGET, device, CLOCK)
        await link.request(messages.echo("x"))
        with pytest.raises(DeviceSilent):
            await link.request(messages.echo("y"))
        assert link.line.framing is Framing.CONSOLE
        waits = [round(b - a) for a, b in zip(device.heard_at, device.heard_at[1:], strict=False)]
        assert waits[1:] == [2, 4, 8]
        await link.close()

    run_virtual(script())


def test_a_console_that_was_only_late_is_met_again() -> None:
    """Its first answers were lost, and it was asked in bare bytes: the next line still works."""
    device = ScriptedController(OLD, faults=[Fault(Kind.SILENCE, lambda _: True)])

    async def script(driver: DeviceDriver) -> None:
        assert (await driver.observe()).mode is Mode.APPLICATION
        await asyncio.sleep(0)

    drive(device, script)
