"""The simulator answers the recorded requests, in order, as the recorded devices did.

The recordings leave some exchanges out (the middle of long uploads, some scenarios); the replay
fills the gaps: it sends stand-in data for chunks that were not recorded, and puts a device that
was somewhere else by then into the state that the next recorded state answer shows. The verdict
of the recorded bootloader, whose key is not known, is taken from its recorded console.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cbor2
import pytest

from cryofw.simulator import (
    ControllerSpec,
    FlashTiming,
    Hang,
    MemoryStorage,
    Mode,
    Ports,
    ServerProfile,
    SimulatedController,
    SwapType,
)
from cryofw.simulator.slot_image import ImageHeader, SlotImage, parse_header, read_slot_image
from cryofw.simulator.trailer import (
    write_copy_done,
    write_image_ok,
    write_magic,
    write_swap_type,
)
from cryofw.smp import Frame, FrameDecoder, Message, MessageError, encode_frame, split_packet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

ROOT = Path(__file__).parents[3]
COMPACT = ROOT / "tests" / "vectors" / "smp_exchanges.jsonl"
FULL = (
    Path(os.environ.get("CRYOFW_VECTORS", ROOT.parent / "shared" / "vectors"))
    / "smp-recordings.jsonl"
)
TABLES = [path for path in (COMPACT, FULL) if path.exists()]

DIFFERENCES = {
    "stat read smp_svr_stats": "ticks count seconds since boot; the pauses are not recorded",
}
"""Exchanges, by name, in which the simulator differs on purpose, and why."""

ALLOWED_SHARE = 0.05

QEMU = ServerProfile(
    cryo_group=False,
    stats={
        "flash_sim_stats": ("ops",),
        "flash_sim_thresholds": ("max",),
        "smp_svr_stats": ("ticks",),
    },
    tasks={3: 128, -1: 2, 14: 2, 15: 0, 0: 16},
)
BOOTED_S = 3.0


# -- the recordings


@dataclass(frozen=True)
class Step:
    """One exchange, or one event with what the console printed."""

    id: int
    recording: str
    scenario: str
    name: str
    request: bytes = b""
    response: bytes = b""
    console: tuple[str, ...] | None = None

    @property
    def message(self) -> Message | None:
        """The first message of the request, if its frame is whole."""
        messages = read_messages(self.request)
        return messages[0] if messages else None

    @property
    def answers(self) -> list[Any]:
        return [describe(message) for message in read_messages(self.response)]

    @property
    def answer(self) -> Mapping[str, Any]:
        messages = read_messages(self.response)
        return dict(messages[0].body) if messages else {}


def read_steps(path: Path) -> list[Step]:
    steps = []
    for line in path.read_text().splitlines()[1:]:
        fields = json.loads(line)
        full = isinstance(fields.get("request"), dict)
        request = fields["request"]["wire_hex"] if full else fields.get("request", "")
        response = fields.get("response_wire_hex" if full else "response") or ""
        console = fields.get("console") or ()
        steps.append(
            Step(
                id=fields["id"],
                recording=fields["recording"],
                scenario=fields.get("scenario") or "",
                name=fields.get("event") or fields["name"],
                request=bytes.fromhex(request),
                response=bytes.fromhex(response),
                console=tuple(console) if "event" in fields else None,
            )
        )
    return steps


def read_messages(wire: bytes) -> list[Message]:
    messages: list[Message] = []
    for event in FrameDecoder().feed(wire):
        if isinstance(event, Frame):
            try:
                messages += split_packet(event.message)
            except MessageError:
                continue
    return messages


def describe(message: Message) -> Any:
    header = message.header
    names = (header.op, header.version, header.flags, header.group, header.seq, header.command)
    return names, message.body


def body_of(step: Step) -> Mapping[str, Any]:
    message = step.message
    try:
        return dict(message.body) if message else {}
    except MessageError:
        return {}


def is_command(step: Step, group: int, command: int, op: int) -> bool:
    message = step.message
    return message is not None and (
        (message.header.group, message.header.command, message.header.op) == (group, command, op)
    )


def is_upload(step: Step) -> bool:
    return is_command(step, 1, 1, 2)


def is_state_answer(step: Step) -> bool:
    return "images" in (step.answer if step.response else {})


def is_state_read(step: Step) -> bool:
    return is_state_answer(step) and is_command(step, 1, 0, 0)


# -- images of which parts were recorded


class Library:
    """What is known of each image: data by header and length, hashes by version."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._data: dict[tuple[bytes, int], bytearray] = {}
        self._known: dict[tuple[bytes, int], int] = {}
        self._hashes: dict[str, bytes] = {}
        self._shas: dict[bytes, bytes] = {}
        key: tuple[bytes, int] | None = None
        for step in steps:
            if is_state_answer(step):
                for image in step.answer["images"]:
                    self._hashes[image["version"]] = image["hash"]
            if not is_upload(step):
                continue
            body = body_of(step)
            data, offset = body.get("data"), body.get("off")
            if not isinstance(data, bytes) or not isinstance(offset, int):
                continue
            if offset == 0 and isinstance(body.get("len"), int) and len(data) >= 32:
                key = (data[:32], body["len"])
            if key is None or offset < 0 or offset + len(data) > key[1]:
                continue
            if offset and abs(step.answer.get("off", 0) - offset - len(data)) > 3:
                continue  # refused; a chunk may be cut to the flash alignment
            image = self._data.setdefault(key, bytearray(key[1]))
            image[offset : offset + len(data)] = data
            self._known[key] = self._known.get(key, 0) + len(data)
        for key in self._data:
            self._complete(key)

    def _complete(self, key: tuple[bytes, int]) -> None:
        """Put the hash where it belongs if that part was not recorded."""
        header = parse_header(key[0])
        if not isinstance(header, ImageHeader):
            return
        at = header.header_size + header.image_size
        image = self._data[key]
        if not 40 <= len(image) - at <= 0xFFFF or image[at : at + 2] == b"\x07\x69":
            return
        value = self._hashes.get(header.version_text, bytes(32))
        records = b"\x07\x69" + (len(image) - at).to_bytes(2, "little")
        records += b"\x10\x00\x20\x00" + value + b"\x01\x00\x20\x00"
        for index, byte in enumerate(records):
            image[at + index] = image[at + index] or byte

    def image(self, step: Step) -> bytes | None:
        """The whole image whose upload `step` begins, with what is known of it."""
        body = body_of(step)
        data, length = body.get("data"), body.get("len")
        if not isinstance(data, bytes) or not isinstance(length, int):
            return None
        image = self._data.get((data[:32], length))
        if image is None:
            return None
        if "corrupt" in step.name:
            image = bytearray(image)
            image[length // 2] ^= 1
        return bytes(image)

    def translate_sha(self, step: Step, image: bytes) -> tuple[bytes, bytes] | None:
        """The recorded hash of the file, and the one that the stand-in has instead."""
        body = body_of(step)
        sha = body.get("sha")
        if not isinstance(sha, bytes) or hashlib.sha256(image).digest() == sha:
            return None
        if self._known.get((body["data"][:32], body["len"]), 0) >= len(image):
            return None  # all of it was recorded, so the request's hash is wrong on purpose
        if "good sha" in step.name:
            image = bytes(self._data[body["data"][:32], body["len"]])
        return sha, self._shas.setdefault(sha, hashlib.sha256(image).digest())

    def provision(self, facts: Mapping[str, Any]) -> bytes:
        """An image with a version and a hash that a state answer shows."""
        for (start, _), image in self._data.items():
            header = parse_header(start)
            if isinstance(header, ImageHeader) and header.version_text == facts["version"]:
                storage = MemoryStorage(1 << 20)
                storage.write(0, bytes(image))
                found = read_slot_image(new_controller(storage, lambda _: True).slot(0))
                if isinstance(found, SlotImage) and found.hash == facts["hash"]:
                    return bytes(image)
        return make_image(facts["version"], facts["hash"])


def make_image(version: str, value: bytes) -> bytes:
    parts = [*map(int, version.split(".")), 0][:4]
    header = 0x96F3B83D.to_bytes(4, "little") + bytes(4) + (32).to_bytes(2, "little") + bytes(2)
    header += (256).to_bytes(4, "little") + bytes(4) + bytes(parts[:2])
    header += parts[2].to_bytes(2, "little") + parts[3].to_bytes(4, "little") + bytes(4)
    tlvs = b"\x07\x69" + (40).to_bytes(2, "little") + b"\x10\x00\x20\x00" + value
    return header + bytes(256) + tlvs


# -- the device under replay


class Timers:
    """Time that moves only when told to."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._cancelled: set[int] = set()
        self._numbers = itertools.count()

    def call_later(self, delay: float, callback: Callable[[], None], /) -> Handle:
        number = next(self._numbers)
        heapq.heappush(self._queue, (self.now_s + delay, number, callback))
        return Handle(self._cancelled, number)

    def advance(self, seconds: float) -> None:
        until_s = self.now_s + seconds
        while self._queue and self._queue[0][0] <= until_s:
            self.now_s, number, callback = heapq.heappop(self._queue)
            if number not in self._cancelled:
                callback()
        self.now_s = until_s


@dataclass
class Handle:
    cancelled: set[int]
    number: int

    def cancel(self) -> None:
        self.cancelled.add(self.number)


@dataclass
class Rig:
    controller: SimulatedController
    timers: Timers
    output: bytearray

    def slot(self, index: int) -> Any:
        return self.controller.bootloader.slot(index)


def new_controller(storage: MemoryStorage, validator: Callable[[bytes], bool]) -> Rig:
    timers, output = Timers(), bytearray()
    spec = ControllerSpec(
        "qemu",
        board="mps2_an385",
        profile=QEMU,
        paced=False,
        timing=FlashTiming(0.0, 0.0),
        metrics={},
    )
    ports = Ports(
        now_s=lambda: timers.now_s,
        call_later=timers.call_later,
        send=output.extend,
        validator=validator,
    )
    return Rig(SimulatedController(spec, storage, ports), timers, output)


@dataclass
class Result:
    compared: int = 0
    different: list[str] = field(default_factory=list)


class Replay:
    """Sends the steps of one table to a simulated device and compares the answers."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = steps
        self.library = Library(steps)
        self.result = Result()
        self.refused: set[bytes] = set()
        self.rig = self._fresh()
        self.upload: bytes | None = None
        self.seq = 0
        self.reset_s = 0.0

    def _fresh(self) -> Rig:
        return new_controller(MemoryStorage(1 << 20), self._is_valid)

    def _is_valid(self, data: bytes) -> bool:
        return hashlib.sha256(data).digest() not in self.refused

    def run(self) -> Result:
        previous: Step | None = None
        for index, step in enumerate(self.steps):
            if previous is None or previous.recording != step.recording:
                self.rig = self._fresh()
                self.rig.controller.power_on()
                self.rig.timers.advance(BOOTED_S)
            unrecorded = (
                previous is None
                or previous.recording != step.recording
                or previous.id + 1 != step.id
            )
            if unrecorded or (previous and previous.scenario != step.scenario):
                self._synchronize(index, unrecorded=unrecorded)
            if step.console is None:
                self._exchange(index, step)
            else:
                self._event(step)
                self._learn_behaviour(index)
            previous = step
        return self.result

    # -- putting a device where the recorded one was

    def _until_change(self, index: int) -> Iterator[Step]:
        for step in self.steps[index:]:
            if step.recording != self.steps[index].recording:
                return
            yield step
            changes = is_upload(step) or is_command(step, 1, 0, 2) or is_command(step, 1, 5, 2)
            if changes and step.answer.keys() & {"images", "off"}:
                return
            if any(
                re.search(r"Swap type: (test|perm|revert)", line) for line in step.console or ()
            ):
                return

    def _synchronize(self, index: int, *, unrecorded: bool) -> None:
        first = self.steps[index]
        if first.console is not None:
            self._synchronize_before_boot(index)
            return
        window = list(self._until_change(index))
        answers = [step.answer for step in window if is_state_read(step)]
        answers.sort(key=lambda answer: "splitStatus" not in answer)
        console = self._next_boot(index)
        if answers:
            self._enter(answers[0], console)
        elif unrecorded and (before := self._state_before(index)):
            self._enter(before, console)
        elif unrecorded and is_upload(first) and first.answer.get("rc") == 0:
            self._erase()
            self._boot()  # only serial recovery says so, and it needs nothing in the slots

    def _next_boot(self, index: int) -> Sequence[str]:
        """What the console shows at the next boot: the trailer of slot 0 is as it was before."""
        for step in self.steps[index:]:
            if step.recording != self.steps[index].recording:
                break
            if any("Primary image" in line for line in step.console or ()):
                return step.console or ()
        return ()

    def _state_before(self, index: int) -> Mapping[str, Any] | None:
        """What a state answer that follows a change says about the time before it."""
        uploaded = False
        for step in self.steps[index:]:
            if step.recording != self.steps[index].recording or step.console is not None:
                return None
            uploaded = uploaded or is_upload(step)
            if is_state_answer(step) and "splitStatus" in step.answer:
                images = [
                    image | {"pending": False, "permanent": False}
                    for image in step.answer["images"]
                    if image["slot"] == 0 or not uploaded
                ]
                return {"images": images, "splitStatus": 0}
        return None

    def _synchronize_before_boot(self, index: int) -> None:
        """The console shows both trailers as they were before; the images after are known."""
        console = self.steps[index].console or ()
        after = next((s for s in self.steps[index + 1 :] if is_state_answer(s)), None)
        if not any("Primary image" in line for line in console):
            return
        self._erase()
        swapped = any(re.search(r"Swap type: (test|perm|revert)", line) for line in console)
        if after is not None and not any("Unable to find" in line for line in console):
            for facts in after.answer["images"]:
                slot = 1 - facts["slot"] if swapped else facts["slot"]
                self._put(slot, self.library.provision(facts))
        self._write_trailers(console)

    def _write_trailers(self, console: Sequence[str]) -> None:
        for slot, title in ((0, "Primary"), (1, "Secondary")):
            line = next(line for line in console if f"{title} image" in line)
            self._write_trailer(slot, line)

    def _write_trailer(self, slot: int, line: str) -> None:
        values = dict(re.findall(r"(\w+)=(\w+)", line))
        area = self.rig.slot(slot)
        if values["image_ok"] == "0x1":
            write_image_ok(area)
        if values["copy_done"] == "0x1":
            write_copy_done(area)
        if values["swap_type"] != "0x1":
            write_swap_type(area, SwapType(int(values["swap_type"], 16)))
        if values["magic"] == "good":
            write_magic(area)

    def _enter(self, answer: Mapping[str, Any], console: Sequence[str]) -> None:
        """Bring the device into the state an answer shows, if it is not there."""
        recovery = "splitStatus" not in answer
        mode = self.rig.controller.ram.mode
        if (mode is Mode.RECOVERY) == recovery and self._state() == answer:
            return
        self._erase()
        images = answer["images"]
        if recovery:
            self._boot()
            for facts in images:
                self._upload_all(self.library.provision(facts))
            return
        for facts in images:
            self._put(facts["slot"], self.library.provision(facts))
        flags = {image["slot"]: image for image in images}
        if 1 in flags and flags[1]["pending"]:
            self.rig.controller.bootloader.set_pending(permanent=flags[1]["permanent"])
            self._start_application()
        elif not flags[0]["confirmed"]:
            self._write_trailer(0, "magic=good swap_type=0x2 copy_done=0x1 image_ok=0x3")
            self._start_application()
        else:
            for line in console:
                if "Primary image" in line and "image_ok=0x1" in line:
                    self._write_trailer(0, line)
            self._boot()

    def _start_application(self) -> None:
        """Boot with an empty trailer, then put the trailers back: no swap may happen."""
        slots = [self.rig.slot(slot) for slot in (0, 1)]
        tails = [area.read(area.size - 4096, 4096) for area in slots]
        for area in slots:
            area.erase(area.size - 4096)
        self._boot()
        for area, tail in zip(slots, tails, strict=True):
            area.program(area.size - 4096, tail)

    def _boot(self) -> None:
        self.rig.controller.power_cycle(0.0)
        self.rig.timers.advance(BOOTED_S)

    def _erase(self) -> None:
        self.rig.controller.power_off()
        for slot in (0, 1):
            self.rig.slot(slot).erase()

    def _put(self, slot: int, image: bytes) -> None:
        self.rig.slot(slot).program(0, image + b"\xff" * (-len(image) % 4))

    def _state(self) -> Mapping[str, Any]:
        messages = read_messages(self._ask(0, 1, 0, {}))
        return dict(messages[0].body) if messages else {}

    # -- exchanges and events

    def _ask(self, op: int, group: int, command: int, body: Mapping[str, Any]) -> bytes:
        payload = cbor2.dumps(body)
        header = bytes([op | 8, 0]) + len(payload).to_bytes(2, "big") + group.to_bytes(2, "big")
        return self._send(encode_frame(header + bytes([0, command]) + payload))

    def _send(self, wire: bytes) -> bytes:
        self.rig.output.clear()
        self.rig.controller.receive(wire)
        return bytes(self.rig.output)

    def _upload_all(self, image: bytes) -> None:
        offset = 0
        while offset < len(image):
            body: dict[str, Any] = {"off": offset, "data": image[offset : offset + 128]}
            if offset == 0:
                body["len"] = len(image)
            answer = read_messages(self._ask(2, 1, 1, body))[0].body
            assert isinstance(answer["off"], int)
            assert answer["off"] > offset
            offset = answer["off"]

    def _fill(self, until: int) -> None:
        """Send the chunks of the present upload that were not recorded."""
        assert self.upload is not None
        state = self.rig.controller.ram
        progress = state.recovery if state.mode is Mode.RECOVERY else state.upload
        while progress.offset < until:
            offset = progress.offset
            data = self.upload[offset : min(until, offset + 128)]
            self._ask(2, 1, 1, {"off": offset, "data": data})
            progress = state.recovery if state.mode is Mode.RECOVERY else state.upload
            if progress.offset <= offset:
                return  # refused: the comparison will show it

    def _exchange(self, index: int, step: Step) -> None:
        self._pass_time(step)
        wire = step.request
        seq = step.message.header.seq if step.message else self.seq
        if is_upload(step):
            body = body_of(step)
            image = self.library.image(step) if body.get("off") == 0 else None
            if image is not None:
                self.upload = image
                translated = self.library.translate_sha(step, image)
                if translated:
                    message = step.message
                    assert message is not None
                    wire = encode_frame(message.encode().replace(*translated))
            unrecorded = seq > self.seq + 1 and isinstance(body.get("off"), int)
            if unrecorded and body["off"] > 0 and self.upload is not None:
                self._fill(body["off"])
        self.seq = seq
        if is_command(step, 0, 5, 2) and step.response:
            self.reset_s = self.rig.timers.now_s
            self._learn_verdict(index)
        self.result.compared += 1
        got = [describe(message) for message in read_messages(self._send(wire))]
        if got != step.answers:
            self.result.different.append(f"{step.recording} {step.id} {step.name}")

    def _learn_verdict(self, index: int) -> None:
        """What the recorded bootloader says at the coming boot about the image in slot 1."""
        following = self.steps[index + 1] if index + 1 < len(self.steps) else None
        if following is None or following.console is None:
            return
        if any("secondary slot is not valid" in line for line in following.console):
            found = self.rig.controller.board.image(1)
            if isinstance(found, SlotImage):
                data = self.rig.slot(1).read(0, found.size)
                self.refused.add(hashlib.sha256(data).digest())

    def _learn_behaviour(self, index: int) -> None:
        """A recorded firmware that says nothing after its boot hangs."""
        following = self.steps[index + 1] if index + 1 < len(self.steps) else None
        if following is None or following.console is not None or following.message is None:
            return
        if not following.response:
            self.rig.controller.inject(Hang(watchdog=False))

    def _pass_time(self, step: Step) -> None:
        after = re.search(r"([\d.]+) s after the reset", step.name)
        later = re.search(r"(\d+) s later", step.name)
        if after:
            due_s = self.reset_s + float(after.group(1))
            self.rig.timers.advance(max(0.0, due_s - self.rig.timers.now_s))
        else:
            self.rig.timers.advance(float(later.group(1)) if later else 0.005)

    def _event(self, step: Step) -> None:
        if "during" in step.name:
            return  # printed while the exchanges before it went on
        self.result.compared += 1
        if not self.rig.controller.ram.timers:
            self.rig.controller.power_cycle(0.0)
        self.rig.output.clear()
        self.rig.timers.advance(BOOTED_S)
        printed = self.rig.output.decode().splitlines()
        wanted = [
            line
            for line in step.console or ()
            if re.match(r"I: (Primary|Secondary) image|I: Boot source|I: Image index.*type", line)
        ]
        if [line for line in wanted if line not in printed]:
            self.result.different.append(f"{step.recording} {step.id} {step.name}")


@pytest.mark.parametrize("path", TABLES, ids=[path.parent.parent.name for path in TABLES])
def test_answers_as_recorded(path: Path) -> None:
    result = Replay(read_steps(path)).run()

    assert result.compared > 400
    unexplained = [one for one in result.different if one.split(" ", 2)[2] not in DIFFERENCES]
    assert unexplained == []
    assert len(result.different) <= ALLOWED_SHARE * result.compared


def test_the_table_of_differences_is_not_longer_than_needed() -> None:
    result = Replay(read_steps(COMPACT)).run()

    assert {one.split(" ", 2)[2] for one in result.different} == set(DIFFERENCES)
