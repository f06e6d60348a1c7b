"""Taking over a device as it is: who it is, what it runs, and what is known of that image. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cryofw.errors import Refused
from cryofw.rollout.lab_events import DeviceAdopted, ImageStanding

if TYPE_CHECKING:
    from cryofw.fleet import Controller
    from cryofw.release import Firmware
    from cryofw.rollout.planner import Running
    from cryofw.rollout.register import DeviceRegister


class AdoptionRefused(Refused):
    """A device is not taken over as it is; nothing was recorded of it."""


@dataclass(frozen=True, slots=True)
class KnownImage:
    """What is known of the image behind a hash.

    Attributes:
        firmware: of the file at hand; None if there is none.
        names_key: hex hash of the key that the file names.
        security_counter: what a person says, without a file.
    """

    firmware: Firmware | None = None
    names_key: str = ""
    security_counter: int | None = None

    @property
    def standing(self) -> ImageStanding:
        """Who vouches for it."""
        if self.firmware is None:
            return ImageStanding.UNKNOWN
        return ImageStanding.VERIFIED if self.firmware.key_hash else ImageStanding.FOREIGN


@dataclass(frozen=True, slots=True)
class AdoptionWish:
    """What a person asks for.

    Attributes:
        by: who; why: the reason, if they gave one.
        replaced: the devices whose controllers were replaced, as they say.
    """

    by: str
    why: str = ""
    replaced: frozenset[str] = frozenset()


def adopt(
    controller: Controller,
    answer: Running,
    register: DeviceRegister,
    image: KnownImage,
    wish: AdoptionWish,
) -> DeviceAdopted | None:
    """The record that takes a device over; None if it says nothing that is not known already.

    Args:
        controller: as fleet.yaml has it.
        answer: what the device answered; it is the device of fleet.yaml, and settled.
        register: the lab as it is known.
        image: what is known of the image that it runs.

    Raises:
        AdoptionRefused: it is another controller than before, or somebody else's.
    """
    event = DeviceAdopted(
        device=controller.name,
        by=wish.by,
        hash=answer.hash,
        version=image.firmware.version if image.firmware else answer.version,
        image=image.standing.value,
        why=wish.why,
        hw=answer.hw,
        board=answer.board,
        serial=answer.serial,
        port=controller.port,
        security_counter=(
            image.firmware.security_counter if image.firmware else image.security_counter
        ),
        file_sha256=image.firmware.file_sha256 if image.firmware else "",
        key_hash=image.names_key,
    )
    _require_free(event, register, wish)
    event = replace(event, replaces=_replaced(event, register, wish))
    before = register.adoptions.get(controller.name)
    return None if before is not None and _same(before.event, event) else event


def _require_free(event: DeviceAdopted, register: DeviceRegister, wish: AdoptionWish) -> None:
    """No other device has this hardware, unless that one has another now as well."""
    other = register.device_with(event.hw)
    if other and other != event.device and not {other, event.device} <= wish.replaced:
        raise AdoptionRefused(
            f"{event.device}: the controller on its port is known as {other}",
            why=f"hardware id {event.hw}",
            hint="are cables swapped? If they changed places for good: "
            f"`cryofw adopt {event.device} {other} --replace --why TEXT`",
        )


def _replaced(event: DeviceAdopted, register: DeviceRegister, wish: AdoptionWish) -> str | None:
    """The hardware id of the controller that it takes the place of; None if it takes no place."""
    known = register.hardware.get(event.device, "")
    before = register.adoptions.get(event.device)
    serial = before.event.serial if before else ""
    differs = bool(known) and known != event.hw
    differs = differs or (bool(serial) and serial != event.serial)
    if not differs:
        return None
    if event.device not in wish.replaced:
        was = f"hardware id {known or 'none'}" + (f", serial number {serial}" * bool(serial))
        now = f"hardware id {event.hw or 'none'}" + (
            f", serial number {event.serial}" * bool(event.serial)
        )
        raise AdoptionRefused(
            f"{event.device} is another controller than before",
            why=f"known is {was}; {now} answers",
            hint="are cables swapped? If it was replaced: "
            f"`cryofw adopt {event.device} --replace --why TEXT`",
        )
    return known


def _same(before: DeviceAdopted, now: DeviceAdopted) -> bool:
    """Nothing of what is known has changed; who says it again, and why, does not matter."""
    return now.replaces is None and before == replace(
        now, by=before.by, why=before.why, replaces=before.replaces, port=before.port
    )
