"""Which files are behind the hashes that devices run: given as options, or asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cryofw.cli.file import read_file
from cryofw.cli.output import Output, Status
from cryofw.errors import CryofwError, UsageError
from cryofw.release import RecognisedImage, recognise
from cryofw.rollout.adoption import KnownImage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryofw.image import PublicKey

_DIGITS = 8
"""So much of a hash names it."""


def read_images(
    paths: Sequence[Path], keys: Sequence[PublicKey]
) -> dict[str, tuple[Path, RecognisedImage]]:
    """Hash to the file that holds its image.

    Raises:
        BadInput: a file that cannot be read, or is no image.
        ImageRejected: one that is damaged, or forged in the name of a key of ours.
    """
    found: dict[str, tuple[Path, RecognisedImage]] = {}
    for path in paths:
        image = recognise(read_file(path, "image"), keys)
        found[image.firmware.hash] = (path, image)
    return found


def read_counters(texts: Sequence[str], hashes: Sequence[str]) -> dict[str, int]:
    """Of `HASH=NUMBER`, hash to the security counter that a person says it has.

    Raises:
        UsageError: it is not of that form, or no device runs that image.
    """
    found: dict[str, int] = {}
    for text in texts:
        beginning, _, number = text.partition("=")
        if not (number.isdigit() and int(number) < 1 << 32 and len(beginning) >= _DIGITS):
            raise UsageError(
                f"--counter {text!r} is not HASH=NUMBER", hint=f"{_DIGITS} digits of the hash do"
            )
        meant = [one for one in hashes if one.startswith(beginning.lower())]
        if len(meant) != 1:
            raise UsageError(
                f"{len(meant) or 'no'} running images begin with {beginning}",
                why=f"devices run {', '.join(one[:12] for one in hashes) or 'nothing known'}",
            )
        found[meant[0]] = int(number)
    return found


def ask_for_images(
    wanted: Mapping[str, str], keys: Sequence[PublicKey]
) -> tuple[dict[str, RecognisedImage], dict[str, KnownImage]]:
    """Ask the person at the terminal for the file of each image, until they have it or give up.

    Args:
        wanted: hash to how to call it, with the devices that run it.

    Returns:
        the files, and what was said of images without one.
    """
    files: dict[str, RecognisedImage] = {}
    said: dict[str, KnownImage] = {}
    for image, name in wanted.items():
        found = _ask_for_file(image, name, keys)
        if found is not None:
            files[image] = found
        else:
            said[image] = KnownImage(security_counter=_ask_for_counter())
    return files, said


def _ask_for_file(image: str, name: str, keys: Sequence[PublicKey]) -> RecognisedImage | None:
    output = Output()
    while True:
        text: str = click.prompt(
            f"File of {name} (empty: it is lost)", default="", show_default=False
        )
        if not text.strip():
            return None
        try:
            found = recognise(read_file(Path(text.strip()).expanduser(), "image"), keys)
        except CryofwError as error:
            output.status(Status.FAILED, "no", str(error))
            continue
        if found.firmware.hash == image:
            return found
        what = f"that is {found.firmware.version} ({found.firmware.hash[:_DIGITS]})"
        output.status(Status.FAILED, "no", f"{what}, wanted is {image[:_DIGITS]}")


def _ask_for_counter() -> int | None:
    while True:
        text: str = click.prompt(
            "  Its security counter, if you know it", default="", show_default=False
        )
        if not text.strip():
            return None
        if text.strip().isdigit() and int(text) < 1 << 32:
            return int(text)
