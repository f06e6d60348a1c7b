"""Group 0, OS management (Zephyr, "SMP group 0")."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from cryofw.smp.framing import FRAME_OVERHEAD
from cryofw.smp.message import Group, Op, Request
from cryofw.smp.messages import fields

if TYPE_CHECKING:
    from collections.abc import Mapping


class OsCommand(IntEnum):
    """Commands of group 0."""

    ECHO = 0
    ECHO_CONTROL = 1
    TASK_STATISTICS = 2
    MEMORY_POOL_STATISTICS = 3
    DATE_TIME = 4
    RESET = 5
    PARAMETERS = 6
    APP_INFO = 7
    BOOTLOADER_INFO = 8


class BootloaderMode(IntEnum):
    """How MCUboot updates (answers of the query "mode"); other values stay integers."""

    SINGLE_APPLICATION = 0
    SWAP_SCRATCH = 1
    OVERWRITE_ONLY = 2
    SWAP_WITHOUT_SCRATCH = 3
    DIRECT_XIP = 4
    DIRECT_XIP_WITH_REVERT = 5
    RAM_LOAD = 6
    FIRMWARE_LOADER = 7


_READ_PARAMETERS: Final = Request(Op.READ, Group.OS, OsCommand.PARAMETERS)


def echo(text: str) -> Request:
    """Ask for `text` back. MCUboot's serial recovery answers too: no proof of an application."""
    return Request(Op.WRITE, Group.OS, OsCommand.ECHO, {"d": text})


def read_parameters() -> Request:
    """Ask for buffer size and count; recovery refuses it (8), an application answers."""
    return _READ_PARAMETERS


def read_bootloader_info(query: str = "") -> Request:
    """Ask for the bootloader's name, or by `query` ("mode") for its properties."""
    body = {"query": query} if query else {}
    return Request(Op.READ, Group.OS, OsCommand.BOOTLOADER_INFO, body)


def reset(*, force: bool = False) -> Request:
    """Reset the device, which answers first; `force` also when it says that it is busy."""
    return Request(Op.WRITE, Group.OS, OsCommand.RESET, {"force": 1} if force else {})


def read_app_info(selection: str = "") -> Request:
    """Ask what runs; `selection`: "i" the board, "s" the kernel, "v" its version, "a" all."""
    body = {"format": selection} if selection else {}
    return Request(Op.READ, Group.OS, OsCommand.APP_INFO, body)


@dataclass(frozen=True, slots=True)
class EchoAnswer:
    """The text that came back."""

    text: str

    @classmethod
    def from_body(cls, body: Mapping[str, object]) -> EchoAnswer:
        """Read it; raises `MessageError` if there is no text."""
        return cls(fields.text(body, "r"))


@dataclass(frozen=True, slots=True)
class ServerParameters:
    """A server's buffers.

    Attributes:
        buf_size: bytes of one buffer; over the console it holds length and CRC too.
        buf_count: buffers, shared by requests and responses.
    """

    buf_size: int
    buf_count: int

    @property
    def max_packet(self) -> int:
        """Largest SMP packet in bytes that a console server takes; larger ones are dropped."""
        return max(self.buf_size - FRAME_OVERHEAD, 0)

    @classmethod
    def from_body(cls, body: Mapping[str, object]) -> ServerParameters:
        """Read them; raises `MessageError` if one is missing."""
        return cls(fields.uint(body, "buf_size"), fields.uint(body, "buf_count"))


@dataclass(frozen=True, slots=True)
class BootloaderInfo:
    """What the application knows of the bootloader below it.

    Attributes:
        name: "MCUboot", or "" when only properties were asked for.
        mode: a `BootloaderMode` or another integer; None if not told or not known (-1).
        no_downgrade: the bootloader refuses older versions (query "mode").
        unknown: further fields.
    """

    name: str
    mode: int | None
    no_downgrade: bool
    unknown: Mapping[str, object]

    @classmethod
    def from_body(cls, body: Mapping[str, object]) -> BootloaderInfo:
        """Read it; raises `MessageError` if a field has another type."""
        return cls(
            name=fields.optional_text(body, "bootloader"),
            mode=None if body.get("mode") == -1 else fields.optional_uint(body, "mode"),
            no_downgrade=fields.flag(body, "no-downgrade"),
            unknown=fields.unknown(body, ("bootloader", "mode", "no-downgrade", "rc")),
        )


@dataclass(frozen=True, slots=True)
class AppInfo:
    """What runs, as the one line that the format asked for."""

    output: str

    @classmethod
    def from_body(cls, body: Mapping[str, object]) -> AppInfo:
        """Read it; raises `MessageError` if there is no text."""
        return cls(fields.text(body, "output"))
