"""The driver on the simulator's controllers: real framing, bootloader, lease rules and faults."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from cryofw.device import (
    ChangeNotSeen,
    DeviceDriver,
    DeviceSilent,
    LeaseRefused,
    Observation,
    Target,
    Timeouts,
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
    CutPower,
    DelayBytes,
    DropBytes,
    DuplicateBytes,
    Fault,
    FillBuffers,
    LabSpec,
    PullCable,
    ServerProfile,
    SimulatedLab,
    SlowErase,
    storm,
)

Sign = Callable[[bytes], bytes]
Keys = Mapping[Algorithm, tuple[PublicKey, Sign]]
CLOCK = LoopClock(datetime(2026, 11, 20, tzinfo=UTC))
NAME = "c1-a"


def build(keys: Keys, version: str, **behaviour: object) -> bytes:
    public_key, sign = keys[Algorithm.ED25519]
    marker = b"CRYOFW-SIM\x00" + json.dumps(behaviour).encode() + b"\x00"
    body = marker + f"firmware {version} ".encode() * 800
    unsigned = build_image(
        Payload(body), ImageOptions(version=Version.parse(version), pad_header=True)
    )
    return attach(unsigned, public_key, sign(unsigned.to_sign(Algorithm.ED25519)))


def hash_of(image: bytes) -> str:
    return parse_image(image).hash.hex()


class Bench:
    """One simulated controller that runs 1.0.0, and its driver."""

    def __init__(self, keys: Keys, **more: object) -> None:
        self.keys = keys
        self.old = build(keys, "1.0.0")
        spec = ControllerSpec(NAME, **more)  # type: ignore[arg-type]
        self.lab = SimulatedLab.in_memory(
            LabSpec((spec,)), factory_image=self.old, public_keys=[keys[Algorithm.ED25519][0]]
        )
        self.target = Target(
            NAME,
            f"sim://{NAME}",
            hw=spec.hardware_id.hex() if spec.profile.cryo_group else None,
            board="cc40" if spec.profile.cryo_group else "",
            timeouts=Timeouts(boot_s=60),
        )

    async def cycle(self, device: str) -> None:
        self.lab.power_cycle(device)

    def run(self, script: Callable[[DeviceDriver], Awaitable[None]]) -> None:
        async def main() -> None:
            async with self.lab:
                driver = DeviceDriver(self.target, self.lab, CLOCK, power=self)
                try:
                    await script(driver)
                finally:
                    await driver.close()

        run_virtual(main())


async def to_test_boot(driver: DeviceDriver, image: bytes) -> Observation:
    await driver.upload(image, hash_of(image))
    marked = await driver.test(hash_of(image))
    if marked.test_boot:
        return marked
    await driver.reset()
    return await driver.wait_for_boot(marked)


@pytest.fixture
def bench(image_keys: Keys) -> Bench:
    return Bench(image_keys)


def test_update_confirm_and_restore(bench: Bench) -> None:
    new = build(bench.keys, "1.1.0")

    async def script(driver: DeviceDriver) -> None:
        report = await driver.check(len(new))
        assert report.problems == ()
        assert report.observation.active_hash == hash_of(bench.old)
        seen = await to_test_boot(driver, new)
        assert seen.active_hash == hash_of(new)
        assert seen.test_boot
        assert (await driver.confirm(hash_of(new), seen.boot_id)).settled
        restored = await driver.restore(hash_of(bench.old))
        assert not restored.uploaded
        assert restored.observation.active_hash == hash_of(bench.old)
        assert restored.observation.settled
        assert driver.counts.retries == 0

    bench.run(script)


def test_a_plain_zephyr_device(image_keys: Keys) -> None:
    bench = Bench(image_keys, profile=ServerProfile(cryo_group=False, image_check=False))
    new = build(image_keys, "1.1.0")

    async def script(driver: DeviceDriver) -> None:
        assert not (await driver.check(len(new))).problems
        seen = await to_test_boot(driver, new)
        assert seen.boot_id is None
        assert (await driver.heartbeat()).active_hash == hash_of(new)
        assert (await driver.confirm(hash_of(new))).settled

    bench.run(script)


def test_a_hanging_image_is_reverted_by_the_watchdog(bench: Bench) -> None:
    bad = build(bench.keys, "1.1.0", hang_s=0)

    async def script(driver: DeviceDriver) -> None:
        seen = await to_test_boot(driver, bad)
        assert seen.active_hash == hash_of(bench.old)
        assert seen.settled

    bench.run(script)


def test_a_hanging_image_without_watchdog_needs_the_power_hook(bench: Bench) -> None:
    bad = build(bench.keys, "1.1.0", hang_s=0, wdt=False)

    async def script(driver: DeviceDriver) -> None:
        await driver.upload(bad, hash_of(bad))
        marked = await driver.test(hash_of(bad))
        await driver.reset()
        with pytest.raises(DeviceSilent, match="does not come up"):
            await driver.wait_for_boot(marked)
        await driver.power_cycle()
        seen = await driver.wait_for_boot(marked)
        assert seen.active_hash == hash_of(bench.old)

    bench.run(script)


def test_an_image_of_another_key_is_never_run(bench: Bench, image_keys: Keys) -> None:
    new = build(image_keys, "1.1.0")
    forged = new[:-1] + bytes([new[-1] ^ 1])

    async def script(driver: DeviceDriver) -> None:
        seen = await to_test_boot(driver, forged)
        assert seen.active_hash == hash_of(bench.old)

    bench.run(script)


def test_the_lease_follows_the_driver_over_a_pulled_cable(bench: Bench) -> None:
    new = build(bench.keys, "1.1.0")

    async def script(driver: DeviceDriver) -> None:
        assert await driver.take_lease("anna@lab", "r-1", 1, 600)
        bench.lab.schedule(storm(3, [NAME], duration_s=1, count=1, names=["cable-pulled"]))
        report = await driver.upload(new, hash_of(new))
        assert report.restarts or report.retries
        await driver.test(hash_of(new))
        assert driver.counts.reopens

    bench.run(script)


def test_a_newer_run_fences_the_older_one_out(bench: Bench) -> None:
    new = build(bench.keys, "1.1.0")

    async def script(driver: DeviceDriver) -> None:
        await driver.take_lease("anna@lab", "r-1", 1, 600)
        await driver.close()
        async with DeviceDriver(bench.target, bench.lab, CLOCK) as newer:
            assert await newer.take_lease("anna@lab", "r-1", 2, 600)
        with pytest.raises(LeaseRefused, match="newer run"):
            await driver.upload(new, hash_of(new))
        with pytest.raises(LeaseRefused, match="newer run"):
            await driver.renew_lease("anna@lab", "r-1", 1, 600)

    bench.run(script)


def test_a_lease_that_runs_out_reverts_a_test_boot(bench: Bench) -> None:
    new = build(bench.keys, "1.1.0")

    async def script(driver: DeviceDriver) -> None:
        await driver.take_lease("anna@lab", "r-1", 1, 60)
        seen = await to_test_boot(driver, new)
        assert seen.test_boot
        await CLOCK.sleep(120)
        assert (await driver.escape_recovery()).active_hash == hash_of(bench.old)

    bench.run(script)


def test_readings(bench: Bench) -> None:
    async def script(driver: DeviceDriver) -> None:
        reading = await driver.metrics(["readout_snr", "adc_enob", "nothing"])
        assert set(reading.values) == {"readout_snr", "adc_enob"}
        assert reading.missing == ("nothing",)
        await CLOCK.sleep(30)
        assert (await driver.metrics()).fresh
        assert (await driver.calibrate()).values
        await driver.safe()
        beat = await driver.heartbeat()
        assert beat.active_hash == hash_of(bench.old)

    bench.run(script)


LINE_FAULTS: list[Fault] = [
    CorruptBytes(share=0.2, for_s=20),
    DropBytes(share=0.2, for_s=20),
    DuplicateBytes(share=0.5, for_s=20),
    DelayBytes(share=0.3, delay_s=3, for_s=20),
    FillBuffers(lines=1, for_s=5),
    SlowErase(factor=200),
    PullCable(for_s=5),
    CutPower(after_operations=9),
]


@pytest.mark.parametrize("fault", LINE_FAULTS, ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize("when_s", [0.0, 0.9])
def test_an_update_over_a_fault_that_passes(bench: Bench, fault: Fault, when_s: float) -> None:
    new = build(bench.keys, "1.1.0")
    bench.target = replace(bench.target, retries=replace(bench.target.retries, count=8))

    async def script(driver: DeviceDriver) -> None:
        await driver.identify()
        await CLOCK.sleep(when_s)
        bench.lab.inject(NAME, fault)
        seen = await to_test_boot(driver, new)
        assert seen.active_hash == hash_of(new)
        assert (await driver.confirm(hash_of(new), seen.boot_id)).settled

    bench.run(script)


@pytest.mark.parametrize("seed", range(25))
def test_a_storm_ends_right_or_clearly(bench: Bench, seed: int) -> None:
    """Whatever happens: success means the new image is confirmed, and nothing is ever lost."""
    new = build(bench.keys, "1.1.0")
    good = {hash_of(bench.old), hash_of(new)}

    async def script(driver: DeviceDriver) -> None:
        bench.lab.schedule(storm(seed, [NAME], duration_s=60, count=6))
        error: CryofwError | None = None
        try:
            seen = await to_test_boot(driver, new)
            confirmed = await driver.confirm(hash_of(new), seen.boot_id)
            assert confirmed.active_hash == hash_of(new)
        except CryofwError as failure:
            error = failure
        assert error is None or (error.what and error.why)
        await CLOCK.sleep(600)
        driver.expect_boot()
        try:
            final = await driver.escape_recovery()
        except DeviceSilent:
            await driver.power_cycle()
            final = await driver.escape_recovery()
        assert final.active_hash in good
        if error is None:
            assert final.active_hash == hash_of(new)
            assert final.settled
        elif not isinstance(error, ChangeNotSeen):
            await driver.power_cycle()
            settled = await driver.wait_for_boot(final)
            assert settled.active_hash in good

    bench.run(script)
