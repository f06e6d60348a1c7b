"""Settings over the driver, on the simulator's controllers: what stays, what a reset undoes."""

import json
import struct
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

import pytest

from cryofw.device import (
    BootChanged,
    ChangeNotSeen,
    DeviceDriver,
    ImageNotRunning,
    NoSettings,
    NotReady,
    Observation,
    RequestFailed,
    Target,
)
from cryofw.engine.virtual_time import LoopClock, run_virtual
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
from cryofw.simulator import ControllerSpec, CorruptBytes, DropBytes, LabSpec, SimulatedLab

Sign = Callable[[bytes], bytes]
Keys = Mapping[Algorithm, tuple[PublicKey, Sign]]
NAME = "c1-a"
GAIN, BIAS = "readout/gain", "readout/bias"


def packed(value: float) -> bytes:
    return struct.pack("<f", value)


class Bench:
    """One simulated controller with settings, two firmwares of it, and its driver."""

    def __init__(self, keys: Keys, old: Mapping[str, object], new: Mapping[str, object]) -> None:
        self.keys = keys
        self.old, self.new = self.build("1.0.0", old), self.build("1.1.0", new)
        self.old_hash, self.new_hash = (parse_image(one).hash.hex() for one in (self.old, self.new))
        spec = ControllerSpec(NAME, settings={GAIN: 1.0} if old.get("group", True) else {})
        self.lab = SimulatedLab.in_memory(
            LabSpec((spec,)), factory_image=self.old, public_keys=[keys[Algorithm.ED25519][0]]
        )
        self.target = Target(NAME, f"sim://{NAME}", hw=spec.hardware_id.hex(), board="cc40")

    def build(self, version: str, behaviour: Mapping[str, object]) -> bytes:
        public_key, sign = self.keys[Algorithm.ED25519]
        marker = b"CRYOFW-SIM\x00" + json.dumps(behaviour).encode() + b"\x00"
        body = marker + f"firmware {version} ".encode() * 300
        options = ImageOptions(version=Version.parse(version), pad_header=True)
        unsigned = build_image(Payload(body), options)
        return attach(unsigned, public_key, sign(unsigned.to_sign(Algorithm.ED25519)))

    @property
    def stored(self) -> dict[str, str]:
        """What lies in the device's storage, seen without SMP."""
        return self.lab.controller(NAME).ram.settings.stored

    def run(self, script: Callable[[DeviceDriver], Awaitable[None]]) -> None:
        async def main() -> None:
            async with self.lab:
                driver = DeviceDriver(
                    self.target, self.lab, LoopClock(datetime(2026, 11, 20, tzinfo=UTC))
                )
                try:
                    await script(driver)
                finally:
                    await driver.close()

        run_virtual(main())

    async def to_test_boot(self, driver: DeviceDriver) -> Observation:
        await driver.upload(self.new, self.new_hash)
        marked = await driver.test(self.new_hash)
        await driver.reset()
        return await driver.wait_for_boot(marked)

    async def boot_again(self, driver: DeviceDriver) -> None:
        seen = await driver.observe()
        await driver.reset()
        await driver.wait_for_boot(seen)


@pytest.fixture
def bench(image_keys: Keys) -> Bench:
    return Bench(image_keys, {}, {"settings": {BIAS: 0.5}})


def test_what_was_applied_in_a_test_boot_goes_back_with_the_firmware(bench: Bench) -> None:
    async def script(driver: DeviceDriver) -> None:
        assert await driver.read_settings([GAIN, BIAS]) == {GAIN: packed(1.0), BIAS: None}
        seen = await bench.to_test_boot(driver)
        values = {GAIN: packed(2.0), BIAS: packed(0.25)}
        await driver.apply_settings(values, bench.new_hash, seen.boot_id)
        assert await driver.read_settings([GAIN, BIAS]) == values
        assert bench.lab.controller(NAME).ram.settings.applied[GAIN] == packed(2.0).hex()
        await driver.revert(bench.old_hash)
        assert await driver.read_settings([GAIN, BIAS]) == {GAIN: packed(1.0), BIAS: None}
        assert bench.stored == {}

    bench.run(script)


def test_saved_after_the_confirm_and_restored_with_the_old_firmware(bench: Bench) -> None:
    async def script(driver: DeviceDriver) -> None:
        before = await driver.read_settings([GAIN, BIAS])
        await bench.to_test_boot(driver)
        values = {GAIN: packed(2.0), BIAS: packed(0.25)}
        await driver.apply_settings(values, bench.new_hash)
        with pytest.raises(NotReady, match="must not keep its settings now"):
            await driver.save_settings(values, bench.new_hash)
        assert bench.stored == {}
        await driver.confirm(bench.new_hash)
        await driver.save_settings(values, bench.new_hash)
        await bench.boot_again(driver)
        assert await driver.read_settings([GAIN, BIAS]) == values

        await driver.restore(bench.old_hash)
        await driver.restore_settings(before, bench.old_hash)
        await driver.restore_settings(before, bench.old_hash)  # a resume does it again
        await bench.boot_again(driver)
        assert await driver.read_settings([GAIN, BIAS]) == before
        assert bench.stored == {GAIN: packed(1.0).hex()}

    bench.run(script)


def test_a_save_after_a_reset_took_the_values_writes_them_again(bench: Bench) -> None:
    async def script(driver: DeviceDriver) -> None:
        await bench.to_test_boot(driver)
        await driver.apply_settings({GAIN: packed(2.0)}, bench.new_hash)
        await driver.confirm(bench.new_hash)
        await bench.boot_again(driver)
        assert await driver.read_settings([GAIN]) == {GAIN: packed(1.0)}
        await driver.save_settings({GAIN: packed(2.0)}, bench.new_hash)
        await bench.boot_again(driver)
        assert await driver.read_settings([GAIN]) == {GAIN: packed(2.0)}

    bench.run(script)


def test_a_deleted_setting_of_a_firmware_that_knows_it_takes_a_boot(image_keys: Keys) -> None:
    bench = Bench(image_keys, {}, {"settings": {BIAS: 0.5}})

    async def script(driver: DeviceDriver) -> None:
        await bench.to_test_boot(driver)
        await driver.confirm(bench.new_hash)
        await driver.save_settings({BIAS: packed(0.25)}, bench.new_hash)
        boot = (await driver.observe()).boot_id
        # This firmware has a value of its own for it, also after the storage forgot ours.
        with pytest.raises(ChangeNotSeen, match="still has settings that were deleted"):
            await driver.restore_settings({BIAS: None}, bench.new_hash)
        assert (await driver.observe()).boot_id != boot
        assert BIAS not in bench.stored
        assert await driver.read_settings([BIAS]) == {BIAS: packed(0.5)}

    bench.run(script)


def test_a_storage_that_loses_what_it_is_given_is_found_out(image_keys: Keys) -> None:
    bench = Bench(image_keys, {}, {"keeps_settings": False})

    async def script(driver: DeviceDriver) -> None:
        await bench.to_test_boot(driver)
        await driver.confirm(bench.new_hash)
        with pytest.raises(ChangeNotSeen, match="does not have the settings") as caught:
            await driver.save_settings({GAIN: packed(2.0)}, bench.new_hash)
        assert "its storage does not have them: readout/gain is 0000803f" in caught.value.why

    bench.run(script)


def test_settings_belong_to_an_image_and_a_boot(bench: Bench) -> None:
    async def script(driver: DeviceDriver) -> None:
        with pytest.raises(ImageNotRunning):
            await driver.apply_settings({GAIN: packed(2.0)}, bench.new_hash)
        boot = (await driver.observe()).boot_id
        assert boot is not None
        with pytest.raises(BootChanged):
            await driver.apply_settings({GAIN: packed(2.0)}, bench.old_hash, boot + 1)
        assert await driver.read_settings([GAIN]) == {GAIN: packed(1.0)}

    bench.run(script)


def test_refusals_say_what_to_do(bench: Bench, image_keys: Keys) -> None:
    async def script(driver: DeviceDriver) -> None:
        with pytest.raises(RequestFailed, match="refused to take the setting readout/bias"):
            await driver.apply_settings({BIAS: packed(1.0)}, bench.old_hash)
        with pytest.raises(RequestFailed) as caught:
            await driver.apply_settings({GAIN: b"\x00"}, bench.old_hash)
        assert "not with a value of this size" in caught.value.why

    bench.run(script)
    plain = Bench(image_keys, {"group": False}, {})

    async def without(driver: DeviceDriver) -> None:
        with pytest.raises(NoSettings, match="has no settings over SMP"):
            await driver.read_settings([GAIN])

    plain.run(without)


@pytest.mark.parametrize("fault", [DropBytes(share=0.3), CorruptBytes(share=0.3)])
def test_a_bad_line_tears_nothing(bench: Bench, fault: DropBytes | CorruptBytes) -> None:
    async def script(driver: DeviceDriver) -> None:
        await bench.to_test_boot(driver)
        await driver.confirm(bench.new_hash)
        bench.lab.inject(NAME, fault)
        await driver.save_settings({GAIN: packed(2.0), BIAS: packed(0.25)}, bench.new_hash)
        assert bench.stored == {GAIN: packed(2.0).hex(), BIAS: packed(0.25).hex()}

    bench.run(script)
