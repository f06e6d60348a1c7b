"""Which controllers a lab has, as people took them over, replaced and left them out. A fold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryofw.rollout import events as e
from cryofw.rollout import lab_events as lab

if TYPE_CHECKING:
    from cryofw.journal import Record


@dataclass(frozen=True, slots=True)
class Pin:
    """Why a device takes no part in rollouts of other versions; of none, if `version` is empty."""

    version: str
    by: str
    why: str
    since: str

    def admits(self, version: str) -> bool:
        """Whether the device takes part in a rollout of `version`."""
        return bool(self.version) and self.version == version

    @property
    def words(self) -> str:
        """For people."""
        what = f"pinned to {self.version}" if self.version else "excluded from every rollout"
        return f"{what} by {self.by}: {self.why}"


@dataclass(frozen=True, slots=True)
class Adoption:
    """A device as it was taken over, when, and by whom."""

    event: lab.DeviceAdopted
    since: str

    @property
    def image(self) -> lab.ImageStanding:
        """What is known of the image that ran then."""
        return lab.ImageStanding(self.event.image)

    @property
    def words(self) -> str:
        """For people."""
        said = {
            lab.ImageStanding.VERIFIED: "its image is at hand, and verified",
            lab.ImageStanding.FOREIGN: "its image is at hand, a foreign one: known by its hash",
            lab.ImageStanding.UNKNOWN: "its image is unknown: no way back after confirm",
        }
        return f"adopted by {self.event.by}: {said[self.image]}"


@dataclass(frozen=True, slots=True)
class Replacement:
    """A controller that was taken out, by its hardware id, and who said so."""

    device: str
    hw: str
    by: str
    why: str
    until: str


@dataclass(slots=True)
class DeviceRegister:
    """Folded from the records of a journal, oldest first.

    Attributes:
        hardware: device to the hardware id that is known of it: as adopted, else as last checked.
        adopted_images: image hash to what was said of it last, by whichever device.
    """

    adoptions: dict[str, Adoption] = field(default_factory=dict)
    pins: dict[str, Pin] = field(default_factory=dict)
    hardware: dict[str, str] = field(default_factory=dict)
    replaced: list[Replacement] = field(default_factory=list)
    adopted_images: dict[str, lab.DeviceAdopted] = field(default_factory=dict)

    def take(self, record: Record, event: e.Event) -> None:
        """Fold one record."""
        match event:
            case lab.DeviceAdopted():
                self._adopt(record, event)
            case lab.DevicePinned():
                self.pins[event.device] = Pin(event.version, event.by, event.why, record.t)
            case lab.DeviceExcluded():
                self.pins[event.device] = Pin("", event.by, event.why, record.t)
            case lab.DeviceUnpinned():
                self.pins.pop(event.device, None)
            case e.DeviceChecked() if event.hw and event.device not in self.adoptions:
                self.hardware[event.device] = event.hw
            case _:
                pass

    def _adopt(self, record: Record, event: lab.DeviceAdopted) -> None:
        if event.replaces is not None:
            old = Replacement(event.device, event.replaces, event.by, event.why, record.t)
            self.replaced.append(old)
        self.adoptions[event.device] = Adoption(event, record.t)
        self.hardware[event.device] = event.hw
        known = self.adopted_images.get(event.hash)
        if known is None or event.image != lab.ImageStanding.UNKNOWN or not known.file_sha256:
            self.adopted_images[event.hash] = event

    def pinned_hw(self, device: str) -> str:
        """The hardware id that a device was adopted with; empty if it was not, or tells none."""
        adoption = self.adoptions.get(device)
        return adoption.event.hw if adoption else ""

    def pinned_serial(self, device: str) -> str:
        """The same of its serial number."""
        adoption = self.adoptions.get(device)
        return adoption.event.serial if adoption else ""

    def device_with(self, hw: str) -> str:
        """The device that has a hardware id; empty if none has."""
        return next((name for name, known in self.hardware.items() if hw and known == hw), "")

    def foreign_files(self) -> dict[str, str]:
        """Image hash to the hex SHA-256 of its file, of the foreign images that were adopted."""
        return {
            image: event.file_sha256
            for image, event in self.adopted_images.items()
            if event.image == lab.ImageStanding.FOREIGN
        }

    def left_out(self, version: str) -> dict[str, str]:
        """Who takes no part in a rollout of `version`, and why."""
        return {name: pin.words for name, pin in self.pins.items() if not pin.admits(version)}
