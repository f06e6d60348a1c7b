"""Lines that are JSON, and that no cryofw wrote."""

from __future__ import annotations

import json

import pytest

from cryofw.journal.record import RecordMalformed, decode

GOOD = {
    "v": 1, "n": 0, "t": "2026-11-20T21:07:03.114Z", "who": "anna", "rollout": "", "kind": "noted",
}  # fmt: skip


def line_of(**changes: object) -> bytes:
    return json.dumps({**GOOD, **changes}, separators=(",", ":")).encode()


def test_the_line_that_is_changed_below_is_good() -> None:
    assert decode(line_of(), strict=True).kind == "noted"


@pytest.mark.parametrize(
    "time",
    [
        "2026-00-20T21:07:03.114Z", "2026-13-20T21:07:03.114Z", "2026-19-20T21:07:03.114Z",
        "2026-11-00T21:07:03.114Z", "2026-11-31T21:07:03.114Z", "2026-02-30T21:07:03.114Z",
        "2025-02-29T21:07:03.114Z", "0000-01-01T21:07:03.114Z", "2026-11-20T24:07:03.114Z",
        "2026-11-20T29:07:03.114Z", "2026-11-20T21:07:60.114Z", "2026-11-20T21:07:69.114Z",
    ],
)  # fmt: skip
@pytest.mark.parametrize("strict", [False, True])
def test_time_that_never_was(time: str, strict: bool) -> None:
    with pytest.raises(RecordMalformed, match="time"):
        decode(line_of(t=time), strict=strict)


@pytest.mark.parametrize(
    "text",
    [
        b'{"v":1,"v":1,', b'{ "v":1,', b'{"v":1.0,', b'{"v":1e0,', b'{"v":true,', b'{"v":-0,',
    ],
)  # fmt: skip
def test_line_in_another_form(text: bytes) -> None:
    with pytest.raises(RecordMalformed):
        decode(line_of().replace(b'{"v":1,', text), strict=True)


@pytest.mark.parametrize(
    "value",
    [
        "NaN", "Infinity", "-Infinity", "1e999", "1.00", "1E5", "01", "0x1", "9" * 5000,
        '"\\u00e9\\u0041"', '"\u00e9"', '{"a":1,"a":2}', "[1, 2]", '"\\/"', "{}" + " ",
    ],
)  # fmt: skip
def test_value_in_another_form(value: str) -> None:
    text = line_of(x=0).decode().replace('"x":0', f'"x":{value}')
    with pytest.raises(RecordMalformed):
        decode(text.encode(), strict=True)
