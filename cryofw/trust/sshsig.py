"""Signatures of files by ssh keys (PROTOCOL.sshsig), as `ssh-keygen -Y sign` makes them."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Final

from cryofw.trust.errors import SignatureInvalid, SshFormatError
from cryofw.trust.ssh_certificate import SshCertificate, is_certificate, parse_certificate
from cryofw.trust.ssh_key import SshKey, decoded, parse_key
from cryofw.trust.wire import WireReader, wire_string

_MAGIC: Final = b"SSHSIG"
_VERSION: Final = 1
_BEGIN: Final = "-----BEGIN SSH SIGNATURE-----"
_END: Final = "-----END SSH SIGNATURE-----"
_HASHES: Final = {"sha256": hashlib.sha256, "sha512": hashlib.sha512}
_LONGEST: Final = 16_384
_COLUMNS: Final = 70


@dataclass(frozen=True)
class SshSignature:
    """A parsed signature; nothing about it was checked yet, but a certificate's own signature.

    Attributes:
        key: that made it; certificate: what vouches for it, if it is not the key alone.
    """

    key: SshKey
    certificate: SshCertificate | None
    namespace: str
    hash: str
    raw: bytes
    reserved: bytes = b""

    def verify(self, message: bytes, namespace: str) -> int:
        """Check that the key signed `message` for this purpose.

        Returns:
            The flags of a FIDO token; 0 for other keys.

        Raises:
            SignatureInvalid: another namespace, or not this key over these bytes.
        """
        if self.namespace != namespace:
            raise SignatureInvalid(
                "the signature was made for another purpose",
                why=f"its namespace is {self.namespace!r}, not {namespace!r}",
                hint=f"sign with `ssh-keygen -Y sign -n {namespace} -f KEY FILE`",
            )
        return self.key.verify(self.raw, signed_bytes(message, namespace, self.hash, self.reserved))


def signed_bytes(message: bytes, namespace: str, hash_name: str, reserved: bytes = b"") -> bytes:
    """What a key really signs for a message."""
    digest = _HASHES[hash_name](message).digest()
    parts = (namespace.encode(), reserved, hash_name.encode(), digest)
    return _MAGIC + b"".join(wire_string(part) for part in parts)


def parse_signature(text: str) -> SshSignature:
    """Read an armored signature.

    Raises:
        SshFormatError: it is none, or of another version.
        SignatureInvalid: the certificate in it is forged or of no use here.
    """
    lines = text.strip().splitlines()
    if len(text) > _LONGEST or len(lines) < 3 or (lines[0], lines[-1]) != (_BEGIN, _END):
        raise SshFormatError(
            "this is no signature of an ssh key",
            why=f"expected a file that begins with {_BEGIN}",
            hint="`ssh-keygen -Y sign` writes FILE.sig",
        )
    reader = WireReader(decoded("".join(lines[1:-1]), "the signature"), "the signature")
    if reader.take(len(_MAGIC)) != _MAGIC:
        raise SshFormatError("this is no signature of an ssh key")
    if (version := reader.uint32()) != _VERSION:
        raise SshFormatError(f"a signature of version {version}; version {_VERSION} is known")
    public, namespace = reader.string(), reader.text()
    reserved, hash_name, raw = reader.string(), reader.text(), reader.string()
    reader.end()
    if hash_name not in _HASHES:
        raise SshFormatError(f"a signature over a hash that is not known: {hash_name[:20]!r}")
    certificate = parse_certificate(public) if is_certificate(public) else None
    key = certificate.key if certificate else parse_key(public)
    return SshSignature(key, certificate, namespace, hash_name, raw, reserved)


def armored(public: bytes, namespace: str, hash_name: str, raw: bytes) -> str:
    """The text of a signature that was made elsewhere, as `ssh-keygen` writes it."""
    fields = (public, namespace.encode(), b"", hash_name.encode(), raw)
    blob = _MAGIC + _VERSION.to_bytes(4, "big") + b"".join(wire_string(one) for one in fields)
    text = base64.b64encode(blob).decode()
    lines = [text[at : at + _COLUMNS] for at in range(0, len(text), _COLUMNS)]
    return "\n".join([_BEGIN, *lines, _END]) + "\n"
