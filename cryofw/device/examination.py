"""Reading a device without changing it: mode, slots, boot, identity, buffers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.device.errors import ConnectionChanged, DeviceSilent, InRecovery, WrongDevice
from cryofw.device.identity import Identity, require_target
from cryofw.device.observation import Mode, Observation, SlotState
from cryofw.device.rejection import rejection, unsupported
from cryofw.smp import messages

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from cryofw.device.link import Link
    from cryofw.device.target import Target
    from cryofw.smp import Request, Response
    from cryofw.smp.messages import Heartbeat, ImageState

# A boot between the two halves of an observation shows as a contradiction; one more look ends it.
_LOOKS = 3

# Without an answer to the parameters: below Zephyr's smallest usual buffer (384 bytes).
CAUTIOUS_BUFFERS = messages.ServerParameters(buf_size=256, buf_count=1)


@dataclass(frozen=True)
class Bootloader:
    """What the application knows of its bootloader.

    Attributes:
        mode: an `smp.messages.BootloaderMode` or another integer; None if not told.
        no_downgrade: it refuses lower versions; None if not told.
    """

    mode: int | None
    no_downgrade: bool | None


class Examiner:
    """Asks one device about itself."""

    def __init__(self, target: Target, link: Link) -> None:
        self._target = target
        self._link = link
        self._proven: Identity | None = None
        self._proven_on = 0
        self._cleared_on = 0
        self._beats_lost = False
        self._observed_on = 0
        self._on_proven: Callable[[int], Awaitable[None]] = _nothing_to_do

    def on_proven(self, act: Callable[[int], Awaitable[None]]) -> None:
        """Let `act` follow each proof of the device on a new connection, whose number it gets."""
        self._on_proven = act

    async def observe(self, *, attempts: int | None = None) -> Observation:
        """Read mode, slots and boot, all of one boot.

        Without an answer to its heartbeat the boot is not known, as without group 64.

        Raises:
            DeviceSilent, DeviceUnreachable: no answer.
            RequestFailed: the device refuses to tell its image state.
            MessageError: an answer that cannot be read.
        """
        contradiction = ""
        for _ in range(_LOOKS):
            await self._link.open()
            self._observed_on = self._link.connection
            beat, state = await self._beat_and_state(attempts)
            seen = Observation(
                mode=await self._mode(beat, state, attempts),
                slots=tuple(SlotState.of(slot) for slot in state.slots),
                boot_id=beat.boot_id if beat else None,
                up_ms=beat.up_ms if beat else None,
                reset_cause=beat.reset_cause if beat else None,
            )
            if self._link.connection != self._observed_on:
                contradiction = "its line broke while it was looked at"
                continue
            if beat is None or not beat.image_hash or beat.image_hash.hex() == seen.active_hash:
                return seen
            contradiction = (
                f"its heartbeat names image {beat.image_hash.hex()}, "
                f"its slots say that {seen.active_hash} runs"
            )
        raise DeviceSilent(
            f"{self._target.name} contradicts itself",
            why=contradiction,
            hint="the firmware's group 64 is wrong, or the device boots again and again.",
        )

    async def observe_itself(self, *, attempts: int | None = None) -> Observation:
        """As `observe`, and prove on the same line that it was the target.

        What was read on a line before somebody moved its cable says nothing about the device.
        Serial recovery tells nobody who it is: there is no proof of its observation.

        Raises:
            As `observe` and `identify`.
        """
        for _ in range(_LOOKS):
            seen = await self.observe(attempts=attempts)
            if seen.mode is Mode.RECOVERY or await self.require_same_device() == self._observed_on:
                return seen
        raise DeviceSilent(
            f"{self._target.name} cannot be looked at",
            why="its line breaks again and again",
            hint="is its cable loose?",
        )

    async def identify(self) -> Identity:
        """Ask who it is, and refuse it when it is not the target.

        Raises:
            WrongDevice: what fleet.yaml pins does not answer, or the device on this port is
                another one than before.
            InRecovery: nobody can tell: serial recovery answers.
            DeviceSilent, DeviceUnreachable: no answer.
        """
        await self._link.open()
        connection = self._link.connection
        answer = await self._link.request(messages.read_identity())
        if unsupported(answer.error):
            identity = Identity(hw="", board=await self._board(), serial_number="", watchdog=None)
        else:
            self._require_ok(answer, "tell its identity")
            told = messages.ControllerIdentity.from_body(answer.body)
            identity = Identity(
                told.hardware_id.hex(), told.board, told.serial_number, told.watchdog
            )
        require_target(identity, self._target)
        if self._proven is not None and (identity.hw, identity.board) != (
            self._proven.hw,
            self._proven.board,
        ):
            raise WrongDevice(
                f"{self._target.port} leads to another device than before",
                why=f"was {self._proven}, is {identity}",
                hint="somebody has moved a cable during the rollout: put it back.",
            )
        # If the line broke meanwhile this is an old connection, and nothing will be sent on it.
        self._proven, self._proven_on = identity, connection
        return identity

    async def require_same_device(self) -> int:
        """Identify the device again if the port was opened anew; return the proven connection.

        Raises:
            As `identify`.
        """
        for _ in range(self._target.retries.count + 1):
            await self._link.open()
            if self._cleared_on == self._link.connection:
                break
            if self._proven is None or self._proven_on != self._link.connection:
                await self.identify()
            try:
                await self._on_proven(self._proven_on)
            except ConnectionChanged:
                continue
            self._cleared_on = self._proven_on
        return self._cleared_on

    async def command(
        self,
        request: Request,
        doing: str,
        *,
        attempts: int | None = None,
        timeout_s: float | None = None,
        alone: bool = False,
    ) -> Mapping[str, object]:
        """Ask the right device, and no other, to change; arguments and result as `Link.ask`.

        When the line breaks in between, the device is identified again before anything goes to it.

        Raises:
            RequestFailed: it refused.
            As `identify`.
        """
        tries = self._target.retries.count + 1
        while True:
            tries -= 1
            connection = await self.require_same_device()
            try:
                return await self._link.ask(
                    request,
                    doing,
                    attempts=attempts,
                    timeout_s=timeout_s,
                    connection=connection,
                    alone=alone,
                )
            except ConnectionChanged:
                if not tries:
                    raise

    async def buffers(self) -> messages.ServerParameters:
        """Return the device's buffers; `CAUTIOUS_BUFFERS` if it does not tell."""
        answer = await self._link.request(messages.read_parameters())
        if unsupported(answer.error):
            return CAUTIOUS_BUFFERS
        self._require_ok(answer, "tell its buffers")
        return messages.ServerParameters.from_body(answer.body)

    async def slots(self) -> tuple[messages.SlotInfo, ...]:
        """Return the sizes of the slots; empty if the device does not tell."""
        answer = await self._link.request(messages.read_slot_info())
        if answer.error is not None:
            return ()
        return messages.SlotInfo.list_from_body(answer.body)

    async def bootloader(self) -> Bootloader:
        """Return what the device knows of its bootloader."""
        answer = await self._link.request(messages.read_bootloader_info("mode"))
        if answer.error is not None:
            return Bootloader(mode=None, no_downgrade=None)
        info = messages.BootloaderInfo.from_body(answer.body)
        return Bootloader(mode=info.mode, no_downgrade=info.no_downgrade)

    async def _beat_and_state(self, attempts: int | None) -> tuple[Heartbeat | None, ImageState]:
        """Read both; a device that only its heartbeat is lost of still tells its slots."""
        try:
            beat = await self._heartbeat(1 if self._beats_lost else attempts)
        except DeviceSilent:
            state = await self._image_state(attempts)
            if self._beats_lost:
                return None, state
            # It is there: what was lost is worth all the attempts, for it carries the boot id.
            try:
                beat = await self._heartbeat(None)
            except DeviceSilent:
                self._beats_lost = True
                return None, state
        self._beats_lost = False
        return beat, await self._image_state(attempts)

    async def _heartbeat(self, attempts: int | None) -> Heartbeat | None:
        answer = await self._link.request(messages.read_heartbeat(), attempts=attempts)
        if unsupported(answer.error):
            return None
        self._require_ok(answer, "send a heartbeat")
        return messages.Heartbeat.from_body(answer.body)

    async def _image_state(self, attempts: int | None) -> ImageState:
        body = await self._link.ask(
            messages.read_image_state(), "tell its image state", attempts=attempts
        )
        return messages.ImageState.from_body(body)

    async def _mode(self, beat: Heartbeat | None, state: ImageState, attempts: int | None) -> Mode:
        """Prove the application: by group 64, by `splitStatus`, or by what only it can tell.

        Echo and parameters prove nothing: MCUboot's serial recovery may answer both.
        """
        if beat is not None or state.split_status is not None:
            return Mode.APPLICATION
        questions: tuple[Request, ...] = (
            messages.read_bootloader_info(),
            messages.read_app_info("s"),
        )
        for question in questions:
            answer = await self._link.request(question, attempts=attempts)
            if not unsupported(answer.error):
                return Mode.APPLICATION
        return Mode.RECOVERY

    async def _board(self) -> str:
        answer = await self._link.request(messages.read_app_info("i"))
        if answer.error is None:
            return messages.AppInfo.from_body(answer.body).output.strip()
        require_application(await self.observe(), self._target.name)
        return ""

    def _require_ok(self, answer: Response, doing: str) -> None:
        if answer.error is not None:
            raise rejection(self._target.name, doing, answer.error)


async def _nothing_to_do(_connection: int) -> None:
    """Follow a proof with nothing."""


def require_application(seen: Observation, device: str) -> None:
    """Refuse a device whose bootloader answers.

    Raises:
        InRecovery: it is in serial recovery.
    """
    if seen.mode is Mode.RECOVERY:
        raise InRecovery(
            f"{device} is in the bootloader's serial recovery",
            why="an upload would overwrite the running slot, without a way back",
            hint="A reset frees it. If it comes back into recovery, it has no bootable image.",
        )
