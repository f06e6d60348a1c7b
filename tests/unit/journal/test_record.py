"""Records: one canonical line each, and nothing that JSON could read in two ways."""

from __future__ import annotations

import enum
from datetime import UTC, datetime, timedelta, timezone

import pytest

from cryofw.journal import Entry, RecordTooNew, UnwritableRecord
from cryofw.journal.record import (
    MAX_LINE,
    RecordMalformed,
    decode,
    encode,
    make_record,
    time_text,
)

T = "2026-11-20T21:07:03.114Z"


def test_line_is_the_one_of_the_design() -> None:
    fields = {"why": "wave 1/1", "hash": "9c1e", "from": "2b77"}
    record = make_record(Entry("image-test-requested", "r-7f3a", "c1-a", fields), 41, T, "anna@lab")
    assert record.line == (
        b'{"v":1,"n":41,"t":"2026-11-20T21:07:03.114Z","who":"anna@lab","rollout":"r-7f3a",'
        b'"device":"c1-a","kind":"image-test-requested","from":"2b77","hash":"9c1e",'
        b'"why":"wave 1/1"}'
    )
    assert decode(record.line) == record


def test_fields_come_back_as_they_were_returned() -> None:
    class Reach(enum.StrEnum):
        STAGE = "stage"

    entry = Entry("gate-passed", fields={"b": (1, 2.5), "a": {"y": None, "x": Reach.STAGE}})
    record = make_record(entry, 0, T, "ü")
    assert record.fields == {"a": {"x": "stage", "y": None}, "b": [1, 2.5]}
    assert decode(record.line) == record
    assert record.line.isascii()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (Entry("Kind"), "not a kind"),
        (Entry("a--b"), "not a kind"),
        (Entry("a", fields={"who": "x"}), "`who` of a belongs to the envelope"),
        (Entry("a", fields={"x": float("nan")}), "nan has no place"),
        (Entry("a", fields={"x": [float("-inf")]}), "-inf has no place"),
        (Entry("a", fields={"x": b"bytes"}), "bytes has no place"),
        (Entry("a", fields={"x": {1: 2}}), "keys are text"),
        (Entry("a", fields={"x": object()}), "object has no place"),
        (Entry("a", fields={"x": "y" * MAX_LINE}), "longer than 64 KiB"),
    ],
)
def test_what_no_line_can_hold_is_refused(entry: Entry, message: str) -> None:
    with pytest.raises(UnwritableRecord, match=message):
        make_record(entry, 0, T, "me")


def test_endless_nesting_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(UnwritableRecord, match="deeper"):
        make_record(Entry("a", fields={"x": loop}), 0, T, "me")


def test_longest_line_fits() -> None:
    short = encode(make_record(Entry("a", fields={"x": ""}), 0, T, "me"))
    entry = Entry("a", fields={"x": "y" * (MAX_LINE - len(short))})
    assert len(make_record(entry, 0, T, "me").line) == MAX_LINE == 65535


GOOD = '{"v":1,"n":0,"t":"2026-11-20T21:07:03.114Z","who":"w","rollout":"","kind":"a"}'


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('{"v"', '"v"', "not a line of JSON"),
        (GOOD, "[1]", "not a JSON object"),
        (GOOD, "[" * 60_000, "not a line of JSON"),
        ('"v":1,', "", "version"),
        ('"v":1', '"v":true', "version"),
        ('"v":1', '"v":0', "version"),
        ('"n":0', '"n":-1', "number"),
        ('"n":0', '"n":0.0', "number"),
        ("21:07", "2107", "time"),
        (".114Z", "Z", "time"),
        ('"who":"w"', '"who":1', "who"),
        ('"rollout":""', '"rollout":null', "rollout"),
        ('"kind":"a"', '"kind":"A"', "kind"),
        ('"kind":"a"', '"device":1,"kind":"a"', "device"),
        ('"kind":"a"', '"kind":"a","x":NaN', "NaN is not JSON"),
        ('"kind":"a"', '"kind":"a","x":1e999', "1e999 is too large"),
        ('"kind":"a"', '"kind":"a","x":' + "9" * 5000, "not a line of JSON"),
        ('"w"', '"\u00e9"', "not a line of JSON"),
    ],
)
def test_line_that_is_no_record_is_told(old: str, new: str, message: str) -> None:
    assert decode(GOOD.encode()).kind == "a"
    with pytest.raises(RecordMalformed, match=message):
        decode(GOOD.replace(old, new, 1).encode())


def test_newer_record_is_refused_with_the_way_out() -> None:
    with pytest.raises(RecordTooNew) as caught:
        decode(GOOD.replace('"v":1', '"v":2').encode())
    assert caught.value.exit_code == 5
    assert "the cryofw that wrote it" in caught.value.hint


def test_time_is_utc_with_milliseconds() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 6_999, tzinfo=UTC)
    assert time_text(moment) == "2026-01-02T03:04:05.006Z"
    with pytest.raises(UnwritableRecord):
        time_text(moment.astimezone(timezone(timedelta(hours=1))))
    with pytest.raises(UnwritableRecord):
        time_text(moment.replace(tzinfo=None))
