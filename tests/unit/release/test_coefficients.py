"""A file of coefficients: what its values are as bytes, and what is refused, with its place."""

from __future__ import annotations

import json
import struct
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryofw.release import Coefficient, CoefficientError, CoefficientType, decoded
from cryofw.release.coefficients import CoefficientsError, parse_coefficients

_T = CoefficientType
GOOD = """{
  "schema": "cryofw.coefficients/v1",
  "defaults": {
    "readout/gain": {"type": "f32", "value": 2.0},
    "readout/taps": {"type": "i16", "value": [1, -2, 3]}
  },
  "controllers": {
    "c1-a": {"readout/gain": {"type": "f32", "value": 2.1}},
    "c1-b": {}
  }
}
"""


def test_each_controller_gets_its_own_over_the_defaults() -> None:
    file = parse_coefficients(GOOD.encode())
    taps = Coefficient(_T.I16, "0100feff0300")
    assert file.of("c1-a") == {
        "readout/gain": Coefficient(_T.F32, struct.pack("<f", 2.1).hex()),
        "readout/taps": taps,
    }
    assert file.of("c9-z") == {
        "readout/gain": Coefficient(_T.F32, "00000040"),
        "readout/taps": taps,
    }
    assert file.digest == sha256(GOOD.encode()).hexdigest()
    assert file.covers("c9-z")


def test_without_defaults_only_the_listed_are_covered() -> None:
    document = json.loads(GOOD)
    del document["defaults"]
    file = parse_coefficients(json.dumps(document).encode())
    assert [file.covers(name) for name in ("c1-a", "c1-b", "c9-z")] == [True, True, False]
    assert file.of("c1-b") == {}


@pytest.mark.parametrize("indent", ["\t", 1, None])
def test_json_of_any_layout_is_read(indent: str | int | None) -> None:
    text = json.dumps(json.loads(GOOD), indent=indent, separators=(",", ":"))
    assert parse_coefficients(text.encode()).of("c1-b")["readout/gain"].value == 2.0


def test_yaml_is_read_too() -> None:
    text = "schema: cryofw.coefficients/v1\ndefaults: {a/b: {type: bool, value: true}}\n"
    assert parse_coefficients(text.encode()).defaults == {"a/b": Coefficient(_T.BOOL, "01")}


LAYOUTS: list[tuple[CoefficientType, Any, str]] = [
    (_T.F32, 1, "0000803f"),
    (_T.F32, [1.0, 0.5], "0000803f0000003f"),
    (_T.F64, -2.5, "00000000000004c0"),
    (_T.U8, 255, "ff"),
    (_T.U16, 258, "0201"),
    (_T.U32, 1, "01000000"),
    (_T.U64, 2**64 - 1, "ff" * 8),
    (_T.I8, -1, "ff"),
    (_T.I16, -2, "feff"),
    (_T.I32, -1, "ffffffff"),
    (_T.I64, [1, -1], "0100000000000000ffffffffffffffff"),
    (_T.BOOL, False, "00"),
    (_T.TEXT, "Ω", "cea9"),
    (_T.BYTES, "00ff", "00ff"),
]


@pytest.mark.parametrize(("kind", "value", "wanted"), LAYOUTS)
def test_layout(kind: CoefficientType, value: Any, wanted: str) -> None:
    one = Coefficient.of(kind, value)
    assert one.hex == wanted
    assert one.value == value


REFUSED: list[tuple[CoefficientType, Any, str]] = [
    (_T.F32, 1e39, "does not fit f32"),
    (_T.F32, float("nan"), "not a finite number"),
    (_T.F64, float("inf"), "not a finite number"),
    (_T.F64, 10**400, "does not fit f64"),
    (_T.F32, "2.0", "expected a number, got `2.0`"),
    (_T.F32, True, "expected a number, got `true`"),
    (_T.U8, 256, "does not fit u8"),
    (_T.U8, -1, "does not fit u8"),
    (_T.I32, 1.0, "expected a whole number"),
    (_T.I32, [], "it is empty"),
    (_T.I32, [[1]], "expected a whole number, got a list"),
    (_T.BOOL, 1, "expected true or false"),
    (_T.TEXT, 1, "expected text"),
    (_T.TEXT, "", "it is empty"),
    (_T.BYTES, "0g", "expected pairs of hex digits"),
    (_T.BYTES, "00" * 257, "it takes 257 bytes"),
]


@pytest.mark.parametrize(("kind", "value", "says"), REFUSED)
def test_what_a_type_cannot_hold_is_refused(kind: CoefficientType, value: Any, says: str) -> None:
    with pytest.raises(CoefficientError, match=says):
        Coefficient.of(kind, value)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_32_bit_float_comes_back_to_the_bit(value: float) -> None:
    one = Coefficient.of(_T.F32, value)
    assert Coefficient.of(_T.F32, one.value) == one


@given(st.sampled_from(_T), st.binary(min_size=1, max_size=40))
def test_any_bytes_of_a_device_can_be_shown(kind: CoefficientType, data: bytes) -> None:
    shown = decoded(kind, data)
    json.dumps(shown, allow_nan=False)
    if isinstance(shown, str) and kind is not _T.TEXT:
        assert shown == data.hex()
    elif kind is not _T.BYTES and not isinstance(shown, str):
        assert Coefficient.of(kind, shown).data == data


FIRST = '"readout/gain": {"type": "f32", "value": 2.0}'
DEFECTS = [
    ('"schema": "cryofw', '"schema": §"acme', "`schema` is `acme.coefficients/v1`", ""),
    ('"defaults": {', '§"default": {', "unknown key `default`", "did you mean `defaults`?"),
    ('"type": "f32", "value": 2.0', '"type": §"f23", "value": 2.0', "`f23` is not a type", "f32"),
    ('"value": 2.0', '"value": §"2.0"', "is no f32: expected a number", ""),
    ('"value": [1, -2, 3]', '"value": §[1, -2, 3.5]', "is no i16: expected a whole number", ""),
    (FIRST, '§"readout/gain": {"type": "f32"}', "`value` is missing", "for example"),
    ('"readout/taps"', '§"readout//taps"', "is not a name of a setting", "joined by `/`"),
    ('{"type": "f32", "value": 2.0}', '§2.0', "expected a type and a value", "for example"),
    ('"f32", "value": 2.1', '§"f64", "value": 2.1', "is f64 here and f32", "one type"),
    ('"c1-b": {}', '"c1-b": §[]', "expected a mapping", ""),
    ('"c1-b": {}', '§"c1-a": {}', "duplicate key `c1-a`", "line 8"),
    ('"value": 2.1}', '§"vaule": 2.1, "value": 2.1}', "unknown key `vaule`", "`value`"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message", "hint"), DEFECTS)
def test_a_defect_is_found_where_it_stands(old: str, new: str, message: str, hint: str) -> None:
    assert GOOD.count(old) == 1
    marked = GOOD.replace(old, new)
    before = marked[: marked.index("§")]
    place = before.count("\n") + 1, len(before) - before.rfind("\n")
    with pytest.raises(CoefficientsError) as caught:
        parse_coefficients(marked.replace("§", "").encode(), "gains.json")
    found = [one for one in caught.value.findings if message in one.message]
    assert found, caught.value.why
    assert (found[0].line, found[0].column) == place
    assert hint in found[0].hint
    assert f"gains.json:{place[0]}:{place[1]}: " in caught.value.why


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "the file is empty"),
        (b"[]", "expected a mapping"),
        (b"\xff\xfe", "not UTF-8 text"),
        (b'{"schema": "cryofw.coefficients/v1"', "not valid YAML"),
        (b'{"schema": "cryofw.coefficients/v1"}', "there is no coefficient in it"),
        (b"x" * (1 << 20 | 1), "larger than 1 MiB"),
    ],
)
def test_what_is_no_such_file(data: bytes, says: str) -> None:
    with pytest.raises(CoefficientsError, match=r"has (an error|\d+ errors)") as caught:
        parse_coefficients(data)
    assert says in caught.value.why


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(CoefficientsError):
        parse_coefficients(data)
