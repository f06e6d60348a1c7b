"""Bringing an image into the other slot: in one go, or in as many as the line allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.device.errors import (
    DeviceSilent,
    DeviceUnreachable,
    InRecovery,
    NotReady,
    RequestFailed,
    UploadRejected,
)
from cryofw.device.transfer import Transfer
from cryofw.errors import CryofwError
from cryofw.smp import Framing, PlaceLost, UploadFlow, UploadPlan, UploadStalled, messages

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryofw.clock import Clock
    from cryofw.device.boot import BootWatcher
    from cryofw.device.examination import Examiner
    from cryofw.device.link import Link
    from cryofw.device.observation import Observation
    from cryofw.device.target import Target

    Progress = Callable[[int, int], None]


MOST_UNDER_WAY = 32


@dataclass(frozen=True)
class UploadReport:
    """How an upload went.

    Attributes:
        size: bytes of the image.
        bytes_sent: image bytes that the device has answered for, repeated ones included.
        resumed_at: offset at which the device let an interrupted upload go on; None: it never did.
        restarts: times the upload was taken up again after a lost line or a reset.
        retries: requests sent again and ports opened again.
        skipped: nothing was sent, the slot holds the image already.
        checked: the device compared its flash with the file and found it equal; None: it cannot.
        duration_s: seconds it took.
    """

    size: int
    bytes_sent: int
    resumed_at: int | None
    restarts: int
    retries: int
    skipped: bool
    checked: bool | None
    duration_s: float


class Upload:
    """One image on its way to one device; made for one call of `run`."""

    def __init__(
        self,
        target: Target,
        link: Link,
        examiner: Examiner,
        boot: BootWatcher,
        clock: Clock,
        data: bytes,
        image_hash: str,
        on_progress: Progress | None,
    ) -> None:
        self._target = target
        self._link = link
        self._examiner = examiner
        self._boot = boot
        self._clock = clock
        self._data = data
        self._hash = image_hash
        self._on_progress = on_progress
        self._sent = 0
        self._reached = 0
        self._resumed_at: int | None = None
        self._restarts = 0

    async def run(self) -> UploadReport:
        """Upload, unless the slot holds the image already; read the state back.

        Raises:
            NotReady: the device is not settled, or runs this image.
            InRecovery: serial recovery answers and does not go away.
            UploadRejected: the device refuses the image, or holds something else afterwards.
            WrongDevice: another device answers (after a reconnection).
            DeviceSilent, DeviceUnreachable: after the target's retries without progress.
            MessageError: the device's buffers are too small, or an answer is not readable.
        """
        if bytes.fromhex(self._hash) not in self._data:
            raise UploadRejected(
                "the image is not the one that was named",
                why=f"the file does not carry the hash {self._hash}",
                hint="plan the rollout again with this file.",
            )
        started, before = self._clock.monotonic(), self._link.counts.retries
        seen = await self._ready()
        skipped = seen.slot_holding(self._hash) is not None
        checked = None if skipped else await self._until_done()
        return UploadReport(
            size=len(self._data),
            bytes_sent=self._sent,
            resumed_at=self._resumed_at,
            restarts=self._restarts,
            retries=self._link.counts.retries - before,
            skipped=skipped,
            checked=checked,
            duration_s=self._clock.monotonic() - started,
        )

    async def _until_done(self) -> bool | None:
        buffers = await self._examiner.buffers()
        raw = self._link.line.framing is Framing.RAW
        # A raw message shares its buffer with no length and no CRC.
        max_packet = buffers.buf_size if raw else buffers.max_packet
        plan = UploadPlan.of(self._data, max_packet=max_packet)
        flow = UploadFlow(plan, most=self._most_under_way(buffers))
        fruitless = 0
        while True:
            reached = self._reached
            try:
                await self._send_all(flow)
                break
            except (DeviceSilent, DeviceUnreachable, InRecovery, PlaceLost) as error:
                fruitless = 0 if self._reached > reached else fruitless + 1
                if fruitless > self._target.retries.count:
                    raise self._gave_up(error) from error
            self._restarts += 1
            # In recovery the first packet would overwrite slot 0: prove the application again.
            await self._ready()
        await self._verify(flow.match)
        return flow.match

    def _most_under_way(self, buffers: messages.ServerParameters) -> int:
        """How many packets to try at most; what the device really bears, the flow finds out.

        Its buffers bound what lies in the device, where requests and answers share them. What a
        gateway or a radio holds on the way comes on top. On a raw line one packet goes at a time:
        after a lost byte the next packet would be taken for the rest of the damaged one.
        """
        if buffers.buf_count <= 1 or self._link.line.framing is Framing.RAW:
            return 1
        on_the_way = self._link.transit_s / self._link.wire_s(buffers.max_packet)
        return min(buffers.buf_count + int(on_the_way), MOST_UNDER_WAY)

    async def _send_all(self, flow: UploadFlow) -> None:
        """Send from wherever the device wants."""
        first = await self._send_first(flow.plan)
        end = flow.plan.end_of_chunk(0)
        if first.off > end:
            self._resumed_at = first.off
        self._sent += end
        flow.begin(first.off, first.match)
        self._note_progress(flow)
        transfer = Transfer(
            self._target, self._link, self._clock, flow, lambda: self._note_progress(flow)
        )
        connection = await self._examiner.require_same_device()
        try:
            await transfer.run(connection)
        except RequestFailed as error:
            raise self._refused(error, flow.off, flow.plan) from error
        except UploadStalled as error:
            raise UploadRejected(
                f"{self._target.name} does not take the image",
                why=error.why,
                hint="read its log lines; its flash may be faulty.",
            ) from error
        finally:
            self._sent += transfer.bytes_answered

    async def _send_first(self, plan: UploadPlan) -> messages.UploadAnswer:
        """Send the packet that begins or resumes an upload: alone, and while the device erases.

        It is never repeated unseen: the next one could meet the bootloader.
        """
        try:
            body = await self._examiner.command(
                plan.chunk_at(0),
                "take the image",
                attempts=1,
                timeout_s=self._target.timeouts.erase_s,
                alone=True,
            )
        except RequestFailed as error:
            raise self._refused(error, 0, plan) from error
        return messages.UploadAnswer.from_body(body)

    def _refused(self, error: RequestFailed, off: int, plan: UploadPlan) -> UploadRejected:
        return UploadRejected(
            error.what, why=f"at byte {off} of {plan.size}: {error.why}", hint=error.hint
        )

    def _note_progress(self, flow: UploadFlow) -> None:
        self._reached = max(self._reached, flow.off)
        if self._on_progress is not None:
            self._on_progress(flow.off, flow.plan.size)

    async def _ready(self) -> Observation:
        """Prove that the application of the right device answers, and that it is settled."""
        seen = await self._boot.application()
        await self._examiner.require_same_device()
        require_settled(seen, self._target.name)
        if seen.active_hash == self._hash:
            raise NotReady(
                f"{self._target.name} runs this image already",
                why=f"hash {self._hash} is active and confirmed",
                hint="there is nothing to upload.",
            )
        return seen

    async def _verify(self, checked: bool | None) -> None:
        if checked is False:
            raise UploadRejected(
                f"the flash of {self._target.name} does not hold what was sent",
                why="the device compared it with the file's SHA-256 and they differ; "
                + await self._erase(),
                hint="upload again. If it happens twice, the flash or the line is faulty.",
            )
        seen = await self._boot.application()
        if seen.slot_holding(self._hash) is None:
            raise UploadRejected(
                f"{self._target.name} does not show the image that was sent",
                why=f"slot 1 should hold {self._hash}, it holds {seen.other_hash or 'nothing'}",
                hint="upload again. If it happens twice, the flash or the line is faulty.",
            )

    async def _erase(self) -> str:
        """Take the bad copy away: by its hash alone it would pass for a good one later."""
        try:
            await self._examiner.command(
                messages.erase_slot(),
                "erase slot 1",
                attempts=1,
                timeout_s=self._target.timeouts.erase_s,
            )
        except CryofwError as error:
            return f"erasing the bad copy failed too ({error})"
        return "the bad copy was erased"

    def _gave_up(self, error: CryofwError) -> CryofwError:
        if not isinstance(error, PlaceLost):
            return error
        return UploadRejected(
            f"{self._target.name} loses the upload again and again",
            why=f"it was reset {self._restarts + 1} times; the furthest byte was {self._reached}",
            hint="does it run hot, lose power, or does its watchdog bite during flash writes?",
        )


def require_settled(seen: Observation, device: str) -> None:
    """Refuse a device that is in the middle of another update.

    Raises:
        NotReady: something is pending, a test boot runs, or nothing is active.
    """
    if seen.settled:
        return
    if seen.test_boot:
        why = f"it runs image {seen.active_hash} for test, not confirmed"
    elif seen.pending:
        why = "an image is pending: the next reset swaps it in"
    else:
        why = "no slot is active"
    raise NotReady(
        f"{device} is in the middle of another update",
        why=why,
        hint="end that update first: `cryofw status` shows whose it is.",
    )
