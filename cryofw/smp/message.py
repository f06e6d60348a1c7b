"""SMP messages: an 8-byte header and a CBOR map (Zephyr, "SMP Protocol Specification")."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from cryofw.smp.body import MessageError, decode_body, encode_body

if TYPE_CHECKING:
    from collections.abc import Mapping

HEADER_SIZE: Final = 8
V1: Final = 1
V2: Final = 2

_HEADER: Final = struct.Struct("!BBHHBB")


class Op(IntEnum):
    """What a message is; values off the wire that are not listed stay plain integers."""

    READ = 0
    READ_RSP = 1
    WRITE = 2
    WRITE_RSP = 3


class Group(IntEnum):
    """Management groups; from 64 on they belong to the application."""

    OS = 0
    IMAGE = 1
    STATISTICS = 2
    SETTINGS = 3
    FILE = 8
    SHELL = 9
    ENUMERATION = 10
    ZEPHYR = 63
    CRYO = 64


@dataclass(frozen=True, slots=True)
class Header:
    """The SMP header.

    Attributes:
        op: an `Op`, or another integer 0 to 7 as received.
        version: the SMP version, 1 or 2 (0 or 1 on the wire); 3 and 4 are reserved.
        flags: unused by the known versions.
        length: bytes of the payload, as the sender claims.
        group: management group.
        seq: 0 to 255; a response carries its request's.
        command: the command inside the group.
        reserved: the three top bits of the first byte, kept so that encoding is exact.
    """

    op: int
    version: int
    flags: int
    length: int
    group: int
    seq: int
    command: int
    reserved: int = 0

    def encode(self) -> bytes:
        """Return the 8 bytes.

        Raises:
            MessageError: a field does not fit its width.
        """
        first = self.reserved << 5 | (self.version - 1) << 3 | self.op
        try:
            return _HEADER.pack(first, self.flags, self.length, self.group, self.seq, self.command)
        except struct.error as error:
            raise MessageError("the SMP header cannot be encoded", why=str(error)) from error

    @classmethod
    def decode(cls, data: bytes) -> Header:
        """Read the header from the first 8 bytes of `data`.

        Raises:
            MessageError: fewer than 8 bytes.
        """
        try:
            first, flags, length, group, seq, command = _HEADER.unpack_from(data)
        except struct.error:
            raise MessageError(
                "the SMP message is cut", why=f"{len(data)} bytes, the header takes {HEADER_SIZE}"
            ) from None
        version = (first >> 3 & 0x03) + 1
        return cls(first & 0x07, version, flags, length, group, seq, command, first >> 5)


@dataclass(frozen=True, slots=True)
class Message:
    """A header and the payload bytes that came with it.

    A payload shorter than `header.length` was cut by the sender; `is_cut` tells.
    """

    header: Header
    payload: bytes

    @property
    def body(self) -> Mapping[str, object]:
        """The payload as a map; raises `MessageError` if it is none."""
        return decode_body(self.payload)

    @property
    def is_cut(self) -> bool:
        """True if the header announces more payload than there is."""
        return self.header.length > len(self.payload)

    def encode(self) -> bytes:
        """Return header and payload as one message; raises `MessageError` as the header does."""
        return self.header.encode() + self.payload

    @classmethod
    def decode(cls, data: bytes) -> Message:
        """Read the one message that `data` holds; raises `MessageError` on a short header."""
        return cls(Header.decode(data), data[HEADER_SIZE:])


def split_packet(packet: bytes) -> list[Message]:
    """Read all messages of one packet (Zephyr answers each of several).

    What follows the last message and is shorter than a header belongs to its payload: servers
    read CBOR to its own end, not to the header's length.

    Raises:
        MessageError: the packet is shorter than one header.
    """
    header = Header.decode(packet)
    end = HEADER_SIZE + header.length
    if len(packet) - end < HEADER_SIZE:
        return [Message(header, packet[HEADER_SIZE:])]
    messages = [Message(header, packet[HEADER_SIZE:end])]
    while len(packet) - end >= HEADER_SIZE:
        start = end + HEADER_SIZE
        header = Header.decode(packet[end:start])
        end = start + header.length
        last = len(packet) - end < HEADER_SIZE
        messages.append(Message(header, packet[start:] if last else packet[start:end]))
    return messages


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask of a device; a connection adds version and sequence number."""

    op: Op
    group: int
    command: int
    body: Mapping[str, object] = field(default_factory=dict)

    def encode(self, *, seq: int, version: int = V2) -> bytes:
        """Return the message; raises `MessageError` if the body or a field cannot be encoded."""
        payload = encode_body(self.body)
        first = (version - 1) << 3 | self.op
        try:
            return _HEADER.pack(first, 0, len(payload), self.group, seq, self.command) + payload
        except struct.error as error:
            raise MessageError("the SMP request cannot be encoded", why=str(error)) from error
