"""The exact form of a signature, checked before any key touches it.

Lax readers accepted zero signatures, padded ones and bytes behind them. Here each algorithm has
one encoding. What no form check can remove: for an ECDSA signature (r, s) the pair (r, n - s)
verifies as well, so a third party can make a second valid file of a signed image without the
key. Both carry the same image hash and the same signed content; nothing here identifies an
image by its signature, or a file's hash as proof that an image is new.
"""

from __future__ import annotations

from typing import Final

from cryofw.image.errors import ImageRejected

_P256_ORDER: Final = 0xFFFFFFFF_00000000_FFFFFFFF_FFFFFFFF_BCE6FAAD_A7179E84_F3B9CAC2_FC632551
_SEQUENCE, _INTEGER = 0x30, 0x02


def check_fixed_signature(signature: bytes, size: int) -> None:
    """An Ed25519 or RSA signature of exactly `size` bytes that is not all zero.

    Raises:
        ImageRejected: another size, or all zero.
    """
    if len(signature) != size:
        raise _malformed(f"{len(signature)} bytes instead of {size}")
    if not any(signature):
        raise _malformed("it is all zero")


def check_ecdsa_signature(signature: bytes) -> None:
    """A P-256 signature in DER (SEQUENCE of two INTEGERs), r and s within 1 to n-1.

    Raises:
        ImageRejected: anything that is not DER, padding included, or out of range.
    """
    if len(signature) < 2 or signature[0] != _SEQUENCE or signature[1] != len(signature) - 2:
        raise _malformed("it is not one DER sequence")
    rest = _skip_integer("s", _skip_integer("r", signature[2:]))
    if rest:
        raise _malformed(f"{len(rest)} bytes follow r and s")


def _skip_integer(name: str, data: bytes) -> bytes:
    """Check the DER integer that `data` begins with; what follows it."""
    if len(data) < 2 or data[0] != _INTEGER:
        raise _malformed(f"{name} is not a DER integer")
    length = data[1]
    digits = data[2 : 2 + length]
    if not 1 <= length <= 33 or len(digits) != length:
        raise _malformed(f"{name} has the wrong length")
    if digits[0] & 0x80:
        raise _malformed(f"{name} is negative")
    if length > 1 and digits[0] == 0 and not digits[1] & 0x80:
        raise _malformed(f"{name} is not in its shortest form")
    if not 0 < int.from_bytes(digits, "big") < _P256_ORDER:
        raise _malformed(f"{name} is out of range")
    return data[2 + length :]


def _malformed(why: str) -> ImageRejected:
    return ImageRejected("the signature is malformed", why=why)
