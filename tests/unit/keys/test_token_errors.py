"""What no token at hand can be made to say: each return code as the error that it becomes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pkcs11
import pytest

from cryofw.keys import KeyringError, KeyServiceUnreachable, PinRefused, TokenLocked, TokenMissing
from cryofw.keys.token_errors import token_error

if TYPE_CHECKING:
    from cryofw.errors import CryofwError


@pytest.mark.parametrize(
    ("code", "kind", "exit_code", "part"),
    [
        (pkcs11.PinIncorrect, PinRefused, 5, "refused the PIN"),
        (pkcs11.PinLenRange, PinRefused, 5, "refused the PIN"),
        (pkcs11.PinInvalid, PinRefused, 5, "refused the PIN"),
        (pkcs11.PinExpired, PinRefused, 5, "has expired"),
        (pkcs11.PinLocked, TokenLocked, 5, "is locked"),
        (pkcs11.UserPinNotInitialized, TokenLocked, 5, "no user PIN"),
        (pkcs11.TokenNotPresent, TokenMissing, 69, "is gone"),
        (pkcs11.DeviceRemoved, TokenMissing, 69, "is gone"),
        (pkcs11.SlotIDInvalid, TokenMissing, 69, "is gone"),
        (pkcs11.MechanismInvalid, KeyringError, 3, "cannot sign with this key"),
        (pkcs11.DeviceError, KeyServiceUnreachable, 69, "did not do it"),
        (pkcs11.GeneralError, KeyServiceUnreachable, 69, "did not do it"),
    ],
)
def test_a_return_code_becomes_a_typed_error_with_a_next_step(
    code: type[pkcs11.PKCS11Error], kind: type[CryofwError], exit_code: int, part: str
) -> None:
    error = token_error(code(), "'lab'")

    assert type(error) is kind
    assert error.exit_code == exit_code
    assert part in error.what
    assert "'lab'" in error.what
    assert code.__name__ in error.why
    assert error.hint
