"""Key objects in a token: which kind they are, what they may do, and their public half."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cryofw.image import Algorithm, PublicKey
from cryofw.keys.errors import KeyringError
from cryofw.keys.token import find_objects

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pkcs11 import Attribute as Attributes
    from pkcs11.types import Object, Session

    from cryofw.keys.pkcs11_uri import Pkcs11Uri

_P256_OID: Final = bytes.fromhex("06082a8648ce3d030107")
_ED25519_PARAMETERS: Final = (
    bytes.fromhex("06032b6570"),  # the OID of RFC 8410
    b"\x13\x0cedwards25519",  # the name, as PKCS#11 3.0 has it
)
_P256_HEAD: Final = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
_ED25519_HEAD: Final = bytes.fromhex("302a300506032b6570032100")


def only(found: Sequence[Object], uri: Pkcs11Uri, half: str) -> Object:
    """Return the one key that was found.

    Raises:
        KeyringError: there is none, or several.
    """
    from pkcs11 import Attribute

    if len(found) == 1:
        return found[0]
    if not found:
        hint = "`pkcs11-tool --module FILE --login -O` lists what it has"
        if half == "public":
            hint += "; what it shows only after a login, write into the keyring yourself"
        raise KeyringError(
            f"the token {uri.token_name} has no {half} key {uri.object_name}", hint=hint
        )
    names = ", ".join(
        f"{attribute(each, Attribute.LABEL, default='')!r} "
        f"id {bytes(attribute(each, Attribute.ID, default=b'')).hex()}"
        for each in found
    )
    raise KeyringError(
        f"{len(found)} {half} keys match {uri.text}",
        why=f"{names} in the token {uri.token_name}",
        hint="add id=%.. to the URI: it has to name one key",
    )


def attribute(thing: Object, name: Attributes, *, default: object) -> Any:
    """Return an attribute that a token may not have."""
    from pkcs11 import AttributeSensitive, AttributeTypeInvalid

    try:
        return thing[name]
    except (AttributeTypeInvalid, AttributeSensitive):
        return default


def check_kind(private: Object, algorithm: Algorithm, uri: Pkcs11Uri) -> None:
    """Make sure that a private key is of the keyring's algorithm and may sign.

    Raises:
        KeyringError: it is not, or may not.
    """
    from pkcs11 import Attribute

    kind = _algorithm(private)
    if kind is not algorithm:
        raise KeyringError(
            f"the key {uri.object_name} in the token {uri.token_name} is of the wrong type",
            why=f"it is {kind or _type_name(private)}, the keyring says {algorithm}",
            hint="keys in tokens are ecdsa-p256 or ed25519",
        )
    if not attribute(private, Attribute.SIGN, default=True):
        raise KeyringError(
            f"the key {uri.object_name} in the token {uri.token_name} may not sign",
            why="its CKA_SIGN is false",
            hint="make the key with `pkcs11-tool --keypairgen --usage-sign`",
        )


def check_public_half(
    session: Session, private: Object, expected: PublicKey, uri: Pkcs11Uri
) -> None:
    """Compare with the public half in the token, where it keeps one under the same id.

    Raises:
        KeyringError: it is another one than `expected`.
    """
    from pkcs11 import Attribute, ObjectClass

    identifier = attribute(private, Attribute.ID, default=None)
    if not identifier:
        return
    for public in find_objects(
        session,
        ObjectClass.PUBLIC_KEY,
        None,
        bytes(identifier),
    ):
        found = public_half_of(public, uri)
        if found != expected:
            raise KeyringError(
                f"the key {uri.object_name} in the token {uri.token_name} is another one",
                why=f"the token has {found.key_hash.hex()[:16]}, "
                f"the keyring's public half is {expected.key_hash.hex()[:16]}",
                hint="`cryofw keys add` enters the public half that the token has",
            )


def public_half_of(public: Object, uri: Pkcs11Uri) -> PublicKey:
    """Read a public key object.

    Raises:
        KeyringError: it is neither P-256 nor Ed25519.
    """
    from pkcs11 import Attribute

    algorithm = _algorithm(public)
    point = bytes(public[Attribute.EC_POINT]) if algorithm else b""
    if algorithm is Algorithm.ECDSA_P256 and point[-65:-64] == b"\x04" and len(point) in {65, 67}:
        return PublicKey(algorithm, _P256_HEAD + point[-65:])
    if algorithm is Algorithm.ED25519 and len(point) in {32, 34}:
        return PublicKey(algorithm, _ED25519_HEAD + point[-32:])
    raise KeyringError(
        f"the key {uri.object_name} in the token {uri.token_name} is of the wrong type",
        why=f"it is {_type_name(public)}",
        hint="keys in tokens are ecdsa-p256 or ed25519",
    )


def _algorithm(key: Object) -> Algorithm | None:
    from pkcs11 import Attribute, KeyType

    kind = attribute(key, Attribute.KEY_TYPE, default=None)
    if kind not in {KeyType.EC, KeyType.EC_EDWARDS}:
        return None
    parameters = bytes(key[Attribute.EC_PARAMS])
    if kind == KeyType.EC and parameters == _P256_OID:
        return Algorithm.ECDSA_P256
    if kind == KeyType.EC_EDWARDS and parameters in _ED25519_PARAMETERS:
        return Algorithm.ED25519
    return None


def _type_name(key: Object) -> str:
    from pkcs11 import Attribute, KeyType

    kind = attribute(key, Attribute.KEY_TYPE, default=None)
    name = kind.name if isinstance(kind, KeyType) else str(kind)
    return f"{name} on another curve" if name in {"EC", "EC_EDWARDS"} else name
