"""One upload by one program, in a process of its own, which says what it cost.

    python tests/bench/upload_peer.py cryofw|smpclient|mcumgr-toolkit PORT BAUD FILE HASH [raw]

Prints one line of JSON: seconds and CPU seconds from opening the port to the end of the upload,
without the start of Python and the import of libraries, all threads included.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


def cryofw(port: str, baud: int, image: bytes, image_hash: str, raw: bool) -> Callable[[], object]:
    """The way that `cryofw deploy` takes; the framing is found out."""
    # cryofw imports these when the first port is opened, smpclient its own right away.
    import fcntl  # noqa: F401  # see above
    import termios  # noqa: F401

    import serial  # noqa: F401
    import tenacity  # noqa: F401

    from cryofw.device import DeviceDriver, Target
    from cryofw.engine.virtual_time import SystemClock
    from cryofw.transport import PortOpener

    async def upload() -> None:
        target = Target(name="c1-a", port=port, baud=baud, board="cc40")
        async with DeviceDriver(target, PortOpener(), SystemClock()) as driver:
            report = await driver.upload(image, image_hash)
        if report.skipped:
            sys.exit("nothing was uploaded")

    return _run(upload)


def smpclient(
    port: str, baud: int, image: bytes, image_hash: str, raw: bool
) -> Callable[[], object]:
    """Its default, "Auto": it asks the device for its buffers."""
    from smpclient import SMPClient
    from smpclient.transport import serial

    async def upload() -> None:
        transport: Any
        if raw:
            transport = serial.SMPSerialRawTransport(baudrate=baud)
        else:
            transport = serial.SMPSerialTransport(baudrate=baud)
        async with SMPClient(transport, port, timeout_s=10) as client:
            async for _ in client.upload(image):
                pass

    return _run(upload)


def mcumgr_toolkit(
    port: str, baud: int, image: bytes, image_hash: str, raw: bool
) -> Callable[[], object]:
    """With its `use_auto_frame_size`, as its documentation advises."""
    from mcumgr_toolkit import MCUmgrClient  # type: ignore[import-not-found]  # in its own venv

    def upload() -> None:
        open_port = MCUmgrClient.raw_serial if raw else MCUmgrClient.serial
        client = open_port(port, baud, 10_000)
        client.use_auto_frame_size()
        client.image_upload(image)

    return upload


def _run(upload: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], object]:
    return lambda: asyncio.run(upload())


PEERS = {"cryofw": cryofw, "smpclient": smpclient, "mcumgr-toolkit": mcumgr_toolkit}


def main() -> None:
    """Upload, and print what it cost."""
    name, port, baud, file, image_hash, *raw = sys.argv[1:]
    upload = PEERS[name](port, int(baud), Path(file).read_bytes(), image_hash, bool(raw))
    begun_s, begun_cpu_s = time.perf_counter(), time.process_time()
    upload()
    wall_s, cpu_s = time.perf_counter() - begun_s, time.process_time() - begun_cpu_s
    print(json.dumps({"wall_s": wall_s, "cpu_s": cpu_s}))


if __name__ == "__main__":
    main()
