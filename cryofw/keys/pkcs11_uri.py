"""`pkcs11:` URIs (RFC 7512), read strictly: where a token's key is, and what opens the token."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn
from urllib.parse import unquote_to_bytes

from cryofw.keys.errors import KeyringError

if TYPE_CHECKING:
    from collections.abc import Mapping

_CHARACTERS: Final = r"(?:[A-Za-z0-9._~:\[\]@!$'()*+,=-]|%[0-9A-Fa-f]{2}"
_PATH_VALUE: Final = re.compile(_CHARACTERS + r"|&)*")
_QUERY_VALUE: Final = re.compile(_CHARACTERS + r"|[/?|])*")
_PATH: Final = ("token", "serial", "manufacturer", "model", "slot-id", "object", "id", "type")
_QUERY: Final = ("module-path", "module-name", "pin-source")
_SCHEME: Final = "pkcs11:"
_HINT: Final = "keys.example shows one: pkcs11:token=lab;object=firmware?module-name=softhsm2"


@dataclass(frozen=True)
class Pkcs11Uri:
    """A key in a token; what is None does not matter for the match.

    `object` is the key's label and `id` its CKA_ID. `module_path` is the PKCS#11 library's file,
    `module_name` its name without `lib` and `.so`, `pin_source` the path of a file with the PIN.
    """

    text: str
    token: str | None = None
    serial: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    slot_id: int | None = None
    object: str | None = None
    id: bytes | None = None
    module_path: str | None = None
    module_name: str | None = None
    pin_source: str | None = None

    @property
    def token_name(self) -> str:
        """The token as people call it."""
        parts = (self.token, self.serial and f"serial {self.serial}", self.model)
        return next((repr(part) for part in parts if part), "(any)")

    @property
    def object_name(self) -> str:
        """The key as people call it."""
        parts = [repr(self.object)] if self.object is not None else []
        parts += [f"id {self.id.hex()}"] if self.id is not None else []
        return " with ".join(parts) or "any key"


def parse_pkcs11_uri(text: str) -> Pkcs11Uri:
    """Read a URI; every attribute must be known, stand once, and be well encoded.

    RFC 7512 lets a reader skip vendor attributes; here a word that is not understood could be a
    misspelt condition, so it is refused.

    Raises:
        KeyringError: not such a URI, an attribute that is unknown or stands twice, a bad
            encoding, a `type` that cannot sign, or a PIN in the URI (`pin-value`).
    """
    if not text.startswith(_SCHEME):
        _refuse(text, "it does not begin with pkcs11:")
    path, separator, query = text.removeprefix(_SCHEME).partition("?")
    if separator and not query:
        _refuse(text, "it ends with ?")
    raw = _attributes(text, path, ";", _PATH, _PATH_VALUE)
    raw |= _attributes(text, query, "&", _QUERY, _QUERY_VALUE)
    if raw.pop("type", b"private") != b"private":
        _refuse(text, "only a private key signs: type=private, or no type")
    identifier = raw.pop("id", None)
    slot_id = _slot_id(text, raw.pop("slot-id", None))
    texts = {name.replace("-", "_"): _decoded(text, name, raw[name]) for name in raw}
    _check(text, texts)
    return Pkcs11Uri(text, id=identifier, slot_id=slot_id, **texts)


def _attributes(
    text: str, part: str, separator: str, known: tuple[str, ...], value_form: re.Pattern[str]
) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for item in part.split(separator) if part else ():
        name, equals, value = item.partition("=")
        if name == "pin-value":
            raise KeyringError(
                "a PIN has no place in a key URI",  # and not in the message either
                why="pin-value would put it into the keyring, and into every log of it",
                hint="use pin-source=FILE, CRYOFW_PIN, or type it when asked",
            )
        if name not in known:
            _refuse(text, f"unknown attribute {name!r} here; known: {', '.join(known)}")
        if name in found:
            _refuse(text, f"{name} stands twice")
        if not equals or not value_form.fullmatch(value):
            _refuse(text, f"the value of {name} is not encoded as RFC 7512 says (%20 for a space)")
        found[name] = unquote_to_bytes(value)
        if not found[name]:
            _refuse(text, f"{name} is empty")
    return found


def _slot_id(text: str, raw: bytes | None) -> int | None:
    if raw is None:
        return None
    if not re.fullmatch(rb"[0-9]{1,20}", raw):
        _refuse(text, "slot-id is a decimal number")
    return int(raw)


def _decoded(text: str, name: str, raw: bytes) -> str:
    try:
        value = raw.decode("utf-8")
    except UnicodeDecodeError:
        _refuse(text, f"{name} is not UTF-8")
    if not value.isprintable():
        _refuse(text, f"{name} has characters that no name has")
    return value


def _check(text: str, texts: Mapping[str, str]) -> None:
    if "module_path" in texts and "module_name" in texts:
        _refuse(text, "it has module-path and module-name; one of them is enough")
    if "/" in texts.get("module_name", ""):
        _refuse(text, "module-name is a name, not a path; write module-path for a file")
    if texts.get("pin_source", "").startswith("|"):
        _refuse(text, "pin-source names a file; commands are not run")


def shown(text: str) -> str:
    """A URI for a message: values of attributes that are not known may be a misspelt PIN."""
    parts = re.split(r"([;?&])", text)
    return "".join(
        part if _is_harmless(part) else f"{part.partition('=')[0]}=..." for part in parts
    )


def _is_harmless(part: str) -> bool:
    name = part.partition("=")[0]
    return "=" not in part or name.removeprefix(_SCHEME) in (*_PATH, *_QUERY)


def _refuse(text: str, why: str) -> NoReturn:
    raise KeyringError(f"{shown(text)!r} is no usable pkcs11: URI", why=why, hint=_HINT)
