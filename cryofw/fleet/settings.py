"""Settings of one controller or cryostat: `defaults`, cryostat and controller merged by key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

from cryofw.fleet.document import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cryofw.fleet.document import Document, Path

ModelT = TypeVar("ModelT", bound=BaseModel)

LAYERED = (
    "board", "baud", "framing", "boot_time", "slot_size", "owner",
    "heartbeat", "reset", "thermal", "guards", "calibration", "coefficients",
    "retries",
)  # fmt: skip


def at_path(value: object, path: Path) -> object:
    """The value at `path`, or None if there is none."""
    for step in path:
        if isinstance(value, dict) and isinstance(step, str):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def merge(below: object, above: object) -> object:
    """`above` over `below`: mappings merge by key, anything else replaces."""
    if isinstance(below, dict) and isinstance(above, dict):
        merged = dict(below)
        for key, value in above.items():
            merged[key] = merge(below[key], value) if key in below else value
        return merged
    return above


@dataclass(frozen=True)
class Layers:
    """The places in a document whose settings apply, the nearest last."""

    document: Document
    paths: tuple[Path, ...]

    def merged(self, key: str) -> object:
        """The merged raw value of one setting, or None if no layer has it."""
        merged: object = None
        for path in self.paths:
            layer = at_path(self.document.value, path)
            if isinstance(layer, dict) and key in layer:
                merged = merge(merged, layer[key])
        return merged

    def read(self, key: str, model: type[ModelT]) -> ModelT | None:
        """The merged setting as `model`; None if a layer is invalid (reported elsewhere)."""
        value = self.merged(key)
        return read_piece(model, {} if value is None else value)

    def origin(self, *path: str) -> Path:
        """Where the value at `path` was set: the nearest layer that has it, else its holder."""
        for cut in range(len(path), 0, -1):
            for layer in reversed(self.paths):
                if (*layer, *path[:cut]) in self.document.values:
                    return (*layer, *path[:cut])
        return self.paths[-1]

    def depth(self, *path: str) -> int:
        """How near the layer is that sets the value at `path`: 0 is the farthest, -1 none."""
        for index in range(len(self.paths) - 1, -1, -1):
            if (*self.paths[index], *path) in self.document.values:
                return index
        return -1


def read_piece(model: type[ModelT], value: object) -> ModelT | None:
    """`value` as `model`, or None: the whole-document check reports what is wrong with it."""
    try:
        return model.model_validate(value)
    except ValidationError:
        return None


def require(
    layers: Layers, holder: Sequence[str], model: BaseModel, names: Iterable[str], hint: str
) -> list[Problem]:
    """A problem for each of `names` that no layer sets in the setting at `holder`."""
    label = ".".join(holder)
    return [
        Problem(layers.origin(*holder), f"`{label}` lacks `{name}`", hint, on_key=True)
        for name in names
        if getattr(model, name) is None
    ]
