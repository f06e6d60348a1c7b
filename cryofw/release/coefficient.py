"""One calibration coefficient: a value with its type, and the bytes a firmware keeps of it.

Numbers are little-endian, as on the Cortex-M and RISC-V controllers that Zephyr runs on; SMP itself
carries bytes and no types.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

MAX_SIZE = 256
"""Bytes of one value; a packet of 384 bytes has to hold it with its name."""


class CoefficientType(StrEnum):
    """How a value is laid out in bytes; a list of numbers is laid out one after the other."""

    F32 = "f32"
    F64 = "f64"
    U8 = "u8"
    U16 = "u16"
    U32 = "u32"
    U64 = "u64"
    I8 = "i8"
    I16 = "i16"
    I32 = "i32"
    I64 = "i64"
    BOOL = "bool"
    TEXT = "text"
    BYTES = "bytes"


_T = CoefficientType
_LAYOUT = {
    _T.F32: "f", _T.F64: "d",
    _T.U8: "B", _T.U16: "H", _T.U32: "I", _T.U64: "Q",
    _T.I8: "b", _T.I16: "h", _T.I32: "i", _T.I64: "q",
}  # fmt: skip
_FLOATS = frozenset({_T.F32, _T.F64})

Scalar: TypeAlias = float | int | bool | str
Value: TypeAlias = Scalar | list[float] | list[int]


class CoefficientError(Exception):
    """A value that its type cannot hold; the text says why. Its reader says where."""


@dataclass(frozen=True, slots=True)
class Coefficient:
    """A value as it is sent.

    Attributes:
        type: how its bytes are meant.
        hex: the bytes, in lower-case hex.
    """

    type: CoefficientType
    hex: str

    @classmethod
    def of(cls, kind: CoefficientType, value: object) -> Coefficient:
        """Lay out a value as JSON has it; raises CoefficientError if the type cannot hold it."""
        data = _encoded(kind, value)
        if not data:
            raise CoefficientError("it is empty")
        if len(data) > MAX_SIZE:
            raise CoefficientError(f"it takes {len(data)} bytes; at most {MAX_SIZE} can be sent")
        return cls(kind, data.hex())

    @property
    def data(self) -> bytes:
        """The bytes."""
        return bytes.fromhex(self.hex)

    @property
    def value(self) -> Value:
        """The value as JSON has it; of bytes that are none of this type, their hex."""
        return decoded(self.type, self.data)

    def __str__(self) -> str:
        return f"{self.value} ({self.type})"


def decoded(kind: CoefficientType, data: bytes) -> Value:
    """What `data` means as `kind`; its hex where it means nothing."""
    if kind in _LAYOUT:
        size = struct.calcsize("<" + _LAYOUT[kind])
        if not data or len(data) % size:
            return data.hex()
        numbers = list(struct.unpack(f"<{len(data) // size}{_LAYOUT[kind]}", data))
        if kind is _T.F32:
            numbers = [_shortest(number) for number in numbers]
        if not all(map(math.isfinite, numbers)):
            return data.hex()
        return numbers[0] if len(numbers) == 1 else numbers
    if kind is _T.BOOL and data in (b"\x00", b"\x01"):
        return data == b"\x01"
    if kind is _T.TEXT:
        try:
            return data.decode()
        except UnicodeDecodeError:
            return data.hex()
    return data.hex()


def _shortest(number: float) -> float:
    """The shortest decimal that is this 32-bit float: 2.1, not 2.0999999046325684."""
    for digits in range(6, 10):
        short = float(f"{number:.{digits}g}")
        if math.isfinite(short) and struct.pack("<f", short) == struct.pack("<f", number):
            return short
    return number


def _encoded(kind: CoefficientType, value: object) -> bytes:
    if kind in _LAYOUT:
        numbers = value if isinstance(value, list) else [value]
        return b"".join(_number(kind, number) for number in numbers)
    if kind is _T.BOOL:
        if not isinstance(value, bool):
            raise CoefficientError(f"expected true or false, got {_shown(value)}")
        return b"\x01" if value else b"\x00"
    if not isinstance(value, str):
        wanted = "text" if kind is _T.TEXT else "hex digits in quotes"
        raise CoefficientError(f"expected {wanted}, got {_shown(value)}")
    if kind is _T.TEXT:
        return value.encode()
    try:
        return bytes.fromhex(value)
    except ValueError:
        raise CoefficientError(f"expected pairs of hex digits, got {_shown(value)}") from None


def _number(kind: CoefficientType, value: object) -> bytes:
    whole = kind not in _FLOATS
    wanted = "a whole number" if whole else "a number"
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise CoefficientError(f"expected {wanted}, got {_shown(value)}")
    try:
        data = struct.pack("<" + _LAYOUT[kind], value)
    except (struct.error, OverflowError):
        raise CoefficientError(f"{_shown(value)} does not fit {kind}") from None
    if not whole and not math.isfinite(struct.unpack("<" + _LAYOUT[kind], data)[0]):
        raise CoefficientError(f"{_shown(value)} is not a finite number")
    return data


def _shown(value: object) -> str:
    match value:
        case bool():
            return f"`{str(value).lower()}`"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case _:
            return f"`{str(value)[:60]}`"
