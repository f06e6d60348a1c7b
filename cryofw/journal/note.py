"""Signed notes: a text, and lines that sign it (C2SP signed-note, tlog-cosignature).

    text, the last line ends with a newline
    (an empty line)
    — NAME base64(key id || signature)

A signature line names its key by a name and by four bytes of a hash over name, type and key. Who
verifies knows keys, not names: for each line the id is computed anew with the name that stands
there, so that one key verifies every journal that it signs.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol

from cryofw.errors import BadInput, VerificationFailed
from cryofw.image import Algorithm, ImageError, PublicKey

if TYPE_CHECKING:
    from collections.abc import Iterable

_LARGEST = 1 << 20  # bytes; a note of ours has less than a thousand
_MOST_SIGNATURES = 100
_LINE = re.compile(r"— (\S+) ([A-Za-z0-9+/]+={0,2})")
_NAME = re.compile(r"[^\s+]+")
_TIME_SIZE = 8
_ED25519_SIZE = 64
_SPKI_ED25519 = bytes.fromhex("302a300506032b6570032100")
_LAST_TIME = (1 << 63) - 1
_NEXT_STEP = "keep this file as evidence, and get it again from where it was made"


class NoteInvalid(VerificationFailed):
    """It is not a signed note, or a key that we know did not make its signature."""

    def __init__(self, what: str, *, why: str = "", hint: str = _NEXT_STEP) -> None:
        super().__init__(what, why=why, hint=hint)


class VerifierKeyInvalid(BadInput):
    """A text that should be a verifier key (`name+id+key`) is none."""


class SignatureType(IntEnum):
    """How a line signs; the byte that goes into its key's id (C2SP signed-note)."""

    ED25519 = 0x01
    ECDSA = 0x02
    COSIGNATURE = 0x04
    """Ed25519 with a time, by a witness (C2SP tlog-cosignature)."""


class NoteSigner(Protocol):
    """The private key behind a signature; `keys.Signer` is one."""

    @property
    def public_key(self) -> PublicKey:
        """The half that verifies: ed25519 or ecdsa-p256."""

    def sign(self, message: bytes) -> bytes:
        """A signature over `message`: Ed25519 as it is, ECDSA with SHA-256 in DER."""


@dataclass(frozen=True)
class NoteSignature:
    """One signature line; `body` is what follows the id: for a cosignature, time and signature."""

    name: str
    key_id: bytes
    body: bytes

    @property
    def line(self) -> str:
        """The line without its newline."""
        return f"— {self.name} {base64.b64encode(self.key_id + self.body).decode()}"


@dataclass(frozen=True)
class SignedNote:
    """A text and the lines that sign it."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def encode(self) -> bytes:
        """The note's exact bytes."""
        lines = "".join(f"{signature.line}\n" for signature in self.signatures)
        return f"{self.text}\n{lines}".encode()

    @classmethod
    def parse(cls, data: bytes) -> SignedNote:
        """Read a note; raises NoteInvalid. It says nothing yet about any signature."""
        if len(data) > _LARGEST:
            raise NoteInvalid("this is not a signed note", why=f"it has {len(data)} bytes")
        try:
            whole = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise NoteInvalid("this is not a signed note", why="it is not UTF-8") from error
        if any(char < " " and char != "\n" for char in whole):
            raise NoteInvalid("this is not a signed note", why="it has control characters")
        text, separator, lines = whole.rpartition("\n\n")
        if not separator or not lines.endswith("\n"):
            raise NoteInvalid("this is not a signed note", why="it has no signature lines")
        signatures = tuple(_parse_line(line) for line in lines[:-1].split("\n"))
        if len(signatures) > _MOST_SIGNATURES:
            raise NoteInvalid("this is not a signed note", why="it has too many signatures")
        return cls(text + "\n", signatures)

    def signed_by(self, keys: Iterable[PublicKey]) -> list[PublicKey]:
        """Those of `keys` that signed the text.

        Raises:
            NoteInvalid: a line bears the id of one of the keys, which did not make it.
        """
        # Each line is looked at: one that is forged is told also beside one that is good.
        return [key for key in keys if sum(self._is_by(key, line) for line in self.signatures)]

    def _is_by(self, key: PublicKey, signature: NoteSignature) -> bool:
        kind = signature_type(key)
        if signature.key_id != key_id(signature.name, kind, key):
            return False
        _verify(key, signature.body, self.text.encode(), signature.name)
        return True

    def cosigned_by(self, keys: Iterable[PublicKey]) -> list[tuple[PublicKey, int]]:
        """Those of the Ed25519 `keys` that cosigned the text, with the time in seconds since 1970.

        The latest of each key. Raises NoteInvalid as `signed_by`.
        """
        found: dict[bytes, tuple[PublicKey, int]] = {}
        for key in keys:
            if key.algorithm is not Algorithm.ED25519:
                continue
            for line in self.signatures:
                if line.key_id == key_id(line.name, SignatureType.COSIGNATURE, key):
                    seconds = _verify_cosignature(key, self.text, line)
                    latest = max(seconds, found.get(key.encoded, (key, 0))[1])
                    found[key.encoded] = (key, latest)
        return list(found.values())

    def with_signatures(self, more: Iterable[NoteSignature]) -> SignedNote:
        """This note with further lines; a line that it has already is not repeated."""
        merged = dict.fromkeys([*self.signatures, *more])
        return SignedNote(self.text, tuple(merged))


def _parse_line(line: str) -> NoteSignature:
    match = _LINE.fullmatch(line)
    data = decode_base64(match[2]) if match else None
    if match is None or data is None or len(data) <= 4 or not _NAME.fullmatch(match[1]):
        raise NoteInvalid("this is not a signed note", why=f"no signature line: {line[:80]!r}")
    return NoteSignature(match[1], data[:4], data[4:])


def decode_base64(text: str) -> bytes | None:
    """The bytes of a Base64 text (RFC 4648, 4) if it is the one text of these bytes."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if base64.b64encode(data).decode() == text else None


def signature_type(key: PublicKey) -> SignatureType:
    """How a key signs notes.

    Raises:
        BadInput: RSA has no place in signed notes.
    """
    match key.algorithm:
        case Algorithm.ED25519:
            return SignatureType.ED25519
        case Algorithm.ECDSA_P256:
            return SignatureType.ECDSA
        case Algorithm.RSA_2048 | Algorithm.RSA_3072:
            raise BadInput(
                f"a key of kind {key.algorithm} signs no journal",
                why="signed notes know Ed25519 and ECDSA P-256",
                hint="`cryofw keys generate NAME --purpose journal` makes one",
            )


def key_id(name: str, kind: SignatureType, key: PublicKey) -> bytes:
    """The four bytes by which a line names its key."""
    if kind is SignatureType.ECDSA:  # transparency-dev/witness: over the key alone
        return sha256(key.encoded).digest()[:4]
    return sha256(name.encode() + b"\n" + bytes([kind]) + _material(key)).digest()[:4]


def _material(key: PublicKey) -> bytes:
    if key.algorithm is Algorithm.ED25519:
        return key.encoded.removeprefix(_SPKI_ED25519)
    return key.encoded


def sign_note(text: str, name: str, signer: NoteSigner) -> SignedNote:
    """Sign a text that ends with a newline, under a name without spaces and `+`.

    Raises:
        BadInput: the key is of a kind that signs no notes.
        What the signer raises.
    """
    key = signer.public_key
    identity = key_id(name, signature_type(key), key)
    return SignedNote(text, (NoteSignature(name, identity, signer.sign(text.encode())),))


def cosign(text: str, name: str, signer: NoteSigner, seconds: int) -> NoteSignature:
    """A witness's line: it saw this text at a time, in seconds since 1970.

    Raises:
        BadInput: the key is not Ed25519.
        What the signer raises.
    """
    key = signer.public_key
    if key.algorithm is not Algorithm.ED25519:
        raise BadInput(
            f"a key of kind {key.algorithm} cosigns nothing",
            why="cosignatures are made with Ed25519 (C2SP tlog-cosignature)",
            hint="`cryofw keys generate NAME --purpose witness` makes one",
        )
    signature = signer.sign(_cosigned(text, seconds))
    identity = key_id(name, SignatureType.COSIGNATURE, key)
    return NoteSignature(name, identity, seconds.to_bytes(_TIME_SIZE, "big") + signature)


def _cosigned(text: str, seconds: int) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()


def _verify_cosignature(key: PublicKey, text: str, line: NoteSignature) -> int:
    seconds = int.from_bytes(line.body[:_TIME_SIZE], "big")
    if len(line.body) != _TIME_SIZE + _ED25519_SIZE or seconds > _LAST_TIME:
        raise NoteInvalid("a cosignature is malformed", why=f"that of {line.name}")
    _verify(key, line.body[_TIME_SIZE:], _cosigned(text, seconds), line.name)
    return seconds


def _verify(key: PublicKey, signature: bytes, message: bytes, name: str) -> None:
    try:
        key.verify(signature, message)
    except (ImageError, VerificationFailed) as error:
        raise NoteInvalid(
            "a signature of the note does not verify",
            why=f"the line of {name} bears the id of key {key.key_hash.hex()[:16]}, "
            "which did not make it",
        ) from error


def verifier_key(name: str, key: PublicKey, kind: SignatureType | None = None) -> str:
    """The key as other tools want it: `name+id+base64(type || key)`."""
    kind = signature_type(key) if kind is None else kind
    material = base64.b64encode(bytes([kind]) + _material(key)).decode()
    return f"{name}+{key_id(name, kind, key).hex()}+{material}"


def parse_verifier_key(text: str) -> tuple[str, PublicKey]:
    """Name and key of a verifier key; raises VerifierKeyInvalid."""
    parts = text.strip().split("+", 2)
    material = decode_base64(parts[2]) if len(parts) == 3 else None
    if material is None or len(material) < 2 or not _NAME.fullmatch(parts[0]):
        raise VerifierKeyInvalid("this is not a verifier key", why="expected NAME+ID+KEY")
    try:
        kind = SignatureType(material[0])
        der = material[1:] if kind is SignatureType.ECDSA else _SPKI_ED25519 + material[1:]
        pem = base64.encodebytes(der).decode()
        key = PublicKey.from_pem(
            f"-----BEGIN PUBLIC KEY-----\n{pem}-----END PUBLIC KEY-----\n".encode()
        )
    except (ValueError, ImageError) as error:
        raise VerifierKeyInvalid("this is not a verifier key", why=str(error)) from error
    if key_id(parts[0], kind, key).hex() != parts[1]:
        raise VerifierKeyInvalid(
            "this is not a verifier key", why=f"its id {parts[1]} is not that of its key"
        )
    return parts[0], key
