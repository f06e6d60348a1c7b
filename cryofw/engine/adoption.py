"""Takes over devices as they are: reads each one, decides by the register, writes it down."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryofw.engine.lab_acts import write_lab_event
from cryofw.rollout.adoption import AdoptionRefused, KnownImage, adopt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryofw.engine.home import Home
    from cryofw.fleet import Controller
    from cryofw.image import PublicKey
    from cryofw.release import RecognisedImage
    from cryofw.rollout import History, Running
    from cryofw.rollout.adoption import AdoptionWish
    from cryofw.rollout.lab_events import DeviceAdopted

_ELSEWHERE = "end it first: its plan was made for the controller as it was"


@dataclass
class AdoptionReport:
    """What became of each device that was to be taken over.

    Attributes:
        adopted: what was written down.
        unchanged: devices of which everything was known already.
        refused: device to the reason why not.
        silent: device to the reason why it could not be asked.
    """

    adopted: list[DeviceAdopted] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    refused: dict[str, AdoptionRefused] = field(default_factory=dict)
    silent: dict[str, str] = field(default_factory=dict)


def images_at_hand(
    home: Home, history: History, hashes: Sequence[str], keys: Sequence[PublicKey]
) -> dict[str, KnownImage]:
    """Of the images that devices run, those that this host has as files, or was told about."""
    store = home.image_store(keys)
    found: dict[str, KnownImage] = {}
    for image in hashes:
        said = history.register.adopted_images.get(image)
        firmware = store.find(image)
        if firmware is not None:
            named = firmware.key_hash or (said.key_hash if said else "")
            found[image] = KnownImage(firmware, named)
        elif said is not None:
            found[image] = KnownImage(security_counter=said.security_counter)
    return found


def adopt_devices(
    home: Home,
    controllers: Sequence[Controller],
    answers: Mapping[str, Running],
    images: Mapping[str, KnownImage],
    files: Mapping[str, RecognisedImage],
    wish: AdoptionWish,
) -> AdoptionReport:
    """Take over each controller that answered; what was done stays done when another is refused.

    Args:
        answers: as `survey` gives them.
        images: hash to what is known of an image; files: hash to its file, to be kept.

    Raises:
        StorageLocked: another process writes the journal; nothing was done.
        JournalWriteFailed, StorageFailed: what was not written down was not done.
    """
    report = AdoptionReport()
    with home.open_journal(home.clock, wish.by) as journal:
        history = home.history()
        busy = _under_way(home, history)
        for controller in controllers:
            answer = answers[controller.name]
            if not answer.hash and not answer.refused:
                report.silent[controller.name] = answer.why
                continue
            try:
                _require_free(controller, answer, busy)
                known = images.get(answer.hash, KnownImage())
                event = adopt(controller, answer, history.register, known, wish)
            except AdoptionRefused as refusal:
                report.refused[controller.name] = refusal
                continue
            if event is None:
                report.unchanged.append(controller.name)
                continue
            if answer.hash in files:
                home.keep_adopted(files[answer.hash])
            record = write_lab_event(journal, event)
            history.register.take(record, event)
            report.adopted.append(event)
    return report


def _under_way(home: Home, history: History) -> dict[str, str]:
    """Device to the open rollout that it takes part in."""
    running = history.open_rollout
    if running is None:
        return {}
    return dict.fromkeys(home.load_plan(running).devices, running.rollout)


def _require_free(controller: Controller, answer: Running, busy: Mapping[str, str]) -> None:
    """It is settled, it is what fleet.yaml names, and no rollout is at work on it."""
    name = controller.name
    if name in busy:
        raise AdoptionRefused(
            f"{name} takes part in the open rollout {busy[name]}",
            why=_ELSEWHERE,
            hint=f"`cryofw abort {busy[name]}`, then adopt it",
        )
    if answer.refused:
        hint = "see to it, then adopt it"
        if controller.hw and "hardware id" in answer.why:
            hint = "fleet.yaml names its hardware id: correct it there, if it was replaced"
        raise AdoptionRefused(f"{name} cannot be taken over as it is", why=answer.why, hint=hint)
