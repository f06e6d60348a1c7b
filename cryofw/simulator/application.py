"""The SMP server of the running application: dispatch, refusals, the lease's guard."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from cryofw.simulator import (
    cryo_group,
    image_group,
    image_upload,
    lease,
    os_group,
    settings_group,
)
from cryofw.simulator.failure import NOT_SUPPORTED, Answer, Failure, refusal_body
from cryofw.simulator.reply import encode_reply
from cryofw.smp import (
    FRAME_OVERHEAD,
    HEADER_SIZE,
    Framing,
    Group,
    MgmtCode,
    Op,
    RequestReceived,
    ServerConnection,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryofw.simulator.board import Board

Handler: TypeAlias = "Callable[[Board, Mapping[str, object] | None], Answer]"

_READ, _WRITE = int(Op.READ), int(Op.WRITE)
_HIGHEST_VERSION = 2
# Zephyr's MCUMGR_TRANSPORT_RAW_UART_INPUT_TIMEOUT_TIME_MS: half a message is dropped then.
RAW_INPUT_TIMEOUT_S = 3.0
_LEASE_COMMAND = 5

_HANDLERS: Mapping[tuple[int, int, int], Handler] = {
    (Group.OS, 0, _READ): os_group.echo,
    (Group.OS, 0, _WRITE): os_group.echo,
    (Group.OS, 2, _READ): os_group.task_statistics,
    (Group.OS, 5, _WRITE): os_group.reset,
    (Group.OS, 6, _READ): os_group.parameters,
    (Group.OS, 7, _READ): os_group.info,
    (Group.OS, 8, _READ): os_group.bootloader_info,
    (Group.IMAGE, 0, _READ): image_group.read_state,
    (Group.IMAGE, 0, _WRITE): image_group.write_state,
    (Group.IMAGE, 1, _WRITE): image_upload.upload,
    (Group.IMAGE, 5, _WRITE): image_group.erase,
    (Group.STATISTICS, 0, _READ): os_group.statistics,
    (Group.STATISTICS, 1, _READ): os_group.statistics_list,
    (Group.SETTINGS, 0, _READ): settings_group.read_value,
    (Group.SETTINGS, 0, _WRITE): settings_group.write_value,
    (Group.SETTINGS, 1, _WRITE): settings_group.delete_value,
    (Group.SETTINGS, 2, _WRITE): settings_group.commit,
    (Group.SETTINGS, 3, _READ): settings_group.load,
    (Group.SETTINGS, 3, _WRITE): settings_group.save,
    (Group.CRYO, 0, _READ): cryo_group.heartbeat,
    (Group.CRYO, 1, _READ): cryo_group.metrics,
    (Group.CRYO, 2, _READ): cryo_group.read_calibration,
    (Group.CRYO, 2, _WRITE): cryo_group.start_calibration,
    (Group.CRYO, 3, _READ): cryo_group.read_safe_state,
    (Group.CRYO, 3, _WRITE): cryo_group.enter_safe_state,
    (Group.CRYO, 4, _READ): cryo_group.identity,
    (Group.CRYO, 5, _READ): lease.read_lease,
}

_GUARDED = frozenset(
    {
        (Group.OS, 5, _WRITE),
        (Group.IMAGE, 0, _WRITE),
        (Group.IMAGE, 1, _WRITE),
        (Group.IMAGE, 5, _WRITE),
        (Group.SETTINGS, 0, _WRITE),
        (Group.SETTINGS, 1, _WRITE),
        (Group.SETTINGS, 2, _WRITE),
        (Group.SETTINGS, 3, _READ),
        (Group.SETTINGS, 3, _WRITE),
        (Group.CRYO, 2, _WRITE),
        (Group.CRYO, 3, _WRITE),
    }
)


class ApplicationServer:
    """Answers the requests of one boot; keeps only what is half received."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._changed = False
        profile = board.spec.profile
        # A raw message has neither length nor CRC around it.
        overhead = FRAME_OVERHEAD if profile.framing is Framing.CONSOLE else 0
        self._connection = ServerConnection(
            max_packet=profile.buffer_size - overhead, framing=profile.framing
        )
        self._heard_s = 0.0

    def receive(self, data: bytes, session: int) -> list[bytes]:
        """Take bytes off the line; return the framed answers, in order."""
        now_s = self._board.now_s()
        if now_s - self._heard_s > RAW_INPUT_TIMEOUT_S:
            self._connection.discard_half()
        self._heard_s = now_s
        return [
            reply
            for event in self._connection.receive_data(data)
            if isinstance(event, RequestReceived)
            and (reply := self._reply(event, session)) is not None
        ]

    def take_changed(self) -> bool:
        """Whether RAM may have changed since the last call: some request was a write."""
        changed, self._changed = self._changed, False
        return changed

    def _reply(self, request: RequestReceived, session: int) -> bytes | None:
        answer = self._answer(request, session)
        if answer is None:
            return None
        if isinstance(answer, Failure):
            answer = refusal_body(answer, version=request.header.version)
        body = encode_reply(answer)
        if HEADER_SIZE + len(body) > self._board.spec.profile.buffer_size:
            body = encode_reply({"rc": int(MgmtCode.MESSAGE_SIZE)})
        return self._connection.reply(request.header, body)

    def _answer(self, request: RequestReceived, session: int) -> Answer:
        header = request.header
        if header.version > _HIGHEST_VERSION:
            return Failure(MgmtCode.VERSION_TOO_NEW)
        if header.length > len(request.payload):
            return Failure(MgmtCode.CORRUPT)
        key = (header.group, header.command, header.op)
        self._changed = self._changed or header.op != _READ or header.group == Group.SETTINGS
        if header.group == Group.CRYO and not self._board.spec.profile.cryo_group:
            return NOT_SUPPORTED
        if header.group == Group.SETTINGS and not settings_group.supported(self._board):
            return NOT_SUPPORTED
        if key == (Group.CRYO, _LEASE_COMMAND, _WRITE):
            return lease.write_lease(self._board, request.body, session)
        handler = _HANDLERS.get(key)
        if handler is None:
            return NOT_SUPPORTED
        if key in _GUARDED:
            refusal = lease.guard_write(self._board, request.body, session)
            if refusal:
                return refusal
        return handler(self._board, request.body)
