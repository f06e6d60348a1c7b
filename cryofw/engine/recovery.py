"""The last resort for one device: written down, then done, then read back, then written down."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryofw.engine.lab_acts import write_lab_event
from cryofw.engine.log_shelf import LogShelf
from cryofw.errors import CryofwError, Refused
from cryofw.rollout import connection_of, step_from_record
from cryofw.rollout import events as e
from cryofw.rollout import recovery_events as rec
from cryofw.rollout.lab_events import DeviceAdopted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from cryofw.device import RecoveryReport
    from cryofw.engine.home import Home
    from cryofw.engine.site import Site
    from cryofw.fleet import Controller
    from cryofw.image import PublicKey
    from cryofw.journal import Record
    from cryofw.release import Firmware

LAST_GOOD, GIVEN = "last-good", "given"

_RAN = (
    e.DeviceChecked,
    e.DeviceSkipped,
    e.ImageConfirmed,
    e.DeviceReverted,
    e.DeviceRolledBack,
    DeviceAdopted,
    rec.DeviceRecovered,
)


@dataclass(frozen=True)
class RecoveryImage:
    """What a device is to be given: a plain file, and how it was chosen."""

    firmware: Firmware
    data: bytes = field(repr=False)
    chosen: str


@dataclass(frozen=True)
class RecoveryWish:
    """Who wants it, why, and with what proof."""

    by: str
    why: str = ""
    proof: Mapping[str, object] = field(default_factory=dict)


def last_good_hash(records: Iterable[Record], device: str) -> str:
    """The last image that provably ran well on a device; empty if the journal knows none."""
    found = ""
    for record in records:
        step = step_from_record(record) if record.device == device else None
        if isinstance(step, _RAN):
            found = step.hash
    return found


def last_good_image(
    home: Home, records: Sequence[Record], device: str, keys: Sequence[PublicKey]
) -> RecoveryImage:
    """The file of that image.

    Raises:
        Refused: the journal knows none, or its file is not at hand.
    """
    image, store = last_good_hash(records, device), home.image_store(keys)
    hint = f"give the file: `cryofw recover {device} --image FILE`"
    if not image:
        raise Refused(
            f"the journal knows no image that ran well on {device}",
            why="nobody adopted it, and no rollout read it",
            hint=hint,
        )
    firmware = store.find(image)
    if firmware is None:
        raise Refused(
            f"the last good image of {device} is not at hand",
            why=f"it ran {image[:16]}, and no file in the state directory has that hash",
            hint=hint,
        )
    return RecoveryImage(firmware, store.load_way_back(image), LAST_GOOD)


def given_image(home: Home, data: bytes, keys: Sequence[PublicKey]) -> RecoveryImage:
    """An image that a person names: signed by a key of ours; unpacked, if it is compressed.

    Raises:
        ImageRejected: it does not verify.
    """
    store = home.image_store(keys)
    firmware = store.add(data)
    plain = store.load(firmware.hash)
    found = store.find(firmware.hash)
    assert found is not None
    return RecoveryImage(found, plain, GIVEN)


def require_fit(controller: Controller, image: RecoveryImage) -> None:
    """The image is for this board, and fits the slot, as far as fleet.yaml says.

    Raises:
        Refused: it is not, or does not.
    """
    firmware, slot_size = image.firmware, controller.slot_size
    if firmware.board and controller.board != firmware.board:
        raise Refused(
            f"the image is not for {controller.name}",
            why=f"it is for board {firmware.board}, this is {controller.board}",
            hint="give the image of its board with --image FILE",
        )
    if slot_size is not None and firmware.size > slot_size:
        raise Refused(
            f"the image does not fit {controller.name}",
            why=f"{firmware.size} bytes, the slot has {slot_size}",
            hint="give another with --image FILE",
        )


def require_free(home: Home, device: str) -> None:
    """No open rollout is at work on it.

    Raises:
        Refused: one is.
    """
    running = home.history().open_rollout
    if running is not None and device in home.load_plan(running).devices:
        raise Refused(
            f"{device} takes part in the open rollout {running.rollout}",
            why=running.why or f"it is {running.word}",
            hint=f"`cryofw abort {running.rollout}` first: that tries the way back by itself",
        )


async def recover(
    home: Home,
    site: Site,
    controller: Controller,
    image: RecoveryImage,
    wish: RecoveryWish,
    on_progress: Callable[[int, int], None] | None = None,
) -> RecoveryReport:
    """Bring one device back through its bootloader's serial recovery.

    Raises:
        Refused: an application answers; the device does not take the image, or runs another.
        Unreachable: neither an application nor the bootloader answers.
        StorageLocked: another process writes the journal; nothing was done.
        JournalWriteFailed: what was not written down was not done.
    """
    name, firmware = controller.name, image.firmware
    sent = False

    def progress(done: int, total: int) -> None:
        nonlocal sent
        sent = True
        if on_progress is not None:
            on_progress(done, total)

    with home.open_journal(site.clock, wish.by) as journal:
        require_free(home, name)
        write_lab_event(
            journal,
            rec.RecoveryRequested(
                name, wish.by, firmware.hash, firmware.version, firmware.file_sha256,
                image.chosen, wish.why, wish.proof,
            ),
        )  # fmt: skip
        hw = controller.hw or home.history().register.pinned_hw(name)
        driver = site.driver(name, connection_of(controller), hw=hw, board=controller.board)
        try:
            recovery = driver.serial_recovery()
            await recovery.prove_absence()
            sent = True  # a first packet whose answer is lost has erased the slot
            report = await recovery.upload(image.data, firmware.hash, progress)
            identity = await driver.identify()
        except CryofwError as error:
            failed = rec.RecoveryFailed(
                name, wish.by, firmware.hash, str(error)[:2000], error.hint[:2000], sent
            )
            shelf = LogShelf(home.storage, lambda _device: driver.log_lines)
            write_lab_event(journal, failed, shelf.attach(failed))
            raise
        finally:
            await driver.close()
        seen = report.observation
        write_lab_event(
            journal,
            rec.DeviceRecovered(
                name, wish.by, firmware.hash, identity.hw, seen.boot_id, report.sent_bytes,
                report.starts, report.beats, round(report.duration_s, 3),
            ),
        )  # fmt: skip
    return report
