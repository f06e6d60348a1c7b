"""A pseudo terminal: a serial port of our own that other programs can open by path."""

from __future__ import annotations

import contextlib
import os
import pty
import tty
from typing import TYPE_CHECKING

from cryofw.errors import Refused
from cryofw.transport.descriptor import DescriptorStream

if TYPE_CHECKING:
    from pathlib import Path

# A UART does not wait for a listener; a pty would, and the server behind it would stand still.
STALL_S = 1.0


class PtyPort:
    """The master side as a `ByteStream`; programs open `path`, the slave side, as their port.

    The slave is held open here too, so that clients may come and go without a hang-up; `close`
    gives them one, as a pulled cable does. Needs a running event loop only to read and write.

    Args:
        link: a symbolic link to make to the slave, so that the port keeps its name when it comes
            back under another number (as /dev/serial/by-id does); replaced if it is a link.

    Raises:
        Refused: `link` exists and is not a symbolic link.
    """

    def __init__(self, link: Path | None = None) -> None:
        if link is not None and link.exists() and not link.is_symlink():
            raise Refused(
                f"cannot put a port at {link}",
                why="a file is there",
                hint="name another path, or remove the file.",
            )
        master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self._link = link
        if link is not None:
            _point(link, self.path)
        self._stream = DescriptorStream(
            master, name=self.path, on_close=lambda: self._shut(master), stall_s=STALL_S
        )

    async def read(self, max_bytes: int = 65536) -> bytes:
        """See `ByteStream.read`."""
        return await self._stream.read(max_bytes)

    async def write(self, data: bytes) -> None:
        """See `ByteStream.write`; what nobody reads within `STALL_S` seconds is dropped."""
        await self._stream.write(data)

    async def close(self) -> None:
        """Hang up on whoever has the slave open, and remove the link."""
        await self._stream.close()

    def _shut(self, master: int) -> None:
        os.close(master)
        os.close(self._slave)
        if self._link is not None and self._link.is_symlink():
            # Another port may have taken the name over meanwhile.
            with contextlib.suppress(OSError):
                if str(self._link.readlink()) == self.path:
                    self._link.unlink()


def _point(link: Path, target: str) -> None:
    """Make `link` point to `target` in one step."""
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)
