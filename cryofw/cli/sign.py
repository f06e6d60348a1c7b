"""`cryofw sign`: firmware in, signed MCUboot image out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cryofw.cli.file import read_file, refuse_existing, write_file
from cryofw.cli.imageshape import check_compression, check_encryption, image_options
from cryofw.cli.keychoice import image_public_key, open_image_signer, passphrase_source
from cryofw.cli.options import PATH, force_option, json_option, keyring_option, passphrase_option
from cryofw.cli.parameter import counter, dependencies, size, version
from cryofw.cli.policyhere import acting_as
from cryofw.cli.signreport import SignReport
from cryofw.errors import BadInput, UsageError
from cryofw.image import ImageRejected, attach, build_image, read_payload

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Unpack

    from cryofw.cli.imageshape import Dependencies, Shape
    from cryofw.image import ImageOptions, Payload, PayloadKind, PublicKey, UnsignedImage
    from cryofw.keys import EncryptionKey, Signer

_IMAGE_MAGIC = (0x96F3B83D).to_bytes(4, "little")

_KINDS: dict[str, PayloadKind] = {".hex": "hex", ".ihex": "hex", ".elf": "elf", ".axf": "elf"}


def sign_image(
    payload: Payload,
    options: ImageOptions,
    signer: Signer,
    devices: EncryptionKey | None = None,
    *,
    clear: bool = False,
) -> tuple[bytes, bytes, bytes]:
    """Return a signed image, whose signature has been checked, its hash, and that it runs under.

    A compressed one is signed twice: the plain image, which the device will run, and itself.

    `devices` is the key that it is encrypted for, if `options` say that it is; `clear` leaves the
    body plain all the same.

    Raises:
        ImageError: a firmware or options that make no image.
        ImageRejected: a published development key, or a signature that does not verify.
        KeyServiceUnreachable: the key did not sign.
    """
    unsigned = plain = build_image(payload, options)
    public = signer.public_key
    signature = signer.sign(unsigned.to_sign(public.algorithm))
    if options.compression is not None:
        from cryofw.image import compress

        unsigned = compress(unsigned, public, signature)
        signature = signer.sign(unsigned.to_sign(public.algorithm))
    seal = devices.seal(options.encrypt) if devices and options.encrypt else None
    data = attach(unsigned, public, signature, seal, clear=clear)
    return data, unsigned.hash, plain.hash


@click.command()
@click.argument("firmware", metavar="IN", type=PATH)
@click.argument("output", metavar="[OUT]", type=PATH, required=False)
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
@click.option(
    "-E", "--encrypt", type=PATH, metavar="FILE", help="Encrypt for this public key of the devices."
)
@click.option(
    "--encrypt-keylen", type=click.Choice(["128", "256"]), help="Bits of AES.  [default: 128]"
)
@click.option(
    "--compress",
    type=click.Choice(["lzma2", "lzma2-arm-thumb"]),
    help="For bootloaders that unpack it (overwrite-only).",
)
@click.option("--clear", is_flag=True, help="With --encrypt: leave it plain, for the primary slot.")
@click.option(
    "--to-sign", type=PATH, metavar="FILE", help="Write what is to be signed elsewhere, no OUT."
)
@click.option(
    "--signature", type=PATH, metavar="FILE", help="Attach this signature, made elsewhere."
)
@force_option
@json_option
def sign(
    firmware: Path,
    output: Path | None,
    key: str | None,
    keyring: Path,
    passphrase_file: Path | None,
    encrypt: Path | None,
    to_sign: Path | None,
    signature: Path | None,
    force: bool,
    as_json: bool,
    dependency: Dependencies,
    **shape: Unpack[Shape],
) -> None:
    """Sign the firmware IN (.bin, .hex or .elf) and write the MCUboot image OUT.

    The signature is checked before OUT is written.

    For a key that this computer cannot reach: first `cryofw sign IN --to-sign FILE ...`, then
    sign FILE where the key is, then the same command with OUT and `--signature FILE2` instead.
    Both need only the public key.

    An encrypted image is for devices whose bootloader has the private half of --encrypt; hash and
    signature are those of the plain one. --clear makes the file for a programmer instead.
    """
    target = _target(output, to_sign, signature)
    check_encryption(encrypt, shape)
    check_compression(shape, elsewhere=to_sign is not None or signature is not None)
    refuse_existing(target, force=force)
    if to_sign is None:
        acting_as("sign", f"{shape['version']} for {shape['board'] or 'any board'}")
    payload = read_payload(read_file(firmware, "firmware"), _kind(firmware))
    if payload.data.startswith(_IMAGE_MAGIC):
        raise BadInput(
            f"{firmware} is an MCUboot image already",
            why="it begins with the magic of an image header",
            hint="sign the firmware that it was made of",
        )
    options = image_options(payload, dependency, shape, encrypted=encrypt is not None)
    devices = _encryption_key(encrypt)
    clear = shape["clear"]
    report = SignReport(target, options, as_json, devices, clear)
    if to_sign is None and signature is None:
        signer = open_image_signer(key, keyring, passphrase_source(passphrase_file))
        if devices:
            devices.require_fit(signer.public_key.algorithm)
        data, digest, running = sign_image(payload, options, signer, devices, clear=clear)
        write_file(target, data, force=force)
        report.signed(len(data), digest, signer.name, signer.public_key, running)
        return
    public = image_public_key(key, keyring)
    if devices:
        devices.require_fit(public.algorithm)
    unsigned = build_image(payload, options)
    if signature is None:
        write_file(target, unsigned.to_sign(public.algorithm), force=force)
        report.to_sign(unsigned, public)
        return
    data = _with_signature(unsigned, public, signature, devices, clear=clear)
    write_file(target, data, force=force)
    report.signed(len(data), unsigned.hash, key or public.key_hash.hex()[:16], public)


def _target(output: Path | None, to_sign: Path | None, signature: Path | None) -> Path:
    """The one file that the command writes."""
    if to_sign is not None:
        if output is not None or signature is not None:
            raise UsageError("--to-sign writes no image: give neither OUT nor --signature with it")
        return to_sign
    if output is None:
        raise UsageError(
            "which image shall be written?", hint="name OUT after IN, or use --to-sign FILE"
        )
    if output.suffix.lower() in _KINDS:
        raise UsageError(
            f"cannot write {output}: images are written in binary",
            hint="name it .bin; `objcopy -I binary -O ihex` makes a .hex of it",
        )
    return output


def _encryption_key(path: Path | None) -> EncryptionKey | None:
    if path is None:
        return None
    from cryofw.keys import load_encryption_key

    return load_encryption_key(path)


def _with_signature(
    unsigned: UnsignedImage,
    public: PublicKey,
    path: Path,
    devices: EncryptionKey | None,
    *,
    clear: bool,
) -> bytes:
    signature = read_file(path, "signature")
    bits = unsigned.options.encrypt
    seal = devices.seal(bits) if devices and bits else None
    try:
        return attach(unsigned, public, signature, seal, clear=clear)
    except ImageRejected as error:
        raise ImageRejected(
            error.what,
            why=error.why,
            hint=error.hint
            or "it belongs to other bytes, another key, or another format: give "
            "the options that --to-sign had, and sign as it said",
        ) from error


def _kind(path: Path) -> PayloadKind:
    return _KINDS.get(path.suffix.lower(), "bin")
