"""Public keys of OpenSSH and the signatures they make: Ed25519, ECDSA P-256, FIDO, RSA.

Formats: RFC 4253, RFC 5656, RFC 8332, RFC 8709, and PROTOCOL.u2f of OpenSSH for `sk-` keys.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from cryofw.trust.errors import SignatureInvalid, SshFormatError
from cryofw.trust.wire import WireReader

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

_CURVE: Final = b"nistp256"
_RSA_BITS: Final = (2048, 8192)
TOUCHED: Final = 0x01
VERIFIED: Final = 0x04


class KeyType(StrEnum):
    """The kinds of keys that are known; their values are OpenSSH's names."""

    ED25519 = "ssh-ed25519"
    ECDSA = "ecdsa-sha2-nistp256"
    SK_ED25519 = "sk-ssh-ed25519@openssh.com"
    SK_ECDSA = "sk-ecdsa-sha2-nistp256@openssh.com"
    RSA = "ssh-rsa"

    @property
    def is_fido(self) -> bool:
        """Whether the private half lies in a FIDO token."""
        return self in (KeyType.SK_ED25519, KeyType.SK_ECDSA)


_SIGNATURES: Final = {
    KeyType.ED25519: ("ssh-ed25519",),
    KeyType.ECDSA: ("ecdsa-sha2-nistp256",),
    KeyType.SK_ED25519: ("sk-ssh-ed25519@openssh.com",),
    KeyType.SK_ECDSA: ("sk-ecdsa-sha2-nistp256@openssh.com",),
    # Not `ssh-rsa`, which is RSA with SHA-1.
    KeyType.RSA: ("rsa-sha2-512", "rsa-sha2-256"),
}


@dataclass(frozen=True)
class SshKey:
    """A public key; `blob` is its encoding, and all that two keys are compared by.

    Attributes:
        material: the key's own bytes: a point, or an RSA key's exponent and modulus in DER order.
        application: of a FIDO key, which site it is for, usually `ssh:`.
    """

    type: KeyType
    blob: bytes
    material: bytes = field(repr=False, compare=False)
    application: bytes = field(default=b"", compare=False)

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` shows it."""
        return "SHA256:" + base64.b64encode(sha256(self.blob).digest()).decode().rstrip("=")

    @property
    def line(self) -> str:
        """As it stands in a `.pub` file, without a comment."""
        return f"{self.type} {base64.b64encode(self.blob).decode()}"

    def verify(self, signature: bytes, message: bytes) -> int:
        """Check a signature blob over `message`.

        Returns:
            The flags of a FIDO token (`TOUCHED`, `VERIFIED`); 0 for other keys.

        Raises:
            SignatureInvalid: it is not of this key over these bytes.
            SshFormatError: it is malformed.
        """
        reader = WireReader(signature, "the signature")
        algorithm = reader.text()
        if algorithm not in _SIGNATURES[self.type]:
            raise SignatureInvalid(
                f"a signature of the kind {algorithm!r} by a key of the kind {self.type}",
                hint="sign with `ssh-keygen -Y sign` of OpenSSH 8.2 or newer",
            )
        raw = reader.string()
        flags = 0
        if self.type.is_fido:
            (flags,) = reader.take(1)
            counter = reader.take(4)
            application = sha256(self.application).digest()
            message = application + bytes([flags]) + counter + sha256(message).digest()
        reader.end()
        self._verify(algorithm, raw, message)
        return flags

    def _verify(self, algorithm: str, raw: bytes, message: bytes) -> None:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding

        try:
            match self.type:
                case KeyType.ED25519 | KeyType.SK_ED25519:
                    ed25519.Ed25519PublicKey.from_public_bytes(self.material).verify(raw, message)
                case KeyType.ECDSA | KeyType.SK_ECDSA:
                    point = ec.EllipticCurvePublicKey.from_encoded_point(
                        ec.SECP256R1(), self.material
                    )
                    point.verify(_der(raw), message, ec.ECDSA(hashes.SHA256()))
                case KeyType.RSA:
                    digest = hashes.SHA512() if algorithm.endswith("512") else hashes.SHA256()
                    _rsa_numbers(self.blob).public_key().verify(
                        raw, message, padding.PKCS1v15(), digest
                    )
        except (InvalidSignature, ValueError) as error:
            raise SignatureInvalid(
                f"the signature is not one of the key {self.fingerprint} over these bytes",
                hint="sign the file as it was written, without an editor in between",
            ) from error


def _der(raw: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    reader = WireReader(raw, "the ECDSA signature")
    r, s = reader.mpint(), reader.mpint()
    reader.end()
    return encode_dss_signature(r, s)


def _rsa_numbers(blob: bytes) -> RSAPublicNumbers:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

    reader = WireReader(blob, "the RSA key")
    reader.text()
    return RSAPublicNumbers(reader.mpint(), reader.mpint())


def read_key(kind: KeyType, reader: WireReader) -> tuple[bytes, bytes]:
    """Material and application of a key, whose name was read already.

    Raises:
        SshFormatError: it is malformed, on another curve, or an RSA key of a strange size.
    """
    application = b""
    if kind is KeyType.RSA:
        exponent, modulus = reader.mpint(), reader.mpint()
        size = modulus.bit_length()
        if not _RSA_BITS[0] <= size <= _RSA_BITS[1] or exponent != 65537:
            raise SshFormatError(f"an RSA key of {size} bits and exponent {exponent}")
        return b"", b""
    if kind in (KeyType.ECDSA, KeyType.SK_ECDSA) and reader.string() != _CURVE:
        raise SshFormatError("an ECDSA key on another curve than P-256")
    material = reader.string()
    if kind.is_fido:
        application = reader.string()
    expected = 32 if kind in (KeyType.ED25519, KeyType.SK_ED25519) else 65
    if len(material) != expected:
        raise SshFormatError(f"a {kind} key of {len(material)} bytes")
    return material, application


def parse_key(blob: bytes) -> SshKey:
    """A public key from its encoding.

    Raises:
        SshFormatError: it is malformed or of a kind that is not known.
    """
    reader = WireReader(blob, "the public key")
    name = reader.text()
    try:
        kind = KeyType(name)
    except ValueError:
        raise SshFormatError(
            f"a key of the kind {name[:60]!r}", why=f"known: {', '.join(KeyType)}"
        ) from None
    material, application = read_key(kind, reader)
    reader.end()
    return SshKey(kind, blob, material, application)


def parse_key_line(text: str) -> SshKey:
    """A public key as it stands in a `.pub` file; a comment may follow.

    Raises:
        SshFormatError: it is none.
    """
    words = text.split()
    if len(words) < 2:
        raise SshFormatError("not a public key", why="expected `ssh-ed25519 AAAA...`")
    key = parse_key(decoded(words[1], "the public key"))
    if key.type != words[0]:
        raise SshFormatError(f"it says {words[0][:60]!r} and holds a key of the kind {key.type}")
    return key


def decoded(text: str, what: str) -> bytes:
    """The bytes of strict base64.

    Raises:
        SshFormatError: it is none.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SshFormatError(f"{what} is not base64") from error
    if base64.b64encode(data).decode() != text:
        raise SshFormatError(f"{what} is not base64 in its one form")
    return data
