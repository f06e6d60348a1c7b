"""A controller for tests: enough of Zephyr and MCUboot to follow an update, and faults by plan.

It is written from the recorded facts (wait-for-DFU trap, revert at any reset, a lost upload after
a reset, serial recovery that writes slot 0) and knows nothing of the driver.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING

from cryofw.smp import CryoCode, Group, ImageCode, MgmtCode, RequestReceived, ServerConnection
from cryofw.smp.messages import CryoCommand, ImageCommand, OsCommand
from cryofw.transport import PortUnavailable, StreamLost, memory_pair

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryofw.transport import ByteStream
    from cryofw.transport.memory import MemoryStream

DFU_WINDOW_S = 0.5
APPLICATION_AFTER_S = 2.0
NOT_SUPPORTED: Mapping[str, object] = {"rc": MgmtCode.NOT_SUPPORTED}


class Kind(StrEnum):
    """What goes wrong with one request."""

    LOST_REPLY = "lost reply"
    LATE_REPLY = "late reply"
    TWICE = "duplicated reply"
    CORRUPT = "corrupted reply"
    ERROR = "error code"
    SILENCE = "request lost"
    LINE_LOST = "line lost before the reply"
    LINE_LOST_BEFORE = "line lost before the request"
    RESET = "reset in the middle"
    RESET_AFTER = "reset after the change, before the reply"


@dataclass
class Fault:
    """`kind` happens to the `nth` request (from 0) that `matches`."""

    kind: Kind
    matches: Callable[[RequestReceived], bool]
    nth: int = 0
    times: int = 1
    seen: int = 0

    def hits(self, request: RequestReceived) -> bool:
        if not self.matches(request):
            return False
        self.seen += 1
        return self.nth < self.seen <= self.nth + self.times


@dataclass(frozen=True)
class Firmware:
    """A file with its TLV hash inside."""

    name: str
    size: int = 3000

    @property
    def hash(self) -> bytes:
        return sha256(self.name.encode()).digest()

    @property
    def hex(self) -> str:
        return self.hash.hex()

    @property
    def data(self) -> bytes:
        body = (f"{self.name}!".encode() * self.size)[: self.size - 32]
        return body + self.hash


@dataclass
class Lease:
    owner: str = ""
    rollout: str = ""
    token: int = 0
    until_s: float = 0.0


@dataclass
class ScriptedController:
    """The device, and the opener of its port."""

    running: Firmware
    other: Firmware | None = None
    cryo: bool = True
    image_check: bool = True
    hardware_id: bytes = b"\x5a\x31"
    board: str = "cc40"
    hanging: tuple[Firmware, ...] = ()
    invalid: tuple[Firmware, ...] = ()
    faults: list[Fault] = field(default_factory=list)
    away: int = 0
    frugal: bool = False
    confirmed: bool = True
    pending: bool = False
    recovery: bool = False
    up: bool = True
    deaf_to_resets: int = 0
    lease: Lease = field(default_factory=Lease)
    metrics: dict[str, object] = field(default_factory=lambda: {"snr": 24.5})
    metrics_t_ms: int | None = None

    def __post_init__(self) -> None:
        self.boot_id = 100
        self.booted_at = 0.0
        self.beats = 0
        self.opened = 0
        self.slot_0_overwritten = False
        self.corrupt_flash = False
        self.requests: list[tuple[int, int, int]] = []
        self.heard_at: list[float] = []
        self.safe = False
        self.calibration = (0, 0.0)
        self._in_window = False
        self._upload: tuple[bytes, bytearray, int] | None = None
        self._images = {self.running.hash: self.running}
        if self.other is not None:
            self._images[self.other.hash] = self.other
        self._far: MemoryStream | None = None
        self._near: MemoryStream | None = None
        self._server = ServerConnection()
        self._tasks: set[asyncio.Task[None]] = set()
        self.errors: list[BaseException] = []
        self._timers: list[asyncio.TimerHandle] = []

    # the port

    async def open(self, url: str, *, baud: int) -> ByteStream:
        if self.away:
            self.away -= 1
            raise PortUnavailable(f"Cannot open {url}", why="No such file or directory")
        self.opened += 1
        near, far = memory_pair(url)
        self._near, self._far = near, far
        self._server = ServerConnection()
        task = asyncio.create_task(self._serve(far))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return near

    def cut(self) -> None:
        assert self._near is not None
        self._near.cut()

    async def say(self, text: bytes) -> None:
        assert self._far is not None
        await self._far.write(text)

    async def _serve(self, far: MemoryStream) -> None:
        try:
            while data := await far.read():
                for event in self._server.receive_data(data):
                    if isinstance(event, RequestReceived):
                        await self._take(event, far)
        except StreamLost:
            return
        except Exception as error:
            self.errors.append(error)
            raise

    async def _take(self, request: RequestReceived, far: MemoryStream) -> None:
        header = request.header
        self.heard_at.append(self._now())
        self.requests.append((header.group, header.command, header.op))
        if self._in_window:
            self.recovery = self.up = True
        if not self.up:
            return
        hit = next((fault.kind for fault in self.faults if fault.hits(request)), None)
        if hit is Kind.SILENCE:
            return
        if hit is Kind.LINE_LOST_BEFORE:
            self.cut()
            return
        if hit is Kind.RESET:
            self.reboot()
            return
        answer: Mapping[str, object]
        if hit is Kind.ERROR:
            answer = {"err": {"group": header.group, "rc": 1}}
        else:
            answer = self._answer(request)
        wire = self._server.reply(header, answer)
        if hit is Kind.RESET_AFTER:
            self.reboot()
            return
        if hit is Kind.LOST_REPLY:
            return
        if hit is Kind.LINE_LOST:
            self.cut()
        elif hit is Kind.LATE_REPLY:
            self._say_later(2.5, wire)
        elif hit is Kind.CORRUPT:
            await far.write(wire[:8] + bytes([wire[8] ^ 1]) + wire[9:])
        elif hit is Kind.TWICE:
            await far.write(wire + wire)
        else:
            await far.write(wire)

    def _say_later(self, delay_s: float, wire: bytes) -> None:
        near = self._near
        assert near is not None
        asyncio.get_running_loop().call_later(delay_s, near.deliver, wire)

    # booting

    def reboot(self, after_s: float = 0.0) -> None:
        """Reset: the wait-for-DFU window, then the swap, then the application."""
        self._later(after_s, self._begin_boot)

    def _begin_boot(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self.up = self.recovery = False
        self._upload = None
        self._in_window = True
        self._later(DFU_WINDOW_S, self._boot_go)

    def _boot_go(self) -> None:
        self._in_window = False
        if self.recovery:
            return
        if self.pending and self.other in self.invalid:
            self.pending, self.other = False, None
        elif self.pending and self.other is not None:
            self.running, self.other = self.other, self.running
            self.pending, self.confirmed = False, False
        elif not self.confirmed and self.other is not None:
            self.running, self.other = self.other, self.running
            self.confirmed = True
        self.boot_id += 1
        if self.running not in self.hanging:
            self._later(APPLICATION_AFTER_S - DFU_WINDOW_S, self._start)

    def _start(self) -> None:
        self.up = True
        self.booted_at = self._now()
        self.beats = 0

    # answers

    def _answer(self, request: RequestReceived) -> Mapping[str, object]:
        key = (request.header.group, request.header.command, request.header.op)
        body = request.body or {}
        handlers: dict[tuple[int, int, int], Callable[..., Mapping[str, object]]] = {
            (Group.OS, OsCommand.ECHO, 2): lambda: {"r": body["d"]},
            (Group.OS, OsCommand.RESET, 2): self._reset,
            (Group.IMAGE, ImageCommand.STATE, 0): self._state,
            (Group.IMAGE, ImageCommand.UPLOAD, 2): lambda: self._chunk(body),
        }
        if not self.recovery:
            handlers |= {
                (Group.OS, OsCommand.PARAMETERS, 0): lambda: {"buf_size": 384, "buf_count": 4},
                (Group.OS, OsCommand.APP_INFO, 0): lambda: {"output": f"{self.board}/soc"},
                (Group.OS, OsCommand.BOOTLOADER_INFO, 0): lambda: {"mode": 3},
                (Group.IMAGE, ImageCommand.STATE, 2): lambda: self._write_state(body),
                (Group.IMAGE, ImageCommand.ERASE, 2): self._erase,
                (Group.IMAGE, ImageCommand.SLOT_INFO, 0): lambda: {
                    "images": [
                        {"image": 0, "slots": [{"slot": n, "size": 8192} for n in (0, 1)]},
                    ]
                },
            }
            if self.cryo:
                handlers |= self._cryo_handlers(body)
        handler = handlers.get(key)
        return handler() if handler else NOT_SUPPORTED

    def _reset(self) -> Mapping[str, object]:
        if self.deaf_to_resets:
            self.deaf_to_resets -= 1
        else:
            self.reboot(after_s=0.25)
        return {}

    def _state(self) -> Mapping[str, object]:
        images = [self._slot(0, self.running)]
        if self.other is not None:
            images.append(self._slot(1, self.other))
        if self.recovery:
            return {"images": images, "rc": 0}
        return {"images": images} if self.frugal else {"images": images, "splitStatus": 0}

    def _slot(self, number: int, firmware: Firmware) -> dict[str, object]:
        flags = {"bootable": True}
        if number == 0:
            flags |= {"active": True, "confirmed": self.confirmed or self.recovery}
        else:
            flags |= {"pending": self.pending, "confirmed": not self.confirmed}
        return {"slot": number, "version": "1.0.0", "hash": firmware.hash, **flags}

    def _write_state(self, body: Mapping[str, object]) -> Mapping[str, object]:
        if body.get("confirm"):
            assert "hash" not in body, "a confirmation by hash could make an image permanent"
            self.confirmed = True
            return self._state()
        if not self.confirmed or self.pending:
            return {"err": {"group": 1, "rc": ImageCode.IMAGE_ALREADY_PENDING}}
        if self.other is None or self.other.hash != body.get("hash"):
            return {"err": {"group": 1, "rc": ImageCode.HASH_NOT_FOUND}}
        self.pending = True
        return self._state()

    def _erase(self) -> Mapping[str, object]:
        self.other = None
        return {}

    def _chunk(self, body: Mapping[str, object]) -> Mapping[str, object]:
        off, data = body["off"], body["data"]
        assert isinstance(off, int)
        assert isinstance(data, bytes)
        if self.recovery:
            if off == 0:
                self.slot_0_overwritten = True
            return {"rc": 0, "off": len(data) if off == 0 else 0}
        if self.pending or not self.confirmed:
            return {"err": {"group": 1, "rc": ImageCode.NO_FREE_SLOT}}
        if off == 0:
            sha, size = body["sha"], body["len"]
            assert isinstance(sha, bytes)
            assert isinstance(size, int)
            if self.image_check and self.other and sha256(self.other.data).digest() == sha:
                return {"off": size, "match": True}
            if self._upload is None or self._upload[0] != sha:
                self._upload = (sha, bytearray(), size)
                self.other = None
        if self._upload is None:
            return {"off": 0}
        sha, received, size = self._upload
        if off == len(received):
            received += data
        if len(received) < size:
            return {"off": len(received)}
        return self._finish(sha, bytes(received))

    def _finish(self, sha: bytes, data: bytes) -> Mapping[str, object]:
        self._upload = None
        text = data[:-32].decode("ascii", "replace")
        self.other = next(
            (image for image in self._images.values() if image.hash == data[-32:]),
            Firmware(text.split("!")[0], len(data)),
        )
        if not self.image_check:
            return {"off": len(data)}
        return {"off": len(data), "match": sha256(data).digest() == sha and not self.corrupt_flash}

    def _cryo_handlers(
        self, body: Mapping[str, object]
    ) -> dict[tuple[int, int, int], Callable[..., Mapping[str, object]]]:
        cryo = int(Group.CRYO)
        return {
            (cryo, CryoCommand.HEARTBEAT, 0): self._beat,
            (cryo, CryoCommand.METRICS, 0): lambda: {
                "t": self._up_ms() if self.metrics_t_ms is None else self.metrics_t_ms,
                "m": self.metrics,
            },
            (cryo, CryoCommand.CALIBRATE, 2): lambda: self._calibrate(body),
            (cryo, CryoCommand.CALIBRATE, 0): lambda: {
                "id": self.calibration[0],
                "done": self._now() >= self.calibration[1],
                "m": {"adc_enob": 11.2},
            },
            (cryo, CryoCommand.SAFE, 2): self._make_safe,
            (cryo, CryoCommand.SAFE, 0): lambda: {"safe": self.safe},
            (cryo, CryoCommand.IDENTITY, 0): lambda: {
                "hw": self.hardware_id,
                "board": self.board,
                "sn": "0007",
                "wdt": True,
            },
            (cryo, CryoCommand.LEASE, 0): self._read_lease,
            (cryo, CryoCommand.LEASE, 2): lambda: self._write_lease(body),
        }

    def _beat(self) -> Mapping[str, object]:
        self.beats += 1
        return {
            "seq": self.beats,
            "up": self._up_ms(),
            "boot": self.boot_id,
            "rst": 1,
            "img": self.running.hash,
        }

    def _calibrate(self, body: Mapping[str, object]) -> Mapping[str, object]:
        run_id = body["id"]
        assert isinstance(run_id, int)
        assert run_id != self.calibration[0], "the same run was started twice"
        self.calibration = (run_id, self._now() + 20)
        return {}

    def _make_safe(self) -> Mapping[str, object]:
        self.safe = True
        return {}

    def _read_lease(self) -> Mapping[str, object]:
        left = max(0, round(self.lease.until_s - self._now()))
        lease = self.lease
        return {"owner": lease.owner, "rollout": lease.rollout, "token": lease.token, "ttl": left}

    def _write_lease(self, body: Mapping[str, object]) -> Mapping[str, object]:
        token, ttl = body["token"], body["ttl"]
        assert isinstance(token, int)
        assert isinstance(ttl, int)
        if token < self.lease.token:
            return {"err": {"group": 64, "rc": CryoCode.OLD_TOKEN}}
        self.lease = Lease(str(body["owner"]), str(body["rollout"]), token, self._now() + ttl)
        return {}

    def _up_ms(self) -> int:
        return int((self._now() - self.booted_at) * 1000)

    def _later(self, delay_s: float, callback: Callable[[], None]) -> None:
        self._timers.append(asyncio.get_running_loop().call_later(delay_s, callback))

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
