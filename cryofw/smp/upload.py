"""Cutting an image into upload requests that fill the device's buffer.

The server says in each answer which byte it wants next; the next request is a pure function
of that offset, so a resumed, repeated or reordered upload needs no memory here.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from cryofw.smp.body import MessageError, encode_body
from cryofw.smp.message import HEADER_SIZE
from cryofw.smp.messages.image_group import upload_chunk, upload_first_chunk

if TYPE_CHECKING:
    from cryofw.smp.message import Request


@dataclass(frozen=True, slots=True)
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
        if not 0 <= off < self.size:
            raise MessageError(
                "the device asks for a byte that the image does not have",
                why=f"off {off} of {self.size} bytes",
            )
        return min(off + self._data_size(off), self.size)

    def window_at(self, off: int, count: int) -> list[Request]:
        """Return the next `count` requests, if each is taken whole; fewer at the end.

        The first packet of an upload goes alone: the server erases, or resumes elsewhere.

        Raises:
            MessageError: `off` is not inside the file.
        """
        requests = [self.chunk_at(off)]
        while off and len(requests) < count:
            off = self.end_of_chunk(off)
            if off >= self.size:
                break
            requests.append(self.chunk_at(off))
        return requests

    def _data_size(self, off: int) -> int:
        """Data bytes of a full chunk at `off`; below 1 if the packet has no room."""
        room = self.max_packet - HEADER_SIZE - self._overhead(off)
        for head, limit in ((1, 23), (2, 0xFF), (3, 0xFFFF), (5, 0xFFFFFFFF)):
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
