"""What calibrates a controller beside itself: a command, or the simulated lab in its place."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cryofw.engine.calibration_command import (
    CalibrationBenchFailed,
    LabCalibration,
    SimulatedCalibration,
    calibration_commands,
)
from cryofw.engine.site import LabClock, Site
from cryofw.engine.virtual_time import SystemClock, run_virtual
from cryofw.fleet import Recalibration
from cryofw.simulator import ControllerSpec, LabSpec, MetricSpec, SimulatedLab
from cryofw.telemetry import CommandFailed
from cryofw.transport import PortOpener, SchemeOpener
from tests.flows.memory_room import signed
from tests.unit.rollout.perfect_lab import a_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from cryofw.image import Algorithm, PublicKey


def calibration(script: str, timeout_s: float = 20.0) -> LabCalibration:
    return LabCalibration([sys.executable, "-c", script, "c1"], timeout_s=timeout_s)


def test_a_command_that_exits_with_0_has_calibrated(tmp_path: Path) -> None:
    mark = tmp_path / "done"
    asyncio.run(calibration(f"import sys; open({str(mark)!r}, 'w').write(sys.argv[1])").calibrate())
    assert mark.read_text() == "c1"


@pytest.mark.parametrize(
    ("script", "timeout_s", "says"),
    [
        ("raise SystemExit('the bench is busy')", 20.0, "exit code 1: the bench is busy"),
        ("import time; time.sleep(60)", 0.2, "not done after 0.2 s"),
    ],
)
def test_a_command_that_fails_or_does_not_end(script: str, timeout_s: float, says: str) -> None:
    with pytest.raises(CommandFailed) as caught:
        asyncio.run(calibration(script, timeout_s).calibrate())
    assert says in caught.value.why


def test_devices_on_real_ports_run_the_command_and_simulated_ones_do_not() -> None:
    plan = a_plan()
    how = Recalibration(command=("no-such-program",))
    real = replace(
        plan.devices["a1"],
        recalibration=how,
        connection=replace(plan.devices["a1"].connection, port="/dev/ttyUSB9"),
    )
    devices = {
        "r1": replace(plan.devices["r1"], recalibration=how),
        "a1": real,
        "a2": replace(plan.devices["a2"], recalibration=Recalibration(device=True)),
    }
    plan = replace(plan, devices=devices)
    commands = calibration_commands(plan, Site(SystemClock(), PortOpener(), None))
    assert commands.keys() == {"r1", "a1"}
    assert all(isinstance(one, LabCalibration) for one in commands.values())


@pytest.fixture
def lab(
    image_keys: Mapping[Algorithm, tuple[PublicKey, Callable[[bytes], bytes]]],
) -> SimulatedLab:
    """One device whose readout is off by 3 dB until it is calibrated in its present boot."""
    public, sign = next(iter(image_keys.values()))
    image = signed("1.0.0", {"trim": {"metric": "snr", "by": -3.0}}, public, sign)
    spec = ControllerSpec("r1", slot_size=64 * 1024, metrics={"snr": MetricSpec(27.0, noise=0.0)})
    return SimulatedLab.in_memory(LabSpec((spec,)), factory_image=image, public_keys=[public])


def test_the_simulated_lab_answers_for_its_command(lab: SimulatedLab) -> None:
    plan = a_plan()
    device = replace(
        plan.devices["r1"], recalibration=Recalibration(command=("no-such-program", "r1"))
    )
    plan = replace(plan, devices={"r1": device})

    async def main() -> None:
        async with lab:
            clock = LabClock(lab)
            site = Site(clock, SchemeOpener({"sim": lab}), lab)
            (command,) = calibration_commands(plan, site).values()
            assert isinstance(command, SimulatedCalibration)
            assert lab.measure("r1")["snr"] == 24.0
            began_s = clock.monotonic()
            await command.calibrate()
            assert clock.monotonic() - began_s == 5.0
            assert lab.measure("r1")["snr"] == 27.0
            lab.power_cycle("r1")
            with pytest.raises(CalibrationBenchFailed, match="r1 was not calibrated"):
                await command.calibrate()
            assert lab.measure("r1") == {}
            await asyncio.sleep(10)
            assert lab.measure("r1")["snr"] == 24.0, "another boot, another calibration"

    run_virtual(main())
