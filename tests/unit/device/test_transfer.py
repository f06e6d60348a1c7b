"""Uploads through a window: beside heartbeats, through silences, resets and bad lines."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from cryofw.device import DeviceDriver, DeviceSilent, Target, Timeouts, UploadRejected
from cryofw.device.link import Link
from cryofw.device.session import Session
from cryofw.device.upload import UploadReport
from cryofw.engine.virtual_time import LoopClock, run_virtual
from cryofw.smp import BadFrame, ClientEvent, RequestReceived, messages
from cryofw.transport import MemoryStream, StreamLost, memory_pair
from tests.unit.device.scripted_controller import Firmware, ScriptedController

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

OLD, NEW = Firmware("old"), Firmware("new", size=20_000)
LARGE = Firmware("large", size=150_000)
TARGET = Target("c1-a", "/dev/c1-a", hw="5A31", timeouts=Timeouts(boot_s=30))
CLOCK = LoopClock(datetime(2026, 11, 20, tzinfo=UTC))
WORK_S = 0.05
UPLOAD = (1, 1)


def key(request: RequestReceived) -> tuple[int, int]:
    return request.header.group, request.header.command


@dataclass
class BusyController(ScriptedController):
    """Works on one request at a time, and keeps `room` of them; what comes on top is lost.

    `spoil` may change, drop or repeat what goes over the line, either way.
    """

    room: int = 4
    spoil: Callable[[bytes], list[bytes]] = field(default=lambda data: [data])
    most_waiting: int = 0
    most_chunks: int = 0
    lost: int = 0

    async def _serve(self, far: MemoryStream) -> None:
        queue: asyncio.Queue[RequestReceived] = asyncio.Queue()
        waiting: list[RequestReceived] = []
        send = far.write

        async def write(data: bytes) -> None:
            for part in self.spoil(data):
                await send(part)

        far.write = write  # type: ignore[method-assign]  # the line, not the code under test

        async def work() -> None:
            while True:
                request = await queue.get()
                await asyncio.sleep(WORK_S)
                waiting.remove(request)
                try:
                    await self._take(request, far)
                except StreamLost:
                    return

        working = asyncio.create_task(work())
        try:
            while data := await far.read():
                for part in self.spoil(data):
                    for event in self._server.receive_data(part):
                        if not isinstance(event, RequestReceived):
                            continue
                        if len(waiting) >= self.room:
                            self.lost += 1
                            continue
                        waiting.append(event)
                        queue.put_nowait(event)
                        self.most_waiting = max(self.most_waiting, len(waiting))
                        chunks = sum(key(one) == UPLOAD for one in waiting)
                        self.most_chunks = max(self.most_chunks, chunks)
        except StreamLost:
            return
        finally:
            working.cancel()


def drive(
    device: ScriptedController, script: Callable[[DeviceDriver], Awaitable[object]]
) -> tuple[object, float]:
    """Run a script on a driver; return its result, and the seconds it took."""

    async def run() -> tuple[object, float]:
        driver = DeviceDriver(TARGET, device, CLOCK)
        begun = CLOCK.monotonic()
        try:
            return await script(driver), CLOCK.monotonic() - begun
        finally:
            await driver.close()

    result = run_virtual(run())
    assert device.errors == []
    assert not device.slot_0_overwritten
    return result


def upload(device: ScriptedController) -> tuple[UploadReport, float]:
    report, took_s = drive(device, lambda driver: driver.upload(NEW.data, NEW.hex))
    assert isinstance(report, UploadReport)
    return report, took_s


def test_the_window_fills_the_buffers_and_no_more() -> None:
    device = BusyController(OLD)
    report, took_s = upload(device)
    assert report.checked
    assert report.retries == 0
    assert device.most_chunks == 4, "the buffers that the device told"
    assert device.lost == 0
    assert took_s == pytest.approx(len(device.requests) * WORK_S, rel=0.02), "it is never idle"


def test_a_device_that_bears_less_than_it_told_gets_less() -> None:
    device = BusyController(OLD, room=2)
    report, took_s = upload(device)
    assert report.checked
    assert device.other == NEW
    assert 0 < device.lost < 12, "what is too much is tried ever more seldom"
    assert took_s < (len(device.requests) + 3) * WORK_S, "a loss is seen without a time-out"


def test_heartbeats_have_their_turn_beside_an_upload() -> None:
    device = BusyController(OLD)

    async def script(driver: DeviceDriver) -> None:
        uploading = asyncio.create_task(driver.upload(NEW.data, NEW.hex))
        await CLOCK.sleep(1)
        for _ in range(3):
            asked = CLOCK.monotonic()
            beat = await driver.heartbeat()
            assert beat.boot_id == 100
            assert CLOCK.monotonic() - asked < 6 * WORK_S
            assert not uploading.done()
        assert (await uploading).checked

    drive(device, script)
    assert device.most_waiting <= 4, "they count in the window"


def test_the_first_packet_is_alone_on_the_line() -> None:
    device = BusyController(OLD)
    alone: list[int] = []
    chunk = device._chunk

    def first_chunk(body: dict[str, object]) -> object:
        if body["off"] == 0:
            alone.append(device.most_chunks)
        return chunk(body)

    device._chunk = first_chunk  # type: ignore[method-assign, assignment]  # to look at the device

    async def script(driver: DeviceDriver) -> None:
        await driver.connect()
        beats = asyncio.gather(*(driver.heartbeat() for _ in range(6)))
        await driver.upload(NEW.data, NEW.hex)
        await beats

    drive(device, script)
    assert alone == [1]


def test_a_silence_in_an_upload_proves_the_application_again() -> None:
    """What keeps the line quiet may reset the device: a power cycle, a host that expects a boot."""
    device = BusyController(OLD)

    async def script(driver: DeviceDriver) -> None:
        uploading = asyncio.create_task(driver.upload(NEW.data, NEW.hex))
        await CLOCK.sleep(1)
        before = len(device.requests)
        driver.expect_boot()
        begun = CLOCK.monotonic()
        assert (await uploading).checked
        after = [
            (at, (group, command))
            for at, (group, command, _) in zip(
                device.heard_at[before:], device.requests[before:], strict=True
            )
            if at > begun + 5 * WORK_S
        ]
        assert after[0][0] >= begun + TARGET.boot_time_s, "nothing before the boot time"
        first = [asked for _, asked in after].index(UPLOAD)
        assert (1, 0) in [asked for _, asked in after[:first]], "its mode was read before a chunk"

    drive(device, script)


def test_a_reset_in_the_window_never_writes_where_the_bootloader_listens() -> None:
    device = BusyController(OLD)

    async def script(driver: DeviceDriver) -> UploadReport:
        uploading = asyncio.create_task(driver.upload(NEW.data, NEW.hex))
        await CLOCK.sleep(1)
        device.reboot()
        return await uploading

    report, _ = drive(device, script)
    assert device.other == NEW
    assert isinstance(report, UploadReport)
    assert report.restarts >= 1


def test_a_line_that_breaks_in_the_window_is_taken_up_where_the_device_was() -> None:
    device = BusyController(OLD)

    async def script(driver: DeviceDriver) -> None:
        uploading = asyncio.create_task(driver.upload(NEW.data, NEW.hex))
        await CLOCK.sleep(1)
        device.cut()
        report = await uploading
        assert report.checked
        assert report.resumed_at
        assert report.restarts == 1

    drive(device, script)


def drop(data: bytes, chance: random.Random) -> list[bytes]:
    at = chance.randrange(len(data))
    return [data[:at] + data[at + chance.randrange(1, 8) :]]


def corrupt(data: bytes, chance: random.Random) -> list[bytes]:
    at = chance.randrange(len(data))
    return [data[:at] + bytes([data[at] ^ 0x15]) + data[at + 1 :]]


FAULTS: dict[str, Callable[[bytes, random.Random], list[bytes]]] = {
    "lost": lambda data, chance: [],
    "twice": lambda data, chance: [data, data],
    "bytes lost": drop,
    "bytes changed": corrupt,
    "half a line": lambda data, chance: [data[: len(data) // 2]],
    "log between": lambda data, chance: [b"<wrn> flash: busy\r\n" + data],
    "frames in noise": lambda data, chance: [b"\x06\x09 no base64 !\n" + data],
}


@pytest.mark.parametrize("share", [0.01, 0.1])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("room", [1, 4])
def test_on_a_bad_line_it_ends_right_or_with_a_clear_error(
    fault: str, share: float, room: int
) -> None:
    chance = random.Random(f"{fault}/{share}/{room}")
    bad = 0

    def spoil(data: bytes) -> list[bytes]:
        nonlocal bad
        if chance.random() >= share:
            return [data]
        bad += 1
        return FAULTS[fault](data, chance)

    device = BusyController(OLD, room=room, spoil=spoil)
    try:
        report, _ = drive(device, lambda driver: driver.upload(LARGE.data, LARGE.hex))
    except (DeviceSilent, UploadRejected):
        assert share > 0.05
        return
    assert isinstance(report, UploadReport)
    assert device.other == LARGE
    assert report.checked
    assert bad


def test_a_damaged_answer_hurries_the_oldest_request_only() -> None:
    async def run() -> None:
        near, far = memory_pair()
        events: list[ClientEvent] = []
        session = Session(near, on_event=events.append)
        begun = CLOCK.monotonic()
        first = asyncio.create_task(session.exchange(messages.echo("a"), timeout_s=5))
        await asyncio.sleep(0)
        second = asyncio.create_task(session.exchange(messages.echo("b"), timeout_s=5))
        await asyncio.sleep(0)
        await far.write(b"\x06\x09no base64 !\n")
        with pytest.raises(TimeoutError):
            await first
        assert CLOCK.monotonic() - begun == pytest.approx(0.5)
        with pytest.raises(TimeoutError):
            await second
        assert CLOCK.monotonic() - begun == pytest.approx(5)
        assert [type(event) for event in events] == [BadFrame]
        await session.close()

    run_virtual(run())


def test_what_was_given_up_before_it_left_never_leaves() -> None:
    """A stuck port must not carry out an old request when it moves again."""

    class Stuck(MemoryStream):
        def __init__(self) -> None:
            super().__init__("stuck")
            self.moves = asyncio.Event()
            self.sent: list[bytes] = []

        def write_now(self, data: bytes) -> int:
            self.sent.append(data[:5])
            return 5

        async def write(self, data: bytes) -> None:
            await self.moves.wait()
            self.sent.append(data)

    async def run() -> None:
        stream = Stuck()
        stream.join(stream)
        session = Session(stream, on_event=lambda _: None)
        for text in ("one", "two"):
            with pytest.raises(TimeoutError):
                await session.exchange(messages.echo(text), timeout_s=1)
        stream.moves.set()
        await asyncio.sleep(0.1)
        begun, rest = stream.sent
        assert begun.startswith(b"\x06\x09")
        assert rest.endswith(b"\n"), "what had begun is sent to its end"
        await session.close()

    run_virtual(run())


def test_a_short_round_trip_leaves_nothing_on_the_way() -> None:
    device = BusyController(OLD)

    async def run() -> None:
        link = Link(TARGET, device, CLOCK)
        await link.request(messages.echo("x"))
        assert link.transit_s == pytest.approx(WORK_S, abs=0.01)
        await link.close()

    run_virtual(run())
