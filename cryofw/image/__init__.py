"""MCUboot images: build and sign, verify, inspect. Bytes in, bytes out; no files, no keys' secrets.

Signing has two steps, so that the private key may live anywhere: `build_image` gives what is to
be signed, `attach` takes the signature and proves it. `verify_image` is the only judge of trust.
"""

from cryofw.image.build import ImageOptions, UnsignedImage, attach, build_image
from cryofw.image.dependency import Dependency, parse_dependencies
from cryofw.image.errors import ImageError, ImageRejected
from cryofw.image.header import Header, HeaderFlag
from cryofw.image.image import Image, parse_image
from cryofw.image.payload import Payload, PayloadKind, read_payload
from cryofw.image.publickey import Algorithm, PublicKey
from cryofw.image.report import ImageReport, TlvReport, inspect_image
from cryofw.image.tlv import Tlv, TlvType
from cryofw.image.trailer import TrailerLayout
from cryofw.image.verify import VerifiedImage, verify_image
from cryofw.image.version import Version

__all__ = [
    "Algorithm",
    "Dependency",
    "Header",
    "HeaderFlag",
    "Image",
    "ImageError",
    "ImageOptions",
    "ImageRejected",
    "ImageReport",
    "Payload",
    "PayloadKind",
    "PublicKey",
    "Tlv",
    "TlvReport",
    "TlvType",
    "TrailerLayout",
    "UnsignedImage",
    "VerifiedImage",
    "Version",
    "attach",
    "build_image",
    "inspect_image",
    "parse_dependencies",
    "parse_image",
    "read_payload",
    "verify_image",
]
