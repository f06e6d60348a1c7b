"""Cutting an image into upload requests that fill the device's buffer.

The server says in each answer which byte it wants next; the next request is a pure function
of that offset, so a resumed, repeated or reordered upload needs no memory here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING

from cryofw.smp.body import MessageError, encode_body
from cryofw.smp.message import HEADER_SIZE, V2, Group, Op
from cryofw.smp.messages.image_group import ImageCommand, upload_chunk, upload_first_chunk

if TYPE_CHECKING:
    from cryofw.smp.message import Request

# CBOR (RFC 8949, 3.): up to which argument a head has how many bytes.
_HEADS = ((0x17, 1), (0xFF, 2), (0xFFFF, 3), (0xFFFFFFFF, 5))
_AROUND = len(b"\xa2\x63off\x64data")
_HEADER = struct.Struct("!BBHHBB")
# Plain integers: enumerations are slow to pack.
_WRITE, _IMAGE, _UPLOAD = int(Op.WRITE), int(Group.IMAGE), int(ImageCommand.UPLOAD)


@dataclass(frozen=True)
class UploadPlan:
    """How one file goes to one device.

    Attributes:
        data: the whole file.
        sha: SHA-256 of the whole file.
        max_packet: largest SMP message in bytes that the server takes
            (`ServerParameters.max_packet`: 380 for a buffer of 384).
        image: image number.
        upgrade: let the server refuse (27) what is not newer than the running version.
        alignment: chunks are a multiple of this many bytes, except the last.
    """

    data: bytes
    sha: bytes
    max_packet: int
    image: int = 0
    upgrade: bool = False
    alignment: int = 1

    @classmethod
    def of(
        cls,
        data: bytes,
        *,
        max_packet: int,
        image: int = 0,
        upgrade: bool = False,
        alignment: int = 1,
    ) -> UploadPlan:
        """Plan the upload of `data`.

        Raises:
            MessageError: nothing to upload, or the packets are too small for a chunk.
        """
        plan = cls(data, sha256(data).digest(), max_packet, image, upgrade, alignment)
        if not data:
            raise MessageError("there is nothing to upload", why="the image is empty")
        first = plan._data_size(0)  # the smallest chunk: it carries length and hash too
        last = plan._data_size(len(data) - 1)
        if first < 1 or last < 1:
            raise MessageError(
                "the device's buffer is too small for an upload",
                why=f"packets of {max_packet} bytes, chunks a multiple of {alignment}",
            )
        return plan

    @property
    def size(self) -> int:
        """Bytes of the file; the upload is complete when the server's `off` reaches it."""
        return len(self.data)

    def chunk_at(self, off: int) -> Request:
        """Return the request for the byte that the server wants next.

        Raises:
            MessageError: `off` is not inside the file.
        """
        data = self.data[off : self.end_of_chunk(off)]
        if off:
            return upload_chunk(off, data)
        return upload_first_chunk(
            image=self.image, length=self.size, sha=self.sha, data=data, upgrade=self.upgrade
        )

    def end_of_chunk(self, off: int) -> int:
        """Return the offset that follows when the chunk at `off` is taken whole.

        Raises:
            MessageError: `off` is not inside the file.
        """
        size = len(self.data)
        if not 0 <= off < size:
            raise MessageError(
                "the device asks for a byte that the image does not have",
                why=f"off {off} of {size} bytes",
            )
        return min(off + self._data_size(off), size)

    def encode_chunk(self, off: int, *, seq: int, version: int = V2) -> bytes:
        """Return `chunk_at(off)` as a message, at a fraction of the cost; `off` is not 0.

        An upload sends thousands of them, and all that changes is the offset and the data.

        Raises:
            MessageError: `off` is not inside the file.
        """
        data = self.data[off : self.end_of_chunk(off)]
        head, size = _head(0x00, off), _head(0x40, len(data))
        length = _AROUND + len(head) + len(size) + len(data)
        first = (version - 1) << 3 | _WRITE
        return b"%b\xa2\x63off%b\x64data%b%b" % (
            _HEADER.pack(first, 0, length, _IMAGE, seq, _UPLOAD), head, size, data
        )  # fmt: skip

    def _data_size(self, off: int) -> int:
        """Data bytes of a full chunk at `off`; below 1 if the packet has no room."""
        if off:
            for limit, size in self._data_sizes:
                if off <= limit:
                    return size
        return self._count_data_size(off)

    @cached_property
    def _data_sizes(self) -> tuple[tuple[int, int], ...]:
        """Data bytes of a full chunk at all offsets from 1 up to a limit."""
        return tuple((limit, self._count_data_size(limit)) for limit, _ in _HEADS)

    def _count_data_size(self, off: int) -> int:
        room = self.max_packet - HEADER_SIZE - self._overhead(off)
        for limit, head in _HEADS:
            if room - head <= limit:
                break
        # Just above a limit the longer head eats what the shorter one would have left.
        length = room - head
        return length - length % self.alignment

    def _overhead(self, off: int) -> int:
        """Bytes of the body around the data, without the data's own head."""
        if off:
            return len(encode_body({"off": off, "data": b""})) - 1
        body = upload_first_chunk(
            image=self.image, length=self.size, sha=self.sha, data=b"", upgrade=self.upgrade
        ).body
        return len(encode_body(body)) - 1


def _head(major: int, argument: int) -> bytes:
    if argument <= 0x17:
        return bytes((major | argument,))
    if argument <= 0xFF:
        return bytes((major | 24, argument))
    if argument <= 0xFFFF:
        return bytes((major | 25, argument >> 8, argument & 0xFF))
    return bytes((major | 26,)) + argument.to_bytes(4, "big")
