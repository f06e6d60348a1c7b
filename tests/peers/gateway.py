"""Programs that carry lines over a network, and a whole update over one."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cryofw.device import DeviceDriver, RetryRule, Target, Timeouts
from cryofw.engine.virtual_time import SystemClock
from cryofw.image import parse_image
from cryofw.transport import PortOpener

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PLACES = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def program(name: str) -> str:
    found = shutil.which(name, path=PLACES)
    assert found, f"{name} is missing: apt-get install {name}"
    return found


@contextmanager
def running(words: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def ser2net(config: str, directory: Path, ports: Sequence[int]) -> Iterator[None]:
    """Debian's ser2net with this configuration, once it listens on all these ports."""
    path = directory / "ser2net.yaml"
    path.write_text(config)
    words = [program("ser2net"), "-n", "-u", "-c", str(path)]
    with running(words, directory / "ser2net.log") as process:
        for port in ports:
            wait_for_port(port, process)
        yield


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Another program needs real time."""
    deadline_s = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert process.poll() is None, "the gateway ended"
            assert time.monotonic() < deadline_s, "the gateway does not listen"
            time.sleep(0.05)
        else:
            return


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


async def update(port: str, image: bytes) -> None:
    """Upload, test and confirm `image` over a port."""
    wanted = parse_image(image).hash.hex()
    async with driver(port) as device:
        sent = await device.upload(image, wanted)
        assert not sent.skipped
        before = await device.test(wanted)
        await device.reset()
        after = await device.wait_for_boot(before)
        assert after.active is not None
        assert after.active.hash == wanted
        assert (await device.confirm(wanted, after.boot_id)).settled
        assert device.counts.damaged_frames == 0
