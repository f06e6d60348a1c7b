"""Sessions with PKCS#11 tokens: one for each token and process, and one lock around them all.

A login belongs to the whole process, and libraries crash when sessions run side by side (SoftHSM
does); one session behind one lock makes thousands of signatures a second.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryofw.keys.errors import KeyFileError, KeyringError, PinRefused, TokenLocked, TokenMissing
from cryofw.keys.pkcs11_module import find_module, load_module
from cryofw.keys.token_errors import token_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pkcs11 import ObjectClass
    from pkcs11.types import Object, Session, Token

    from cryofw.keys.pkcs11_uri import Pkcs11Uri

TOKEN_LOCK: Final = threading.RLock()
"""Held around every call of a PKCS#11 library."""

_open: dict[tuple[Path, bytes], TokenSession] = {}
_refused: set[tuple[Path, bytes]] = set()
_loaded: set[Path] = set()


@dataclass
class TokenSession:
    """A session that is logged in; use it under TOKEN_LOCK, and never when it is lost."""

    session: Session
    key: tuple[Path, bytes] = field(repr=False)
    lost: bool = False

    def drop(self) -> None:
        """Forget a session that broke, so that the next use logs in anew."""
        from pkcs11 import PKCS11Error

        self.lost = True
        _open.pop(self.key, None)
        with contextlib.suppress(PKCS11Error):
            self.session.close()


def log_in(uri: Pkcs11Uri, directory: Path, pin: Callable[[], bytes | None]) -> TokenSession:
    """Return the session of a URI's token; the first call in a process logs in.

    Args:
        uri: of a key in the token.
        directory: of the keyring.
        pin: asked at most once, and only when the token wants one.

    Raises:
        KeyringError: no module, or several tokens match.
        TokenMissing: no token matches.
        PinRefused: the PIN is wrong; also when it was wrong before in this process.
        TokenLocked: the token's PIN is locked, or the next wrong one would lock it.
        KeyFileError: it wants a PIN and there is none.
        KeyServiceUnreachable: anything else that the token says.
    """
    with TOKEN_LOCK:
        path = find_module(uri, directory)
        token = _find_token(uri, path)
        key = path, token.serial
        if key not in _open:
            _open[key] = TokenSession(_new_session(uri, token, key, pin), key)
        return _open[key]


@contextlib.contextmanager
def public_session(uri: Pkcs11Uri, directory: Path) -> Iterator[Session]:
    """A session that sees what anyone may see without a PIN; under TOKEN_LOCK meanwhile.

    Raises:
        KeyringError, TokenMissing, KeyServiceUnreachable: as `log_in`.
    """
    with TOKEN_LOCK:
        path = find_module(uri, directory)
        token = _find_token(uri, path)
        from pkcs11 import PKCS11Error

        known = _open.get((path, token.serial))
        try:
            if known is not None:
                yield known.session
                return
            with token.open() as session:
                yield session
        except PKCS11Error as error:
            raise token_error(error, uri.token_name) from error


def find_objects(
    session: Session, kind: ObjectClass, label: str | None, identifier: bytes | None
) -> list[Object]:
    """Return the objects of a class, with a label and an id where they are given."""
    from pkcs11 import Attribute

    wanted: dict[Attribute, object] = {Attribute.CLASS: kind}
    if label is not None:
        wanted[Attribute.LABEL] = label
    if identifier is not None:
        wanted[Attribute.ID] = identifier
    return list(session.get_objects(wanted))  # to its end: a search blocks other operations


def close_tokens() -> None:
    """Log out everywhere and let go of the libraries; the next use begins anew.

    For long processes whose tokens were changed, and for tests.
    """
    import pkcs11

    with TOKEN_LOCK:
        for each in _open.values():
            each.lost = True  # its library goes away under it
        for path in _loaded:
            pkcs11.unload(str(path))
        for known in (_open, _refused, _loaded):
            known.clear()


def _find_token(uri: Pkcs11Uri, path: Path) -> Token:
    module = load_module(path)
    _loaded.add(path)
    from pkcs11 import PKCS11Error, TokenFlag

    try:
        tokens = [slot.get_token() for slot in module.get_slots(token_present=True)]
    except PKCS11Error as error:
        raise token_error(error, uri.token_name) from error
    ready = [token for token in tokens if token.flags & TokenFlag.TOKEN_INITIALIZED]
    found = [token for token in ready if _matches(uri, token)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(
        f"{token.label!r} (serial {token.serial.decode(errors='replace')})" for token in ready
    )
    if found:
        raise KeyringError(
            f"{len(found)} tokens match {uri.text}",
            why=f"there are {names}",
            hint="add serial=... to the URI",
        )
    raise TokenMissing(
        f"the token {uri.token_name} is not there",
        why=f"{path} shows {names or 'no token'}",
        hint="is it plugged in? `pkcs11-tool --module FILE -L` shows what the library sees",
    )


def _matches(uri: Pkcs11Uri, token: Token) -> bool:
    return all(
        wanted is None or wanted == found
        for wanted, found in (
            (uri.token, token.label),
            (uri.serial, token.serial.decode(errors="replace")),
            (uri.manufacturer, token.manufacturer_id),
            (uri.model, token.model),
            (uri.slot_id, token.slot.slot_id),
        )
    )


def _new_session(
    uri: Pkcs11Uri, token: Token, key: tuple[Path, bytes], pin: Callable[[], bytes | None]
) -> Session:
    from pkcs11 import PROTECTED_AUTH, PKCS11Error, TokenFlag

    secret: str | object | None = None
    if token.flags & TokenFlag.LOGIN_REQUIRED:
        _refuse_locked(token)
        if key in _refused:
            raise PinRefused(
                f"the token {token.label!r} refused the PIN before",
                why="it is not tried again in this process: the token counts wrong ones",
                hint="correct the PIN and start again",
            )
        on_pad = bool(token.flags & TokenFlag.PROTECTED_AUTHENTICATION_PATH)
        secret = PROTECTED_AUTH if on_pad else _pin_text(uri, pin())
    try:
        return token.open(user_pin=secret)
    except PKCS11Error as error:
        translated = token_error(error, repr(token.label))
        if isinstance(translated, PinRefused):
            _refused.add(key)
        raise translated from error


def _refuse_locked(token: Token) -> None:
    from pkcs11 import TokenFlag

    hint = "log in by hand with the right PIN (`pkcs11-tool --login --test`) to reset its counter"
    if token.flags & TokenFlag.USER_PIN_LOCKED:
        raise TokenLocked(
            f"the token {token.label!r} is locked",
            why="too many wrong PINs",
            hint="its security officer can set a new PIN (`pkcs11-tool --init-pin --so-pin ...`)",
        )
    if token.flags & TokenFlag.USER_PIN_FINAL_TRY:
        raise TokenLocked(
            f"the token {token.label!r} is one wrong PIN away from being locked",
            why="cryofw does not spend the last try",
            hint=hint,
        )
    if not token.flags & TokenFlag.USER_PIN_INITIALIZED:
        raise TokenLocked(
            f"the token {token.label!r} has no user PIN yet",
            hint="its security officer sets one (`pkcs11-tool --init-pin --so-pin ...`)",
        )


def _pin_text(uri: Pkcs11Uri, pin: bytes | None) -> str:
    if pin is None:
        raise KeyFileError(
            f"the token {uri.token_name} wants a PIN and none was given",
            hint="set CRYOFW_PIN, add pin-source=FILE to the URI, or run at a terminal",
        )
    try:
        return pin.decode()
    except UnicodeDecodeError as error:
        raise KeyFileError("the PIN is not UTF-8 text") from error
