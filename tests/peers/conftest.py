"""A simulated lab on ptys, in real time, for clients that are not ours."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cryofw.image import (
    Algorithm,
    ImageOptions,
    PublicKey,
    Version,
    attach,
    build_image,
    read_payload,
)
from cryofw.simulator import ControllerSpec, LabSpec, ServerProfile, SimulatedLab
from cryofw.simulator.serve import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    MakeImage = Callable[[str], bytes]

SAMPLE = Path(__file__).parents[2] / "cryofw" / "cli" / "sample" / "prebuilt" / "good.bin"
DEVICE = "c1-a"
QUICK = ServerProfile(reset_delay_s=0.1, dfu_window_s=0.1, app_start_s=0.05)


@pytest.fixture(scope="session")
def make_image(
    image_keys: Mapping[Algorithm, tuple[PublicKey, Callable[[bytes], bytes]]],
) -> MakeImage:
    """Build and sign the sample firmware as a version."""
    public, sign = image_keys[Algorithm.ECDSA_P256]

    def make(version: str) -> bytes:
        payload = read_payload(SAMPLE.read_bytes(), "bin")
        options = ImageOptions(version=Version.parse(version), pad_header=True)
        unsigned = build_image(payload, options)
        return attach(unsigned, public, sign(unsigned.to_sign(public.algorithm)))

    return make


@pytest.fixture
def served_device(
    tmp_path: Path,
    image_keys: Mapping[Algorithm, tuple[PublicKey, Callable[[bytes], bytes]]],
    make_image: MakeImage,
) -> Iterator[Path]:
    """The pty of one simulated device that runs version 1.0.0."""
    public, _ = image_keys[Algorithm.ECDSA_P256]
    directory = tmp_path / "lab"
    lab = SimulatedLab.in_memory(
        LabSpec((ControllerSpec(DEVICE, profile=QUICK, settings={"readout/gain": 1.0}),)),
        factory_image=make_image("1.0.0"),
        public_keys=[public],
    )
    ready = threading.Event()
    stop: list[Callable[[], object]] = []
    failures: list[BaseException] = []

    async def run() -> None:
        async with lab:
            task = asyncio.ensure_future(serve(lab, directory, baud=0, on_ready=ready.set))
            loop = asyncio.get_running_loop()
            stop.append(lambda: loop.call_soon_threadsafe(task.cancel))
            await asyncio.wait([task])
            if not task.cancelled() and (error := task.exception()) is not None:
                failures.append(error)
                ready.set()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert ready.wait(10)
    yield directory / DEVICE
    stop[0]()
    thread.join(10)
    assert not thread.is_alive()
    assert failures == []
