"""A bench for simulated controllers: time that moves when told to, and a client."""

from __future__ import annotations

import hashlib
import heapq
import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest

from cryofw.image import (
    Algorithm,
    ImageOptions,
    PublicKey,
    Version,
    attach,
    build_image,
    parse_image,
    read_payload,
)
from cryofw.simulator import (
    ControllerSpec,
    MemoryStorage,
    Ports,
    Ram,
    ServerProfile,
    SignatureCheck,
    SimulatedController,
)
from cryofw.smp import ClientConnection, LogLine, Op, Request, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Timers:
    """Time that moves only when told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._cancelled: set[int] = set()
        self._numbers = itertools.count()

    def call_later(self, delay: float, callback: Callable[[], None], /) -> Timer:
        number = next(self._numbers)
        heapq.heappush(self._queue, (self.now_s + delay, number, callback))
        return Timer(lambda: self._cancelled.add(number))

    def advance(self, seconds: float) -> None:
        until_s = self.now_s + seconds
        while self._queue and self._queue[0][0] <= until_s:
            self.now_s, number, callback = heapq.heappop(self._queue)
            if number not in self._cancelled:
                callback()
        self.now_s = until_s


class Timer:
    def __init__(self, cancel: Callable[[], None]) -> None:
        self._cancel = cancel

    def cancel(self) -> None:
        self._cancel()


class Bench:
    """One controller, its line, and somebody who asks it things."""

    def __init__(self, image: Callable[..., bytes], key: PublicKey) -> None:
        self.image = image
        self.key = key
        self.timers = Timers()
        self.saved = b""
        self.log: list[str] = []

    def build(self, image: bytes, **fields: Any) -> None:
        """Make a controller that holds `image`, and switch it on."""
        fields.setdefault("profile", ServerProfile())
        fields.setdefault("paced", False)
        self.spec = ControllerSpec("c1-a", **fields)
        self.storage = MemoryStorage(2 * self.spec.slot_size)
        self.storage.write(0, image)
        self.attach(Ram())
        self.controller.power_on()
        self.timers.advance(3)
        assert self.state() == [self.version(image)]

    def attach(self, ram: Ram) -> None:
        """A controller as another process would find it."""
        self.client = ClientConnection()
        self.received: list[Response] = []
        ports = Ports(
            now_s=lambda: self.timers.now_s,
            call_later=self.timers.call_later,
            send=self._take,
            validator=SignatureCheck([self.key]),
            save=lambda ram: setattr(self, "saved", ram.to_json()),
        )
        self.controller = SimulatedController(self.spec, self.storage, ports, ram=ram)

    def _take(self, data: bytes) -> None:
        for event in self.client.receive_data(data):
            if isinstance(event, Response):
                self.received.append(event)
            elif isinstance(event, LogLine):
                self.log.append(event.text)

    @staticmethod
    def version(image: bytes) -> str:
        return str(parse_image(image).version)

    def ask(
        self,
        op: Op,
        group: int,
        command: int,
        body: Mapping[str, Any] | None = None,
        *,
        session: int = 0,
        wait_s: float = 0.1,
    ) -> dict[str, Any] | None:
        """Send a request; the body of the answer, or None for silence."""
        seq, wire = self.client.send(Request(op, group, command, body or {}))
        self.controller.receive(wire, session)
        self.timers.advance(wait_s)
        self.client.forget(seq)
        answers = [dict(one.body) for one in self.received if one.seq == seq]
        self.received.clear()
        return answers[0] if answers else None

    def read(self, group: int, command: int, **body: Any) -> dict[str, Any]:
        answer = self.ask(Op.READ, group, command, body)
        assert answer is not None
        return answer

    def write(self, group: int, command: int, session: int = 0, **body: Any) -> dict[str, Any]:
        answer = self.ask(Op.WRITE, group, command, body, session=session)
        assert answer is not None
        return answer

    def state(self) -> list[str]:
        """Versions in the slots; `*` marks what is not confirmed and runs."""
        images = self.read(1, 0)["images"]
        return [
            one["version"] + ("*" if one["active"] and not one["confirmed"] else "")
            for one in images
        ]

    def upload(self, image: bytes, session: int = 0) -> dict[str, Any]:
        answer: dict[str, Any] = {"off": 0}
        while answer["off"] < len(image):
            offset = answer["off"]
            body: dict[str, Any] = {"off": offset, "data": image[offset : offset + 256]}
            if offset == 0:
                body |= {"len": len(image), "sha": hashlib.sha256(image).digest()}
            answer = self.write(1, 1, session, **body)
            assert answer.get("off", -1) > offset, answer
        return answer

    def mark(self, image: bytes, *, confirm: bool = False) -> None:
        answer = self.write(1, 0, hash=parse_image(image).hash, confirm=confirm)
        assert "images" in answer, answer

    def reset(self, wait_s: float = 3.0) -> None:
        assert self.write(0, 5) in ({}, {"rc": 0})
        self.timers.advance(wait_s)

    def test_boot(self, image: bytes) -> None:
        """Upload, mark for test, reset."""
        self.upload(image)
        self.mark(image)
        self.reset()


@pytest.fixture(scope="session")
def simulated_image(
    image_keys: Mapping[Algorithm, tuple[PublicKey, Callable[[bytes], bytes]]],
) -> Callable[..., bytes]:
    """Sign a firmware of a version; keywords go into its simulation marker."""
    public, sign = image_keys[Algorithm.ED25519]

    def make(version: str, *, counter: int | None = None, **marker: Any) -> bytes:
        body = b"firmware " + version.encode() + bytes(1200)
        body += b"CRYOFW-SIM\x00" + json.dumps(marker).encode() + b"\x00"
        options = ImageOptions(
            version=Version.parse(version), pad_header=True, security_counter=counter
        )
        unsigned = build_image(read_payload(body, "bin"), options)
        return attach(unsigned, public, sign(unsigned.to_sign(public.algorithm)))

    return make


@pytest.fixture
def bench(
    simulated_image: Callable[..., bytes],
    image_keys: Mapping[Algorithm, tuple[PublicKey, Callable[[bytes], bytes]]],
) -> Bench:
    """An empty bench; `build` puts a controller on it."""
    return Bench(simulated_image, image_keys[Algorithm.ED25519][0])
