"""Network streams that are listened to and written to without a task."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from cryofw.transport import (
    ControlLines,
    DirectWriter,
    EventStream,
    NoControlLines,
    PortOpener,
    StreamLost,
)
from cryofw.transport.telnet import COM_PORT, Control

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

WILLING = bytes((255, 253, COM_PORT, 255, 253, 0, 255, 251, 0))
SET_RATE = bytes((255, 250, COM_PORT, 1))
RATE = bytes((255, 250, COM_PORT, 101, 0, 0, 225, 0, 255, 240))


class Heard:
    def __init__(self) -> None:
        self.data = b""
        self.ends: list[StreamLost | None] = []
        self.news = asyncio.Event()

    def receive(self, data: bytes) -> None:
        self.data += data
        self.news.set()

    def end(self, error: StreamLost | None) -> None:
        self.ends.append(error)
        self.news.set()

    async def until(self, data: bytes) -> None:
        async with asyncio.timeout(10):
            while self.data != data:
                self.news.clear()
                await self.news.wait()

    async def until_end(self) -> None:
        async with asyncio.timeout(10):
            while not self.ends:
                self.news.clear()
                await self.news.wait()


@asynccontextmanager
async def far_end(greeting: bytes) -> AsyncIterator[tuple[int, list[asyncio.StreamWriter]]]:
    """A server that greets, then echoes."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(greeting)
        while data := await reader.read(65536):
            if SET_RATE in data:
                writer.write(RATE + b"booted\n")
            elif not data.startswith(b"\xff"):
                writer.write(data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], writers
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(("scheme", "greeting"), [("socket", b"booted\n"), ("rfc2217", WILLING)])
def test_what_came_early_and_what_comes_late_is_heard(scheme: str, greeting: bytes) -> None:
    async def main() -> None:
        async with far_end(greeting) as (number, writers):
            stream = await PortOpener().open(f"{scheme}://127.0.0.1:{number}", baud=57600)
            assert isinstance(stream, EventStream)
            assert isinstance(stream, DirectWriter)
            await asyncio.sleep(0.05)
            heard = Heard()
            stream.listen(heard.receive, heard.end)
            await heard.until(b"booted\n")
            every_byte = bytes(range(255))
            assert stream.write_now(every_byte) == 255
            await heard.until(b"booted\n" + every_byte)
            writers[0].close()
            await heard.until_end()
            assert len(heard.ends) == 1
            await stream.close()
            assert len(heard.ends) == 1
            with pytest.raises(StreamLost):
                stream.write_now(b"x")

    asyncio.run(main())


def test_who_closes_hears_no_end() -> None:
    async def main() -> None:
        async with far_end(b"") as (number, _):
            stream = await PortOpener().open(f"socket://127.0.0.1:{number}", baud=57600)
            assert isinstance(stream, EventStream)
            heard = Heard()
            stream.listen(heard.receive, heard.end)
            await stream.close()
            await asyncio.sleep(0)
            assert heard.ends == []

    asyncio.run(main())


def control_answer(state: int) -> bytes:
    """What a server answers to an order about control lines."""
    return bytes((255, 250, COM_PORT, 105, state, 255, 240))


@pytest.mark.parametrize(("obeys", "state"), [(True, Control.DTR_OFF), (False, Control.DTR_ON)])
def test_a_late_answer_about_something_else_is_no_refusal(obeys: bool, state: int) -> None:
    """The order for no flow control was given at the opening; its answer may come last."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(WILLING)
        while data := await reader.read(65536):
            if SET_RATE in data:
                writer.write(RATE)
            elif bytes((COM_PORT, 5, Control.DTR_OFF)) in data:
                writer.write(control_answer(Control.NO_FLOW_CONTROL))
                await writer.drain()
                await asyncio.sleep(0.02)
                writer.write(control_answer(state))
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server, asyncio.timeout(10):
            number = server.sockets[0].getsockname()[1]
            stream = await PortOpener().open(f"rfc2217://127.0.0.1:{number}", baud=57600)
            assert isinstance(stream, ControlLines)
            with contextlib.nullcontext() if obeys else pytest.raises(NoControlLines):
                await stream.set_lines(dtr=False)
            await stream.close()

    asyncio.run(main())
