"""`cryofw verify`: may this image be trusted?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cryofw.cli.file import read_file
from cryofw.cli.keychoice import content_key_opener, trusted_image_keys
from cryofw.cli.options import PATH, decryption_option, json_option, keyring_option
from cryofw.cli.output import Output, Status
from cryofw.cli.parameter import size
from cryofw.image import Body, verify_image

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.argument("image", metavar="IMAGE", type=PATH)
@click.option(
    "-k",
    "--key",
    "keys",
    multiple=True,
    metavar="NAME|FILE",
    help="Trusted key: of the keyring, or a public PEM file; repeatable. [default: all image keys]",
)
@keyring_option
@click.option("-S", "--slot-size", type=size, help="Flash slot; a padded image must fill it.")
@click.option(
    "-R", "--erased-value", type=size, default=0xFF, show_default="0xff", help="0 or 0xff."
)
@decryption_option
@json_option
def verify(
    image: Path,
    keys: tuple[str, ...],
    keyring: Path,
    slot_size: int | None,
    erased_value: int,
    decryption_key: Path | None,
    as_json: bool,
) -> None:
    """Check that IMAGE is whole and signed with a trusted key. Exit code 4 if not.

    The signature of an encrypted image covers its plain firmware: it takes --decryption-key.
    """
    data = read_file(image, "image")
    trusted = trusted_image_keys(keys, keyring)
    verified = verify_image(
        data,
        list(trusted.values()),
        slot_size=slot_size,
        erased_value=erased_value,
        opener=content_key_opener(decryption_key),
    )
    name = next(name for name, key in trusted.items() if key == verified.key)
    output = Output()
    if as_json:
        output.json(
            {
                "file": str(image),
                "verified": True,
                "version": str(verified.image.version),
                "hash": verified.image.hash.hex(),
                "running_hash": verified.running_hash.hex(),
                "compression": verified.compression,
                "key": {
                    "name": name,
                    "algorithm": str(verified.key.algorithm),
                    "hash": verified.key.key_hash.hex(),
                },
                "security_counter": verified.image.security_counter,
                "board": verified.image.board,
                "padded": verified.padded,
                "confirmed": verified.confirmed,
                "body": verified.body.value,
            }
        )
        return
    output.status(Status.OK, "verified", f"{image}  {verified.image.version}")
    output.line(f"  hash {verified.image.hash.hex()}")
    output.line(f"  key  {name} ({verified.key.algorithm}, {verified.key.key_hash.hex()[:16]})")
    if verified.compression:
        output.line(f"  compressed, {verified.compression}; once it runs, its hash is")
        output.line(f"       {verified.running_hash.hex()}")
    if verified.body is Body.ENCRYPTED:
        output.line("  encrypted; decrypted to check it")
    if verified.body is Body.CLEAR:
        note = "marked for encryption, but plain; for a programmer, not for a rollout"
        output.status(Status.WARNING, "clear", note)
    if verified.confirmed:
        note = "a bootloader never reverts it; for a programmer, not for a rollout"
        output.status(Status.WARNING, "confirmed", note)
