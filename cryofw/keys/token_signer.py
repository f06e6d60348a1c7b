"""A private key in a PKCS#11 token: ECDSA P-256 or Ed25519. It never leaves the token."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

from cryofw.image import Algorithm, PublicKey
from cryofw.keys.errors import KeyServiceUnreachable
from cryofw.keys.pin import environment_pin, read_pin_source
from cryofw.keys.pkcs11_uri import parse_pkcs11_uri
from cryofw.keys.token import TOKEN_LOCK, TokenSession, find_objects, log_in, public_session
from cryofw.keys.token_errors import token_error
from cryofw.keys.token_key import attribute, check_kind, check_public_half, only, public_half_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pkcs11.types import SignMixin

    from cryofw.keys.passphrase import PassphraseSource
    from cryofw.keys.pkcs11_uri import Pkcs11Uri
    from cryofw.keys.purpose import Purpose


@dataclass(frozen=True)
class OpenKey:
    """A private key in a session; `pin` for one that asks each time."""

    session: TokenSession
    private: SignMixin
    pin: str | None = field(repr=False)


class TokenSigner:
    """Signs inside a token; see `open_token_signer`.

    A token that was pulled out and is back is logged in to again at the next signature.
    """

    def __init__(
        self,
        name: str,
        purpose: Purpose,
        public_key: PublicKey,
        token_name: str,
        open_key: Callable[[], OpenKey],
    ) -> None:
        self.name = name
        self.purpose = purpose
        self.public_key = public_key
        self._token_name = token_name
        self._open_key = open_key
        self._key = open_key()

    def __repr__(self) -> str:
        return f"TokenSigner({self.name!r}, {self.purpose!r}, {self.public_key.algorithm!r})"

    def sign(self, message: bytes) -> bytes:
        """Sign as `Signer.sign` says, and check the answer before it is given out.

        Raises:
            TokenMissing, PinRefused, KeyServiceUnreachable: the token did not sign.
            ImageRejected: what it made is no signature of this key.
        """
        with TOKEN_LOCK:
            if self._key.session.lost:
                self._key = self._open_key()
            from pkcs11 import PKCS11Error

            try:
                signature = self._sign(message)
            except PKCS11Error as error:
                self._key.session.drop()
                raise token_error(error, self._token_name) from error
        self.public_key.verify(signature, message)
        return signature

    def _sign(self, message: bytes) -> bytes:
        from pkcs11 import Mechanism

        private, pin = self._key.private, self._key.pin
        if self.public_key.algorithm is Algorithm.ED25519:
            return private.sign(message, mechanism=Mechanism.EDDSA, pin=pin)
        # Not ECDSA_SHA256: SoftHSM lacks it, and every token has the plain mechanism.
        digest = sha256(message).digest()
        raw = private.sign(digest, mechanism=Mechanism.ECDSA, pin=pin)
        if len(raw) != 64:
            raise KeyServiceUnreachable(
                f"the token {self._token_name} gave no ECDSA P-256 signature",
                why=f"{len(raw)} bytes instead of 64",
            )
        from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

        return encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))


def open_token_signer(
    uri_text: str,
    directory: Path,
    name: str,
    purpose: Purpose,
    public_key: PublicKey,
    pin: PassphraseSource | None,
) -> TokenSigner:
    """Log in to a token and find a private key.

    The PIN comes from the URI's pin-source, else from `pin`, else from the environment.

    Raises:
        KeyringError: no module, no key or several that match, a key that cannot sign, or one
            whose public half in the token is another than the keyring's.
        KeyFileError, KeyRefused, KeyServiceUnreachable: as `log_in`.
    """
    uri = parse_pkcs11_uri(uri_text)

    def ask() -> bytes | None:
        if uri.pin_source is not None:
            return read_pin_source(uri.pin_source, directory)
        return (pin or environment_pin())(name)

    asked: list[bytes | None] = []

    def ask_once() -> bytes | None:
        if not asked:
            asked.append(ask())
        return asked[0]

    def open_key() -> OpenKey:
        return _find_key(uri, log_in(uri, directory, ask_once), public_key, ask_once)

    with TOKEN_LOCK:
        return TokenSigner(name, purpose, public_key, uri.token_name, open_key)


def _find_key(
    uri: Pkcs11Uri, token: TokenSession, public_key: PublicKey, pin: Callable[[], bytes | None]
) -> OpenKey:
    from pkcs11 import Attribute, ObjectClass, PKCS11Error

    try:
        found = find_objects(token.session, ObjectClass.PRIVATE_KEY, uri.object, uri.id)
        private = only(found, uri, "private")
        check_kind(private, public_key.algorithm, uri)
        check_public_half(token.session, private, public_key, uri)
        again = bool(attribute(private, Attribute.ALWAYS_AUTHENTICATE, default=False))
    except PKCS11Error as error:
        token.drop()
        raise token_error(error, uri.token_name) from error
    secret = pin() if again else None
    return OpenKey(
        token,
        private,  # type: ignore[arg-type]  # check_kind saw that it signs
        secret.decode() if secret is not None else None,
    )


def token_public_key(uri_text: str, directory: Path) -> PublicKey:
    """Read the public half of a key from its token; needs no PIN.

    Raises:
        KeyringError: no module, no public key or several that match, or another kind of key.
        KeyServiceUnreachable: the token is not there or does not answer.
    """
    uri = parse_pkcs11_uri(uri_text)
    with public_session(uri, directory) as session:
        from pkcs11 import ObjectClass

        found = find_objects(session, ObjectClass.PUBLIC_KEY, uri.object, uri.id)
        return public_half_of(only(found, uri, "public"), uri)
