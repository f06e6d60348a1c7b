"""Packets that are posted while answers are told leave in one write, in order and once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cryofw.device.session import Session
from cryofw.smp import Op, Request, RequestReceived, Response, ServerConnection, encode_frame
from cryofw.transport import StreamLost

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK = Request(Op.WRITE, 1, 1, {"off": 1, "data": bytes(300)})
STATE = Request(Op.READ, 1, 0)


class Tight:
    """A listened stream that takes so many bytes at once, then the rest when it is asked to."""

    def __init__(self, room: int = 1 << 20) -> None:
        self.room = room
        self.writes: list[bytes] = []
        self.rests: list[float] = []
        self.broken = False
        self.told: Callable[[bytes], None] = lambda _data: None

    def listen(
        self, receive: Callable[[bytes], None], end: Callable[[StreamLost | None], None]
    ) -> None:
        self.told = receive

    def rest(self, seconds: float) -> None:
        self.rests.append(seconds)

    def end_rest(self) -> None:
        self.rests.append(0.0)

    def write_now(self, data: bytes) -> int:
        if self.broken:
            raise StreamLost("the line is lost")
        self.writes.append(data[: self.room])
        return len(self.writes[-1])

    async def read(self, max_bytes: int = 65536) -> bytes:
        raise AssertionError("it is listened to")

    async def write(self, data: bytes) -> None:
        await asyncio.sleep(0)
        self.writes.append(data)

    async def close(self) -> None:
        self.room = 0


class Poster:
    """Posts a packet for each answer."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.offs: list[int] = []
        self.wires: dict[int, bytes] = {}
        self.settles = 0
        self.errors: list[StreamLost] = []
        session.join(self)

    def post(self) -> int:
        seq, wire = self.session.prepare(lambda seq: CHUNK.encode(seq=seq))
        self.wires[seq] = wire
        self.session.post(seq, wire, CHUNK)
        return seq

    def acknowledged(self, seq: int, off: int) -> None:
        self.offs.append(off)
        self.post()

    def answered(self, answer: Response) -> None:
        raise AssertionError(answer)

    def damaged(self) -> None:
        raise AssertionError("nothing was damaged")

    def settled(self) -> None:
        self.settles += 1
        self.session.rest(0.5)

    def broken(self, error: StreamLost) -> None:
        self.errors.append(error)


def answers(poster: Poster) -> bytes:
    server = ServerConnection()
    return b"".join(
        server.reply(one.header, {"off": 7 + one.header.seq})
        for wire in list(poster.wires.values())
        for one in server.receive_data(wire)
        if isinstance(one, RequestReceived)
    )


async def started(stream: Tight) -> Poster:
    poster = Poster(Session(stream, on_event=lambda _event: None))
    for _ in range(3):
        poster.post()
    stream.writes.clear()
    return poster


def test_what_answers_bring_about_leaves_in_one_write() -> None:
    async def main() -> None:
        stream = Tight()
        poster = await started(stream)
        stream.told(answers(poster))
        assert poster.offs == [7, 8, 9]
        assert stream.writes == [b"".join(list(poster.wires.values())[3:])]
        assert poster.settles == 1

    asyncio.run(main())


def test_a_write_that_takes_a_part_is_followed_by_the_rest() -> None:
    async def main() -> None:
        stream = Tight()
        poster = await started(stream)
        one = len(encode_frame(CHUNK.encode(seq=0)))
        stream.room = one + 5
        stream.told(answers(poster))
        # The second has begun and goes to its end; the third has not, and never will.
        poster.session.forget(list(poster.wires)[5])
        for _ in range(10):
            await asyncio.sleep(0)
        assert b"".join(stream.writes) == b"".join(list(poster.wires.values())[3:5])

    asyncio.run(main())


def test_a_line_that_breaks_in_the_joined_write_is_told() -> None:
    async def main() -> None:
        stream = Tight()
        poster = await started(stream)
        stream.broken = True
        stream.told(answers(poster))
        assert len(poster.errors) == 1
        assert poster.session.lost

    asyncio.run(main())


def test_there_is_no_rest_while_somebody_waits_for_an_answer() -> None:
    async def main() -> None:
        stream = Tight()
        poster = await started(stream)
        first, rest = answers(poster).split(b"\n", 1)
        stream.told(first + b"\n")
        assert stream.rests == [0.5]
        waiting = asyncio.create_task(poster.session.exchange(STATE, timeout_s=60))
        await asyncio.sleep(0)
        assert stream.rests == [0.5, 0.0]
        stream.told(rest)
        assert stream.rests == [0.5, 0.0]
        waiting.cancel()
        await asyncio.wait([waiting])

    asyncio.run(main())
