"""The simulated settings group: RAM, effect and storage are three things, as in Zephyr."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from cryofw.simulator import MetricSpec, Ram, SimulatedController
from cryofw.smp import SettingsCode

Bench = Any  # conftest's; test directories are no packages, so it cannot be imported

GAIN = "readout/gain"
SETTINGS = {GAIN: 1.0}
METRICS = {"snr": MetricSpec(27.0, noise=0.0)}
NEEDS_TWO = {"setting": GAIN, "value": 2.0, "metric": "snr", "by": -3.0}


def packed(value: float) -> bytes:
    return struct.pack("<f", value)


def gain(bench: Bench) -> float:
    return float(struct.unpack("<f", bench.read(3, 0, name=GAIN)["val"])[0])


def set_gain(bench: Bench, value: float) -> None:
    assert bench.write(3, 0, name=GAIN, val=packed(value)) == {}


def snr(bench: Bench) -> float:
    return float(bench.read(64, 1, names=["snr"])["m"]["snr"])


def refused(code: SettingsCode) -> dict[str, Any]:
    return {"err": {"group": 3, "rc": int(code)}}


@pytest.fixture
def settings_bench(bench: Bench) -> Bench:
    bench.build(bench.image("1.0.0"), settings=SETTINGS, metrics=METRICS)
    return bench


def test_a_value_that_was_not_saved_is_gone_after_a_reset(settings_bench: Bench) -> None:
    bench = settings_bench
    assert gain(bench) == 1.0
    set_gain(bench, 2.0)
    assert bench.write(3, 2) == {}
    assert gain(bench) == 2.0
    bench.reset()
    assert gain(bench) == 1.0


def test_a_saved_value_outlives_resets_and_power_cuts(settings_bench: Bench) -> None:
    bench = settings_bench
    set_gain(bench, 2.0)
    assert bench.write(3, 3) == {}
    bench.reset()
    assert gain(bench) == 2.0
    bench.controller.power_cycle()
    bench.timers.advance(5)
    assert gain(bench) == 2.0


def test_load_forgets_what_was_not_saved(settings_bench: Bench) -> None:
    bench = settings_bench
    set_gain(bench, 2.0)
    assert bench.read(3, 3) == {}
    assert gain(bench) == 1.0


def test_a_deleted_value_goes_with_the_next_boot(settings_bench: Bench) -> None:
    bench = settings_bench
    set_gain(bench, 2.0)
    bench.write(3, 3)
    assert bench.write(3, 1, name=GAIN) == {}
    assert gain(bench) == 2.0
    bench.reset()
    assert gain(bench) == 1.0


def test_a_torn_pair_shows_in_the_calibration(bench: Bench) -> None:
    bench.build(bench.image("1.0.0", need=NEEDS_TWO), settings=SETTINGS, metrics=METRICS)
    assert snr(bench) == 24.0
    set_gain(bench, 2.0)
    assert snr(bench) == 24.0  # written, not yet in effect
    bench.write(3, 2)
    assert snr(bench) == 27.0
    bench.reset()
    assert snr(bench) == 24.0


def test_the_values_outlive_the_simulating_process(settings_bench: Bench) -> None:
    bench = settings_bench
    set_gain(bench, 2.0)
    bench.write(3, 2)
    bench.controller.detach()
    bench.attach(Ram.from_json(bench.saved))
    bench.controller.resume()
    assert gain(bench) == 2.0


def test_a_lab_of_before_the_settings_group_goes_on(settings_bench: Bench) -> None:
    bench = settings_bench
    saved = json.loads(bench.saved)
    del saved["settings"]
    old = Ram.from_json(json.dumps(saved).encode())
    bench.controller.detach()
    bench.attach(old)
    assert isinstance(bench.controller, SimulatedController)
    bench.controller.resume()
    assert gain(bench) == 1.0


def test_refusals_are_zephyr_s(settings_bench: Bench) -> None:
    bench = settings_bench
    assert bench.read(3, 0, name="readout/bias") == refused(SettingsCode.KEY_NOT_FOUND)
    assert bench.read(3, 0, name="bias") == refused(SettingsCode.ROOT_KEY_NOT_FOUND)
    assert bench.read(3, 0, name="x" * 32) == refused(SettingsCode.KEY_TOO_LONG)
    assert bench.read(3, 0) == {"rc": 3}
    wrong_size = bench.write(3, 0, name=GAIN, val=b"\x00")
    assert wrong_size == refused(SettingsCode.ROOT_KEY_NOT_FOUND)
    assert gain(bench) == 1.0


def test_a_new_firmware_may_know_more(bench: Bench) -> None:
    bench.build(bench.image("1.0.0", settings={"readout/bias": 0.5}), settings=SETTINGS)
    assert bench.read(3, 0, name="readout/bias") == {"val": packed(0.5)}


def test_a_broken_storage_answers_success(bench: Bench) -> None:
    bench.build(bench.image("1.0.0", keeps_settings=False), settings=SETTINGS)
    set_gain(bench, 2.0)
    assert bench.write(3, 3) == {}
    bench.read(3, 3)
    assert gain(bench) == 1.0


@pytest.mark.parametrize("marker", [{}, {"settings_group": False}])
def test_without_the_group(bench: Bench, marker: dict[str, Any]) -> None:
    bench.build(bench.image("1.0.0", **marker), settings=SETTINGS if marker else {})
    assert bench.read(3, 0, name=GAIN) == {"rc": 8}
    assert bench.write(3, 2) == {"rc": 8}


def test_a_lease_guards_the_settings(settings_bench: Bench) -> None:
    bench = settings_bench
    bench.write(64, 5, session=1, owner="host", rollout="r-1", token=3, ttl=60)
    for command, body in ((0, {"name": GAIN, "val": packed(2.0)}), (2, {}), (3, {})):
        assert "err" in bench.write(3, command, session=2, **body)
    assert gain(bench) == 1.0
    assert bench.write(3, 0, session=1, name=GAIN, val=packed(2.0)) == {}
