"""Serial recovery: what the bootloader does when nothing can be started."""

from __future__ import annotations

from typing import Any

import pytest

from cryofw.simulator import BootloaderConfig, Mode
from cryofw.smp import Op

Bench = Any  # conftest's; test directories are no packages, so it cannot be imported


def ruin(bench: Bench) -> None:
    """Damage the running image and switch the device off and on."""
    bench.controller.power_off()
    bench.controller.bootloader.slot(0).program(36, bytes(4))
    bench.controller.power_on()
    bench.timers.advance(3)


def test_without_an_image_it_waits_for_one_in_slot_0(bench: Bench) -> None:
    image = bench.image("1.0.0")
    bench.build(image)
    ruin(bench)
    assert bench.controller.ram.mode is Mode.RECOVERY
    assert bench.read(1, 0) == {"images": []}

    offset = 0
    while offset < len(image):
        body: dict[str, Any] = {"off": offset, "data": image[offset : offset + 254]}
        if not offset:
            body["len"] = len(image)
        answer = bench.write(1, 1, **body)
        assert answer["rc"] == 0
        assert answer["off"] % 4 == 0 or answer["off"] == len(image)
        offset = answer["off"]
    assert bench.read(1, 0)["images"][0]["version"] == "1.0.0"
    bench.reset()

    assert bench.state() == ["1.0.0"]


def test_an_upload_there_destroys_the_running_image(bench: Bench) -> None:
    bench.build(bench.image("1.0.0"))
    bench.write(0, 5)
    bench.timers.advance(0.3)
    bench.read(0, 0, d="caught")
    bench.write(1, 1, off=0, len=1000, data=bytes(100))
    bench.reset()
    assert bench.controller.ram.mode is Mode.RECOVERY


def test_state_writes_there(bench: Bench) -> None:
    new = bench.image("1.1.0")
    bench.build(bench.image("1.0.0"))
    bench.upload(new)
    bench.write(0, 5)
    bench.timers.advance(0.3)
    second = bench.read(1, 0)["images"][1]
    assert second == {"bootable": True, "slot": 1, "hash": second["hash"], "version": "1.1.0"}
    assert bench.write(1, 0, hash=b"\xaa" * 32) == {"rc": 5}
    assert bench.write(1, 0, hash=second["hash"])["images"][1]["pending"] is True
    assert bench.write(1, 0, hash=second["hash"], confirm=True) == {"rc": 6}
    bench.reset()
    assert bench.state() == ["1.1.0*", "1.0.0"]


@pytest.mark.parametrize(
    "body", [{"off": 0}, {"data": b"x"}, {"off": 0, "data": b"x"}, {"off": "0"}]
)
def test_malformed_uploads(bench: Bench, body: dict[str, Any]) -> None:
    bench.build(bench.image("1.0.0"))
    ruin(bench)
    assert bench.write(1, 1, **body) == {"rc": 3}


def test_without_recovery_the_device_is_dead_until_it_is_replaced(bench: Bench) -> None:
    bench.build(bench.image("1.0.0"), bootloader=BootloaderConfig(serial_recovery=False))
    ruin(bench)
    assert bench.controller.ram.mode is Mode.DEAD
    assert bench.ask(Op.READ, 0, 0, {"d": "?"}) is None
