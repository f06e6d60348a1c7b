"""SMP group 1, command 1: the upload into slot 1 as the recorded Zephyr server does it.

Data reach the flash in blocks of 512 bytes; the rest of the last block with the last chunk.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.simulator.failure import INVALID, Answer, Failure
from cryofw.simulator.image_group import image_failure, slot_in_use
from cryofw.simulator.ram import Upload
from cryofw.simulator.reply import typed_fields
from cryofw.simulator.slot_image import HEADER_SIZE, ImageHeader, SlotImage, parse_header
from cryofw.smp import ImageCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.simulator.board import Board

_BLOCK_SIZE = 512
_SHA_SIZE = 32


@dataclass(frozen=True)
class _Chunk:
    offset: int | None
    length: int | None
    data: bytes
    sha: bytes
    upgrade: bool


def _chunk(body: Mapping[str, object] | None) -> _Chunk | None:
    kinds = {"image": int, "data": bytes, "len": int, "off": int, "sha": bytes, "upgrade": bool}
    fields = typed_fields(body, kinds)
    if fields is None:
        return None
    offset, length = fields.get("off"), fields.get("len")
    data, sha = fields.get("data", b""), fields.get("sha", b"")
    assert isinstance(data, bytes)
    assert isinstance(sha, bytes)
    return _Chunk(
        offset if isinstance(offset, int) else None,
        length if isinstance(length, int) else None,
        data,
        sha,
        fields.get("upgrade") is True,
    )


def upload(board: Board, body: Mapping[str, object] | None) -> Answer:
    """Take one chunk; a wrong offset is answered with the one that is expected."""
    chunk = _chunk(body)
    if chunk is None:
        return INVALID
    if chunk.offset is None:
        return image_failure(ImageCode.INVALID_OFFSET, "header malformed")
    if chunk.offset:
        if not board.ram.upload.active or chunk.offset != board.ram.upload.offset:
            return {"off": board.ram.upload.offset}
        return _write(board, chunk.data)
    return _begin(board, chunk)


def _begin(board: Board, chunk: _Chunk) -> Answer:
    header = parse_header(chunk.data) if len(chunk.data) >= HEADER_SIZE else None
    if header is None:
        return image_failure(ImageCode.INVALID_IMAGE_HEADER, "header malformed")
    if chunk.length is None:
        return image_failure(ImageCode.INVALID_LENGTH, "header malformed")
    if not isinstance(header, ImageHeader):
        return image_failure(ImageCode.INVALID_IMAGE_HEADER_MAGIC, "magic mismatch")
    if len(chunk.sha) > _SHA_SIZE:
        return image_failure(ImageCode.INVALID_HASH)
    present = board.ram.upload
    if chunk.sha and present.active and present.sha == chunk.sha:
        return {"off": present.offset}
    refusal = _refuse(board, header, chunk)
    if refusal:
        return refusal
    if board.spec.profile.image_check and len(chunk.sha) == _SHA_SIZE:
        stored = board.slot(1).read(0, chunk.length)
        if hashlib.sha256(stored).digest() == chunk.sha:
            board.ram.upload = Upload()
            return {"off": chunk.length, "match": True}
    board.ram.upload = Upload()
    board.persist()
    board.slot(1).erase()
    board.ram.upload = Upload(active=True, size=chunk.length, sha=chunk.sha)
    return _write(board, chunk.data)


def _refuse(board: Board, header: ImageHeader, chunk: _Chunk) -> Failure | None:
    if slot_in_use(board, 1):
        return image_failure(ImageCode.NO_FREE_SLOT, "no slot")
    if chunk.length is not None and chunk.length > board.spec.slot_size:
        return image_failure(ImageCode.INVALID_IMAGE_TOO_LARGE, "img too large")
    running = board.image(0)
    if chunk.upgrade and isinstance(running, SlotImage):
        newer = header.version[:3] > running.header.version[:3]  # the build number does not count
        if not newer:
            return image_failure(ImageCode.CURRENT_VERSION_IS_NEWER, "downgrade")
    return None


def _write(board: Board, data: bytes) -> Answer:
    upload = board.ram.upload
    written = upload.offset - len(upload.buffer)
    pending = upload.buffer + data
    offset = upload.offset + len(data)
    last = offset == upload.size
    whole = len(pending) if last else len(pending) // _BLOCK_SIZE * _BLOCK_SIZE
    if written + whole > board.spec.slot_size:
        board.ram.upload = Upload()
        return image_failure(ImageCode.FLASH_WRITE_FAILED, "fa write fail")
    if whole:
        align = board.spec.write_size
        block = pending[:whole]
        board.slot(1).program(written, block + b"\xff" * (-len(block) % align))
    upload.offset, upload.buffer = offset, pending[whole:]
    if not last:
        return {"off": offset}
    answer: dict[str, object] = {"off": offset}
    if board.spec.profile.image_check:
        stored = board.slot(1).read(0, upload.size)
        answer["match"] = hashlib.sha256(stored).digest() == upload.sha
    board.ram.upload = Upload()
    return answer
