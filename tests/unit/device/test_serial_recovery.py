"""Serial recovery on the simulated bootloader: only without an application, and wholly."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

import pytest

from cryofw.device import (
    DeviceDriver,
    DeviceSilent,
    NotReady,
    RecoveryReport,
    Target,
    Timeouts,
    UploadRejected,
    WrongDevice,
)
from cryofw.device.serial_recovery import ALIGNMENT
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
from cryofw.simulator import (
    BootloaderConfig,
    ControllerSpec,
    CorruptBytes,
    CutPower,
    DropBytes,
    Fault,
    LabSpec,
    PullCable,
    ServerProfile,
    SimulatedLab,
)

Sign = Callable[[bytes], bytes]
Keys = Mapping[Algorithm, tuple[PublicKey, Sign]]
CLOCK = LoopClock(datetime(2026, 11, 20, tzinfo=UTC))
NAME = "c1-a"


def build(
    keys: Keys,
    version: str,
    behaviour: Mapping[str, object] | None = None,
    algorithm: Algorithm = Algorithm.ED25519,
) -> bytes:
    public_key, sign = keys[algorithm]
    marker = b"CRYOFW-SIM\x00" + json.dumps(behaviour or {}).encode() + b"\x00"
    options = ImageOptions(version=Version.parse(version), pad_header=True)
    unsigned = build_image(Payload(marker + f"firmware {version} ".encode() * 1999), options)
    return attach(unsigned, public_key, sign(unsigned.to_sign(algorithm)))


class Bench:
    """One controller; its driver has a power switch if it should."""

    def __init__(
        self,
        keys: Keys,
        *,
        hook: bool = True,
        hw: str = "",
        behaviour: Mapping[str, object] | None = None,
        **more: object,
    ) -> None:
        self.image = build(keys, "2.0.0")
        self.hash = parse_image(self.image).hash.hex()
        spec = ControllerSpec(NAME, **more)  # type: ignore[arg-type]  # a table of keywords
        self.lab = SimulatedLab.in_memory(
            LabSpec((spec,)),
            factory_image=build(keys, "1.0.0", behaviour),
            public_keys=[keys[Algorithm.ED25519][0]],
        )
        self.target = Target(
            NAME, f"sim://{NAME}", hw=hw or spec.hardware_id.hex(), board="cc40",
            timeouts=Timeouts(boot_s=20),
        )  # fmt: skip
        self.hook = hook
        self.offsets: list[int] = []

    async def cycle(self, device: str) -> None:
        self.lab.power_cycle(device)

    def ruin(self) -> None:
        """The running image is damaged, and the device is switched off and on."""
        controller = self.lab.controller(NAME)
        controller.power_off()
        controller.bootloader.slot(0).program(64, bytes(32))
        controller.power_on()

    def run(self, script: Callable[[DeviceDriver], Awaitable[None]]) -> None:
        async def main() -> None:
            async with self.lab:
                power = self if self.hook else None
                driver = DeviceDriver(self.target, self.lab, CLOCK, power=power)
                try:
                    await script(driver)
                finally:
                    await driver.close()

        run_virtual(main())

    async def recover(self, driver: DeviceDriver, image: bytes = b"") -> RecoveryReport:
        recovery = driver.serial_recovery()
        await recovery.prove_absence()
        data = image or self.image
        return await recovery.upload(
            data, parse_image(data).hash.hex(), lambda done, _: self.offsets.append(done)
        )


def test_a_ruined_device_comes_back_confirmed_and_beating(image_keys: Keys) -> None:
    bench = Bench(image_keys)

    async def script(driver: DeviceDriver) -> None:
        bench.ruin()
        report = await bench.recover(driver)
        assert (report.starts, report.beats) == (1, 3)
        assert report.sent_bytes == len(bench.image)
        seen = await driver.observe()
        assert (seen.active_hash, seen.settled) == (bench.hash, True)

    bench.run(script)
    assert bench.offsets[-1] == len(bench.image)
    assert not any(off % ALIGNMENT for off in bench.offsets[:-1])
    steps = [b - a for a, b in zip(bench.offsets, bench.offsets[1:], strict=False)]
    assert max(steps) > 900, "packets fill the usual buffer"


def test_an_application_is_never_overwritten(image_keys: Keys) -> None:
    bench = Bench(image_keys)

    async def script(driver: DeviceDriver) -> None:
        with pytest.raises(NotReady, match="its application answers"):
            await bench.recover(driver)

    bench.run(script)
    assert not bench.offsets


def test_wider_flash_writes_and_a_smaller_buffer_are_obeyed(image_keys: Keys) -> None:
    for more in ({"write_size": 32}, {"profile": ServerProfile(recovery_buffer_size=384)}):
        bench = Bench(image_keys, **more)

        async def script(driver: DeviceDriver, bench: Bench = bench) -> None:
            bench.ruin()
            report = await bench.recover(driver)
            assert report.observation.active_hash == bench.hash

        bench.run(script)


@pytest.mark.parametrize(
    "fault",
    [CutPower(after_operations=40), CutPower(after_operations=3, off_s=9), PullCable(for_s=3)],
    ids=repr,
)
def test_what_breaks_in_the_middle_begins_anew(image_keys: Keys, fault: Fault) -> None:
    bench = Bench(image_keys)

    async def script(driver: DeviceDriver) -> None:
        bench.ruin()
        recovery = driver.serial_recovery()
        await recovery.prove_absence()
        done: list[int] = []

        def progress(off: int, _total: int) -> None:
            done.append(off)
            if len(done) == 4:
                bench.lab.controller(NAME).inject(fault)

        report = await recovery.upload(bench.image, bench.hash, progress)
        assert report.observation.active_hash == bench.hash
        assert report.observation.settled
        assert report.starts == (1 if isinstance(fault, PullCable) else 2)

    bench.run(script)


@pytest.mark.parametrize("fault", [DropBytes(0.002, 60), CorruptBytes(0.002, 60)], ids=repr)
def test_a_noisy_line_costs_time_only(image_keys: Keys, fault: Fault) -> None:
    bench = Bench(image_keys)

    async def script(driver: DeviceDriver) -> None:
        bench.ruin()
        recovery = driver.serial_recovery()
        await recovery.prove_absence()
        bench.lab.controller(NAME).inject(fault)
        report = await recovery.upload(bench.image, bench.hash)
        assert report.observation.active_hash == bench.hash

    bench.run(script)


def test_an_image_of_another_key_is_found_out_before_the_reset(image_keys: Keys) -> None:
    bench = Bench(image_keys)
    foreign = build(image_keys, "3.0.0", algorithm=Algorithm.ECDSA_P256)

    async def script(driver: DeviceDriver) -> None:
        bench.ruin()
        with pytest.raises(UploadRejected, match="would not start"):
            await bench.recover(driver, foreign)
        report = await bench.recover(driver)  # it is still there for the right one
        assert report.observation.active_hash == bench.hash

    bench.run(script)


def test_one_that_does_not_fit_is_refused_by_the_device(image_keys: Keys) -> None:
    bench = Bench(image_keys, slot_size=64 * 1024)

    async def script(driver: DeviceDriver) -> None:
        bench.ruin()
        recovery = driver.serial_recovery()
        await recovery.prove_absence()
        with pytest.raises(UploadRejected, match="take the image"):
            await recovery.upload(bytes(65 * 1024), "00" * 32)

    bench.run(script)


def test_a_moved_cable_is_found_out_once_the_image_runs(image_keys: Keys) -> None:
    bench = Bench(image_keys, hw="aa" * 12)

    async def script(driver: DeviceDriver) -> None:
        bench.ruin()
        with pytest.raises(WrongDevice):
            await bench.recover(driver)

    bench.run(script)


def test_without_recovery_and_without_a_hook_it_says_what_to_do(image_keys: Keys) -> None:
    config = BootloaderConfig(serial_recovery=False)
    bench = Bench(
        image_keys, hook=False, bootloader=config, profile=ServerProfile(dfu_window_s=0.0)
    )

    async def script(driver: DeviceDriver) -> None:
        bench.ruin()
        with pytest.raises(DeviceSilent, match="was not met") as silence:
            await driver.serial_recovery().prove_absence()
        assert "cycle its power" in silence.value.hint

    bench.run(script)


def test_a_watchdog_lets_a_hung_firmware_be_met(image_keys: Keys) -> None:
    """No hook: the bootloader is met after one of the resets of its watchdog."""
    bench = Bench(image_keys, hook=False, behaviour={"hang_s": 0, "wdt": True})

    async def script(driver: DeviceDriver) -> None:
        bench.lab.controller(NAME).power_cycle()
        report = await bench.recover(driver)
        assert report.observation.active_hash == bench.hash

    bench.run(script)
