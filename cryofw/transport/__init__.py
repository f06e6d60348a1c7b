"""Byte streams to devices: serial ports, networks, TLS, memory, ptys; and the lock on a port.

Everything that depends on the operating system's terminals and locks lives here. Foreign errors
become `PortUnavailable` (cannot be opened) and `StreamLost` (broke while open).
"""

from __future__ import annotations

from cryofw.transport.descriptor import DescriptorStream
from cryofw.transport.line_sequence import LineStep, parse_line_steps, play, rest_of
from cryofw.transport.lock import Holder, PortLock, PortLocked, default_lock_directory, port_keys
from cryofw.transport.locked_opener import LockedOpener
from cryofw.transport.memory import MemoryStream, memory_pair
from cryofw.transport.opener import PortOpener, SchemeOpener
from cryofw.transport.pty import PtyPort
from cryofw.transport.reopening import open_when_back
from cryofw.transport.stream import (
    ByteStream,
    ChannelUntrusted,
    ControlLines,
    DirectWriter,
    EventStream,
    NoControlLines,
    Opener,
    PortUnavailable,
    RestingReader,
    StreamLost,
    UnknownPort,
)
from cryofw.transport.threaded import ThreadedStream

__all__ = [
    "ByteStream",
    "ChannelUntrusted",
    "ControlLines",
    "DescriptorStream",
    "DirectWriter",
    "EventStream",
    "Holder",
    "LineStep",
    "LockedOpener",
    "MemoryStream",
    "NoControlLines",
    "Opener",
    "PortLock",
    "PortLocked",
    "PortOpener",
    "PortUnavailable",
    "PtyPort",
    "RestingReader",
    "SchemeOpener",
    "StreamLost",
    "ThreadedStream",
    "UnknownPort",
    "default_lock_directory",
    "memory_pair",
    "open_when_back",
    "parse_line_steps",
    "play",
    "port_keys",
    "rest_of",
]
