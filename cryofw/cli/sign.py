"""`cryofw sign`: firmware in, signed MCUboot image out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cryofw.cli.file import read_file, refuse_existing, write_file
from cryofw.cli.keychoice import open_image_signer, passphrase_source
from cryofw.cli.options import PATH, force_option, json_option, keyring_option, passphrase_option
from cryofw.cli.output import Output, Status
from cryofw.cli.parameter import counter, dependencies, size, version
from cryofw.errors import BadInput, UsageError
from cryofw.image import (
    ImageError,
    ImageOptions,
    Payload,
    TrailerLayout,
    attach,
    build_image,
    read_payload,
)

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Literal, TypeAlias, TypedDict, Unpack

    from cryofw.image import Dependency, PayloadKind, Version
    from cryofw.keys import Signer

    _Dependencies: TypeAlias = tuple[tuple[Dependency, ...], ...]

    class _Shape(TypedDict):
        """The options that shape the image, under ImageOptions' names; sizes in bytes."""

        version: Version
        header_size: int
        pad_header: bool | None
        slot_size: int | None
        align: int
        max_align: int | None
        max_sectors: int
        overwrite_only: bool
        security_counter: int | Literal["auto"] | None
        load_addr: int
        rom_fixed: int | None
        board: str | None
        pad: bool
        confirm: bool
        erased_value: int


_IMAGE_MAGIC = (0x96F3B83D).to_bytes(4, "little")

_KINDS: dict[str, PayloadKind] = {".hex": "hex", ".ihex": "hex", ".elf": "elf", ".axf": "elf"}


def sign_image(payload: Payload, options: ImageOptions, signer: Signer) -> tuple[bytes, bytes]:
    """Return a signed image, whose signature has been checked, and its hash.

    Raises:
        ImageError: a firmware or options that make no image.
        ImageRejected: a published development key, or a signature that does not verify.
        KeyServiceUnreachable: the key did not sign.
    """
    unsigned = build_image(payload, options)
    signature = signer.sign(unsigned.to_sign(signer.public_key.algorithm))
    return attach(unsigned, signer.public_key, signature), unsigned.hash


@click.command()
@click.argument("firmware", metavar="IN", type=PATH)
@click.argument("output", metavar="OUT", type=PATH)
@click.option(
    "-v", "--version", type=version, required=True, help="Version a.b.c+d for the image header."
)
@click.option("-k", "--key", metavar="NAME|FILE", help="Key of the keyring, or a PEM file.")
@keyring_option
@passphrase_option
@click.option(
    "-H", "--header-size", type=size, default=0x200, show_default="0x200", help="Before the body."
)
@click.option(
    "--pad-header/--no-pad-header",
    default=None,
    help="Put the header in front of IN, or into the zeros that IN begins with. "
    "[default: look at IN]",
)
@click.option("-S", "--slot-size", type=size, help="Flash slot; the image must fit into it.")
@click.option("--align", type=int, default=1, show_default=True, help="Flash write size, bytes.")
@click.option("--max-align", type=int, help="The larger write size of the two slots, bytes.")
@click.option("-M", "--max-sectors", type=int, default=128, show_default=True, help="Of a slot.")
@click.option("--overwrite-only", is_flag=True, help="The bootloader does not swap slots.")
@click.option(
    "-s", "--security-counter", type=counter, help="Number, or `auto`: derived from the version."
)
@click.option(
    "-d", "--dependency", type=dependencies, multiple=True, help='"(image, lowest version)".'
)
@click.option("-L", "--load-addr", type=size, default=0, help="RAM address to run from.")
@click.option("-F", "--rom-fixed", type=size, help="Flash address the image is built for.")
@click.option("--board", help="Board it is for; `deploy` compares it with the fleet's.")
@click.option("--pad", is_flag=True, help="Fill up the slot, for a programmer.")
@click.option("--confirm", is_flag=True, help="Like --pad, and already confirmed.")
@click.option(
    "-R", "--erased-value", type=size, default=0xFF, show_default="0xff", help="0 or 0xff."
)
@force_option
@json_option
def sign(
    firmware: Path,
    output: Path,
    key: str | None,
    keyring: Path,
    passphrase_file: Path | None,
    force: bool,
    as_json: bool,
    dependency: _Dependencies,
    **shape: Unpack[_Shape],
) -> None:
    """Sign the firmware IN (.bin, .hex or .elf) and write the MCUboot image OUT.

    The signature is checked before OUT is written.
    """
    _check_output(output)
    refuse_existing(output, force=force)
    payload = read_payload(read_file(firmware, "firmware"), _kind(firmware))
    if payload.data.startswith(_IMAGE_MAGIC):
        raise BadInput(
            f"{firmware} is an MCUboot image already",
            why="it begins with the magic of an image header",
            hint="sign the firmware that it was made of",
        )
    options = _image_options(payload, dependency, shape)
    signer = open_image_signer(key, keyring, passphrase_source(passphrase_file))
    data, digest = sign_image(payload, options, signer)
    write_file(output, data, force=force)
    _report(output, len(data), digest.hex(), options, signer, as_json)


def _image_options(payload: Payload, dependency: _Dependencies, shape: _Shape) -> ImageOptions:
    pad_header = shape["pad_header"]
    if pad_header is None:
        pad_header = any(payload.data[: shape["header_size"]])
    try:
        trailer = TrailerLayout(
            shape["align"], shape["max_align"], shape["max_sectors"], shape["overwrite_only"]
        )
        return ImageOptions(
            version=shape["version"],
            header_size=shape["header_size"],
            pad_header=pad_header,
            slot_size=shape["slot_size"],
            trailer=trailer,
            security_counter=shape["security_counter"],
            dependencies=tuple(each for group in dependency for each in group),
            load_addr=shape["load_addr"],
            rom_fixed=shape["rom_fixed"],
            board=shape["board"],
            pad=shape["pad"],
            confirm=shape["confirm"],
            erased_value=shape["erased_value"],
        )
    except ImageError as error:
        raise UsageError(error.what, why=error.why, hint=error.hint) from error


def _kind(path: Path) -> PayloadKind:
    return _KINDS.get(path.suffix.lower(), "bin")


def _check_output(path: Path) -> None:
    if path.suffix.lower() in _KINDS:
        raise UsageError(
            f"cannot write {path}: images are written in binary",
            hint="name it .bin; `objcopy -I binary -O ihex` makes a .hex of it",
        )


def _report(
    path: Path, size: int, digest: str, options: ImageOptions, signer: Signer, as_json: bool
) -> None:
    public = signer.public_key
    output = Output()
    if as_json:
        output.json(
            {
                "file": str(path),
                "size": size,
                "version": str(options.version),
                "hash": digest,
                "key": {
                    "name": signer.name,
                    "algorithm": str(public.algorithm),
                    "hash": public.key_hash.hex(),
                },
                "security_counter": options.counter,
                "board": options.board,
            }
        )
        return
    output.status(Status.OK, "signed", f"{path}  {options.version}, {size} bytes")
    output.line(f"  hash {digest}")
    output.line(f"  key  {signer.name} ({public.algorithm}, {public.key_hash.hex()[:16]})")
