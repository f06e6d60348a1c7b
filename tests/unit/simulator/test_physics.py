"""Readings are reproducible, and shaped as they are described."""

from __future__ import annotations

import math
import statistics
import subprocess
import sys

import pytest

from cryofw.errors import BadInput
from cryofw.simulator import (
    FAULTS,
    Climate,
    CutPower,
    Happening,
    MetricSpec,
    Period,
    ShiftCalibration,
    ThermalSpec,
    parse_fault,
    read_firmware,
    storm,
)
from cryofw.simulator.firmware import MARKER, Firmware, Shift
from cryofw.simulator.physics import (
    NOISE_STEP_S,
    HeatedStage,
    MetricModel,
    drift,
    noise,
    normals,
    uniforms,
)


def test_numbers_are_the_same_in_every_process() -> None:
    code = (
        "from cryofw.simulator.physics import *;"
        "print(repr((uniforms('a', 3), normals('b', 3), noise('c', 1e6), drift('d', 12345.6))))"
    )
    here = repr((uniforms("a", 3), normals("b", 3), noise("c", 1e6), drift("d", 12345.6)))
    for seed in ("0", "1"):
        there = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": seed},
            check=True,
        )
        assert there.stdout.strip() == here


def test_noise_has_its_deviation_and_remembers() -> None:
    values = [noise("key", index * NOISE_STEP_S) for index in range(5000)]
    assert statistics.fmean(values) == pytest.approx(0, abs=0.15)
    assert statistics.stdev(values) == pytest.approx(1, abs=0.1)
    assert statistics.correlation(values[1:], values[:-1]) == pytest.approx(0.61, abs=0.04)


def test_devices_of_a_cryostat_share_their_drift_and_nothing_else() -> None:
    specs = {"snr": MetricSpec(20.0, noise=0.0, drift=1.0)}
    models = [MetricModel(1, c, d, specs) for c, d in (("c1", "a"), ("c1", "b"), ("c2", "c"))]
    first, second, other = (
        [model.value("snr", t_s) for t_s in range(0, 360_000, 900)] for model in models
    )
    assert first == second
    assert first != other
    noisy = {"snr": MetricSpec(20.0, noise=1.0, device=1.0)}
    one, two = (MetricModel(1, "c1", name, noisy) for name in "ab")
    assert one.value("snr", 0) != two.value("snr", 0)


def test_a_reading_follows_temperature_and_shift() -> None:
    model = MetricModel(1, "c1", "a", {"snr": MetricSpec(20.0, noise=0.0, per_kelvin=-2.0)})
    assert model.value("snr", 5) == 20.0
    assert model.value("snr", 5, rise_k=0.5, shift=-3.0) == 16.0


def test_heat_decays_with_the_time_constant() -> None:
    stage = HeatedStage(ThermalSpec(4.0, resistance_k_per_w=0.1, time_constant_s=100.0))
    stage.deposit(1000.0, 50.0)
    assert stage.rise_k(50.0) == pytest.approx(1.0)
    assert stage.rise_k(150.0) == pytest.approx(0.3679, abs=1e-4)
    stage.deposit(1000.0, 150.0)
    assert stage.temperature_k(150.0) == pytest.approx(5.3679, abs=1e-4)
    again = HeatedStage(stage.spec, **stage.to_json())
    assert again.rise_k(300.0) == stage.rise_k(300.0)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (b"no marker", Firmware()),
        (MARKER + b"{}\x00", Firmware()),
        (MARKER + b"{", Firmware()),
        (MARKER + b"[1]\x00", Firmware()),
        (MARKER + b'{"hang_s": 0, "wdt": false}\x00', Firmware(hang_s=0.0, watchdog=False)),
        (MARKER + b'{"hang_s": "soon", "bootloop": 2}\x00', Firmware(hang_s=0.0, boot_loop=2)),
        (
            b"x" + MARKER + b'{"shift": {"metric": "snr", "by": -2, "after_s": 9}}\x00',
            Firmware(shift=Shift("snr", -2.0, 9.0)),
        ),
        (MARKER + b'{"shift": {"by": 1}, "drop_beats": 0.5}\x00', Firmware(drop_beats=0.5)),
    ],
)
def test_marker(image: bytes, expected: Firmware) -> None:
    assert read_firmware(image) == expected


def test_shift_ramps() -> None:
    shift = Shift("snr", -2.0, after_s=10, ramp_s=20)
    assert [shift.at(t_s) for t_s in (9, 10, 20, 30, 99)] == [0, 0, -1, -2, -2]


def test_faults_by_name() -> None:
    assert parse_fault("power-cut:after_operations=12,off_s=0.5") == CutPower(12, off_s=0.5)
    assert parse_fault("calibration-shift:metric=snr,by=-1") == ShiftCalibration("snr", -1.0)
    for name, kind in FAULTS.items():
        assert isinstance(parse_fault(name), kind)


@pytest.mark.parametrize(
    "text", ["", "flood", "hang:for_ever=1", "hang:watchdog=perhaps", "power-cut:torn=half"]
)
def test_unknown_faults_are_bad_input(text: str) -> None:
    with pytest.raises(BadInput):
        parse_fault(text)


def test_the_same_seed_gives_the_same_storm() -> None:
    devices = ["a", "b", "c"]
    first = storm(1, devices, duration_s=3600, count=50)
    assert first == storm(1, devices, duration_s=3600, count=50)
    assert first != storm(2, devices, duration_s=3600, count=50)
    assert {one.device for one in first} == set(devices)
    assert len({type(one.fault) for one in first}) > 8
    assert all(0 <= one.at_s <= 3600 for one in first)


def test_a_heated_stage_answers_as_an_rc_and_flashing_adds_to_it() -> None:
    stage = HeatedStage(ThermalSpec(resistance_k_per_w=0.1, time_constant_s=100.0))
    stage.heaters = ((10.0, 110.0, 10.0),)
    assert stage.rise_k(10.0) == 0
    assert stage.rise_k(110.0) == pytest.approx(1 - math.exp(-1))
    assert stage.rise_k(210.0) == pytest.approx((1 - math.exp(-1)) * math.exp(-1))
    stage.deposit(100.0, 110.0)
    assert stage.rise_k(110.0) == pytest.approx(1 - math.exp(-1) + 0.1)
    assert stage.to_json() == {"rise_k": pytest.approx(0.1), "at_s": 110.0}


def test_a_climate_survives_its_file() -> None:
    climate = Climate(
        [
            Period(Happening.WARM_UP, "c1", 1.0, 2.0, "10"),
            Period(Happening.EXPERIMENT, "c1", 0.0, math.inf, "eve", 7),
        ]
    )
    read = Climate.from_json(climate.to_json())
    assert read.periods == climate.periods
    assert read.heaters("c1") == ((1.0, 2.0, 10.0),)
    assert read.at(Happening.WARM_UP, "c1", 2.0) is None
    assert Climate.from_json(b"").periods == []


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"7",
        b'[{"what": "flood"}]',
        b'[{"what": "warm-up", "where": "c1", "begin_s": 0, "end_s": 1, "value": "x", "token": 1}]',
        b'[{"what": "fridge", "where": "c1", "begin_s": "0", "end_s": 1, "value": "", "token": 1}]',
    ],
)
def test_a_damaged_climate_is_bad_input(data: bytes) -> None:
    with pytest.raises(BadInput, match="climate"):
        Climate.from_json(data)
