"""The driver on a bootloader that overwrites: no test boot, and back by an upload alone."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

import pytest

from cryofw.device import DeviceDriver, NotReady, Target, Timeouts
from cryofw.engine.rescue import bring_back
from cryofw.engine.virtual_time import LoopClock, run_virtual
from cryofw.image import (
    Algorithm,
    Compression,
    ImageOptions,
    Payload,
    PublicKey,
    Version,
    attach,
    build_image,
    compress,
    parse_image,
)
from cryofw.simulator import BootloaderConfig, ControllerSpec, LabSpec, SimulatedLab

Sign = Callable[[bytes], bytes]
Keys = Mapping[Algorithm, tuple[PublicKey, Sign]]
CLOCK = LoopClock(datetime(2026, 11, 20, tzinfo=UTC))
NAME = "c1-a"
CONFIG = BootloaderConfig(overwrite_only=True, compressed="lzma2")


def build(keys: Keys, version: str) -> tuple[bytes, bytes]:
    """Plain and compressed."""
    public, sign = keys[Algorithm.ED25519]
    marker = b"CRYOFW-SIM\x00" + json.dumps({}).encode() + b"\x00"
    options = ImageOptions(
        version=Version.parse(version), pad_header=True, compression=Compression.LZMA2
    )
    plain = build_image(Payload(marker + f"firmware {version} ".encode() * 800), options)
    signature = sign(plain.to_sign(public.algorithm))
    packed = compress(plain, public, signature)
    again = sign(packed.to_sign(public.algorithm))
    return attach(plain, public, signature), attach(packed, public, again)


def hash_of(image: bytes) -> str:
    return parse_image(image).hash.hex()


class Bench:
    def __init__(self, keys: Keys) -> None:
        self.old, _ = build(keys, "1.0.0")
        self.new, self.packed = build(keys, "2.0.0")
        spec = ControllerSpec(NAME, bootloader=CONFIG)
        self.lab = SimulatedLab.in_memory(
            LabSpec((spec,)), factory_image=self.old, public_keys=[keys[Algorithm.ED25519][0]]
        )
        self.target = Target(
            NAME, f"sim://{NAME}", hw=spec.hardware_id.hex(), board="cc40",
            timeouts=Timeouts(boot_s=30), overwrites=True,
        )  # fmt: skip

    def run(self, script: Callable[[DeviceDriver], Awaitable[None]]) -> None:
        async def main() -> None:
            async with self.lab, DeviceDriver(self.target, self.lab, CLOCK) as driver:
                await script(driver)

        run_virtual(main())

    async def to_new(self, driver: DeviceDriver) -> None:
        await driver.upload(self.packed, hash_of(self.packed))
        marked = await driver.test(hash_of(self.packed), hash_of(self.new))
        assert (marked.pending, marked.active_hash) == (True, hash_of(self.old))
        await driver.reset()
        seen = await driver.wait_for_boot(marked)
        assert (seen.active_hash, seen.settled, seen.other) == (hash_of(self.new), True, None)


@pytest.fixture
def bench(image_keys: Keys) -> Bench:
    return Bench(image_keys)


def test_it_runs_the_new_image_for_good_under_its_other_hash(bench: Bench) -> None:
    async def script(driver: DeviceDriver) -> None:
        report = await driver.check(len(bench.packed))
        assert (report.overwrites, report.problems) == (True, ())
        await bench.to_new(driver)
        confirmed = await driver.confirm(hash_of(bench.new))
        assert confirmed.settled
        with pytest.raises(NotReady, match="runs this image already"):
            await driver.test(hash_of(bench.packed), hash_of(bench.new))

    bench.run(script)


def test_it_goes_back_by_an_upload(bench: Bench) -> None:
    async def script(driver: DeviceDriver) -> None:
        await bench.to_new(driver)
        how = await bring_back(hash_of(bench.old), driver, bench.old)
        assert how == "uploaded and confirmed"
        seen = await driver.observe()
        assert (seen.active_hash, seen.settled) == (hash_of(bench.old), True)

    bench.run(script)


def test_without_the_file_there_is_no_way_back(bench: Bench) -> None:
    async def script(driver: DeviceDriver) -> None:
        await bench.to_new(driver)
        with pytest.raises(NotReady, match="does not hold its last good image"):
            await bring_back(hash_of(bench.old), driver, None)

    bench.run(script)


def test_a_mark_that_is_not_wanted_any_more_goes_once_around(bench: Bench) -> None:
    """It cannot be undone: the new image boots, and the old one is uploaded over it."""

    async def script(driver: DeviceDriver) -> None:
        await driver.upload(bench.packed, hash_of(bench.packed))
        await driver.test(hash_of(bench.packed), hash_of(bench.new))
        assert await bring_back(hash_of(bench.old), driver, bench.old) == "uploaded and confirmed"
        seen = await driver.observe()
        assert (seen.active_hash, seen.settled) == (hash_of(bench.old), True)

    bench.run(script)


def test_a_reset_right_after_the_mark_is_no_second_wish(bench: Bench) -> None:
    async def script(driver: DeviceDriver) -> None:
        await driver.upload(bench.packed, hash_of(bench.packed))
        await driver.test(hash_of(bench.packed), hash_of(bench.new))
        bench.lab.power_cycle(NAME)
        driver.expect_boot()
        with pytest.raises(NotReady, match="runs this image already"):
            await driver.test(hash_of(bench.packed), hash_of(bench.new))

    bench.run(script)
