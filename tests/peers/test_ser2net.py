"""Debian's ser2net with TLS in front of a simulated controller: the encrypted line, as in a lab."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from cryofw.device import DeviceDriver, DeviceUnreachable, RetryRule, Target, Timeouts
from cryofw.engine.virtual_time import SystemClock
from cryofw.image import parse_image
from cryofw.transport import ChannelUntrusted, PortOpener, PortUnavailable
from tests.unit.transport.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

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
  options: {{banner: "an open line"}}
"""
"""ser2net looks for the authorities of a client in AUTHDIR/NAME/allowed_certs, by its hash."""


@dataclass(frozen=True)
class Gateway:
    """A running ser2net: one port with TLS and client certificates, one without."""

    directory: Path
    tls_port: int
    plain_port: int
    device: Path

    def url(self, *, client: str = "host", ca: str = "lab", host: str = "localhost") -> str:
        url = f"tls://{host}:{self.tls_port}?ca={self.directory}/{ca}-ca.pem"
        if client:
            url += f"&cert={self.directory}/{client}.pem&key={self.directory}/{client}.key"
        return url


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Another program needs real time."""
    deadline_s = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert process.poll() is None, "ser2net ended"
            assert time.monotonic() < deadline_s, "ser2net does not listen"
            time.sleep(0.05)
        else:
            return


@pytest.fixture
def gateway(served_device: Path, tmp_path: Path) -> Iterator[Gateway]:
    program = shutil.which("ser2net", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    assert program, "ser2net is missing: apt-get install ser2net"
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
    made = Gateway(directory, free_port(), free_port(), served_device)
    config = directory / "ser2net.yaml"
    config.write_text(
        CONFIG.format(directory, made.tls_port, served_device.resolve(), made.plain_port)
    )
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "-n", "-u", "-c", config], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            wait_for_port(made.plain_port, process)
            wait_for_port(made.tls_port, process)
            yield made
        finally:
            process.terminate()
            process.wait(20)


def driver(port: str) -> DeviceDriver:
    target = Target(
        name="c1-a",
        port=port,
        board="cc40",
        boot_time_s=0.6,
        timeouts=Timeouts(request_s=5, boot_s=20),
        retries=RetryRule(3, 0.1),
    )
    return DeviceDriver(target, PortOpener(), SystemClock())


def test_a_device_behind_the_gateway_is_updated_over_tls(
    gateway: Gateway, make_image: MakeImage
) -> None:
    image = make_image("1.1.0")
    wanted = parse_image(image).hash.hex()

    async def main() -> None:
        async with driver(gateway.url()) as device:
            sent = await device.upload(image, wanted)
            assert sent.bytes_sent >= len(image)
            before = await device.test(wanted)
            await device.reset()
            after = await device.wait_for_boot(before)
            assert after.active is not None
            assert after.active.hash == wanted
            assert (await device.confirm(wanted, after.boot_id)).settled
            assert device.counts.damaged_frames == 0

    asyncio.run(main())


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
    plain = gateway.url().replace(str(gateway.tls_port), str(gateway.plain_port))
    assert "does not speak TLS" in asyncio.run(why(plain))
