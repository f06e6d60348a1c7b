"""What people said of a lab, as a plan takes it: who is left out, who is who, and what may follow.

Besides: the versions that a release may come from, and the cryofw that it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.errors import BadInput, Refused
from cryofw.release.version_range import VersionRange
from cryofw.rollout.lab_events import ImageStanding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.fleet import Controller, Fleet
    from cryofw.rollout.plan import Plan, PlannedDevice
    from cryofw.rollout.planner import Wish
    from cryofw.rollout.register import DeviceRegister


def left_out(
    fleet: Fleet, quarantined: Mapping[str, str], register: DeviceRegister, version: str
) -> dict[str, str]:
    """Who takes no part in a rollout of `version`, and why."""
    staged = {c.name for stage in fleet.stages for c in fleet.stage_controllers(stage)}
    left = {n: why for n, why in register.left_out(version).items() if n in fleet.by_name}
    left |= {n: f"in quarantine: {why}" for n, why in quarantined.items() if n in fleet.by_name}
    for controller in fleet.controllers:
        if controller.name not in staged:
            left[controller.name] = f"no stage has {controller.cryostat} among its targets"
    return left


def no_device_left(fleet: Fleet, stage: str, excluded: Mapping[str, str]) -> str:
    """Why a stage is empty: who was left out of it."""
    (planned,) = (one for one in fleet.stages if one.name == stage)
    names = [controller.name for controller in fleet.stage_controllers(planned)]
    why = ", ".join(f"{name} is {excluded[name]}" for name in names if name in excluded)
    return f"stage {stage} has no device left" + (f" ({why})" if why else "")


def identity_objections(controller: Controller, register: DeviceRegister) -> list[str]:
    """fleet.yaml and the adoption name the same controller."""
    adopted = register.pinned_hw(controller.name)
    if not adopted or not controller.hw or controller.hw == adopted:
        return []
    what = f"fleet.yaml names the hardware id {controller.hw}, it was adopted as {adopted}"
    hint = f"if it was replaced, `cryofw adopt {controller.name} --replace --why TEXT`"
    return [f"{controller.name}: {what}: {hint}"]


def range_objections(device: PlannedDevice, wish: Wish) -> list[str]:
    """The running version is one that the release may come from."""
    if not wish.from_versions or not device.running_hash:
        return []
    running = device.last_good.version if device.last_good else device.running_version
    if _lies_in(wish.from_versions, running):
        return []
    may = f"{wish.release.version} may come from {wish.from_versions} only"
    runs = running or "a version that it does not tell"
    return [f"{device.name}: {may}, it runs {runs}: bring it to one of these first"]


def _lies_in(versions: str, version: str) -> bool:
    """What a device calls its version may be no version: then it lies in no range."""
    try:
        return VersionRange.parse(versions).has(version)
    except BadInput:
        return False


def counter_objections(device: PlannedDevice, wish: Wish, register: DeviceRegister) -> list[str]:
    """Without its file, what a person said of the running image's security counter holds."""
    said = register.adopted_images.get(device.running_hash)
    if device.last_good is not None or said is None or said.security_counter is None:
        return []
    counter = wish.release.security_counter or 0
    if counter >= said.security_counter:
        return []
    below = f"security counter {counter} is below the running {said.security_counter}"
    return [f"{device.name}: {below}, as {said.by} said at its adoption"]


def no_file_words(device: PlannedDevice, register: DeviceRegister) -> str:
    """Why there is no way back to what a device runs."""
    running = f"{device.running_version} ({device.running_hash[:8]})"
    said = register.adopted_images.get(device.running_hash)
    if said is not None and said.image == ImageStanding.UNKNOWN:
        return (
            f"{device.name}: no way back after confirm: the file of {running} is unknown, as "
            f"{said.by} said at its adoption"
        )
    return f"{device.name}: no way back: no verified file of the running image {running}"


def host_objections(wish: Wish) -> list[str]:
    """This cryofw is one that the release needs."""
    if VersionRange.parse(wish.host_versions).has(wish.host):
        return []
    return [f"the release needs cryofw {wish.host_versions}, this is {wish.host}"]


def require_host(plan: Plan, host: str) -> None:
    """A plan is run by a cryofw that its release may be rolled out with.

    Raises:
        Refused: this one is not.
        BadInput: the plan's range is none.
    """
    if not VersionRange.parse(plan.host_versions).has(host):
        raise Refused(
            f"the release {plan.release.version} is not for this cryofw",
            why=f"the plan says host software {plan.host_versions}, this is cryofw {host}",
            hint="install a cryofw of that range, or deploy another release",
        )
