"""What a plan asks of bootloaders: whether they swap or overwrite, and what they unpack."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.image import Compression

if TYPE_CHECKING:
    from cryofw.fleet import Controller
    from cryofw.release import Firmware
    from cryofw.rollout.plan import PlannedDevice
    from cryofw.rollout.planner import Running


def bootloader_objections(
    device: PlannedDevice, controller: Controller, release: Firmware, answer: Running
) -> list[str]:
    """Why the bootloader of a device is not the one that the release or fleet.yaml asks for."""
    name, declared = controller.name, controller.bootloader
    found = []
    if None not in (answer.overwrites, declared.overwrites):
        words = {True: "overwrites", False: "swaps"}
        said, told = words[bool(declared.overwrites)], words[bool(answer.overwrites)]
        if said != told:
            found.append(f"{name}: fleet.yaml says that its bootloader {said}; it {told}")
    if not release.compression:
        return found
    if not Compression(release.compression).is_taken_by(declared.compressed):
        found.append(
            f"{name}: the image is compressed ({release.compression}), and fleet.yaml does not "
            f"say that its bootloader unpacks that: `bootloader: {{compressed: "
            f"{release.compression}}}`"
        )
    room = answer.primary_size or controller.slot_size
    if room is not None and release.unpacked_size > room:
        found.append(
            f"{name}: unpacked, the image has {release.unpacked_size} bytes; the slot has {room}"
        )
    way_back = device.last_good
    if way_back is not None and answer.slot_size and way_back.size > answer.slot_size:
        found.append(
            f"{name}: no way back: the plain file of the running image has {way_back.size} bytes, "
            f"the slot for uploads has {answer.slot_size}"
        )
    return found
