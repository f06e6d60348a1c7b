"""The driver in real time: a simulated controller behind a pty, opened as a serial port."""

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from cryofw.device import DeviceDriver, RetryRule, Target, Timeouts
from cryofw.engine.virtual_time import SystemClock
from cryofw.image import (
    Algorithm,
    ImageOptions,
    Payload,
    PublicKey,
    Version,
    attach,
    build_image,
    parse_image,
)
from cryofw.simulator import ControllerSpec, LabSpec, SimulatedLab
from cryofw.transport import ByteStream, PortOpener, PtyPort, StreamLost

Keys = Mapping[Algorithm, tuple[PublicKey, Callable[[bytes], bytes]]]


def build(keys: Keys, version: str) -> bytes:
    public_key, sign = keys[Algorithm.ED25519]
    marker = b"CRYOFW-SIM\x00" + json.dumps({"version": version}).encode() + b"\x00"
    options = ImageOptions(version=Version.parse(version), pad_header=True)
    unsigned = build_image(Payload(marker + b"firmware" * 2000), options)
    return attach(unsigned, public_key, sign(unsigned.to_sign(Algorithm.ED25519)))


class Cable:
    """Carries one simulated controller's line over ptys under one name."""

    def __init__(self, lab: SimulatedLab, link: Path) -> None:
        self._lab = lab
        self._link = link
        self._ends: tuple[ByteStream, ...] = ()
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    async def plug(self) -> None:
        pty = PtyPort(link=self._link)
        device = await self._lab.open("sim://c1-a", baud=1_000_000)
        self._ends = (pty, device)
        self._tasks = (
            asyncio.create_task(carry(pty, device)),
            asyncio.create_task(carry(device, pty)),
        )

    async def pull(self) -> None:
        for end in self._ends:
            await end.close()
        await asyncio.gather(*self._tasks)


async def carry(source: ByteStream, sink: ByteStream) -> None:
    try:
        while data := await source.read():
            await sink.write(data)
    except StreamLost:
        return


@pytest.mark.realtime
def test_an_update_with_the_cable_pulled_in_the_upload(image_keys: Keys, tmp_path: Path) -> None:
    old, new = build(image_keys, "1.0.0"), build(image_keys, "1.1.0")
    new_hash = parse_image(new).hash.hex()
    spec = ControllerSpec("c1-a", slot_size=64 * 1024)
    lab = SimulatedLab.in_memory(
        LabSpec((spec,)), factory_image=old, public_keys=[image_keys[Algorithm.ED25519][0]]
    )
    target = Target(
        "c1-a",
        str(tmp_path / "usb-C1A"),
        baud=1_000_000,
        hw=spec.hardware_id.hex(),
        board="cc40",
        boot_time_s=1.2,
        timeouts=Timeouts(request_s=0.5, poll_s=0.2, boot_s=20),
        retries=RetryRule(backoff_s=0.1),
    )

    async def run() -> None:
        async with lab:
            cable = Cable(lab, Path(target.port))
            await cable.plug()
            pulled = asyncio.Event()

            def progress(done: int, total: int) -> None:
                if done > total / 2:
                    pulled.set()

            async def replug() -> None:
                await pulled.wait()
                await cable.pull()
                await cable.plug()

            async with DeviceDriver(target, PortOpener(), SystemClock()) as driver:
                replugging = asyncio.create_task(replug())
                report = await driver.upload(new, new_hash, progress)
                await replugging
                assert report.retries > 0
                assert driver.counts.reopens > 0
                marked = await driver.test(new_hash)
                await driver.reset()
                seen = await driver.wait_for_boot(marked)
                assert seen.recovery_escapes == 0
                assert (await driver.confirm(new_hash, seen.boot_id)).settled
                assert any("Booting" in line.text for line in driver.log_lines)
            await cable.pull()

    asyncio.run(run())
