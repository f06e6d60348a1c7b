"""Each fault of a line, at 1 % and 10 % of the frames: an upload ends right, or says what is wrong.

What counts is not what the driver says but what lies in the simulated flash afterwards; and that
the same upload goes through once the line is well again. Everything runs in virtual time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from cryofw.device import (
    DeviceDriver,
    RetryRule,
    Target,
    Timeouts,
    UploadRejected,
    UploadReport,
)
from cryofw.engine.virtual_time import LoopClock, run_virtual
from cryofw.errors import CryofwError
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
from cryofw.simulator import (
    ControllerSpec,
    CorruptBytes,
    CutLines,
    DelayBytes,
    DropBytes,
    DuplicateBytes,
    LabSpec,
    OverrunBuffers,
    PrintNoise,
    ResetWhileReceiving,
    ServerProfile,
    SimulatedLab,
)
from cryofw.smp import Framing

if TYPE_CHECKING:
    from cryofw.simulator.faults import LineFault

Keys = Mapping[Algorithm, tuple[PublicKey, Callable[[bytes], bytes]]]
CLOCK = LoopClock(datetime(2026, 11, 20, tzinfo=UTC))
NAME = "c1-a"
ILL_FOR_S = 20_000.0
"""Longer than any upload here tries."""

FAULTS: Mapping[str, Callable[[float], LineFault]] = {
    "drop": lambda share: DropBytes(share, ILL_FOR_S),
    "duplicate": lambda share: DuplicateBytes(share, ILL_FOR_S),
    "corrupt": lambda share: CorruptBytes(share, ILL_FOR_S),
    "late": lambda share: DelayBytes(share, 3.0, ILL_FOR_S),
    "half-line": lambda share: CutLines(share, ILL_FOR_S),
    "log-noise": lambda share: PrintNoise(share, ILL_FOR_S),
    "buffer-overrun": lambda share: OverrunBuffers(share, ILL_FOR_S),
    "reset": lambda share: ResetWhileReceiving(share, ILL_FOR_S),
}


@pytest.fixture(scope="module")
def images(image_keys: Keys) -> tuple[bytes, bytes]:
    """The image that runs, and one of 130 packets whose every part is another."""
    public, sign = image_keys[Algorithm.ED25519]

    def build(version: str, body: bytes) -> bytes:
        options = ImageOptions(version=Version.parse(version), pad_header=True)
        unsigned = build_image(Payload(body), options)
        return attach(unsigned, public, sign(unsigned.to_sign(Algorithm.ED25519)))

    return build("1.0.0", b"old" * 1000), build("1.1.0", random.Random(5).randbytes(44_000))


@dataclass
class Outcome:
    """What an upload over the ill line led to, and one over the same line when it was well."""

    error: CryofwError | None = None
    second: UploadReport | None = None
    first_flash: bytes = b""
    second_flash: bytes = b""
    slot_0: bytes = b""
    struck: int = 0


def upload_over(
    fault: LineFault, framing: Framing, seed: int, images: tuple[bytes, bytes], keys: Keys
) -> Outcome:
    old, new = images
    spec = ControllerSpec(NAME, profile=ServerProfile(framing=framing))
    lab = SimulatedLab.in_memory(
        LabSpec((spec,), seed=seed), factory_image=old, public_keys=[keys[Algorithm.ED25519][0]]
    )
    wanted = parse_image(new).hash.hex()
    target = Target(
        NAME,
        f"sim://{NAME}",
        hw=spec.hardware_id.hex(),
        board="cc40",
        timeouts=Timeouts(boot_s=30),
        retries=RetryRule(3, 0.5),
    )
    outcome = Outcome()

    async def main() -> None:
        async with lab:
            area = lab.controller(NAME).board.slot
            driver = DeviceDriver(target, lab, CLOCK)
            try:
                await driver.identify()
                line = lab.controller(NAME).line
                line.add_fault(fault)
                begun_s = CLOCK.monotonic()
                try:
                    await driver.upload(new, wanted)
                except CryofwError as error:
                    outcome.error = error
                assert CLOCK.monotonic() - begun_s < ILL_FOR_S
                outcome.first_flash = area(1).read(0, len(new))
                outcome.slot_0 = area(0).read(0, len(old))
                await CLOCK.sleep(2 * ILL_FOR_S)
                try:
                    outcome.second = await driver.upload(new, wanted)
                except UploadRejected:
                    # It went on from wrong bytes that lay there, found them and erased them.
                    assert framing is Framing.RAW
                    assert outcome.error is not None
                    outcome.second = await driver.upload(new, wanted)
                outcome.second_flash = area(1).read(0, len(new))
                outcome.struck = line.struck
            finally:
                await driver.close()

    run_virtual(main())
    return outcome


def may_give_up(name: str, framing: Framing) -> bool:
    """Resets lose all progress; and only the console's framing has a CRC.

    Without one a wrong byte goes into the flash, and what is left is to find it there.
    """
    return name == "reset" or (framing is Framing.RAW and name == "corrupt")


@pytest.mark.parametrize("framing", list(Framing))
@pytest.mark.parametrize("share", [0.01, 0.1], ids=["1 %", "10 %"])
@pytest.mark.parametrize("name", FAULTS)
def test_an_upload_over_an_ill_line(
    name: str, share: float, framing: Framing, images: tuple[bytes, bytes], image_keys: Keys
) -> None:
    old, new = images
    struck = 0
    for seed in (1, 2):
        outcome = upload_over(FAULTS[name](share), framing, seed, images, image_keys)
        struck += outcome.struck
        assert outcome.slot_0 == old  # the way back is never touched
        if outcome.error is None:
            assert outcome.first_flash == new
        else:
            assert may_give_up(name, framing), outcome.error
            assert outcome.error.what
            assert outcome.error.why
            assert outcome.error.hint
        assert outcome.second is not None
        assert outcome.second.skipped == (outcome.error is None)
        assert outcome.second_flash == new
    assert struck > 100 * share / 2  # of the 130 packets of each upload, and their answers
