"""OpenSSH user certificates (PROTOCOL.certkeys): a key that an authority vouches for, for a while.

Only certificates are known whose every critical option is understood; a limited certificate must
not become an unlimited one because a reader passed over the limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryofw.trust.errors import SignatureInvalid, SshFormatError
from cryofw.trust.ssh_key import KeyType, SshKey, parse_key, read_key
from cryofw.trust.wire import WireReader, wire_string

if TYPE_CHECKING:
    from datetime import datetime

_SUFFIX: Final = "-cert-v01@openssh.com"
_USER: Final = 1
_VERIFY_REQUIRED: Final = "verify-required"
_FOREVER: Final = 2**64 - 1


@dataclass(frozen=True)
class SshCertificate:
    """A certificate whose authority's signature was checked.

    Attributes:
        key: what it vouches for; authority: the key that signed it.
        identity: the authority's name for it, for logs.
        principals: whom the key speaks for; never empty.
        valid_after, valid_before: seconds since 1970; the second one is the first invalid moment.
        verify_required: each signature needs a PIN or a finger, not only a touch.
    """

    key: SshKey
    authority: SshKey
    serial: int
    identity: str
    principals: tuple[str, ...]
    valid_after: int
    valid_before: int
    verify_required: bool

    def require_valid(self, now: datetime) -> None:
        """Raises SignatureInvalid outside of its time."""
        seconds = now.timestamp()
        if seconds < self.valid_after:
            raise SignatureInvalid(
                f"the certificate {self.identity!r} is not valid yet",
                hint="is a clock wrong? `ssh-keygen -L -f CERTIFICATE` shows its time",
            )
        if seconds >= self.valid_before:
            raise SignatureInvalid(
                f"the certificate {self.identity!r} has expired",
                hint="get a fresh one from the authority, and sign again",
            )


def is_certificate(blob: bytes) -> bool:
    """Whether a public key blob is a certificate, by its name."""
    return _name_of(blob).endswith(_SUFFIX)


def _name_of(blob: bytes) -> str:
    return WireReader(blob, "the public key").text()


def _plain_kind(name: str) -> KeyType:
    # sk-ssh-ed25519-cert-v01@openssh.com is the certificate of sk-ssh-ed25519@openssh.com.
    stem = name.removesuffix(_SUFFIX)
    for kind in KeyType:
        if kind.removesuffix("@openssh.com") == stem:
            return kind
    raise SshFormatError(f"a certificate of the kind {name[:60]!r}")


def parse_certificate(blob: bytes) -> SshCertificate:
    """Read a certificate and check its authority's signature; says nothing of who that is.

    Raises:
        SshFormatError: it is malformed.
        SignatureInvalid: forged, not a user's, without principals, or limited by an option that
            is not understood here.
    """
    reader = WireReader(blob, "the certificate")
    kind = _plain_kind(reader.text())
    reader.string()  # the nonce
    before = len(reader.consumed)
    material, application = read_key(kind, reader)
    fields = reader.consumed[before:]
    serial, certificate_type = reader.uint64(), reader.uint32()
    identity = reader.text()
    principals = _strings(reader.string(), "the principals of the certificate")
    valid_after, valid_before = reader.uint64(), reader.uint64()
    options = _options(reader.string())
    reader.string()  # extensions permit things at login, none of them here
    reader.string()  # reserved
    authority = parse_key(reader.string())
    signed = reader.consumed
    signature = reader.string()
    reader.end()
    try:
        authority.verify(signature, signed)
    except SignatureInvalid as error:
        raise SignatureInvalid(
            f"the certificate {identity!r} is forged",
            why=f"{authority.fingerprint}, which it names as its authority, did not sign it",
            hint="whoever brought it lies or was lied to: ask the authority",
        ) from error
    if certificate_type != _USER:
        raise SignatureInvalid(
            f"the certificate {identity!r} is not one of a user",
            hint="`ssh-keygen -s CA -I ID -n PRINCIPAL` without `-h` makes one",
        )
    if not principals:
        raise SignatureInvalid(
            f"the certificate {identity!r} names no principal",
            hint="`ssh-keygen -s CA -I ID -n PRINCIPAL -V +8h KEY.pub`",
        )
    if unknown := sorted(options - {_VERIFY_REQUIRED}):
        raise SignatureInvalid(
            f"the certificate {identity!r} is limited in a way that has no meaning here",
            why=f"critical option {', '.join(unknown)}",
            hint="get a certificate without it for approvals",
        )
    key = SshKey(kind, wire_string(kind.encode()) + fields, material, application)
    return SshCertificate(
        key,
        authority,
        serial,
        identity,
        principals,
        valid_after,
        min(valid_before, _FOREVER),
        _VERIFY_REQUIRED in options,
    )


def _strings(data: bytes, what: str) -> tuple[str, ...]:
    reader = WireReader(data, what)
    found = []
    while not reader.is_empty:
        found.append(reader.text())
    return tuple(found)


def _options(data: bytes) -> set[str]:
    reader = WireReader(data, "the options of the certificate")
    names: set[str] = set()
    while not reader.is_empty:
        name = reader.text()
        reader.string()
        if name in names:
            raise SshFormatError(f"the certificate has the option {name!r} twice")
        names.add(name)
    return names
