"""The description of a lab on disk: what it is made of, and its bootloaders' public keys."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from cryofw.errors import BadInput, Refused
from cryofw.image import PublicKey
from cryofw.simulator.flash import Flash
from cryofw.simulator.flash_storage import FileStorage, MemoryStorage, storage_unusable
from cryofw.simulator.lab_store import Kind
from cryofw.simulator.mcuboot import Bootloader
from cryofw.simulator.spec import (
    BootloaderConfig,
    ControllerSpec,
    FlashTiming,
    LabSpec,
    MetricSpec,
    ServerProfile,
    ThermalSpec,
)
from cryofw.simulator.validator import SignatureCheck
from cryofw.smp import Framing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SCHEMA = "cryofw.simulated-lab/v1"


def create_files(
    directory: Path, spec: LabSpec, factory_image: bytes, keys: Sequence[PublicKey]
) -> None:
    """Lay out a new lab: every chip holds `factory_image` in slot 0.

    Raises:
        BadInput: a bootloader with these keys would not start the image.
        Refused: there is a lab already, or the directory cannot be written.
    """
    description = directory / "lab.json"
    if description.exists():
        raise Refused(
            "there is a simulated lab already",
            why=str(directory),
            hint="remove the directory to begin a new one",
        )
    check_delivery(factory_image, spec, keys)
    try:
        for kind in Kind:
            (directory / kind).mkdir(parents=True, exist_ok=True)
            for stale in (directory / kind).iterdir():
                stale.unlink()  # of a creation that was killed
        (directory / "clock").unlink(missing_ok=True)
        for one in spec.controllers:
            storage = FileStorage(directory / Kind.DEVICE / f"{one.name}.flash", 2 * one.slot_size)
            storage.write(0, factory_image)
            storage.close()
        write_description(description, spec, tuple(keys))
    except OSError as error:
        raise storage_unusable(directory, error) from error


def check_delivery(image: bytes, spec: LabSpec, keys: Sequence[PublicKey]) -> None:
    """Make sure that the devices have usable names and start the image they are delivered with.

    Raises:
        BadInput: they have not, or would not.
    """
    spec.check()
    validator = SignatureCheck(keys)
    for slot_size, sector_size in {(one.slot_size, one.sector_size) for one in spec.controllers}:
        storage = MemoryStorage(2 * slot_size)
        storage.write(0, image[:slot_size])
        flash = Flash(storage, sector_size=sector_size)
        if len(image) <= slot_size and Bootloader(flash, validator).is_valid(0):
            continue
        raise BadInput(
            "the devices of the simulated lab would not start this factory image",
            why="it is no valid image, is not signed by their key, or does not fit a slot",
            hint="sign it with the image key of the keyring, and give that key's public half",
        )


def write_description(path: Path, spec: LabSpec, keys: tuple[PublicKey, ...]) -> None:
    """Write `lab.json`; it is the last file of a new lab, so a lab with it is whole."""
    controllers = []
    for one in spec.controllers:
        fields = dataclasses.asdict(one)
        fields["hw"] = one.hw.hex()
        controllers.append(fields)
    text = json.dumps(
        {
            "schema": SCHEMA,
            "seed": spec.seed,
            "keys": [key.pem.decode() for key in keys],
            "stages": {name: dataclasses.asdict(stage) for name, stage in spec.stages.items()},
            "controllers": controllers,
        },
        indent=1,
    )
    fresh = path.with_name(f".{path.name}.new")
    fresh.touch(0o600)  # the devices' decryption key may be in it
    fresh.write_text(text + "\n")
    fresh.replace(path)


def read_description(path: Path) -> tuple[LabSpec, tuple[PublicKey, ...]]:
    """Read `lab.json`.

    Raises:
        BadInput: there is no lab, or the file is damaged or of another version.
    """
    try:
        fields = json.loads(path.read_text())
        if fields["schema"] != SCHEMA:
            raise BadInput(
                "the simulated lab is of another version",
                why=f"{path} says {fields['schema']}, this is {SCHEMA}",
                hint="remove the directory to begin a new lab",
            )
        spec = LabSpec(
            controllers=tuple(map(_controller, fields["controllers"])),
            seed=fields["seed"],
            stages={name: ThermalSpec(**stage) for name, stage in fields["stages"].items()},
        )
        return spec, tuple(PublicKey.from_pem(pem.encode()) for pem in fields["keys"])
    except FileNotFoundError as error:
        raise BadInput(
            "there is no simulated lab",
            why=str(path),
            hint="`cryofw sim create --factory IMAGE` makes one",
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            "the description of the simulated lab is damaged",
            why=f"{path}: {error}",
            hint="remove the directory to begin a new lab",
        ) from error


def _controller(fields: dict[str, Any]) -> ControllerSpec:
    profile = dict(fields["profile"])
    profile["framing"] = Framing(profile.get("framing", Framing.CONSOLE))
    profile["stats"] = {name: tuple(names) for name, names in profile["stats"].items()}
    profile["tasks"] = {int(key): value for key, value in profile["tasks"].items()}
    return ControllerSpec(
        **fields
        | {
            "hw": bytes.fromhex(fields["hw"]),
            "profile": ServerProfile(**profile),
            "bootloader": BootloaderConfig(**fields["bootloader"]),
            "timing": FlashTiming(**fields["timing"]),
            "metrics": {name: MetricSpec(**one) for name, one in fields["metrics"].items()},
        }
    )
