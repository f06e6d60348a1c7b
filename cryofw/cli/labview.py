"""What people said of a device, as `inventory` shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.rollout.lab_events import ImageStanding

if TYPE_CHECKING:
    from cryofw.rollout.register import DeviceRegister

_NOTES = {
    ImageStanding.VERIFIED: "",
    ImageStanding.FOREIGN: "foreign image, at hand",
    ImageStanding.UNKNOWN: "image unknown: no way back after confirm",
}


def lab_fields(register: DeviceRegister, device: str) -> dict[str, object]:
    """For programs: whose hardware it is, who took it over, who left it out, what was before."""
    adoption, pin = register.adoptions.get(device), register.pins.get(device)
    return {
        "hw": register.hardware.get(device) or None,
        "adopted": {
            "by": adoption.event.by,
            "since": adoption.since,
            "why": adoption.event.why,
            "board": adoption.event.board,
            "serial": adoption.event.serial,
            "hash": adoption.event.hash,
            "version": adoption.event.version,
            "security_counter": adoption.event.security_counter,
            "image": adoption.event.image,
            "key_hash": adoption.event.key_hash or None,
        }
        if adoption
        else None,
        "pinned": {
            "version": pin.version or None,
            "by": pin.by,
            "since": pin.since,
            "why": pin.why,
        }
        if pin
        else None,
        "replaced": [
            {"hw": one.hw or None, "until": one.until, "by": one.by, "why": one.why}
            for one in register.replaced
            if one.device == device
        ],
    }


def lab_note(register: DeviceRegister, device: str, running: str) -> str:
    """For people: what they should know before they deploy.

    Args:
        running: hash of the image that it runs.
    """
    pin, said = register.pins.get(device), register.adopted_images.get(running)
    notes = [pin.words if pin else "", _NOTES[ImageStanding(said.image)] if said else ""]
    return "; ".join(filter(None, notes))
