"""SMP group 0 (OS) and group 2 (statistics) as the recorded Zephyr server answers them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.simulator.failure import INVALID, NOT_SUPPORTED, Answer, Failure
from cryofw.simulator.reply import typed_fields
from cryofw.smp import Group, OsCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.simulator.board import Board

_INFO_ORDER = "snrvbmpio"
_STAT_NAME_LIMIT = 32
_STAT_NOT_FOUND = Failure(3, Group.ZEPHYR)  # the recorded server names its own basic group here


def echo(_board: Board, body: Mapping[str, object] | None) -> Answer:
    """Command 0: the text comes back; without one, an empty text."""
    fields = typed_fields(body, {"d": str})
    return INVALID if fields is None else {"r": fields.get("d", "")}


def task_statistics(board: Board, _body: Mapping[str, object] | None) -> Answer:
    """Command 2: the threads and their states."""
    tasks = board.spec.profile.tasks
    if not tasks:
        return NOT_SUPPORTED
    return {
        "tasks": {
            str(priority): {"prio": priority, "tid": index, "state": state}
            for index, (priority, state) in enumerate(tasks.items())
        }
    }


def reset(board: Board, _body: Mapping[str, object] | None) -> Answer:
    """Command 5: answered at once; the application goes on until the reset comes."""
    due_s = board.now_s() + board.spec.profile.reset_delay_s
    board.ram.timers.setdefault("reset", due_s)
    return {}


def parameters(board: Board, _body: Mapping[str, object] | None) -> Answer:
    """Command 6: size and number of the buffers."""
    profile = board.spec.profile
    return {"buf_size": profile.buffer_size, "buf_count": profile.buffer_count}


def info(board: Board, body: Mapping[str, object] | None) -> Answer:
    """Command 7: facts about the software, chosen by letters, in one fixed order."""
    fields = typed_fields(body, {"format": str})
    if fields is None:
        return INVALID
    wanted = str(fields.get("format", "")) or "s"
    if not set(wanted) <= set(_INFO_ORDER + "a"):
        return Failure(OsCode.INVALID_FORMAT, Group.OS)
    profile = board.spec.profile
    values = {
        "s": "Zephyr",
        "n": "unknown",
        "r": profile.build,
        "v": profile.kernel_version,
        "m": profile.machine,
        "p": profile.processor,
        "i": board.spec.board,
        "o": "Zephyr",
    }
    chosen = [
        values[letter]
        for letter in _INFO_ORDER
        if letter in values and (letter in wanted or "a" in wanted)
    ]
    return {"output": " ".join(chosen)}


def bootloader_info(board: Board, body: Mapping[str, object] | None) -> Answer:
    """Command 8: the bootloader's name, or its mode (2: overwrite only, 3: swap using move)."""
    fields = typed_fields(body, {"query": str})
    if fields is None:
        return INVALID
    match fields.get("query"):
        case None:
            return {"bootloader": "MCUboot"}
        case "mode":
            config = board.bootloader.config
            mode = 2 if config.overwrite_only else 3
            return {"mode": mode} | ({"no-downgrade": True} if config.downgrade_prevention else {})
        case _:
            return INVALID


def statistics_list(board: Board, _body: Mapping[str, object] | None) -> Answer:
    """Group 2, command 1: the names of the statistics groups."""
    stats = board.spec.profile.stats
    return {"rc": 0, "stat_list": list(stats)} if stats else NOT_SUPPORTED


def statistics(board: Board, body: Mapping[str, object] | None) -> Answer:
    """Group 2, command 0: the counters of one group; the only live one counts seconds."""
    stats = board.spec.profile.stats
    if not stats:
        return NOT_SUPPORTED
    fields = typed_fields(body, {"name": str})
    name = None if fields is None else fields.get("name")
    if not isinstance(name, str) or len(name) > _STAT_NAME_LIMIT:
        return INVALID
    if name not in stats:
        return _STAT_NOT_FOUND
    return {"name": name, "fields": dict.fromkeys(stats[name], board.up_ms // 1000)}
