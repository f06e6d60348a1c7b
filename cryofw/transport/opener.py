"""Opening ports: local serial devices, networks, pyserial's URLs, schemes of other rooms."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from cryofw.transport.descriptor import DescriptorStream
from cryofw.transport.stream import ByteStream, Opener, PortUnavailable, UnknownPort
from cryofw.transport.tcp_stream import connect, parse_tcp_url
from cryofw.transport.threaded import READ_SLICE_S, ThreadedStream

if TYPE_CHECKING:
    from collections.abc import Mapping

    import serial

# Majors of Unix98 pty slaves (Linux devices.txt). A pty keeps TIOCEXCL while its master lives, so
# a killed owner would leave it closed for good; real ttys drop it with their last close.
_PTY_MAJORS = range(136, 144)

_HINTS = {
    errno.ENOENT: "Is it plugged in and powered? `ls -l /dev/serial/by-id` shows the ports.",
    errno.EACCES: "Your user may not open it: join its group (often `dialout`) and log in again.",
    errno.EPERM: "Your user may not open it: join its group (often `dialout`) and log in again.",
    errno.EBUSY: "Another program holds it; `fuser -v PORT` names it.",
    errno.EAGAIN: "Another program holds it; `fuser -v PORT` names it.",
}


class PortOpener:
    """Opens device paths and network ports on the event loop, other pyserial URLs with threads.

    Known URLs: a path, `socket://HOST:PORT`, `rfc2217://HOST:PORT` (see `rfc2217`),
    `tls://HOST:PORT` (see `tls_port`), and the rest of pyserial's: `loop://`, `spy://`, `alt://`,
    `hwgrep://` (its documentation). Local ports are taken exclusively (flock on the device, and
    TIOCEXCL on real ttys).

    DTR and RTS: the kernel asserts both of a local port when it is opened first, and nothing can
    keep it from that; no HUPCL keeps them asserted afterwards, so that later openings make no
    edge. Over rfc2217 they are left alone. Streams of both are `ControlLines`.
    """

    async def open(self, url: str, *, baud: int) -> ByteStream:
        """See `Opener.open`."""
        scheme, separator, _ = url.partition("://")
        if not separator:
            return self._open_device(url, baud)
        match scheme.lower():
            case "tls":
                from cryofw.transport.tls_stream import TlsOpener

                return await TlsOpener().open(url, baud=baud)
            case "socket":
                host, port, _ = parse_tcp_url(url)
                return await connect(url, host, port)
            case "rfc2217":
                from cryofw.transport.rfc2217 import open_rfc2217

                return await open_rfc2217(url, baud=baud)
            case _:
                return await self._open_url(url, baud)

    def _open_device(self, path: str, baud: int) -> ByteStream:
        import termios

        import serial

        try:
            port = serial.Serial(path, baudrate=baud, timeout=0, exclusive=True)
            descriptor = port.fileno()
            _prepare_line(descriptor)
            _claim(descriptor)
        except (OSError, ValueError, termios.error) as error:
            raise _unavailable(path, error) from error

        def give_back() -> None:
            # Unsent bytes would make close() wait for a line that may be gone.
            with contextlib.suppress(OSError, termios.error):
                port.reset_output_buffer()
            port.close()

        return DescriptorStream(descriptor, name=path, on_close=give_back)

    async def _open_url(self, url: str, baud: int) -> ByteStream:
        opening = asyncio.ensure_future(asyncio.to_thread(_open_blocking, url, baud))
        try:
            port = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unwanted)
            raise
        except _NoSuchHandler as error:
            raise UnknownPort(
                f"no such kind of port: {url}",
                why=str(error),
                hint="A port is a device path, socket://HOST:PORT, rfc2217://HOST:PORT, "
                "tls://HOST:PORT or sim://NAME.",
            ) from error
        except (OSError, ValueError) as error:
            raise _unavailable(url, error) from error
        return ThreadedStream(port, name=url)


class SchemeOpener:
    """Sends each URL to the opener of its scheme, everything else to `default`.

    Args:
        schemes: scheme without `://` -> opener, for example `{"sim": lab}`.
        default: for device paths and for schemes not named; `PortOpener()` if left out.
    """

    def __init__(self, schemes: Mapping[str, Opener], default: Opener | None = None) -> None:
        self._schemes = dict(schemes)
        self._default: Opener = default if default is not None else PortOpener()

    async def open(self, url: str, *, baud: int) -> ByteStream:
        """See `Opener.open`."""
        scheme, separator, _ = url.partition("://")
        opener = self._schemes.get(scheme.lower(), self._default) if separator else self._default
        return await opener.open(url, baud=baud)


class _NoSuchHandler(Exception):
    """pyserial has no handler for the scheme."""


def _close_unwanted(opening: asyncio.Future[serial.Serial]) -> None:
    """Close a port that came open after its opener had been cancelled."""
    if not opening.cancelled() and opening.exception() is None:
        # Closing may block for seconds, and nobody waits for it.
        threading.Thread(target=opening.result().close, daemon=True).start()


def _open_blocking(url: str, baud: int) -> serial.Serial:
    import serial

    try:
        port = serial.serial_for_url(url, do_not_open=True)
    except ValueError as error:
        raise _NoSuchHandler(str(error)) from error
    port.baudrate = baud
    port.timeout = READ_SLICE_S
    port.open()
    return port


def _prepare_line(descriptor: int) -> None:
    """Set what pyserial leaves otherwise.

    VMIN 1: a read without data says EAGAIN; with 0 it looks like a hang-up.
    No HUPCL: DTR stays up over a close, for its edge resets many boards (and reverts test boots).
    """
    import termios

    attributes = termios.tcgetattr(descriptor)
    attributes[2] &= ~termios.HUPCL
    attributes[6][termios.VMIN] = 1
    termios.tcsetattr(descriptor, termios.TCSANOW, attributes)


def _claim(descriptor: int) -> None:
    """Keep other programs from opening a real tty while we hold it."""
    import fcntl
    import termios

    status = os.fstat(descriptor)
    if not stat.S_ISCHR(status.st_mode) or os.major(status.st_rdev) in _PTY_MAJORS:
        return
    fcntl.ioctl(descriptor, termios.TIOCEXCL)


def _unavailable(url: str, error: Exception) -> PortUnavailable:
    number = error.errno if isinstance(error, OSError) else None
    if "://" in url:
        hint = "Check the host, the port number and that no one else is connected to it."
    else:
        hint = _HINTS.get(number or 0, "Check the cable, the adapter and the baud rate.")
        if number == errno.ENOENT and not Path(url).parent.exists():
            hint = f"{Path(url).parent} does not exist: is any serial adapter plugged in?"
    why = os.strerror(number) if number else str(error)
    return PortUnavailable(f"cannot open {url}", why=why, hint=hint.replace("PORT`", f"{url}`"))
