"""`cryofw pin` and `unpin`: devices that a person leaves out of rollouts, by name."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import click

from cryofw.cli.deploy import fleet_option
from cryofw.cli.journalkey import sign_at_once
from cryofw.cli.operator import operator_name
from cryofw.cli.options import json_option, state_option
from cryofw.cli.output import Output, Status
from cryofw.cli.suggestion import did_you_mean
from cryofw.engine.home import Home
from cryofw.engine.lab_acts import say_of_lab
from cryofw.errors import BadInput, Refused, UsageError
from cryofw.fleet import load_fleet
from cryofw.image import Version
from cryofw.rollout.lab_events import DeviceExcluded, DevicePinned, DeviceUnpinned

if TYPE_CHECKING:
    from pathlib import Path

    from cryofw.rollout import History
    from cryofw.rollout.lab_events import LabEvent

why_option = click.option("--why", required=True, help="The reason, which plans will show.")


@click.command()
@click.argument("device")
@click.argument("version", required=False)
@click.option("--here", is_flag=True, help="Pin it to what it runs now, by the journal.")
@click.option("--exclude", is_flag=True, help="Leave it out of every rollout.")
@why_option
@fleet_option
@state_option
@json_option
def pin(
    device: str,
    version: str | None,
    here: bool,
    exclude: bool,
    why: str,
    fleet_path: Path,
    state: Path,
    as_json: bool,
) -> None:
    """Pin DEVICE to VERSION: rollouts of other versions leave it out, and their plans say so.

    Until `cryofw unpin`. Nothing is sent to it, also not by a `rollback`, which is refused while
    it is pinned. A device of an open rollout cannot be pinned to another version: end that first.
    """
    if [version is not None, here, exclude].count(True) != 1:
        raise UsageError("give a VERSION, or --here, or --exclude")
    _require_reason(why)
    _require_device(device, fleet_path)
    home = Home(state)
    who = operator_name()
    event: LabEvent
    if exclude:
        event = DeviceExcluded(device, who, why)
        _require_not_under_way(home, device, "")
        what = "from every rollout"
    else:
        to = _running_version(home.history(), device) if version is None else _version(version)
        event = DevicePinned(device, to, who, why)
        _require_not_under_way(home, device, to)
        what = f"to {to}"
    _say(home, event, device, "excluded" if exclude else "pinned", what, as_json=as_json)


@click.command()
@click.argument("device")
@why_option
@state_option
@json_option
def unpin(device: str, why: str, state: Path, as_json: bool) -> None:
    """Let DEVICE take part in every rollout again."""
    _require_reason(why)
    home = Home(state)
    pins = home.history().register.pins
    if device not in pins:
        raise BadInput(
            f"{device} is not pinned",
            why=f"pinned are: {', '.join(sorted(pins)) or 'none'}",
            hint=did_you_mean(device, list(pins)),
        )
    event = DeviceUnpinned(device, operator_name(), why)
    what = f"it was {pins[device].words}"
    _say(home, event, device, "unpinned", what, as_json=as_json)


def _say(home: Home, event: LabEvent, device: str, word: str, what: str, *, as_json: bool) -> None:
    who = operator_name()
    sign_at_once(home)
    told = say_of_lab(home, event, who, secrets.token_hex(4))
    output = Output()
    if as_json:
        pin = getattr(event, "version", None)
        output.json({"device": device, word: True, "version": pin, "by": who, "asked": bool(told)})
    elif told:
        output.status(Status.OK, "asked", told)
    else:
        output.status(Status.OK, word, f"{device} {what}  ({who})")


def _require_reason(why: str) -> None:
    if not why.strip():
        raise UsageError("this needs a reason", hint="--why TEXT: plans will show it")


def _require_device(device: str, fleet_path: Path) -> None:
    fleet = load_fleet(fleet_path)
    if device not in fleet.by_name:
        raise UsageError(
            f"no device {device!r} in {fleet_path}",
            hint=did_you_mean(device, list(fleet.by_name)),
        )


def _version(text: str) -> str:
    return str(Version.parse(text))


def _running_version(history: History, device: str) -> str:
    """The version that a device was last seen with.

    Raises:
        BadInput: the journal does not know it.
    """
    seen = history.devices.get(device)
    version = history.versions.get(seen.hash, "") if seen is not None and seen.hash else ""
    if not version:
        raise BadInput(
            f"the journal does not say which version {device} runs",
            hint=f"`cryofw adopt {device}` reads it; or name the VERSION",
        )
    return _version(version)


def _require_not_under_way(home: Home, device: str, version: str) -> None:
    """A rollout that is open was planned with its devices: they cannot be taken out of it.

    Raises:
        Refused: the device is one of them, and the rollout is of another version.
    """
    running = home.history().open_rollout
    if running is None:
        return
    plan = home.load_plan(running)
    if device in plan.devices and (not version or plan.release.version != version):
        raise Refused(
            f"{device} takes part in the open rollout {running.rollout} of {running.version}",
            why="a plan is not changed while it runs",
            hint=f"`cryofw abort {running.rollout}` takes back what is not confirmed; in an "
            "emergency `cryofw stop`. Then pin it",
        )
