"""ssh keys in memory: they sign, certify and lie as a test wants; FIDO keys without a token.

Written apart from cryofw's parser, after OpenSSH's PROTOCOL, PROTOCOL.u2f, PROTOCOL.certkeys and
PROTOCOL.sshsig; `tests/peers/test_ssh_keygen.py` lets ssh-keygen check what they make.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

if TYPE_CHECKING:
    from pathlib import Path

APPLICATION = b"ssh:"
FOREVER = 2**64 - 1


def string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def mpint(number: int) -> bytes:
    return string(number.to_bytes(number.bit_length() // 8 + 1, "big") if number else b"")


@dataclass
class SoftKey:
    """One private key: `ed25519`, `ecdsa`, `sk-ed25519`, `sk-ecdsa` or `rsa`."""

    kind: str = "ed25519"
    counter: int = 7
    _private: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = field(
        init=False
    )

    def __post_init__(self) -> None:
        if self.kind.endswith("ed25519"):
            self._private = ed25519.Ed25519PrivateKey.generate()
        elif self.kind.endswith("ecdsa"):
            self._private = ec.generate_private_key(ec.SECP256R1())
        else:
            self._private = rsa.generate_private_key(65537, 2048)

    @property
    def is_fido(self) -> bool:
        return self.kind.startswith("sk-")

    @cached_property
    def name(self) -> str:
        """OpenSSH's name of the type."""
        return {
            "ed25519": "ssh-ed25519",
            "ecdsa": "ecdsa-sha2-nistp256",
            "sk-ed25519": "sk-ssh-ed25519@openssh.com",
            "sk-ecdsa": "sk-ecdsa-sha2-nistp256@openssh.com",
            "rsa": "ssh-rsa",
        }[self.kind]

    @cached_property
    def fields(self) -> bytes:
        """The public key without its name."""
        public = self._private.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            numbers = public.public_numbers()
            return mpint(numbers.e) + mpint(numbers.n)
        raw = serialization.Encoding
        if isinstance(public, ed25519.Ed25519PublicKey):
            fields = string(public.public_bytes_raw())
        else:
            point = public.public_bytes(raw.X962, serialization.PublicFormat.UncompressedPoint)
            fields = string(b"nistp256") + string(point)
        return fields + (string(APPLICATION) if self.is_fido else b"")

    @property
    def blob(self) -> bytes:
        return string(self.name.encode()) + self.fields

    @property
    def line(self) -> str:
        return f"{self.name} {base64.b64encode(self.blob).decode()}"

    @property
    def fingerprint(self) -> str:
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    def raw_signature(
        self, message: bytes, flags: int = 1, *, algorithm: str = "", said_flags: int | None = None
    ) -> bytes:
        """A signature blob; `said_flags` are others than those that were signed."""
        name = algorithm or ("rsa-sha2-512" if self.kind == "rsa" else self.name)
        tail = b""
        if self.is_fido:
            counter = struct.pack(">I", self.counter)
            self.counter += 1
            message = (
                hashlib.sha256(APPLICATION).digest()
                + bytes([flags])
                + counter
                + hashlib.sha256(message).digest()
            )
            tail = bytes([flags if said_flags is None else said_flags]) + counter
        private = self._private
        if isinstance(private, ed25519.Ed25519PrivateKey):
            raw = private.sign(message)
        elif isinstance(private, ec.EllipticCurvePrivateKey):
            r, s = decode_dss_signature(private.sign(message, ec.ECDSA(hashes.SHA256())))
            raw = mpint(r) + mpint(s)
        else:
            digest = hashes.SHA1() if algorithm == "ssh-rsa" else hashes.SHA512()
            raw = private.sign(message, padding.PKCS1v15(), digest)
        return string(name.encode()) + string(raw) + tail

    def sign(
        self,
        message: bytes,
        namespace: str,
        *,
        flags: int = 1,
        said_flags: int | None = None,
        public: bytes | None = None,
        algorithm: str = "",
    ) -> str:
        """An armored signature; `public` is a certificate, or another's key."""
        digest = hashlib.sha512(message).digest()
        parts = (namespace.encode(), b"", b"sha512", digest)
        signed = b"SSHSIG" + b"".join(string(part) for part in parts)
        raw = self.raw_signature(signed, flags, algorithm=algorithm, said_flags=said_flags)
        rest = (public or self.blob, namespace.encode(), b"", b"sha512", raw)
        blob = b"SSHSIG" + struct.pack(">I", 1) + b"".join(string(part) for part in rest)
        text = base64.b64encode(blob).decode()
        lines = [text[at : at + 70] for at in range(0, len(text), 70)]
        begin, end = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
        return "\n".join([begin, *lines, end]) + "\n"

    def write(self, path: Path) -> Path:
        """Write the private half as OpenSSH has it, and the public half beside it."""
        path.write_bytes(
            self._private.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.OpenSSH,
                serialization.NoEncryption(),
            )
        )
        path.chmod(0o600)
        path.with_name(f"{path.name}.pub").write_text(self.line + "\n")
        return path


def certificate(
    authority: SoftKey,
    key: SoftKey,
    principals: tuple[str, ...],
    *,
    valid_after: int = 0,
    valid_before: int = FOREVER,
    options: bytes = b"",
    kind: int = 1,
    signed_by: SoftKey | None = None,
    identity: str = "short-lived",
) -> bytes:
    """A certificate; `signed_by` is who really signs it."""
    stem = key.name.removesuffix("@openssh.com")
    body = (
        string(f"{stem}-cert-v01@openssh.com".encode())
        + string(bytes(range(32)))
        + key.fields
        + struct.pack(">QI", 17, kind)
        + string(identity.encode())
        + string(b"".join(string(name.encode()) for name in principals))
        + struct.pack(">QQ", valid_after, valid_before)
        + string(options)
        + string(b"")
        + string(b"")
        + string(authority.blob)
    )
    return body + string((signed_by or authority).raw_signature(body))


def option(name: str, value: bytes = b"") -> bytes:
    """A critical option."""
    return string(name.encode()) + string(string(value) if value else b"")
