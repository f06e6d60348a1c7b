"""What a token's return codes mean for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.keys.errors import KeyringError, KeyServiceUnreachable, PinRefused, TokenLocked
from cryofw.keys.errors import TokenMissing as Missing

if TYPE_CHECKING:
    from pkcs11 import PKCS11Error

    from cryofw.errors import CryofwError


def token_error(error: PKCS11Error, token: str) -> CryofwError:
    """Translate what python-pkcs11 raises.

    Args:
        error: a return code as an exception.
        token: what people call the token.
    """
    import pkcs11

    name = type(error).__name__
    why = f"{name}: {error}" if str(error) else name
    match error:
        case pkcs11.PinIncorrect() | pkcs11.PinLenRange() | pkcs11.PinInvalid():
            return PinRefused(
                f"the token {token} refused the PIN",
                why=f"{why}; it was tried once and is not tried again",
                hint="the token locks itself after a few: check what was typed, CRYOFW_PIN or the "
                "pin-source file",
            )
        case pkcs11.PinExpired():
            return PinRefused(
                f"the PIN of the token {token} has expired",
                why=why,
                hint="set a new one (`pkcs11-tool --login --change-pin`)",
            )
        case pkcs11.PinLocked():
            return TokenLocked(
                f"the token {token} is locked",
                why=f"{why}: too many wrong PINs",
                hint="its security officer can set a new PIN (`pkcs11-tool --init-pin`)",
            )
        case pkcs11.UserPinNotInitialized():
            return TokenLocked(
                f"the token {token} has no user PIN yet",
                why=why,
                hint="its security officer sets one (`pkcs11-tool --init-pin`)",
            )
        case (
            pkcs11.TokenNotPresent()
            | pkcs11.TokenNotRecognised()
            | pkcs11.NoSuchToken()
            | pkcs11.SlotIDInvalid()
            | pkcs11.DeviceRemoved()
        ):
            return Missing(
                f"the token {token} is gone", why=why, hint="plug it in and run the command again"
            )
        case pkcs11.MechanismInvalid() | pkcs11.KeyTypeInconsistent() | pkcs11.KeySizeRange():
            return KeyringError(
                f"the token {token} cannot sign with this key",
                why=why,
                hint="`pkcs11-tool -M` shows whether it has ECDSA (P-256) or EDDSA (Ed25519)",
            )
        case _:
            return KeyServiceUnreachable(
                f"the token {token} did not do it",
                why=why,
                hint="`pkcs11-tool --module FILE --login --test` asks it without cryofw",
            )
