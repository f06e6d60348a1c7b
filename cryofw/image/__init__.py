"""MCUboot images: build and sign, verify, inspect. Bytes in, bytes out; no files, no keys' secrets.

Signing has two steps, so that the private key may live anywhere: `build_image` gives what is to
be signed, `attach` takes the signature and proves it. `verify_image` is the only judge of trust.

Names are imported from their module when they are first used: signing does not pay for judging,
reading .bin not for reading .elf.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryofw.image.build import UnsignedImage, attach, build_image, compress
    from cryofw.image.compression import (
        Compression,
        compression_of,
        decompressed,
        unpacked_hash,
        unpacked_size,
    )
    from cryofw.image.dependency import Dependency, parse_dependencies
    from cryofw.image.encryption import (
        AesBits,
        Body,
        ContentKeyOpener,
        KeyWrap,
        Seal,
        body_of,
        decrypted,
    )
    from cryofw.image.errors import ImageError, ImageRejected
    from cryofw.image.header import Header, HeaderFlag
    from cryofw.image.image import Image, parse_image
    from cryofw.image.options import ImageOptions
    from cryofw.image.payload import Payload, PayloadKind, read_payload
    from cryofw.image.publickey import Algorithm, PublicKey
    from cryofw.image.report import ImageReport, TlvReport, inspect_image
    from cryofw.image.tlv import Tlv, TlvType
    from cryofw.image.trailer import TrailerLayout
    from cryofw.image.verify import VerifiedImage, verify_image
    from cryofw.image.version import Version

__all__ = [
    "AesBits",
    "Algorithm",
    "Body",
    "Compression",
    "ContentKeyOpener",
    "Dependency",
    "Header",
    "HeaderFlag",
    "Image",
    "ImageError",
    "ImageOptions",
    "ImageRejected",
    "ImageReport",
    "KeyWrap",
    "Payload",
    "PayloadKind",
    "PublicKey",
    "Seal",
    "Tlv",
    "TlvReport",
    "TlvType",
    "TrailerLayout",
    "UnsignedImage",
    "VerifiedImage",
    "Version",
    "attach",
    "body_of",
    "build_image",
    "compress",
    "compression_of",
    "decompressed",
    "decrypted",
    "inspect_image",
    "parse_dependencies",
    "parse_image",
    "read_payload",
    "unpacked_hash",
    "unpacked_size",
    "verify_image",
]

_MODULES = {
    "AesBits": "encryption",
    "Algorithm": "publickey",
    "Body": "encryption",
    "Compression": "compression",
    "ContentKeyOpener": "encryption",
    "Dependency": "dependency",
    "Header": "header",
    "HeaderFlag": "header",
    "Image": "image",
    "ImageError": "errors",
    "ImageOptions": "options",
    "ImageRejected": "errors",
    "ImageReport": "report",
    "KeyWrap": "encryption",
    "Payload": "payload",
    "PayloadKind": "payload",
    "PublicKey": "publickey",
    "Seal": "encryption",
    "Tlv": "tlv",
    "TlvReport": "report",
    "TlvType": "tlv",
    "TrailerLayout": "trailer",
    "UnsignedImage": "build",
    "VerifiedImage": "verify",
    "Version": "version",
    "attach": "build",
    "body_of": "encryption",
    "build_image": "build",
    "compress": "build",
    "compression_of": "compression",
    "decompressed": "compression",
    "decrypted": "encryption",
    "inspect_image": "report",
    "parse_dependencies": "dependency",
    "parse_image": "image",
    "read_payload": "payload",
    "unpacked_hash": "compression",
    "unpacked_size": "compression",
    "verify_image": "verify",
}

if not TYPE_CHECKING:  # a type checker would take it to mean that every name is there

    def __getattr__(name: str) -> object:
        """Import a public name (PEP 562)."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value: object = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = value
        return value
