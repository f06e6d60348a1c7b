"""Adapters that come back under other numbers: ptys behind links, as /dev/serial/by-id has them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from cryofw.transport import (
    ByteStream,
    LockedOpener,
    PortLock,
    PortLocked,
    PortOpener,
    PortUnavailable,
    PtyPort,
    StreamLost,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def relink(link: Path, target: str) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def held(locks: Path, *links: Path) -> Mapping[str, PortLock]:
    found = {str(link): PortLock(str(link), locks) for link in links}
    for lock in found.values():
        lock.acquire()
    return found


async def hears(stream: ByteStream, port: PtyPort) -> bool:
    await port.write(b"it is me")
    async with asyncio.timeout(5):
        return await stream.read() == b"it is me"


async def is_gone(stream: ByteStream) -> bool:
    try:
        return await stream.read() == b""
    except StreamLost:
        return True


def test_a_port_that_comes_back_elsewhere_is_opened_and_locked_there(tmp_path: Path) -> None:
    link, directory = tmp_path / "usb-FTDI_C1A", tmp_path / "locks"

    async def main() -> None:
        before, after = PtyPort(), PtyPort()
        relink(link, before.path)
        locks = held(directory, link)
        opener = LockedOpener(PortOpener(), locks)
        stream = await opener.open(str(link), baud=115200)
        assert await hears(stream, before)
        link.unlink()
        await before.close()
        assert await is_gone(stream)
        await stream.close()
        with pytest.raises(PortUnavailable):
            await opener.open(str(link), baud=115200)

        relink(link, after.path)
        stream = await opener.open(str(link), baud=115200)
        assert await hears(stream, after)
        with pytest.raises(PortLocked):
            PortLock(after.path, directory).acquire()
        await stream.close()
        await after.close()
        locks[str(link)].release()

    asyncio.run(main())


def test_two_adapters_that_change_numbers_find_their_devices(tmp_path: Path) -> None:
    one, other, directory = tmp_path / "usb-A", tmp_path / "usb-B", tmp_path / "locks"

    async def main() -> None:
        first, second = PtyPort(), PtyPort()
        relink(one, first.path)
        relink(other, second.path)
        locks = held(directory, one, other)
        opener = LockedOpener(PortOpener(), locks)

        relink(one, second.path)
        relink(other, first.path)

        with pytest.raises(PortUnavailable, match="holds it"):
            await opener.open(str(one), baud=115200)  # the other has not moved on yet
        moved = await opener.open(str(other), baud=115200)
        again = await opener.open(str(one), baud=115200)
        assert await hears(moved, first)
        assert await hears(again, second)
        for stream in (moved, again, first, second):
            await stream.close()
        for lock in locks.values():
            lock.release()

    asyncio.run(main())


def test_a_port_that_moves_while_it_is_opened_is_not_taken_for_the_other(tmp_path: Path) -> None:
    link = tmp_path / "usb-A"

    async def main() -> None:
        first, second = PtyPort(), PtyPort()
        relink(link, first.path)

        class Moving:
            async def open(self, url: str, *, baud: int) -> ByteStream:
                stream = await PortOpener().open(url, baud=baud)
                relink(link, second.path)
                return stream

        locks = held(tmp_path / "locks", link)
        with pytest.raises(PortUnavailable, match="came back elsewhere"):
            await LockedOpener(Moving(), locks).open(str(link), baud=115200)
        stream = await LockedOpener(PortOpener(), locks).open(str(link), baud=115200)
        assert await hears(stream, second)
        for one in (stream, first, second):
            await one.close()
        locks[str(link)].release()

    asyncio.run(main())
