"""PortOpener on real ptys and real sockets; nothing here is simulated."""

import asyncio
import functools
import os
import termios
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ParamSpec, cast

import pytest
import serial.rfc2217

from cryofw.errors import Refused
from cryofw.transport import (
    ByteStream,
    ControlLines,
    PortOpener,
    PortUnavailable,
    PtyPort,
    SchemeOpener,
    StreamLost,
    UnknownPort,
    memory_pair,
    open_when_back,
)

P = ParamSpec("P")


def real_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test on asyncio's own loop."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


async def read_exactly(stream: ByteStream, size: int) -> bytes:
    data = b""
    async with asyncio.timeout(10):
        while len(data) < size:
            part = await stream.read()
            assert part, f"closed after {data!r}"
            data += part
    return data


async def read_to_the_end(stream: ByteStream) -> None:
    """Read until the stream says that the line is gone: an end, or StreamLost."""
    async with asyncio.timeout(10):
        while await stream.read():
            pass
    raise StreamLost("end of stream")


@real_loop
async def test_round_trip_and_hang_up() -> None:
    port = PtyPort()
    stream = await PortOpener().open(port.path, baud=115200)
    every_byte = bytes(range(256))
    await stream.write(every_byte)
    assert await read_exactly(port, 256) == every_byte
    await port.write(every_byte)
    assert await read_exactly(stream, 256) == every_byte
    await port.close()
    with pytest.raises(StreamLost):
        await read_to_the_end(stream)
    await stream.close()
    await stream.close()


@real_loop
async def test_closing_does_not_drop_dtr() -> None:
    port = PtyPort()
    stream = await PortOpener().open(port.path, baud=57600)
    descriptor = os.open(port.path, os.O_RDWR | os.O_NOCTTY)
    attributes = termios.tcgetattr(descriptor)
    assert not attributes[2] & termios.HUPCL
    assert attributes[5] == termios.B57600
    os.close(descriptor)
    await stream.close()
    await port.close()


@real_loop
async def test_large_writes_wait_for_the_reader() -> None:
    port = PtyPort()
    stream = await PortOpener().open(port.path, baud=115200)
    data = os.urandom(100_000)
    received, _ = await asyncio.gather(read_exactly(port, len(data)), stream.write(data))
    assert received == data
    await stream.close()
    await port.close()


@real_loop
async def test_closing_wakes_a_waiting_reader() -> None:
    port = PtyPort()
    stream = await PortOpener().open(port.path, baud=115200)
    reader = asyncio.create_task(stream.read())
    await asyncio.sleep(0)
    await stream.close()
    with pytest.raises(StreamLost, match="closed"):
        await reader
    with pytest.raises(StreamLost, match="closed"):
        await stream.write(b"x")
    await port.close()


@real_loop
async def test_a_port_is_opened_once() -> None:
    port = PtyPort()
    opener = PortOpener()
    stream = await opener.open(port.path, baud=115200)
    with pytest.raises(PortUnavailable, match="cannot open"):
        await opener.open(port.path, baud=115200)
    await stream.close()
    again = await opener.open(port.path, baud=115200)
    await again.close()
    await port.close()


@pytest.mark.parametrize("url", ["/dev/no-such-port", "/dev/serial/by-id/nothing", "/dev/null"])
@real_loop
async def test_a_path_that_is_no_port(url: str) -> None:
    with pytest.raises(PortUnavailable) as caught:
        await PortOpener().open(url, baud=115200)
    assert url in caught.value.what
    assert caught.value.why
    assert caught.value.hint


@real_loop
async def test_unknown_scheme() -> None:
    with pytest.raises(UnknownPort, match="telegraph"):
        await PortOpener().open("telegraph://lab", baud=115200)


@real_loop
async def test_a_bit_rate_that_no_port_has() -> None:
    port = PtyPort()
    with pytest.raises(PortUnavailable):
        await PortOpener().open(port.path, baud=-1)
    await port.close()


@real_loop
async def test_schemes_go_to_their_opener() -> None:
    near, far = memory_pair()

    class Lab:
        async def open(self, url: str, *, baud: int) -> ByteStream:
            assert url == "sim://c1-a"
            return near

    opener = SchemeOpener({"sim": Lab()})
    assert await opener.open("sim://c1-a", baud=115200) is near
    with pytest.raises(PortUnavailable):
        await opener.open("/dev/no-such-port", baud=115200)
    await far.close()


@real_loop
async def test_link_follows_a_port_that_comes_back(tmp_path: Path) -> None:
    link = tmp_path / "c1-a"
    first = PtyPort(link=link)
    stream = await PortOpener().open(str(link), baud=115200)
    second = PtyPort(link=link)
    await first.close()
    with pytest.raises(StreamLost):
        await read_to_the_end(stream)
    await stream.close()
    assert str(link.readlink()) == second.path
    stream = await PortOpener().open(str(link), baud=115200)
    await second.write(b"back")
    assert await read_exactly(stream, 4) == b"back"
    await stream.close()
    await second.close()
    assert not link.is_symlink()


@real_loop
async def test_a_link_never_replaces_a_file(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("data")
    with pytest.raises(Refused, match="precious"):
        PtyPort(link=precious)
    assert precious.read_text() == "data"


@real_loop
async def test_nobody_listening_does_not_stop_the_device() -> None:
    port = PtyPort()
    async with asyncio.timeout(10):
        await port.write(b"log line\n" * 4000)
    await port.close()


@asynccontextmanager
async def echo_server() -> AsyncIterator[tuple[int, list[asyncio.StreamWriter]]]:
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], writers
    finally:
        server.close()
        await server.wait_closed()


@real_loop
async def test_socket_url_round_trip_and_lost_peer() -> None:
    async with echo_server() as (number, writers):
        stream = await PortOpener().open(f"socket://127.0.0.1:{number}", baud=115200)
        data = os.urandom(50_000)
        echoed, _ = await asyncio.gather(read_exactly(stream, len(data)), stream.write(data))
        assert echoed == data
        writers[0].close()
        with pytest.raises(StreamLost):
            await read_to_the_end(stream)
        await stream.close()


@real_loop
async def test_no_thread_outlives_a_closed_stream() -> None:
    before = set(threading.enumerate())
    async with echo_server() as (number, _):
        stream = await PortOpener().open(f"socket://127.0.0.1:{number}", baud=115200)
        waiting = asyncio.create_task(stream.read())
        await asyncio.sleep(0)
        await stream.close()
        with pytest.raises(StreamLost, match="closed"):
            await waiting
        with pytest.raises(StreamLost, match="closed"):
            await stream.write(b"x")
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not {name for name in left if "127.0.0.1" in name}


@pytest.mark.parametrize("scheme", ["socket", "rfc2217"])
@real_loop
async def test_network_streams_need_no_thread_and_hold_back_what_nobody_reads(scheme: str) -> None:
    sent = 0
    blocked, stop = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        if scheme == "rfc2217":
            port = TelnetPort(writer)
            while "baud" not in port.device_settings():
                port.receive(await reader.read(4096))
            port.device.close()
        with suppress(OSError):
            while True:
                writer.write(bytes(65536))
                try:
                    async with asyncio.timeout(0.5):
                        await writer.drain()
                except TimeoutError:
                    break
                sent += 65536
        blocked.set()
        await stop.wait()
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    number = server.sockets[0].getsockname()[1]
    threads = threading.active_count()
    stream = await PortOpener().open(f"{scheme}://127.0.0.1:{number}", baud=57600)
    assert threading.active_count() == threads
    async with asyncio.timeout(20):
        await blocked.wait()  # the server stands still long before memory is full
    assert len(await read_exactly(stream, sent)) >= sent
    stop.set()
    await stream.close()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(
    "url",
    [
        "socket://lab",
        "socket://:4001",
        "socket://lab:4001/x",
        "socket://lab:99999",
        "socket://lab:4001?logging=debug",
        "rfc2217://user@lab:4001",
        "rfc2217://lab:4001?timeout=soon",
    ],
)
@real_loop
async def test_network_urls_are_read_strictly(url: str) -> None:
    with pytest.raises(UnknownPort) as caught:
        await PortOpener().open(url, baud=115200)
    assert url in caught.value.what


@real_loop
async def test_a_raw_port_is_no_rfc2217_port() -> None:
    async with echo_server() as (number, _):
        with pytest.raises(PortUnavailable, match="does not speak RFC 2217") as caught:
            await PortOpener().open(f"rfc2217://127.0.0.1:{number}?timeout=0.2", baud=115200)
    assert "socket://" in caught.value.hint


@real_loop
async def test_socket_without_a_server() -> None:
    async with echo_server() as (number, _):
        pass
    with pytest.raises(PortUnavailable) as caught:
        await PortOpener().open(f"socket://127.0.0.1:{number}", baud=115200)
    assert str(number) in caught.value.what


@real_loop
async def test_loop_url() -> None:
    stream = await PortOpener().open("loop://", baud=115200)
    await stream.write(b"to myself")
    assert await read_exactly(stream, 9) == b"to myself"
    await stream.close()


class TelnetPort:
    """The server half of RFC 2217, on pyserial's own PortManager, echoing what arrives."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.device = serial.serial_for_url("loop://", timeout=0)
        # The manager takes any pyserial port and any object with write(); its stubs say less.
        self._manager = serial.rfc2217.PortManager(cast(Any, self.device), cast(Any, self))

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    def device_settings(self) -> set[str]:
        return {"baud"} if self.device.baudrate == 57600 else set()

    def receive(self, data: bytes) -> None:
        plain = b"".join(self._manager.filter(data))
        self._writer.write(b"".join(self._manager.escape(plain)))


@real_loop
async def test_rfc2217_sets_the_bit_rate_and_carries_all_bytes() -> None:
    ports: list[TelnetPort] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = TelnetPort(writer)
        ports.append(port)
        while data := await reader.read(65536):
            port.receive(data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    number = server.sockets[0].getsockname()[1]
    threads = threading.active_count()
    stream = await PortOpener().open(f"rfc2217://127.0.0.1:{number}", baud=57600)
    assert ports[0].device.baudrate == 57600
    data = bytes(range(256)) * 8
    await stream.write(data)
    assert await read_exactly(stream, len(data)) == data
    assert isinstance(stream, ControlLines)
    ports[0].device.dtr = ports[0].device.rts = True
    await stream.set_lines(dtr=False)
    assert (ports[0].device.dtr, ports[0].device.rts) == (False, True)
    await stream.set_lines(dtr=True, rts=False)
    assert (ports[0].device.dtr, ports[0].device.rts) == (True, False)
    assert threading.active_count() == threads
    await stream.close()
    ports[0].device.close()
    server.close()
    await server.wait_closed()


@real_loop
async def test_cancelling_a_slow_open_leaves_no_port_behind() -> None:
    connected, negotiate, hung_up = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await negotiate.wait()
        port = TelnetPort(writer)
        while data := await reader.read(65536):
            port.receive(data)
        port.device.close()
        writer.close()
        hung_up.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    number = server.sockets[0].getsockname()[1]
    opening = asyncio.create_task(PortOpener().open(f"rfc2217://127.0.0.1:{number}", baud=9600))
    await connected.wait()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    negotiate.set()
    async with asyncio.timeout(10):
        await hung_up.wait()
    server.close()
    await server.wait_closed()


class Reappearing:
    """An opener whose port is away for so many tries."""

    def __init__(self, tries: int) -> None:
        self.left = tries

    async def open(self, url: str, *, baud: int) -> ByteStream:
        if self.left:
            self.left -= 1
            raise PortUnavailable(f"Cannot open {url}", why="No such file or directory")
        return memory_pair(url)[0]


class Ticking:
    """A clock that only its own sleeps move."""

    def __init__(self) -> None:
        self.at = 0.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.at, UTC)

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += seconds


@real_loop
async def test_a_port_that_comes_back_is_opened() -> None:
    clock, retries = Ticking(), []
    stream = await open_when_back(
        Reappearing(3),
        "/dev/x",
        baud=1,
        clock=clock,
        patience_s=10,
        on_retry=lambda: retries.append(1),
    )
    assert clock.slept == [0.2, 0.4, 0.8]
    assert len(retries) == 3
    await stream.close()


@real_loop
async def test_patience_ends_with_the_ports_own_error() -> None:
    clock = Ticking()
    with pytest.raises(PortUnavailable, match="No such file"):
        await open_when_back(Reappearing(99), "/dev/x", baud=1, clock=clock, patience_s=10)
    assert 5 < clock.at <= 10
