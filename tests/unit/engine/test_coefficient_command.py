"""The lab's command for coefficients: what it gets, what it may print, and how it fails."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from cryofw.engine.coefficient_command import (
    CoefficientCommandFailed,
    LabCommand,
    SimulatedCommand,
)
from cryofw.engine.virtual_time import run_virtual
from cryofw.image import Algorithm, ImageOptions, Payload, Version, attach, build_image
from cryofw.release import CoefficientType
from cryofw.simulator import ControllerSpec, LabSpec, SimulatedLab
from cryofw.telemetry import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from cryofw.image import PublicKey

GAIN, TAPS = "readout/gain", "readout/taps"
TYPES = {GAIN: CoefficientType.F32, TAPS: CoefficientType.I16}

# A command as a lab may have it: its database is a file, its last argument the verb.
SCRIPT = """\
import json, pathlib, sys
path, controller, verb = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
asked = json.load(sys.stdin)
assert asked["controller"] == controller
rows = json.loads(path.read_text())
if verb == "read":
    print(json.dumps({name: rows.get(name) for name in asked["coefficients"]}))
else:
    for name, one in asked["coefficients"].items():
        assert one["type"] in ("f32", "i16")
        rows[name] = one["value"]
    path.write_text(json.dumps({n: v for n, v in rows.items() if v is not None}))
"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "database.json"
    path.write_text(json.dumps({GAIN: 1}))
    return path


def lab_command(database: Path, script: str = SCRIPT) -> LabCommand:
    return LabCommand([sys.executable, "-c", script, str(database), "c1-a"], "c1-a", TYPES)


def test_read_set_and_restore(database: Path) -> None:
    command = lab_command(database)
    before = asyncio.run(command.read([GAIN, TAPS]))
    assert before == {GAIN: bytes.fromhex("0000803f"), TAPS: None}

    wanted = {GAIN: bytes.fromhex("66660640"), TAPS: bytes.fromhex("0100feff")}
    asyncio.run(command.set(wanted))
    assert json.loads(database.read_text()) == {GAIN: 2.1, TAPS: [1, -2]}
    assert asyncio.run(command.read([GAIN, TAPS])) == wanted

    asyncio.run(command.restore(before))
    assert json.loads(database.read_text()) == {GAIN: 1.0}


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("print('[1]')", "not an object of coefficients"),
        ('print(\'{"readout/gain": "much"}\')', "readout/gain is no f32: expected a number"),
        ("print('{\"readout/gain\": NaN}')", "not a finite number"),
    ],
)
def test_what_is_no_coefficient(database: Path, script: str, why: str) -> None:
    with pytest.raises(CoefficientCommandFailed) as caught:
        asyncio.run(lab_command(database, script).read([GAIN]))
    assert why in caught.value.why


def test_a_command_that_fails_says_why(database: Path) -> None:
    command = lab_command(database, "import sys; sys.exit('the bridge is off')")
    with pytest.raises(CommandFailed) as caught:
        asyncio.run(command.set({GAIN: b"\x00" * 4}))
    assert "the bridge is off" in caught.value.why


def test_the_simulated_lab_stands_in_for_it(
    image_keys: Mapping[Algorithm, tuple[PublicKey, Callable[[bytes], bytes]]],
) -> None:
    key, sign = image_keys[Algorithm.ED25519]
    options = ImageOptions(version=Version.parse("1.0.0"), pad_header=True)
    unsigned = build_image(Payload(bytes(2000)), options)
    image = attach(unsigned, key, sign(unsigned.to_sign(key.algorithm)))
    spec = LabSpec((ControllerSpec("c1-a", settings={GAIN: 1.0}),))
    lab = SimulatedLab.in_memory(spec, factory_image=image, public_keys=[key])

    async def script() -> Any:
        async with lab:
            command = SimulatedCommand(lab.controller("c1-a"))
            before = await command.read([GAIN, TAPS])
            await command.set({GAIN: bytes.fromhex("00000040")})
            lab.power_cycle("c1-a")
            await asyncio.sleep(5)
            after = await command.read([GAIN, TAPS])
            await command.restore(before)
            return before, after, await command.read([GAIN])

    before, after, restored = run_virtual(script())
    assert before == {GAIN: bytes.fromhex("0000803f"), TAPS: None}
    assert after == {GAIN: bytes.fromhex("00000040"), TAPS: None}
    assert restored == {GAIN: before[GAIN]}
