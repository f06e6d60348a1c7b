"""`cryofw inspect`: what an image says about itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cryofw.cli.file import read_file
from cryofw.cli.keychoice import content_key_opener
from cryofw.cli.options import PATH, decryption_option, json_option
from cryofw.cli.output import Output, Status
from cryofw.image import inspect_image

if TYPE_CHECKING:
    from pathlib import Path

    from cryofw.image import ImageReport


@click.command()
@click.argument("image", metavar="IMAGE", type=PATH)
@decryption_option
@json_option
def inspect(image: Path, decryption_key: Path | None, as_json: bool) -> None:
    """Show header, records and findings of IMAGE.

    This proves nothing: only `cryofw verify` checks the signature against a trusted key.
    """
    report = inspect_image(read_file(image, "image"), content_key_opener(decryption_key))
    output = Output()
    if as_json:
        output.json({"file": str(image), **report.as_json()})
        return
    _render(output, report)


_HASH_NOTES = {
    True: "",
    False: "  (does not match the content)",
    None: "  (of the plain firmware; --decryption-key checks it)",
}


def _render(output: Output, report: ImageReport) -> None:
    counter = report.security_counter
    fields = {
        "version": report.version,
        "board": report.board or "not stated",
        "security counter": "none" if counter is None else str(counter),
        "depends on": ", ".join(report.dependencies) or "nothing",
        "hash": report.hash + _HASH_NOTES[report.hash_matches],
        "body": report.body + (f", {report.encryption}" if report.encryption else ""),
        **_unpacked(report),
        "signature": report.signature or "none",
        "key hash": report.key_hash or "none",
        "header, body": f"{report.header_size} + {report.body_size} bytes",
        "image, file": f"{report.image_size}, {report.file_size} bytes",
        "load address": f"0x{report.load_addr:08x}",
        "flags": ", ".join(report.flags) or "none",
        "padding": report.padding,
    }
    for name, value in fields.items():
        output.line(f"{name:<16}  {value}")
    output.line()
    output.table(
        ["record", "type", "protected", "value"],
        [
            [tlv.name, f"0x{tlv.type:04x}", "yes" if tlv.protected else "no", _short(tlv.value)]
            for tlv in report.tlvs
        ],
    )
    output.line()
    if report.published_key:
        output.status(Status.WARNING, "published key", report.published_key)
    for finding in report.findings:
        output.status(Status.FAILED, "would be refused", finding)
    if not report.findings:
        output.status(Status.NOTHING, "not judged", "`cryofw verify` checks the signature")


def _unpacked(report: ImageReport) -> dict[str, str]:
    """What a compressed image has more."""
    if report.compression is None:
        return {}
    return {
        "compression": f"{report.compression}, {report.unpacked_size} bytes of body when unpacked",
        "hash running": report.running_hash,
    }


def _short(value: str) -> str:
    return value if len(value) <= 64 else f"{value[:60]}... ({len(value) // 2} bytes)"
