"""A served lab: ptys by name, and orders on a control socket."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from cryofw.engine.virtual_time import SystemClock
from cryofw.errors import Refused, Unreachable, UsageError
from cryofw.image import Algorithm, PublicKey
from cryofw.simulator import ControllerSpec, LabSpec, Mode, ServerProfile, SimulatedLab
from cryofw.simulator.control import main, send_order
from cryofw.simulator.serve import serve
from cryofw.smp import ClientConnection, Op, Request, Response
from cryofw.transport import ByteStream, PortOpener, StreamLost, open_when_back

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

pytestmark = pytest.mark.realtime

QUICK = ServerProfile(reset_delay_s=0.02, dfu_window_s=0.02, app_start_s=0.02)


def served(
    tmp_path: Path,
    key: PublicKey,
    image: bytes,
    body: Callable[[SimulatedLab, Path], Awaitable[None]],
) -> None:
    """Serve two devices while `body` runs."""
    spec = LabSpec(tuple(ControllerSpec(name, profile=QUICK) for name in ("c1-a", "c1-b")))
    lab = SimulatedLab.in_memory(spec, factory_image=image, public_keys=[key])

    async def run() -> None:
        async with lab:
            ready = asyncio.Event()
            task = asyncio.ensure_future(serve(lab, tmp_path / "lab", baud=0, on_ready=ready.set))
            async with asyncio.timeout(20):
                await ready.wait()
                await body(lab, tmp_path / "lab")
            task.cancel()
            await asyncio.wait([task])

    asyncio.run(run())


async def ask(stream: ByteStream, request: Request) -> Mapping[str, Any]:
    client = ClientConnection()
    await stream.write(client.send(request)[1])
    while True:
        for event in client.receive_data(await stream.read()):
            if isinstance(event, Response):
                return event.body


async def until_lost(stream: ByteStream) -> None:
    with contextlib.suppress(StreamLost):
        while await stream.read():
            pass


HEARTBEAT = Request(Op.READ, 64, 0)


@pytest.fixture
def key(image_keys: Mapping[Algorithm, tuple[PublicKey, Any]]) -> PublicKey:
    return image_keys[Algorithm.ED25519][0]


def test_devices_answer_on_their_ptys(
    tmp_path: Path, key: PublicKey, simulated_image: Callable[..., bytes]
) -> None:
    async def body(lab: SimulatedLab, directory: Path) -> None:
        for name in lab.names:
            stream = await PortOpener().open(str(directory / name), baud=115200)
            assert (await ask(stream, HEARTBEAT))["boot"] == 1
            assert (await ask(stream, Request(Op.READ, 64, 4)))["sn"] == name
            await stream.close()

    served(tmp_path, key, simulated_image("1.0.0"), body)


def test_orders(tmp_path: Path, key: PublicKey, simulated_image: Callable[..., bytes]) -> None:
    async def body(lab: SimulatedLab, directory: Path) -> None:
        control = directory / "control"

        async def order(*words: str) -> Mapping[str, object]:
            return await asyncio.to_thread(send_order, control, *words)

        assert await order("list") == {"devices": ["c1-a", "c1-b"]}
        await order("fault", "c1-a", "hang:watchdog=false")
        assert (await order("state", "c1-a"))["mode"] == Mode.HUNG
        await order("power-cycle", "c1-a", "0.01")
        while (await order("state", "c1-a"))["mode"] != Mode.APPLICATION:
            pass
        assert lab.controller("c1-a").ram.boots == 2
        for wrong in (["power-cycle", "nobody"], ["fly"], ["fault", "c1-a", "flood"]):
            with pytest.raises(UsageError):
                await order(*wrong)
        with pytest.raises(Refused, match="already"):
            await serve(lab, directory)

    served(tmp_path, key, simulated_image("1.0.0"), body)
    assert not (tmp_path / "lab" / "control").exists()


def test_a_pulled_cable_takes_the_port_away_for_a_while(
    tmp_path: Path, key: PublicKey, simulated_image: Callable[..., bytes]
) -> None:
    async def body(lab: SimulatedLab, directory: Path) -> None:
        port = str(directory / "c1-a")
        stream = await PortOpener().open(port, baud=115200)
        assert "boot" in await ask(stream, HEARTBEAT)
        await asyncio.to_thread(
            send_order, directory / "control", "fault", "c1-a", "cable-pulled:for_s=0.3"
        )
        await until_lost(stream)
        await stream.close()
        assert not (directory / "c1-a").exists()
        opener, clock = PortOpener(), SystemClock()
        stream = await open_when_back(opener, port, baud=115200, clock=clock, patience_s=10)
        assert "boot" in await ask(stream, HEARTBEAT)
        await stream.close()

    served(tmp_path, key, simulated_image("1.0.0"), body)


def test_control_program_says_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "control"), "list"]) == Unreachable.exit_code
    assert main([]) == UsageError.exit_code
    assert "no simulated lab is served there" in capsys.readouterr().err
