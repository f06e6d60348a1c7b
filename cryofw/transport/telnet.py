"""Telnet with the COM port option, without any IO: RFC 854, RFC 856, RFC 2217.

The client's half. Data and commands share one stream: a byte 255 of the data is doubled, and
everything else behind a 255 is for the two ends.
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import Final

IAC: Final = 255
_DONT, _DO, _WONT, _WILL, _SB, _SE = 254, 253, 252, 251, 250, 240
_BINARY, _SUPPRESS_GO_AHEAD, COM_PORT = 0, 3, 44
_WE_DO: Final = frozenset((_BINARY, _SUPPRESS_GO_AHEAD, COM_PORT))
_THEY_DO: Final = frozenset((_BINARY, _SUPPRESS_GO_AHEAD, COM_PORT))
_SERVER: Final = 100
_LONGEST_COMMAND: Final = 512
_PLAIN: Final = re.compile(rb"[^\xff]+")


class ComPort(IntEnum):
    """Commands of RFC 2217; a server answers with 100 more."""

    SET_BAUDRATE = 1
    SET_DATASIZE = 2
    SET_PARITY = 3
    SET_STOPSIZE = 4
    SET_CONTROL = 5
    FLOWCONTROL_SUSPEND = 8
    FLOWCONTROL_RESUME = 9
    SET_LINESTATE_MASK = 10
    SET_MODEMSTATE_MASK = 11


class Control(IntEnum):
    """Values of `ComPort.SET_CONTROL`."""

    NO_FLOW_CONTROL = 1
    DTR_ON = 8
    DTR_OFF = 9
    RTS_ON = 11
    RTS_OFF = 12


class TelnetClient:
    """One connection: bytes in, data out; what the other side must be told gathers in `to_send`.

    Attributes:
        com_port: whether the server takes COM port commands; None until it has said so.
        binary: likewise whether our bytes reach it as they are.
        suspended: the server wants no data for now.
        answers: the last answer to each COM port command.
    """

    def __init__(self) -> None:
        self.com_port: bool | None = None
        self.binary: bool | None = None
        self.suspended = False
        self.answers: dict[int, bytes] = {}
        self._out = bytearray()
        self._held = b""
        self._after_cr = False
        self._they_binary = False
        self._asked: set[tuple[int, int]] = set()
        for verb, option in (
            (_WILL, COM_PORT),
            (_WILL, _BINARY),
            (_DO, _BINARY),
            (_DO, _SUPPRESS_GO_AHEAD),
            (_WILL, _SUPPRESS_GO_AHEAD),
        ):
            self._asked.add((verb, option))
            self._out += bytes((IAC, verb, option))

    def to_send(self) -> bytes:
        """Return, and forget, what has to go to the server."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def command(self, command: ComPort, value: bytes) -> None:
        """Give a COM port command; the answer comes in `answers`."""
        self.answers.pop(command, None)
        body = bytes((COM_PORT, command)) + value
        self._out += bytes((IAC, _SB)) + escape(body) + bytes((IAC, _SE))

    def receive(self, data: bytes) -> bytes:
        """Take bytes off the connection; return the port's data in them."""
        data = self._held + data
        self._held = b""
        if IAC not in data and not self._after_cr and self._they_binary:
            return data
        plain = bytearray()
        at = 0
        while at < len(data):
            if data[at] != IAC:
                piece = _PLAIN.match(data, at)
                assert piece is not None
                plain += self._unmap(piece.group())
                at = piece.end()
                continue
            used = self._command_at(data, at, plain)
            if not used:
                # A command that never ends is no telnet: it must not eat the memory.
                self._held = data[at:] if len(data) - at < _LONGEST_COMMAND else b""
                break
            at += used
        return bytes(plain)

    def _unmap(self, piece: bytes) -> bytes:
        """Undo NVT's CR NUL; only until the server has gone binary."""
        if self._they_binary:
            self._after_cr = False
            return piece
        if self._after_cr and piece.startswith(b"\x00"):
            piece = piece[1:]
        self._after_cr = piece.endswith(b"\r")
        return piece.replace(b"\r\x00", b"\r")

    def _command_at(self, data: bytes, at: int, plain: bytearray) -> int:
        """Take one command; return its length, 0 if it is not whole yet."""
        if len(data) < at + 2:
            return 0
        verb = data[at + 1]
        if verb == IAC:
            plain.append(IAC)
            return 2
        if verb in (_WILL, _WONT, _DO, _DONT):
            if len(data) < at + 3:
                return 0
            self._negotiate(verb, data[at + 2])
            return 3
        if verb != _SB:
            return 2
        end = at + 2
        while True:
            end = data.find(IAC, end)
            if end < 0 or end + 1 >= len(data):
                return 0
            if data[end + 1] == _SE:
                break
            end += 2
        self._take_suboption(data[at + 2 : end].replace(b"\xff\xff", b"\xff"))
        return end + 2 - at

    def _negotiate(self, verb: int, option: int) -> None:
        """Answer what the server offers or wants; never twice, or both sides would go on."""
        if verb in (_DO, _DONT):
            agreed = verb == _DO and option in _WE_DO
            self._settle(_WILL, _WONT, option, agreed, wanted=verb == _DO)
            if option == COM_PORT:
                self.com_port = agreed
            elif option == _BINARY:
                self.binary = agreed
        else:
            agreed = verb == _WILL and option in _THEY_DO
            self._settle(_DO, _DONT, option, agreed, wanted=verb == _WILL)
            if option == _BINARY:
                self._they_binary = agreed

    def _settle(self, yes: int, no: int, option: int, agreed: bool, *, wanted: bool) -> None:
        if agreed:
            if (yes, option) not in self._asked:
                self._asked.add((yes, option))
                self._out += bytes((IAC, yes, option))
        elif wanted:
            self._out += bytes((IAC, no, option))
        else:
            self._asked.discard((yes, option))

    def _take_suboption(self, body: bytes) -> None:
        if len(body) < 2 or body[0] != COM_PORT:
            return
        command, value = body[1] - _SERVER, body[2:]
        if command == ComPort.FLOWCONTROL_SUSPEND:
            self.suspended = True
        elif command == ComPort.FLOWCONTROL_RESUME:
            self.suspended = False
        else:
            self.answers[command] = value


def escape(data: bytes) -> bytes:
    """Double each 255 of the data."""
    return data.replace(b"\xff", b"\xff\xff")
