"""Link and Session: late answers, noise, log lines, silence, one request at a time."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest

from cryofw.device import DeviceSilent, DeviceUnreachable, Target
from cryofw.device.device_log import LINES_KEPT
from cryofw.device.link import Link
from cryofw.engine.virtual_time import LoopClock, run_virtual
from cryofw.smp import Framing, MgmtCode, RequestReceived, ServerConnection, messages
from cryofw.transport import ByteStream, MemoryStream, StreamLost, memory_pair
from tests.unit.device.scripted_controller import Fault, Firmware, Kind, ScriptedController

TARGET = Target("c1-a", "/dev/c1-a", framing=Framing.CONSOLE)
CLOCK = LoopClock(datetime(2026, 11, 20, tzinfo=UTC))


def use(device: ScriptedController, script: Callable[[Link], Awaitable[None]]) -> None:
    async def run() -> None:
        link = Link(TARGET, device, CLOCK)
        try:
            await script(link)
        finally:
            await link.close()

    run_virtual(run())
    assert device.errors == []


def any_request(_: object) -> bool:
    return True


async def echo(link: Link, text: str, *, attempts: int | None = None) -> str:
    answer = await link.request(messages.echo(text), attempts=attempts)
    return messages.EchoAnswer.from_body(answer.body).text


def test_a_late_answer_is_not_taken_for_the_next_one() -> None:
    device = ScriptedController(Firmware("a"), faults=[Fault(Kind.LATE_REPLY, any_request)])

    async def script(link: Link) -> None:
        with pytest.raises(DeviceSilent):
            await echo(link, "one", attempts=1)
        assert await echo(link, "two") == "two"
        await CLOCK.sleep(5)
        assert await echo(link, "three") == "three"
        assert link.counts.stale_answers == 1

    use(device, script)


def test_repetitions_wait_longer_each_time() -> None:
    device = ScriptedController(Firmware("a"), faults=[Fault(Kind.SILENCE, any_request, times=10)])

    async def script(link: Link) -> None:
        with pytest.raises(DeviceSilent):
            await echo(link, "hello")
        waits = [b - a for a, b in zip(device.heard_at, device.heard_at[1:], strict=False)]
        assert [round(wait) for wait in waits] == [2, 4, 8]
        assert link.counts.repeats == 3

    use(device, script)


def test_a_damaged_answer_shortens_the_wait() -> None:
    device = ScriptedController(Firmware("a"), faults=[Fault(Kind.CORRUPT, any_request)])

    async def script(link: Link) -> None:
        assert await echo(link, "hello") == "hello"
        assert CLOCK.monotonic() < 1
        assert link.counts.damaged_frames == 1

    use(device, script)


def test_log_lines_are_kept_and_bounded() -> None:
    device = ScriptedController(Firmware("a"))

    async def script(link: Link) -> None:
        await link.open()
        await device.say(b"*** Booting ***\r\n")
        assert await echo(link, "x") == "x"
        assert [line.text for line in link.log_lines] == ["*** Booting ***"]
        for n in range(LINES_KEPT + 5):
            await device.say(f"line {n}\n".encode())
        await CLOCK.sleep(1)
        assert len(link.log_lines) == LINES_KEPT
        assert link.log_lines[-1].text == f"line {LINES_KEPT + 4}"

    use(device, script)


def test_noise_without_end_is_no_answer() -> None:
    device = ScriptedController(Firmware("a"), faults=[Fault(Kind.SILENCE, any_request, times=9)])

    async def script(link: Link) -> None:
        await link.open()

        async def babble() -> None:
            while True:
                await device.say(b"\x06\x09 no base64 !\n\xff\x00\x13")
                await CLOCK.sleep(0.1)

        babbling = asyncio.create_task(babble())
        with pytest.raises(DeviceSilent):
            await echo(link, "x")
        babbling.cancel()

    use(device, script)


def test_requests_take_turns() -> None:
    async def run() -> None:
        near, far = memory_pair()
        link = Link(TARGET, Fixed(near), CLOCK)
        server = ServerConnection()
        most = 0

        async def serve() -> None:
            nonlocal most
            while data := await far.read():
                waiting = [
                    event
                    for event in server.receive_data(data)
                    if isinstance(event, RequestReceived)
                ]
                most = max(most, len(waiting))
                await CLOCK.sleep(0.5)
                for request in waiting:
                    await far.write(server.reply(request.header, {"r": (request.body or {})["d"]}))

        serving = asyncio.create_task(serve())
        texts = [str(n) for n in range(5)]
        assert await asyncio.gather(*(echo(link, text) for text in texts)) == texts
        assert most == 1
        await link.close()
        await serving

    run_virtual(run())


class Fixed:
    """An opener that has one stream."""

    def __init__(self, stream: MemoryStream) -> None:
        self._stream = stream

    async def open(self, url: str, *, baud: int) -> ByteStream:
        return self._stream


def test_silence_holds_for_every_task() -> None:
    device = ScriptedController(Firmware("a"))

    async def script(link: Link) -> None:
        link.keep_quiet(7)
        link.keep_quiet(3)
        await asyncio.gather(echo(link, "a"), echo(link, "b"))
        assert min(device.heard_at) == pytest.approx(7)

    use(device, script)


def test_a_cancelled_request_leaves_the_line_usable() -> None:
    device = ScriptedController(Firmware("a"), faults=[Fault(Kind.LATE_REPLY, any_request)])

    async def script(link: Link) -> None:
        task = asyncio.create_task(echo(link, "one"))
        await CLOCK.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await echo(link, "two") == "two"

    use(device, script)


def test_the_silence_after_a_reset_survives_a_cancellation() -> None:
    device = ScriptedController(Firmware("a"), faults=[Fault(Kind.SILENCE, any_request)])

    async def script(link: Link) -> None:
        request = link.request(messages.reset(), attempts=1, quiet_after_s=9)
        task = asyncio.create_task(request)
        await CLOCK.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await echo(link, "two") == "two"
        assert device.heard_at[-1] == pytest.approx(10)

    use(device, script)


def test_a_busy_device_is_asked_again() -> None:
    answers: list[dict[str, object]] = [{"rc": MgmtCode.BUSY}, {"rc": MgmtCode.NO_MEMORY}]

    async def run() -> None:
        near, far = memory_pair()
        link = Link(TARGET, Fixed(near), CLOCK)
        server = ServerConnection()

        async def serve() -> None:
            while data := await far.read():
                for event in server.receive_data(data):
                    if isinstance(event, RequestReceived):
                        body = answers.pop(0) if answers else {"r": "done"}
                        await far.write(server.reply(event.header, body))

        serving = asyncio.create_task(serve())
        assert await echo(link, "x") == "done"
        assert link.counts.repeats == 2
        await link.close()
        await serving

    run_virtual(run())


def test_a_line_that_breaks_while_idle_is_opened_again() -> None:
    device = ScriptedController(Firmware("a"))

    async def script(link: Link) -> None:
        assert await echo(link, "one") == "one"
        device.cut()
        await CLOCK.sleep(1)
        assert await echo(link, "two", attempts=1) == "two"
        assert link.connection == 2
        assert link.counts.reopens == 1

    use(device, script)


def test_closing_ends_what_is_under_way() -> None:
    device = ScriptedController(Firmware("a"), faults=[Fault(Kind.SILENCE, any_request)])

    async def script(link: Link) -> None:
        task = asyncio.create_task(echo(link, "one"))
        await CLOCK.sleep(1)
        await link.close()
        with pytest.raises(DeviceUnreachable):
            await task
        assert device.opened == 1, "nobody opens a port that was just closed"
        assert await echo(link, "two") == "two"

    use(device, script)


def test_what_was_on_its_way_when_the_line_broke() -> None:
    device = ScriptedController(Firmware("a"), faults=[Fault(Kind.LINE_LOST, any_request)])

    async def script(link: Link) -> None:
        with pytest.raises(DeviceUnreachable) as caught:
            await echo(link, "one", attempts=1)
        assert caught.value.sent
        assert isinstance(caught.value.__cause__, StreamLost)

    use(device, script)


def test_sequence_numbers_go_on_over_a_lost_line() -> None:
    """A terminal server keeps the answer to an old request for the next connection."""

    async def run() -> None:
        far: list[MemoryStream] = []

        class Server:
            async def open(self, url: str, *, baud: int) -> ByteStream:
                near, end = memory_pair()
                far.append(end)
                return near

        link = Link(TARGET, Server(), CLOCK)
        server = ServerConnection()
        asking = asyncio.create_task(echo(link, "one", attempts=1))
        await CLOCK.sleep(0.1)
        (old,) = server.receive_data(await far[0].read())
        assert isinstance(old, RequestReceived)
        await far[0].close()
        with pytest.raises(DeviceUnreachable):
            await asking
        asking = asyncio.create_task(echo(link, "two", attempts=1))
        await CLOCK.sleep(0.1)
        await far[1].write(server.reply(old.header, {"r": "one"}))
        (new,) = server.receive_data(await far[1].read())
        assert isinstance(new, RequestReceived)
        await far[1].write(server.reply(new.header, {"r": "two"}))
        assert await asking == "two"
        assert link.counts.stale_answers == 1
        await link.close()

    run_virtual(run())
