"""MCUboot's own serial recovery: a few commands, and uploads that overwrite slot 0.

Source: MCUboot boot/boot_serial/src/boot_serial.c; every refusal is `{"rc": n}`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.simulator.failure import INVALID, NOT_SUPPORTED, Answer, Failure, refusal_body
from cryofw.simulator.image_group import SLOT_FLAGS, set_next_boot
from cryofw.simulator.ram import Upload
from cryofw.simulator.reply import encode_reply, typed_fields
from cryofw.simulator.slot_image import SlotImage
from cryofw.smp import (
    FRAME_OVERHEAD,
    Group,
    MgmtCode,
    Op,
    RequestReceived,
    ServerConnection,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.simulator.board import Board


class RecoveryServer:
    """Answers while the bootloader holds the device."""

    def __init__(self, board: Board) -> None:
        self._board = board
        size = board.spec.profile.recovery_buffer_size - FRAME_OVERHEAD
        self._connection = ServerConnection(max_packet=size)

    def receive(self, data: bytes, _session: int) -> list[bytes]:
        """Take bytes off the line; return the framed answers, in order."""
        replies = []
        for event in self._connection.receive_data(data):
            if not isinstance(event, RequestReceived):
                continue
            header = event.header
            if header.op not in (Op.READ, Op.WRITE) or header.length < len(event.payload):
                continue
            answer = self._answer(event)
            if isinstance(answer, Failure):
                answer = refusal_body(answer, version=header.version)
            replies.append(self._connection.reply(header, encode_reply(answer)))
        return replies

    def take_changed(self) -> bool:
        """Whether RAM may have changed: the bootloader is rare enough to say so always."""
        return True

    def _answer(self, request: RequestReceived) -> Answer:
        header = request.header
        match (header.group, header.command):
            case (Group.OS, 0):
                return self._echo(request.body)
            case (Group.OS, 1):
                return {"rc": 0}
            case (Group.OS, 5):
                self._board.ram.timers.setdefault(
                    "reset", self._board.now_s() + self._board.spec.profile.reset_delay_s
                )
                return {"rc": 0}
            case (Group.IMAGE, 0) if header.op == Op.READ:
                return {"images": list(self._images())}
            case (Group.IMAGE, 0):
                return self._write_state(request.body)
            case (Group.IMAGE, 1):
                return self._upload(request.body)
            case _:
                return NOT_SUPPORTED

    def _echo(self, body: Mapping[str, object] | None) -> Answer:
        fields = typed_fields(body, {"d": str})
        if fields is None or "d" not in fields:
            return INVALID
        answer = {"r": fields["d"]}
        if len(encode_reply(answer)) > self._board.spec.profile.recovery_reply_size:
            return Failure(MgmtCode.NO_MEMORY)
        return answer

    def _images(self) -> list[dict[str, object]]:
        """Both slots, but only images that are valid; flags only where they are true."""
        flags = SLOT_FLAGS[self._board.bootloader.swap_type()]
        images: list[dict[str, object]] = []
        for index in (0, 1):
            image = self._board.image(index)
            if not isinstance(image, SlotImage) or not self._board.bootloader.is_valid(index):
                continue
            shown: dict[str, object] = {"bootable": True} if image.header.bootable else {}
            shown |= dict.fromkeys(
                (name for name in ("confirmed", "pending", "permanent") if name in flags[index]),
                True,
            )
            if index == 0:
                shown["active"] = True
            shown |= {"slot": index, "hash": image.hash, "version": image.header.version_text}
            images.append(shown)
        return images

    def _write_state(self, body: Mapping[str, object] | None) -> Answer:
        fields = typed_fields(body, {"hash": bytes, "confirm": bool})
        if fields is None:
            return INVALID
        wanted = fields.get("hash", b"")
        for image in self._images():
            if image["hash"] != wanted:
                continue
            slot = 0 if image["slot"] == 0 else 1
            if set_next_boot(self._board, slot, confirm=fields.get("confirm") is True):
                return Failure(MgmtCode.BAD_STATE)
            return {"images": self._images()}
        return Failure(MgmtCode.NO_ENTRY)

    def _upload(self, body: Mapping[str, object] | None) -> Answer:
        """Write a chunk to slot 0, cut to the flash alignment except at the end.

        No magic, image number or hash is checked, and offset 0 always begins anew.
        """
        kinds = {"image": int, "data": bytes, "len": int, "off": int}
        fields = typed_fields(body, kinds)
        if fields is None or "off" not in fields or "data" not in fields:
            return INVALID
        offset, data = fields["off"], fields["data"]
        assert isinstance(data, bytes)
        state = self._board.ram.recovery
        area = self._board.slot(0)
        if offset == 0:
            length = fields.get("len")
            if not isinstance(length, int) or length > area.size:
                return INVALID
            self._board.ram.recovery = state = Upload(active=True, size=length)
            self._board.persist()
            area.erase()
        elif offset != state.offset:
            return {"rc": 0, "off": state.offset}
        if state.offset + len(data) > state.size:
            return INVALID
        align = self._board.spec.write_size
        if state.offset + len(data) < state.size:
            data = data[: len(data) // align * align]
        if data:
            area.program(state.offset, data + b"\xff" * (-len(data) % align))
        state.offset += len(data)
        return {"rc": 0, "off": state.offset}
