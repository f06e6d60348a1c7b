"""smpclient, unmodified, as a library, against a simulated controller on a pty."""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, Any

import pytest
from smpclient import SMPClient
from smpclient.generics import error_v2, success
from smpclient.requests.image_management import ImageStatesRead, ImageStatesWrite
from smpclient.requests.os_management import EchoWrite, MCUMgrParametersRead, ResetWrite
from smpclient.requests.settings_management import (
    CommitSettings,
    LoadSettings,
    ReadSetting,
    SaveSettings,
    WriteSetting,
)
from smpclient.transport.serial import SMPSerialTransport

from cryofw.image import parse_image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.peer, pytest.mark.realtime]

BOOTED_S = 0.6


async def states(client: SMPClient) -> list[Any]:
    response = await client.request(ImageStatesRead())
    assert success(response), response
    return list(response.images)


async def reset(client: SMPClient) -> None:
    response = await client.request(ResetWrite())
    assert success(response), response
    await asyncio.sleep(BOOTED_S)  # nothing may be sent while the bootloader listens


async def update(port: str, image: bytes) -> None:
    async with SMPClient(SMPSerialTransport(), port, timeout_s=5) as client:
        echo = await client.request(EchoWrite(d="hello"))
        assert success(echo), echo
        assert echo.r == "hello"
        parameters = await client.request(MCUMgrParametersRead())
        assert success(parameters), parameters
        assert (parameters.buf_size, parameters.buf_count) == (384, 4)
        assert [one.version for one in await states(client)] == ["1.0.0"]

        async for offset in client.upload(image):
            assert offset <= len(image)

        wanted = parse_image(image).hash
        marked = await client.request(ImageStatesWrite(hash=wanted))
        assert success(marked), marked
        assert marked.images[1].pending
        await reset(client)
        running, old = await states(client)
        assert (running.version, running.active, running.confirmed) == ("1.1.0", True, False)
        assert (old.version, old.confirmed) == ("1.0.0", True)

        await reset(client)  # not confirmed: it reverts
        assert [one.version for one in await states(client)] == ["1.0.0", "1.1.0"]

        await client.request(ImageStatesWrite(hash=wanted))
        await reset(client)
        confirmed = await client.request(ImageStatesWrite(hash=wanted, confirm=True))
        assert success(confirmed), confirmed
        await reset(client)
        running, old = await states(client)
        assert (running.version, running.confirmed) == ("1.1.0", True)
        assert (old.version, old.confirmed) == ("1.0.0", False)


def test_update_from_echo_to_confirm(
    served_device: Path, make_image: Callable[[str], bytes]
) -> None:
    asyncio.run(update(str(served_device.resolve()), make_image("1.1.0")))


async def settings(port: str) -> None:
    """What is written lasts until a reset, what is saved stays."""
    async with SMPClient(SMPSerialTransport(), port, timeout_s=5) as client:

        async def gain() -> bytes:
            response = await client.request(ReadSetting(name="readout/gain"))
            assert success(response), response
            return bytes(response.val)

        one, two = struct.pack("<f", 1.0), struct.pack("<f", 2.0)
        assert await gain() == one
        for write in (WriteSetting(name="readout/gain", val=two), CommitSettings()):
            assert success(await client.request(write))
        assert await gain() == two
        await reset(client)
        assert await gain() == one
        await client.request(WriteSetting(name="readout/gain", val=two))
        for keep in (SaveSettings(), LoadSettings()):
            assert success(await client.request(keep))
        await reset(client)
        assert await gain() == two
        unknown = await client.request(ReadSetting(name="readout/bias"))
        assert error_v2(unknown), unknown
        assert unknown.err.rc.name == "KEY_NOT_FOUND"


def test_settings(served_device: Path) -> None:
    asyncio.run(settings(str(served_device.resolve())))
