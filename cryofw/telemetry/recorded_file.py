"""Recordings in files: JSON lines, CSV, and the readings that cryofw keeps of its own rollouts.

JSON lines: {"time": ..., "device": ..., "metric": ..., "value": ..., "cooldown": ...}; CSV: a first
line with these names, in any order. `cooldown` is optional. Times are seconds since 1970 or
RFC 3339 with a zone. NaN is an answer that is no number; null and an empty field are no answer.
"""

from __future__ import annotations

import csv
import json
import math
from datetime import datetime
from typing import TYPE_CHECKING, TextIO

from cryofw.health import MetricSample, reading_from_json
from cryofw.telemetry.recording import MAX_SAMPLES, Recorder, Recording, RecordingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

NEEDED = ("time", "device", "metric", "value")
MAX_LINE = 64 << 10
_FORMATS = (
    'a line is {"time": ..., "device": ..., "metric": ..., "value": ...}, CSV with these '
    "columns, or cryofw's own readings.jsonl"
)
_LATEST_S = 1e11  # the year 5138; the milliseconds of today are larger


class _BadLine(ValueError):
    """What is wrong with a line, in words."""


def read_recording(path: Path, *, most: int = MAX_SAMPLES) -> Recording:
    """The recording in the file `path`; it is read line by line.

    Args:
        path: the file; the first character tells JSON lines from CSV.
        most: samples that are kept at most.

    Raises:
        RecordingError: it cannot be read, a line of it makes no sense, or it has no sample.
        RecordingTooLong: it has more than `most` samples.
    """
    recorder = Recorder(str(path), most)
    _take_file(path, recorder)
    recording = recorder.build()
    if not recording.series:
        raise RecordingError(
            f"{path} has no samples", why=f"{path}: no line with a value", hint=_FORMATS
        )
    return recording


def read_own_readings(state: Path, rollouts: Iterable[str]) -> Recording:
    """What cryofw itself read of its devices during `rollouts`, as one recording.

    Args:
        state: the state directory.
        rollouts: ids, in the order in which they ran; one without readings adds nothing.

    Raises:
        RecordingError, RecordingTooLong: as `read_recording`; but it may have no sample.
    """
    recorder = Recorder(str(state))
    for rollout in rollouts:
        path = state / "rollouts" / rollout / "readings.jsonl"
        if path.exists():
            _take_file(path, recorder)
    return recorder.build()


def _take_file(path: Path, recorder: Recorder) -> None:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.read(1)
            while first.isspace():
                first = file.read(1)
            file.seek(0)
            take = _take_json if first == "{" else _take_csv
            take(file, str(path), recorder)
    except OSError as error:
        raise RecordingError(f"cannot read {path}", why=error.strerror or str(error)) from None
    except UnicodeDecodeError as error:
        why = f"{path}: byte {error.start} of a block is not UTF-8"
        raise RecordingError(f"{path} is not a recording", why=why, hint=_FORMATS) from None


def _lines(file: TextIO, name: str) -> Iterator[tuple[int, str]]:
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise _damaged(name, number, f"longer than {MAX_LINE:,} characters")
        yield number, line


def _damaged(name: str, number: int, why: str) -> RecordingError:
    return RecordingError(
        f"{name} is not a recording", why=f"{name}:{number}: {why}", hint=_FORMATS
    )


def _take_json(file: TextIO, name: str, recorder: Recorder) -> None:
    clocks: dict[str, int] = {}
    for number, line in _lines(file, name):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            if not line.endswith("\n"):
                return  # the last line of a file that is still written to
            raise _damaged(name, number, f"no JSON: {error}") from None
        try:
            if not isinstance(fields, dict):
                raise _BadLine("not a JSON object")
            if "device" not in fields and "d" in fields:
                _take_reading(fields, recorder, clocks)
            elif "c" not in fields:
                _take_sample(fields, recorder, _json_value)
        except ValueError as error:
            raise _damaged(name, number, str(error)) from None


def _take_reading(fields: Mapping[str, object], recorder: Recorder, clocks: dict[str, int]) -> None:
    """A line of a rollout's readings.jsonl; heartbeats are no samples."""
    reading = reading_from_json(fields)
    if not isinstance(reading, MetricSample):
        return
    device = _name(fields["d"], "d")
    t_s = _seconds(reading.t_s)
    stale = reading.device_ms is not None and clocks.get(device) == reading.device_ms
    if reading.device_ms is not None:
        clocks[device] = reading.device_ms
    for metric, value in reading.values.items():
        if stale:
            recorder.miss(device, metric)
        else:
            recorder.add(device, metric, t_s, value)
    for metric, one in reading.lab.items():
        recorder.add(device, metric, _seconds(one.t_s), one.value)
    for metric in reading.gaps.keys() - reading.values.keys() - reading.lab.keys():
        recorder.miss(device, metric)


def _take_csv(file: TextIO, name: str, recorder: Recorder) -> None:
    columns: list[str] | None = None
    for number, line in _lines(file, name):
        if not line.strip():
            continue
        try:
            # One line at a time: a quote that is never closed must not swallow the file.
            row = next(csv.reader([line.rstrip("\r\n")], strict=True))
        except csv.Error as error:
            raise _damaged(name, number, f"no CSV: {error}") from None
        if columns is None:
            columns = [column.strip().lower() for column in row]
            if lacking := [column for column in NEEDED if column not in columns]:
                raise _damaged(name, number, f"no column {', '.join(lacking)}")
            continue
        if len(row) != len(columns):
            raise _damaged(name, number, f"{len(row)} fields, but {len(columns)} columns")
        try:
            _take_sample(dict(zip(columns, row, strict=True)), recorder, _text_value)
        except ValueError as error:
            raise _damaged(name, number, str(error)) from None


def _take_sample(
    fields: Mapping[str, object], recorder: Recorder, value_of: Callable[[object], float | None]
) -> None:
    if lacking := [column for column in NEEDED if column not in fields]:
        raise _BadLine(f"no {', '.join(lacking)}")
    device, metric = _name(fields["device"], "device"), _name(fields["metric"], "metric")
    t_s = _time(fields["time"])
    value = value_of(fields["value"])
    if value is None:
        recorder.miss(device, metric)
        return
    cooldown = fields.get("cooldown")
    recorder.add(device, metric, t_s, value, "" if cooldown is None else str(cooldown))


def _name(value: object, column: str) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise _BadLine(f"`{column}` is {_shown(value)}, not a name")
    return value.strip()


def _json_value(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, str) and value.strip().lower() in {"nan", "+inf", "-inf", "inf"}:
        return math.nan  # as Prometheus writes it
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _BadLine(f"`value` is {_shown(value)}, not a number")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _text_value(value: object) -> float | None:
    text = str(value).strip()
    if not text or text.lower() == "null":
        return None
    try:
        return float(text)
    except ValueError:
        raise _BadLine(f"`value` is {_shown(text)}, not a number") from None


def _time(value: object) -> float:
    if isinstance(value, str):
        text = value.strip()
        try:
            return _seconds(float(text))
        except _BadLine:
            raise
        except ValueError:
            return _moment(text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _BadLine(f"`time` is {_shown(value)}, not seconds or RFC 3339")
    return _seconds(value)


def _moment(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _BadLine(f"`time` is {_shown(text)}, not seconds or RFC 3339") from None
    if moment.tzinfo is None:
        raise _BadLine(f"`time` is {text}, without a time zone: end it with Z or an offset")
    return moment.timestamp()


def _seconds(value: float) -> float:
    if not 0 <= value < _LATEST_S:
        raise _BadLine(f"`time` is {value!r}, not seconds since 1970 (milliseconds?)")
    return float(value)


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:60]}..."
