"""The last resort: an image for a device without a running application, through its bootloader.

MCUboot's serial recovery overwrites the running slot without a test and without a way back, so it
is used only where no application answers, also after resets. It keeps no hash of what is uploaded
and resumes nothing: byte 0 begins anew, any other byte is the one that it asks for. Writes are cut
to the alignment of the flash, and it has one buffer. Source: MCUboot boot/boot_serial.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.device.errors import (
    DeviceSilent,
    DeviceUnreachable,
    ImageNotRunning,
    InRecovery,
    NotReady,
    RequestFailed,
    UploadRejected,
)
from cryofw.device.examination import CAUTIOUS_BUFFERS
from cryofw.device.observation import Mode
from cryofw.device.rejection import unsupported
from cryofw.smp import MessageError, messages
from cryofw.smp.upload import UploadPlan

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryofw.clock import Clock
    from cryofw.device.boot import BootWatcher
    from cryofw.device.examination import Examiner
    from cryofw.device.link import Link
    from cryofw.device.observation import Observation
    from cryofw.device.power import PowerHook
    from cryofw.device.target import Target
    from cryofw.device.watch import Watch
    from cryofw.errors import CryofwError

    Progress = Callable[[int, int], None]

ALIGNMENT = 32
"""Bytes of which a chunk is a multiple: the widest flash writes that MCUboot knows."""

_USUAL_BUFFERS = messages.ServerParameters(buf_size=1024, buf_count=1)
_CATCH_S = 60.0
_KNOCK_S = 0.2
_MOST_STARTS = 4
_BEATS = 3


@dataclass(frozen=True)
class RecoveryReport:
    """How a device came back.

    Attributes:
        observation: read back at the end: the image runs, confirmed.
        sent_bytes: image bytes that it answered for, repeated ones included.
        starts: times that the upload began at byte 0.
        beats: heartbeats that followed, all of the image in one boot.
        duration_s: seconds that the upload took.
    """

    observation: Observation
    sent_bytes: int
    starts: int
    beats: int
    duration_s: float


class SerialRecovery:
    """Brings one device back through its bootloader; made for one attempt."""

    def __init__(
        self,
        target: Target,
        link: Link,
        examiner: Examiner,
        boot: BootWatcher,
        watch: Watch,
        clock: Clock,
        power: PowerHook | None,
    ) -> None:
        self._target = target
        self._link = link
        self._examiner = examiner
        self._boot = boot
        self._watch = watch
        self._clock = clock
        self._power = power
        self._sent = 0

    async def prove_absence(self) -> None:
        """Prove that no application runs, and that serial recovery answers now.

        A device in recovery is reset out of it as often as `boot.MOST_ESCAPES`, and each time
        comes back into it. A silent one is met in the moment after a reset in which its
        bootloader listens: by the power hook, its watchdog, or somebody who cycles its power.

        Raises:
            NotReady: an application answers.
            DeviceSilent: recovery was not met within a minute.
            DeviceUnreachable: the port cannot be opened.
        """
        try:
            await self._boot.application()
        except InRecovery:
            return
        except DeviceSilent:
            await self._catch()
            return
        raise NotReady(
            f"{self._target.name} needs no recovery: its application answers",
            why="serial recovery overwrites what runs, without a test and without a way back",
            hint="bring another image with `cryofw deploy`, or take a rollout back",
        )

    async def _catch(self) -> None:
        """Knock until the bootloader opens; whatever answers is asked who it is."""
        if self._power is not None:
            await self._power.cycle(self._target.name)
        self._link.end_quiet()
        deadline = self._clock.monotonic() + _CATCH_S
        while self._clock.monotonic() < deadline:
            try:
                await self._link.request(messages.echo("r"), timeout_s=_KNOCK_S, attempts=1)
                seen = await self._examiner.observe()
            except (DeviceSilent, DeviceUnreachable, MessageError):
                await self._clock.sleep(_KNOCK_S)
                continue
            if seen.mode is Mode.RECOVERY:
                return
            raise NotReady(
                f"{self._target.name} needs no recovery: its application answers again",
                why="it did not before its power was cycled",
                hint=f"look at it with `cryofw inventory --read {self._target.name}`",
            )
        raise DeviceSilent(
            f"the bootloader of {self._target.name} was not met",
            why=f"no answer in the {_CATCH_S:g} s after its silence",
            hint="cycle its power while this command waits, or hold the pin that asks its "
            "bootloader for serial recovery; was it built with one?",
        )

    async def upload(
        self, data: bytes, image_hash: str, on_progress: Progress | None = None
    ) -> RecoveryReport:
        """Write `data` into the running slot, boot it, and see it live.

        Args:
            data: a plain image, the whole file.
            image_hash: its hash in hex.
            on_progress: called with (bytes the device has, bytes in all).

        Raises:
            UploadRejected: it does not take the image, or finds it not valid.
            ImageNotRunning: another image runs afterwards.
            WrongDevice: what runs then is not the device that fleet.yaml names.
            DeviceSilent, DeviceUnreachable, InRecovery: it does not come up, or was lost.
        """
        started = self._clock.monotonic()
        starts = await self._send_all(data, on_progress)
        duration_s = self._clock.monotonic() - started
        before = await self._require_valid(image_hash)
        await self._boot.reset()
        seen = await self._boot.wait_for_boot(before)
        await self._examiner.identify()
        if seen.active_hash != image_hash or not seen.settled:
            raise ImageNotRunning(
                f"{self._target.name} does not run the image that it was given",
                why=f"{seen.active_hash or 'nothing known'} runs",
                hint=f"look at it with `cryofw inventory --read {self._target.name}`",
            )
        beats = await self._heartbeats(image_hash, seen)
        return RecoveryReport(seen, self._sent, starts, beats, duration_s)

    async def _send_all(self, data: bytes, on_progress: Progress | None) -> int:
        buffers = await self._buffers()
        failure: CryofwError | None = None
        for start in range(1, _MOST_STARTS + 1):
            plan = UploadPlan.of(data, max_packet=buffers.max_packet, alignment=ALIGNMENT)
            try:
                if await self._send_from_0(plan, on_progress):
                    return start
            except DeviceSilent as error:
                failure = error
                if not self._sent:
                    buffers = CAUTIOUS_BUFFERS  # a packet that is too large is dropped unanswered
            await self._look()
        raise failure or UploadRejected(
            f"{self._target.name} loses the upload again and again",
            why=f"it began anew {_MOST_STARTS} times",
            hint="does it lose power during flash writes?",
        )

    async def _look(self) -> None:
        """A reset may have come in between: the bootloader, or nobody, has to answer."""
        try:
            seen = await self._examiner.observe()
        except DeviceSilent:
            await self._catch()
            return
        if seen.mode is not Mode.RECOVERY:
            raise NotReady(
                f"an application answers on {self._target.name} in the middle of its recovery",
                why="somebody else is at work on it, or the port leads to another device",
                hint=f"look at it with `cryofw inventory --read {self._target.name}`",
            )

    async def _buffers(self) -> messages.ServerParameters:
        answer = await self._link.request(messages.read_parameters())
        if unsupported(answer.error) or answer.error is not None:
            return _USUAL_BUFFERS
        return messages.ServerParameters.from_body(answer.body)

    async def _send_from_0(self, plan: UploadPlan, on_progress: Progress | None) -> bool:
        """Send from byte 0 whatever it asks for; False if it asks for byte 0 again."""
        off, stalls = 0, 0
        while True:
            timeout_s = self._target.timeouts.erase_s if off == 0 else None
            try:
                body = await self._link.ask(
                    plan.chunk_at(off),
                    "take the image",
                    attempts=1 if off == 0 else None,
                    timeout_s=timeout_s,
                )
            except RequestFailed as error:
                raise UploadRejected(
                    error.what, why=f"at byte {off} of {plan.size}: {error.why}", hint=error.hint
                ) from error
            wanted = messages.UploadAnswer.from_body(body).off
            self._sent += max(0, wanted - off)
            if on_progress is not None:
                on_progress(wanted, plan.size)
            if wanted >= plan.size:
                return True
            if wanted == 0:
                return False
            stalls = 0 if wanted > off else stalls + 1
            if stalls > _MOST_STARTS:
                raise UploadRejected(
                    f"{self._target.name} does not take the image",
                    why=f"it asks for byte {wanted} again and again",
                    hint="its flash may be faulty",
                )
            off = wanted

    async def _require_valid(self, image_hash: str) -> Observation:
        """The bootloader lists only images that it would start, where it can."""
        seen = await self._examiner.observe()
        active = next((slot for slot in seen.slots if slot.slot == 0), None)
        if active is None or active.hash not in ("", image_hash):
            raise UploadRejected(
                f"the bootloader of {self._target.name} would not start what it was given",
                why=f"it lists {active.hash if active else 'no valid image'} in the running slot",
                hint="is it for this board, signed with its bootloader's key, and is its security "
                "counter high enough? Give another with --image FILE",
            )
        return seen

    async def _heartbeats(self, image_hash: str, boot: Observation) -> int:
        for _ in range(_BEATS):
            await self._clock.sleep(self._target.timeouts.request_s)
            beat = await self._watch.heartbeat()
            if beat.active_hash != image_hash or beat.boot_id != boot.boot_id:
                raise ImageNotRunning(
                    f"{self._target.name} does not stay in the image that it was given",
                    why=f"its heartbeat names {beat.active_hash or 'nothing'} in another boot",
                    hint="does it boot again and again? Read its log lines",
                )
        return _BEATS
