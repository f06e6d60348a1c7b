"""What every byte stream to a device is, and how one is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from cryofw.errors import BadInput, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable


class PortUnavailable(Unreachable):
    """The port cannot be opened now: absent, busy, not permitted, or the host does not answer."""


class ChannelUntrusted(PortUnavailable):
    """An encrypted line that cannot be trusted, or that the other side refuses us.

    Nothing was sent, and nothing falls back to an open line. Waiting does not help.
    """


class StreamLost(Unreachable):
    """An open stream broke: cable pulled, adapter gone, connection reset, or closed on our side."""


class NoControlLines(Unreachable):
    """The port has no DTR and RTS, or nobody on the way to them takes orders."""


class UnknownPort(BadInput):
    """A port URL that no opener understands; asking again does not help."""


class ByteStream(Protocol):
    """An ordered stream of bytes in both directions, without message bounds.

    One reader at a time. `read` may be cancelled without losing bytes.
    """

    async def read(self, max_bytes: int = 65536) -> bytes:
        """Return 1 to `max_bytes` bytes as soon as there are any; b"" when the peer has closed.

        Raises:
            StreamLost: the line broke, or the stream was closed on this side.
        """

    async def write(self, data: bytes) -> None:
        """Hand all of `data` to the line; returning does not say that the peer has read it.

        Raises:
            StreamLost: the line broke before all bytes were taken.
        """

    async def close(self) -> None:
        """Give the port back; may be called twice; never raises."""


@runtime_checkable
class DirectWriter(Protocol):
    """What a stream has besides if it can be written to without a task."""

    def write_now(self, data: bytes) -> int:
        """Hand over what the line takes at once; return how many bytes, perhaps 0.

        Not while a `write` is under way.

        Raises:
            StreamLost: the line broke, or the stream was closed on this side.
        """


@runtime_checkable
class EventStream(Protocol):
    """What a stream has besides if it can be listened to without a task."""

    def listen(
        self, receive: Callable[[bytes], None], end: Callable[[StreamLost | None], None]
    ) -> None:
        """Call `receive` with what comes from now on, instead of `read`.

        Args:
            receive: gets the bytes, from the event loop; must not raise.
            end: called once when the line breaks, or with None when the peer has closed; not after
                a `close` on this side.
        """


@runtime_checkable
class RestingReader(Protocol):
    """What an `EventStream` has besides if it can leave lying for a moment what has come."""

    def rest(self, seconds: float) -> None:
        """Look at the line again after so long, and tell then of all that has come.

        For who knows that nothing is urgent: one wake-up for several messages. The driver keeps
        the bytes, some 4 KiB.
        """

    def end_rest(self) -> None:
        """Look at the line now."""


@runtime_checkable
class ControlLines(Protocol):
    """What a stream has besides if DTR and RTS of its port can be set."""

    async def set_lines(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        """Assert (True) or release lines; None leaves one as it is.

        Raises:
            NoControlLines: they cannot be set.
            StreamLost: the line broke, or the stream was closed on this side.
        """


class Opener(Protocol):
    """Turns a port URL into an open stream."""

    async def open(self, url: str, *, baud: int) -> ByteStream:
        """Open `url` at `baud` bits per second (ignored where a link has no bit rate).

        Raises:
            PortUnavailable: not there, busy, not permitted, or no answer.
            UnknownPort: no such kind of port.
        """
