"""SMP group 3, settings: as Zephyr's settings management answers over a firmware's own values.

Every value is one little-endian 32-bit float. It lives three times: `running` is what was written,
`applied` what the front end uses, `stored` what a boot begins with.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from cryofw.simulator.failure import INVALID, Answer, Failure
from cryofw.simulator.reply import typed_fields
from cryofw.smp import Group, SettingsCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.simulator.board import Board

NAME_SPACE = 32  # CONFIG_MCUMGR_GRP_SETTINGS_NAME_LEN, with the final zero
_FLOAT = struct.Struct("<f")


def pack_setting(value: float) -> bytes:
    """The bytes of a value."""
    return _FLOAT.pack(value)


def known_settings(board: Board) -> dict[str, float]:
    """Names that the running firmware knows, and the values it begins with if none is stored."""
    return {**board.spec.settings, **board.firmware.settings}


def load_values(board: Board) -> None:
    """What `settings_load` does at a boot: every value from the storage, at once in effect."""
    settings = board.ram.settings
    settings.running = {
        name: settings.stored.get(name, pack_setting(value).hex())
        for name, value in known_settings(board).items()
    }
    settings.applied = dict(settings.running)


def keep_values(board: Board, values: Mapping[str, bytes | None]) -> None:
    """Put values into the storage and into effect at once; None: as if it was never stored."""
    settings = board.ram.settings
    for name, value in values.items():
        if value is None:
            settings.stored.pop(name, None)
        else:
            settings.stored[name] = value.hex()
    load_values(board)


def applied_value(board: Board, name: str) -> float | None:
    """What the front end uses; None if the firmware knows no such setting."""
    text = board.ram.settings.applied.get(name)
    return None if text is None else float(_FLOAT.unpack(bytes.fromhex(text))[0])


def read_value(board: Board, body: Mapping[str, object] | None) -> Answer:
    """Command 0, read: the value that was written last."""
    fields = typed_fields(body, {"name": str, "max_size": int})
    name = _name(fields)
    if isinstance(name, Failure):
        return name
    value = board.ram.settings.running.get(name)
    return _not_found(board, name) if value is None else {"val": bytes.fromhex(value)}


def write_value(board: Board, body: Mapping[str, object] | None) -> Answer:
    """Command 0, write: into the running firmware only, without effect before a commit."""
    fields = typed_fields(body, {"name": str, "val": bytes})
    name = _name(fields)
    if isinstance(name, Failure):
        return name
    value = fields.get("val", b"") if fields else b""
    assert isinstance(value, bytes)
    if name not in board.ram.settings.running:
        return _not_found(board, name)
    if len(value) != _FLOAT.size:
        # A handler answers -EINVAL, which the group takes for a root that is not there.
        return Failure(SettingsCode.ROOT_KEY_NOT_FOUND, Group.SETTINGS)
    board.ram.settings.running[name] = value.hex()
    return {}


def delete_value(board: Board, body: Mapping[str, object] | None) -> Answer:
    """Command 1: out of the storage; the running firmware keeps it. No name is unknown here."""
    name = _name(typed_fields(body, {"name": str}))
    if isinstance(name, Failure):
        return name
    board.ram.settings.stored.pop(name, None)
    return {}


def commit(board: Board, _body: Mapping[str, object] | None) -> Answer:
    """Command 2: what was written takes effect."""
    board.ram.settings.applied = dict(board.ram.settings.running)
    return {}


def load(board: Board, _body: Mapping[str, object] | None) -> Answer:
    """Command 3, read: what was not saved is gone."""
    load_values(board)
    return {}


def save(board: Board, _body: Mapping[str, object] | None) -> Answer:
    """Command 3, write: everything into the storage; answered so also when it could not be."""
    if board.firmware.keeps_settings:
        board.ram.settings.stored.update(board.ram.settings.running)
    return {}


def supported(board: Board) -> bool:
    """Whether the running firmware was built with this group."""
    return board.firmware.settings_group and bool(known_settings(board))


def _name(fields: Mapping[str, object] | None) -> str | Failure:
    name = None if fields is None else fields.get("name")
    if not isinstance(name, str) or not name:
        return INVALID
    if len(name.encode()) >= NAME_SPACE:
        return Failure(SettingsCode.KEY_TOO_LONG, Group.SETTINGS)
    return name


def _not_found(board: Board, name: str) -> Failure:
    roots = {one.partition("/")[0] for one in board.ram.settings.running}
    root = name.partition("/")[0]
    code = SettingsCode.KEY_NOT_FOUND if root in roots else SettingsCode.ROOT_KEY_NOT_FOUND
    return Failure(code, Group.SETTINGS)
