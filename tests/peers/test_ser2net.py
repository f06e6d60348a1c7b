"""Debian's ser2net in front of a simulated controller: raw, with TLS, and with RFC 2217."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import termios
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pytest
import serial.rfc2217

from cryofw.device import DeviceUnreachable
from cryofw.transport import (
    ChannelUntrusted,
    ControlLines,
    NoControlLines,
    PortOpener,
    PortUnavailable,
)
from tests.peers.gateway import driver, free_port, ser2net, update
from tests.unit.transport.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cryofw.transport import ByteStream

    MakeImage = Callable[[str], bytes]

pytestmark = [pytest.mark.peer, pytest.mark.realtime]

CONFIG = """\
connection: &tls
  accepter: ssl(key={0}/gate.key,cert={0}/gate.pem,clientauth),tcp,127.0.0.1,{1}
  connector: serialdev,{2},115200n81,local
  options: {{authdir: {0}/auth}}
connection: &plain
  accepter: tcp,127.0.0.1,{3}
  connector: serialdev,{2},115200n81,local
connection: &talkative
  accepter: tcp,127.0.0.1,{4}
  connector: serialdev,{2},115200n81,local
  options: {{banner: "an open line"}}
"""
"""ser2net looks for the authorities of a client in AUTHDIR/NAME/allowed_certs, by its hash."""


@dataclass(frozen=True)
class Gateway:
    """A running ser2net: one port with TLS and client certificates, two without."""

    directory: Path
    tls_port: int
    plain_port: int
    talkative_port: int
    device: Path

    def url(self, *, client: str = "host", ca: str = "lab", host: str = "localhost") -> str:
        url = f"tls://{host}:{self.tls_port}?ca={self.directory}/{ca}-ca.pem"
        if client:
            url += f"&cert={self.directory}/{client}.pem&key={self.directory}/{client}.key"
        return url


@pytest.fixture
def gateway(served_device: Path, tmp_path: Path) -> Iterator[Gateway]:
    directory = tmp_path / "pki"
    directory.mkdir()
    lab, other = Authority(directory, "lab"), Authority(directory, "other")
    lab.issue("gate", "localhost")
    lab.issue("host")
    other.issue("stranger")
    allowed = directory / "auth" / "host" / "allowed_certs"
    allowed.mkdir(parents=True)
    shutil.copy(lab.path, allowed)
    subprocess.run(["openssl", "rehash", allowed], check=True)
    made = Gateway(directory, free_port(), free_port(), free_port(), served_device)
    ports = (made.plain_port, made.talkative_port)
    config = CONFIG.format(directory, made.tls_port, served_device.resolve(), *ports)
    with ser2net(config, directory, [*ports, made.tls_port]):
        yield made


def test_a_device_behind_the_gateway_is_updated_over_tls(
    gateway: Gateway, make_image: MakeImage
) -> None:
    asyncio.run(update(gateway.url(), make_image("1.1.0")))


def test_a_device_behind_the_gateway_is_updated_over_raw_tcp(
    gateway: Gateway, make_image: MakeImage
) -> None:
    asyncio.run(update(f"socket://127.0.0.1:{gateway.plain_port}", make_image("1.1.0")))


def test_the_gateway_refuses_a_host_without_a_certificate_and_a_stranger(
    gateway: Gateway,
) -> None:
    async def refusal(client: str) -> PortUnavailable:
        with pytest.raises(PortUnavailable) as caught:
            await PortOpener().open(gateway.url(client=client), baud=115200)
        return caught.value

    # ser2net says nothing, it only hangs up: so we say what may be behind it.
    missing, stranger = asyncio.run(refusal("")), asyncio.run(refusal("stranger"))

    assert "hung up" in missing.what
    assert "add cert= and key= to the port" in missing.hint
    assert "hung up" in stranger.what
    assert "does it refuse our certificate" in stranger.hint


def test_a_gateway_of_another_authority_is_refused_at_once(gateway: Gateway) -> None:
    async def main() -> None:
        async with driver(gateway.url(ca="other")):
            pass

    with pytest.raises(DeviceUnreachable, match="comes from another authority") as caught:
        asyncio.run(main())

    assert "other-ca.pem" in caught.value.hint


def test_another_name_and_a_port_without_tls_are_refused(gateway: Gateway) -> None:
    async def why(url: str) -> str:
        with pytest.raises(ChannelUntrusted) as caught:
            await PortOpener().open(url, baud=115200)
        return caught.value.what

    assert "is not for the name '127.0.0.1'" in asyncio.run(why(gateway.url(host="127.0.0.1")))
    plain = gateway.url().replace(str(gateway.tls_port), str(gateway.talkative_port))
    assert "does not speak TLS" in asyncio.run(why(plain))


RFC2217 = """\
connection: &port
  accepter: telnet(rfc2217),tcp,127.0.0.1,{0}
  connector: serialdev,{1},9600n81,local
connection: &behind
  accepter: telnet(rfc2217),tcp,127.0.0.1,{2}
  connector: telnet(rfc2217),tcp,127.0.0.1,{3}
"""


def test_a_device_behind_rfc2217_is_updated_at_our_bit_rate(
    served_device: Path, tmp_path: Path, make_image: MakeImage
) -> None:
    number = free_port()
    config = RFC2217.format(number, served_device.resolve(), free_port(), free_port())
    url = f"rfc2217://127.0.0.1:{number}"

    async def rate() -> int:
        """What ser2net has set while the port is open; it was told 9600."""
        stream = await when_it_listens(url, 115200)
        assert isinstance(stream, ControlLines)
        # A pty has no such lines, and ser2net says so instead of nodding.
        with pytest.raises(NoControlLines, match="does not set DTR OFF"):
            await stream.set_lines(dtr=False)
        with served_device.open("rb", buffering=0) as device:
            speed = int(termios.tcgetattr(device)[5])
        await stream.close()
        return speed

    with ser2net(config, tmp_path, []):
        assert asyncio.run(rate()) == termios.B115200
        asyncio.run(update(url, make_image("1.1.0")))


class FarPort:
    """A port with DTR and RTS, by pyserial's server half of RFC 2217."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.device = serial.serial_for_url("loop://", timeout=0)
        # The manager takes any pyserial port and any object with write(); its stubs say less.
        self._manager = serial.rfc2217.PortManager(cast(Any, self.device), cast(Any, self))

    @property
    def lines(self) -> tuple[bool, bool]:
        return self.device.dtr, self.device.rts

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    def receive(self, data: bytes) -> None:
        plain = b"".join(self._manager.filter(data))
        self._writer.write(b"".join(self._manager.escape(plain)))


def test_bit_rate_dtr_and_rts_reach_a_port_behind_ser2net(tmp_path: Path) -> None:
    async def main() -> None:
        ports: list[FarPort] = []
        hung_up = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            port = FarPort(writer)
            port.device.rts = False
            ports.append(port)
            try:
                while data := await reader.read(65536):
                    port.receive(data)
            finally:
                port.device.close()
                writer.close()
                hung_up.set()
            await writer.wait_closed()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        behind, far = free_port(), server.sockets[0].getsockname()[1]
        config = RFC2217.format(free_port(), tmp_path / "none", behind, far)
        async with server, asyncio.timeout(20):
            with ser2net(config, tmp_path, []):
                stream = await when_it_listens(f"rfc2217://127.0.0.1:{behind}", 57600)
                assert isinstance(stream, ControlLines)
                port = ports[-1]
                assert port.device.baudrate == 57600
                assert port.lines == (True, False)  # opening has changed neither
                for dtr, rts in ((False, True), (True, True), (False, False)):
                    await stream.set_lines(dtr=dtr, rts=rts)
                    assert port.lines == (dtr, rts)
                every_byte = bytes(range(256)) * 4
                await stream.write(every_byte)
                back = b""
                while len(back) < len(every_byte):
                    back += await stream.read()
                assert back == every_byte
                await stream.close()
                await hung_up.wait()

    asyncio.run(main())


async def when_it_listens(url: str, baud: int) -> ByteStream:
    while True:
        try:
            return await PortOpener().open(url, baud=baud)
        except PortUnavailable:
            await asyncio.sleep(0.05)
