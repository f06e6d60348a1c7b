"""socat between a controller and cryofw: a pty over TCP, as people lay lines through a lab."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.peers.gateway import free_port, program, running, update

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    MakeImage = Callable[[str], bytes]

pytestmark = [pytest.mark.peer, pytest.mark.realtime]


@pytest.fixture
def tcp_port(served_device: Path, tmp_path: Path) -> Iterator[int]:
    """A raw TCP port with the controller behind it."""
    port = free_port()
    listen = f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork"
    device = f"FILE:{served_device.resolve()},raw,echo=0"
    # Nobody tries whether it listens: each connection opens the device, and would eat answers.
    with running([program("socat"), listen, device], tmp_path / "socat.log"):
        yield port


def test_a_device_behind_socat_is_updated_over_tcp(tcp_port: int, make_image: MakeImage) -> None:
    asyncio.run(update(f"socket://127.0.0.1:{tcp_port}", make_image("1.1.0")))


def test_a_pty_at_the_end_of_a_tcp_connection_is_a_port(
    tcp_port: int, tmp_path: Path, make_image: MakeImage
) -> None:
    link = tmp_path / "port"
    here = f"PTY,link={link},raw,echo=0,waitslave"
    words = [program("socat"), here, f"TCP:127.0.0.1:{tcp_port},nodelay,retry=40,interval=0.1"]
    with ExitStack() as stack:
        process = stack.enter_context(running(words, tmp_path / "socat-pty.log"))
        deadline_s = time.monotonic() + 20
        while not link.is_symlink():
            assert process.poll() is None, "socat ended"
            assert time.monotonic() < deadline_s, "socat makes no pty"
            time.sleep(0.02)

        asyncio.run(update(str(link), make_image("1.1.0")))
