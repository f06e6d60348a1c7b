"""The data types of SSH messages (RFC 4251, section 5): strict, nothing may follow."""

from __future__ import annotations

from cryofw.trust.errors import SshFormatError

_LONGEST = 1 << 18


class WireReader:
    """Takes one value after the other from the front of `data`.

    Every method raises SshFormatError when the data ends too early or is malformed.
    """

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._what = what
        self._at = 0

    @property
    def consumed(self) -> bytes:
        """Everything that was taken so far."""
        return self._data[: self._at]

    def take(self, size: int) -> bytes:
        """`size` bytes."""
        found = self._data[self._at : self._at + size]
        if len(found) != size:
            raise SshFormatError(f"{self._what} ends too early", why=f"at byte {self._at}")
        self._at += size
        return found

    def uint32(self) -> int:
        """An unsigned number of four bytes."""
        return int.from_bytes(self.take(4), "big")

    def uint64(self) -> int:
        """An unsigned number of eight bytes."""
        return int.from_bytes(self.take(8), "big")

    def string(self) -> bytes:
        """Bytes behind their length."""
        size = self.uint32()
        if size > _LONGEST:
            raise SshFormatError(f"{self._what} holds a string of {size} bytes")
        return self.take(size)

    def text(self) -> str:
        """A string that is UTF-8 and can be shown."""
        try:
            text = self.string().decode("utf-8")
        except UnicodeDecodeError as error:
            raise SshFormatError(f"{self._what} holds a name that is not text") from error
        if not text.isprintable():
            raise SshFormatError(f"{self._what} holds a name that cannot be shown")
        return text

    def mpint(self) -> int:
        """A non-negative number in its shortest form."""
        data = self.string()
        superfluous = len(data) > 1 and data[0] == 0 and data[1] < 0x80
        if superfluous or data[:1] >= b"\x80" or data == b"\x00":
            raise SshFormatError(f"{self._what} holds a number in a wrong form")
        return int.from_bytes(data, "big")

    def end(self) -> None:
        """Nothing may be left."""
        if self._at != len(self._data):
            left = len(self._data) - self._at
            raise SshFormatError(f"{self._what} goes on after its end", why=f"{left} bytes")

    @property
    def is_empty(self) -> bool:
        """Whether everything was taken."""
        return self._at == len(self._data)


def wire_string(data: bytes) -> bytes:
    """`data` behind its length."""
    return len(data).to_bytes(4, "big") + data
