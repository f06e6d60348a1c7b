"""`cryofw sim`: a simulated lab, behind `sim://` ports or served on ptys."""

from __future__ import annotations

import asyncio
import contextlib
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cryofw.cli.deploy import fleet_option
from cryofw.cli.file import read_file
from cryofw.cli.gameday import gameday
from cryofw.cli.keychoice import trusted_image_keys
from cryofw.cli.options import PATH, keyring_option, state_option
from cryofw.cli.output import Output, Status
from cryofw.cli.reproduce import reproduce

if TYPE_CHECKING:
    from cryofw.simulator import LabSpec, SimulatedLab


HAPPENINGS = ("warm-up", "fridge", "experiment", "no-thermometer")


@click.group()
def sim() -> None:
    """A simulated lab: bootloaders, flash, heat and noise, but no cryostat."""


sim.add_command(gameday)
sim.add_command(reproduce)


@sim.command("create")
@click.option("--factory", type=PATH, required=True, help="Signed image that every device runs.")
@fleet_option
@keyring_option
@state_option
def sim_create(factory: Path, fleet_path: Path, keyring: Path, state: Path) -> None:
    """Make the simulated devices of fleet.yaml, each running the FACTORY image, confirmed.

    Their flash lies in the state directory, so that every later command sees the same devices.
    Their bootloaders trust the image keys of the keyring, and have the private key that
    CRYOFW_DECRYPTION_KEY names, if it does.
    """
    from cryofw.engine.home import Home
    from cryofw.errors import BadInput
    from cryofw.fleet import load_fleet
    from cryofw.simulator import SimulatedLab, spec_of_fleet

    fleet = load_fleet(fleet_path)
    keys = list(trusted_image_keys((), keyring).values())
    data = read_file(factory, "factory image")
    spec = spec_of_fleet(fleet)
    if not spec.controllers:
        raise BadInput(f"{fleet_path} has no sim:// port", hint="name one as port: sim://NAME")
    firmware = Home(state).image_store(keys).add(data)
    spec, inner = _with_decryption_key(spec), _as_in_primary_slot(data)
    SimulatedLab.create(state / "sim", spec, factory_image=inner, public_keys=keys)
    count = f"{len(spec.controllers)} controllers in {len(spec.stages)} cryostats"
    Output().status(Status.OK, "created", f"{count}, each running {firmware.version}")


def _with_decryption_key(spec: LabSpec) -> LabSpec:
    """Give every bootloader the devices' key of this host, if there is one."""
    from cryofw.keys import HostDecryptionKey

    key = HostDecryptionKey().load()
    if key is None:
        return spec
    controllers = (
        replace(one, bootloader=replace(one.bootloader, decryption_key=key.pem))
        for one in spec.controllers
    )
    return replace(spec, controllers=tuple(controllers))


def _as_in_primary_slot(data: bytes) -> bytes:
    """An image, encrypted or not, as a programmer writes it: plain."""
    from cryofw.image import Body, body_of, decrypted, parse_image
    from cryofw.keys import HostDecryptionKey

    image = parse_image(data)
    return decrypted(image, HostDecryptionKey()).data if body_of(image) is Body.ENCRYPTED else data


@sim.command("serve")
@click.option("--dir", "directory", type=PATH, default=Path("ports"), show_default=True)
@click.option("--baud", type=int, default=115_200, show_default=True, help="0: as fast as it goes.")
@state_option
def sim_serve(directory: Path, baud: int, state: Path) -> None:
    """Put every simulated device on a pty, DIR/NAME, in real time, until Ctrl-C.

    Any SMP client can talk to them. `cryofw sim power-cycle` is their power switch.
    """
    from cryofw.simulator import SimulatedLab

    lab = SimulatedLab.load(state / "sim")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(lab, directory, baud))
    Output().status(Status.NOTHING, "closed", "the devices keep what they know")


async def _serve(lab: SimulatedLab, directory: Path, baud: int) -> None:
    from cryofw.simulator.serve import serve

    def ready() -> None:
        output = Output()
        output.status(Status.RUNNING, "serving", f"{len(lab.names)} devices in {directory}/")
        for name in lab.names:
            output.line(f"  {directory / name}")

    async with lab:
        await serve(lab, directory, baud=baud, on_ready=ready)


@sim.command("power-cycle")
@click.argument("device")
@click.option("--dir", "directory", type=PATH, default=Path("ports"), show_default=True)
def sim_power_cycle(device: str, directory: Path) -> None:
    """Cycle the power of a DEVICE that `cryofw sim serve` serves, as a PDU would."""
    from cryofw.simulator.control import SOCKET_NAME, send_order

    send_order(directory / SOCKET_NAME, "power-cycle", device)
    Output().status(Status.OK, "cycled", device)


@sim.command("fault")
@click.argument("device")
@click.argument("fault")
@click.option("--dir", "directory", type=PATH, default=Path("ports"), show_default=True)
def sim_fault(device: str, fault: str, directory: Path) -> None:
    """Let a FAULT act on a DEVICE that `cryofw sim serve` serves, such as `hang`."""
    from cryofw.simulator.control import SOCKET_NAME, send_order

    send_order(directory / SOCKET_NAME, "fault", device, fault)
    Output().status(Status.OK, "injected", f"{fault} on {device}")


@sim.command("cryostat")
@click.argument("cryostat")
@click.argument("happening", type=click.Choice(HAPPENINGS))
@click.argument("value", default="")
@click.option("--after", "after_s", type=float, default=0.0, help="Seconds of the lab until then.")
@click.option("--for", "for_s", type=float, help="Seconds that it lasts. [default: for ever]")
@state_option
def sim_cryostat(
    cryostat: str, happening: str, value: str, after_s: float, for_s: float | None, state: Path
) -> None:
    """Let something happen to a simulated CRYOSTAT, counted on the lab's own clock.

    warm-up VALUE watts; fridge in the state VALUE; experiment of the owner VALUE; no-thermometer.
    The lab's clock runs only while a command uses the lab.
    """
    from cryofw.errors import UsageError
    from cryofw.simulator import Happening, SimulatedLab

    what = Happening(happening)
    lab = SimulatedLab.load(state / "sim")
    known = sorted({one.cryostat for one in lab.spec.controllers})
    if cryostat not in known:
        raise UsageError(f"no cryostat {cryostat!r}", why=f"the lab has {', '.join(known)}")
    if what is Happening.WARM_UP and not _is_number(value):
        raise UsageError("a warm-up needs its watts", hint=f"sim cryostat {cryostat} warm-up 10")
    if what in (Happening.FRIDGE, Happening.EXPERIMENT) and not value:
        raise UsageError(f"{what} needs a value", hint=f"sim cryostat {cryostat} {what} NAME")
    if after_s < 0 or (for_s is not None and for_s <= 0):
        raise UsageError("times are seconds from now on")

    async def happen() -> None:
        async with lab:
            lasts_s = math.inf if for_s is None else for_s
            lab.climate.let_happen(what, cryostat, value, after_s=after_s, for_s=lasts_s)

    asyncio.run(happen())
    lasts = "for ever" if for_s is None else f"for {for_s:g} s"
    Output().status(Status.OK, "set", f"{cryostat}: {what} {value} in {after_s:g} s, {lasts}")


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
