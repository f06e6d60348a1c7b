"""SMP group 64: what a cryo-CMOS controller answers beside the standard groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.simulator.failure import INVALID, Answer, Failure
from cryofw.simulator.physics import uniforms
from cryofw.simulator.reply import typed_fields
from cryofw.simulator.slot_image import SlotImage
from cryofw.smp import CryoCode, Group

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.simulator.board import Board

BEAT_MS = 100
"""The firmware's own heartbeat; `seq` counts these, so it needs no state of its own."""

_CALIBRATION_POINTS = 8


def heartbeat(board: Board, _body: Mapping[str, object] | None) -> Answer:
    """Command 0: the sign of life; a firmware or a fault that drops beats gives silence."""
    up_ms = board.up_ms
    seq = up_ms // BEAT_MS
    lost = max(board.firmware.drop_beats, board.lost_beats)
    if lost:
        key = f"beat/{board.model.seed}/{board.spec.name}/{board.ram.boot_id}/{seq}"
        if uniforms(key, 1)[0] < lost:
            return None
    image = board.image(0)
    return {
        "seq": seq,
        "up": up_ms,
        "boot": board.ram.boot_id,
        "rst": board.ram.reset_cause,
        "img": image.hash if isinstance(image, SlotImage) else b"",
    }


def metrics(board: Board, body: Mapping[str, object] | None) -> Answer:
    """Command 1: readings of all metrics, or of those named; unknown names are left out."""
    names: object = None if body is None else body.get("names")
    if names is None:
        names = board.metric_names()
    if not isinstance(names, list):
        return INVALID
    t_s = board.now_s()
    values = {str(name): board.metric(str(name), t_s) for name in names}
    known = {name: value for name, value in values.items() if value is not None}
    return {"t": board.up_ms, "m": known}


def start_calibration(board: Board, body: Mapping[str, object] | None) -> Answer:
    """Command 2, write: start a run; one at a time. It needs the front end: no safe state."""
    fields = typed_fields(body, {"id": int})
    run = None if fields is None else fields.get("id")
    if not isinstance(run, int):
        return INVALID
    if _calibrating(board):
        return Failure(CryoCode.BUSY, Group.CRYO)
    board.ram.calibration_id, board.ram.calibration_s = run, board.now_s()
    board.ram.safe = False
    return {"id": run}


def _calibrating(board: Board) -> bool:
    started_s = board.ram.calibration_s
    return started_s >= 0 and board.now_s() < started_s + board.spec.calibration_s


def read_calibration(board: Board, _body: Mapping[str, object] | None) -> Answer:
    """Command 2, read: the last run; its figures are means over the time it took."""
    started_s = board.ram.calibration_s
    done = started_s >= 0 and not _calibrating(board)
    means: dict[str, float] = {}
    if done:
        step_s = board.spec.calibration_s / _CALIBRATION_POINTS
        for name in board.spec.metrics:
            points = [
                board.metric(name, started_s + i * step_s) for i in range(_CALIBRATION_POINTS)
            ]
            known = [point for point in points if point is not None]
            means[name] = round(sum(known) / len(known), 4)
    return {"id": board.ram.calibration_id, "done": done, "m": means}


def enter_safe_state(board: Board, _body: Mapping[str, object] | None) -> Answer:
    """Command 3, write: heaters and drives off, until a calibration or a reset."""
    board.ram.safe = True
    return {"safe": True}


def read_safe_state(board: Board, _body: Mapping[str, object] | None) -> Answer:
    """Command 3, read."""
    return {"safe": board.ram.safe}


def identity(board: Board, _body: Mapping[str, object] | None) -> Answer:
    """Command 4: who this is."""
    spec = board.spec
    return {
        "hw": spec.hardware_id,
        "board": spec.board,
        "sn": spec.serial_number or spec.name,
        "wdt": spec.watchdog,
    }
