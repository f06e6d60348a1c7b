"""The description of a lab on disk: what it is made of, and its bootloaders' public keys."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from cryofw.errors import BadInput
from cryofw.image import PublicKey
from cryofw.simulator.spec import (
    BootloaderConfig,
    ControllerSpec,
    FlashTiming,
    LabSpec,
    MetricSpec,
    ServerProfile,
    ThermalSpec,
)

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = "cryofw.simulated-lab/v1"


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
            "there is no simulated lab", why=str(path), hint="create the lab first"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            "the description of the simulated lab is damaged",
            why=f"{path}: {error}",
            hint="remove the directory to begin a new lab",
        ) from error


def _controller(fields: dict[str, Any]) -> ControllerSpec:
    profile = dict(fields["profile"])
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
