"""A simulated lab outlives its process: any command finds the devices as they were left."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from cryofw.engine.virtual_time import run_virtual
from cryofw.errors import BadInput, Refused
from cryofw.fleet import parse_fleet
from cryofw.image import Algorithm, PublicKey, parse_image
from cryofw.simulator import (
    ControllerSpec,
    LabSpec,
    MetricSpec,
    Mode,
    PullCable,
    ResetCause,
    ServerProfile,
    SimulatedLab,
    ThermalSpec,
    spec_of_fleet,
    storm,
)
from cryofw.smp import ClientConnection, Op, Request, Response
from cryofw.transport import PortUnavailable, StreamLost, UnknownPort

if TYPE_CHECKING:
    from pathlib import Path

Keys = Mapping[Algorithm, tuple[PublicKey, Callable[[bytes], bytes]]]
Make = Callable[..., bytes]

SPEC = LabSpec(
    (
        ControllerSpec("c1-a", cryostat="c1", hw=b"\x01\x02", metrics={"snr": MetricSpec(20.0)}),
        ControllerSpec("c1-b", cryostat="c1", profile=ServerProfile(stats={"s": ("t",)})),
    ),
    seed=7,
    stages={"c1": ThermalSpec(base_k=4.2)},
)


@pytest.fixture
def key(image_keys: Keys) -> PublicKey:
    return image_keys[Algorithm.ED25519][0]


@pytest.fixture
def directory(tmp_path: Path, key: PublicKey, simulated_image: Make) -> Path:
    image = simulated_image("1.0.0")
    SimulatedLab.create(tmp_path / "sim", SPEC, factory_image=image, public_keys=[key])
    return tmp_path / "sim"


class Client:
    """Asks a device through an open port."""

    def __init__(self, lab: SimulatedLab, name: str = "c1-a") -> None:
        self._lab = lab
        self._name = name
        self._connection = ClientConnection()

    async def ask(self, op: Op, group: int, command: int, **body: Any) -> dict[str, Any]:
        port = await self._lab.open(f"sim://{self._name}", baud=1_000_000)
        _, wire = self._connection.send(Request(op, group, command, body))
        await port.write(wire)
        try:
            while True:
                for event in self._connection.receive_data(await port.read()):
                    if isinstance(event, Response):
                        return dict(event.body)
        finally:
            await port.close()


def run(main: Callable[[SimulatedLab], Coroutine[Any, Any, Any]], directory: Path) -> Any:
    """Run `main` on the lab as a command would."""

    async def command() -> Any:
        async with SimulatedLab.load(directory) as lab:
            return await main(lab)

    return run_virtual(command())


async def heartbeat(lab: SimulatedLab) -> dict[str, Any]:
    return await Client(lab).ask(Op.READ, 64, 0)


def test_new_lab_has_been_running_for_an_hour(directory: Path, simulated_image: Make) -> None:
    beat = run(heartbeat, directory)
    assert beat["up"] >= 3_600_000
    assert beat["rst"] == ResetCause.POWER_ON
    assert beat["img"] == parse_image(simulated_image("1.0.0")).hash


def test_every_command_sees_the_same_devices(directory: Path) -> None:
    async def change(lab: SimulatedLab) -> dict[str, Any]:
        await Client(lab).ask(Op.WRITE, 64, 2, id=1)
        lab.stage("c1").deposit(100.0, lab.now_s())
        await Client(lab).ask(Op.WRITE, 64, 3)
        return await heartbeat(lab)

    before = run(change, directory)

    async def look(lab: SimulatedLab) -> tuple[Any, ...]:
        client = Client(lab)
        return (
            await heartbeat(lab),
            await client.ask(Op.READ, 64, 3),
            await client.ask(Op.READ, 64, 4),
            lab.stage("c1").rise_k(lab.now_s()),
        )

    after, safe, identity, rise_k = run(look, directory)
    assert after["boot"] == before["boot"]
    assert after["up"] >= before["up"]
    assert safe == {"safe": True}
    assert identity == {"hw": b"\x01\x02", "board": "cc40", "sn": "c1-a", "wdt": True}
    assert rise_k > 0


def test_description_survives(directory: Path) -> None:
    assert SimulatedLab.load(directory).spec == SPEC
    assert SimulatedLab.load(directory).spec.controllers[0].metrics == {"snr": MetricSpec(20.0)}


def test_one_process_at_a_time(directory: Path) -> None:
    async def second(_: SimulatedLab) -> None:
        with pytest.raises(Refused, match="in use"):
            SimulatedLab.load(directory).start()

    run(second, directory)
    run(heartbeat, directory)


def test_one_listener_per_line_and_cables_can_be_pulled(directory: Path) -> None:
    async def main(lab: SimulatedLab) -> None:
        port = await lab.open("sim://c1-a", baud=115200)
        with pytest.raises(PortUnavailable):
            await lab.open("sim://c1-a", baud=115200)
        with pytest.raises(UnknownPort):
            await lab.open("sim://nobody", baud=115200)
        reading = asyncio.ensure_future(port.read())
        await asyncio.sleep(0)
        lab.inject("c1-a", PullCable(0.05))
        with pytest.raises(StreamLost):
            await reading
        with pytest.raises(StreamLost):
            await port.write(b"x")
        with pytest.raises(PortUnavailable):
            await lab.open("sim://c1-a", baud=115200)

    run(main, directory)


def test_power_cycle_and_scheduled_faults(directory: Path) -> None:
    async def main(lab: SimulatedLab) -> Mode:
        lab.power_cycle("c1-a", off_s=1000)
        lab.schedule(storm(3, lab.names, duration_s=0.001, count=5, names=["cable-pulled"]))
        await asyncio.sleep(0.01)
        assert any(lab.controller(name).line.is_unplugged for name in lab.names)
        return lab.controller("c1-a").ram.mode

    assert run(main, directory) is Mode.OFF


def test_nothing_happens_after_the_lab_is_closed(directory: Path) -> None:
    async def main() -> None:
        complaints: list[Any] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        lab = SimulatedLab.load(directory)
        lab.start()
        lab.schedule(storm(3, lab.names, duration_s=0.02, count=5))
        port = await lab.open("sim://c1-a", baud=115200)
        request = Request(Op.WRITE, 0, 5)
        await port.write(ClientConnection().send(request)[1])
        lab.close()
        with pytest.raises(StreamLost):
            await port.read()
        await asyncio.sleep(0.4)  # the reset would come now
        assert complaints == []

    run_virtual(main())


def test_unusable_files_are_refused(directory: Path) -> None:
    shutil.rmtree(directory / "devices")
    (directory / "devices").write_text("no directory")
    with pytest.raises(Refused, match="cannot be used"):
        run(heartbeat, directory)


def test_factory_image_must_boot(tmp_path: Path, image_keys: Keys, simulated_image: Make) -> None:
    other = image_keys[Algorithm.ECDSA_P256][0]
    with pytest.raises(BadInput, match="factory image"):
        SimulatedLab.create(
            tmp_path / "sim", SPEC, factory_image=simulated_image("1.0.0"), public_keys=[other]
        )
    assert not (tmp_path / "sim").exists()


def test_factory_image_must_fit_with_its_trailer(key: PublicKey, simulated_image: Make) -> None:
    image = simulated_image("1.0.0")
    tight = LabSpec((ControllerSpec("c1-a", slot_size=8192, sector_size=4096),))
    with pytest.raises(BadInput, match="factory image"):
        SimulatedLab.in_memory(tight, factory_image=image, public_keys=[key])
    small = LabSpec((ControllerSpec("c1-a", slot_size=16384, sector_size=4096),))
    assert SimulatedLab.in_memory(small, factory_image=image, public_keys=[key]).names == ("c1-a",)


@pytest.mark.parametrize(
    "controllers",
    [
        (ControllerSpec("../c1-a"),),
        (ControllerSpec(""),),
        (ControllerSpec("c1-a"), ControllerSpec("c1-a")),
        (ControllerSpec("c1-a", cryostat="a/b"),),
    ],
)
def test_names_stand_for_files(
    tmp_path: Path,
    key: PublicKey,
    simulated_image: Make,
    controllers: tuple[ControllerSpec, ...],
) -> None:
    image = simulated_image("1.0.0")
    with pytest.raises(BadInput, match="name"):
        SimulatedLab.create(
            tmp_path / "sim", LabSpec(controllers), factory_image=image, public_keys=[key]
        )
    assert list(tmp_path.iterdir()) == []


FLEET = """
schema: cryofw.fleet/v1
lab: delft-b12
board: cc40
defaults:
  reset: watchdog
  thermal: {stage: 4k, capacity: 1.5 W, headroom: 80 %, flash: 60 mW, max_rise: 150 mK}
stages:
  - {name: rig, targets: [rig-1], soak: 10 min}
  - {name: fleet, targets: [cryo-1], soak: 10 min}
cryostats:
  rig-1: {controllers: {rig-a: {port: "sim://rig-a", hw: "5a31"}}}
  cryo-1:
    controllers:
      c1-a: {port: "sim://c1-a"}
      c1-b: {port: /dev/ttyUSB7, reset: {hook: ["true"]}}
"""


def test_the_simulated_controllers_of_a_fleet(
    tmp_path: Path, key: PublicKey, simulated_image: Make
) -> None:
    spec = spec_of_fleet(parse_fleet(FLEET, "fleet.yaml"))
    rig, canary = spec.controllers
    assert (rig.name, rig.hw, rig.board, rig.cryostat) == ("rig-a", b"\x5a\x31", "cc40", "rig-1")
    assert (canary.name, canary.hw, canary.watchdog) == ("c1-a", b"", True)
    assert spec.stages["cryo-1"].flash_w == pytest.approx(0.06)
    image = simulated_image("1.0.0")
    lab = SimulatedLab.create(tmp_path / "sim", spec, factory_image=image, public_keys=[key])
    assert lab.names == ("rig-a", "c1-a")
    assert lab.spec == spec


def test_a_lab_is_not_overwritten(directory: Path, key: PublicKey, simulated_image: Make) -> None:
    with pytest.raises(Refused, match="already"):
        SimulatedLab.create(
            directory, SPEC, factory_image=simulated_image("2.0.0"), public_keys=[key]
        )


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("lab.json", b"{"),
        ("lab.json", b'{"schema": "cryofw.simulated-lab/v9"}'),
        ("lab.json", b'{"schema": "cryofw.simulated-lab/v1", "seed": 1}'),
        ("devices/c1-a.json", b"nonsense"),
        ("devices/c1-a.json", b'{"mode": "flying"}'),
        ("stages/c1.json", b"[1]"),
        ("stages/c1.json", b'{"rise_k": "warm"}'),
    ],
)
def test_damaged_files_are_bad_input(directory: Path, file: str, content: bytes) -> None:
    run(heartbeat, directory)
    (directory / file).write_bytes(content)
    with pytest.raises(BadInput):
        run(heartbeat, directory)


def test_no_lab(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no simulated lab"):
        SimulatedLab.load(tmp_path)


KILLED = """
import asyncio, sys
from pathlib import Path
from cryofw.simulator import SimulatedLab
from cryofw.smp import ClientConnection, Op, Request

async def main():
    image = Path(sys.argv[2]).read_bytes()
    async with SimulatedLab.load(Path(sys.argv[1])) as lab:
        port = await lab.open("sim://c1-a", baud=0)
        client = ClientConnection()
        for offset in range(0, len(image) - 200, 200):
            body = {"off": offset, "data": image[offset : offset + 200]}
            if not offset:
                body |= {"len": len(image), "sha": b"x"}
            await port.write(client.send(Request(Op.WRITE, 1, 1, body))[1])
            print(offset, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def test_kill_9_in_an_upload(directory: Path, tmp_path: Path, simulated_image: Make) -> None:
    image = simulated_image("1.1.0")
    (tmp_path / "image.bin").write_bytes(image)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(directory), str(tmp_path / "image.bin")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process, process.stdout:
        last = 0
        for line in process.stdout:
            last = int(line)
            if last >= 800:
                break
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)

    async def go_on(lab: SimulatedLab) -> int:
        body = {"off": 0, "data": image[:200], "len": len(image), "sha": b"x"}
        return int((await Client(lab).ask(Op.WRITE, 1, 1, **body))["off"])

    assert run(go_on, directory) >= last + 200


def test_thousands_of_devices_fit_in_memory(key: PublicKey, simulated_image: Make) -> None:
    spec = LabSpec(tuple(ControllerSpec(f"d{i}", cryostat=f"c{i % 50}") for i in range(2000)))
    lab = SimulatedLab.in_memory(spec, factory_image=simulated_image("1.0.0"), public_keys=[key])

    async def main() -> list[dict[str, Any]]:
        async with lab:
            return [await Client(lab, name).ask(Op.READ, 64, 4) for name in ("d0", "d999", "d1999")]

    assert [one["sn"] for one in run_virtual(main())] == ["d0", "d999", "d1999"]
