"""The settings of a device (SMP group 3): read, put into effect, kept over resets.

A write changes the running firmware only, so whatever resets the device undoes it. Only a save
stays. Every step may be done again after an interruption: it goes on from what the device tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.device.errors import (
    BootChanged,
    ChangeNotSeen,
    ImageNotRunning,
    NoSettings,
    NotReady,
    RequestFailed,
)
from cryofw.device.rejection import rejection, unsupported
from cryofw.smp import Group, MgmtCode, SettingsCode, messages

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cryofw.device.boot import BootWatcher
    from cryofw.device.examination import Examiner
    from cryofw.device.link import Link
    from cryofw.device.observation import Observation
    from cryofw.device.target import Target
    from cryofw.smp import SmpStatus

_ABSENT = (SettingsCode.KEY_NOT_FOUND, SettingsCode.ROOT_KEY_NOT_FOUND)


class Settings:
    """The settings of one device, by name; a value is bytes, None one that it does not know."""

    def __init__(self, target: Target, link: Link, examiner: Examiner, boot: BootWatcher) -> None:
        self._target = target
        self._link = link
        self._examiner = examiner
        self._boot = boot

    async def read(self, names: Iterable[str]) -> dict[str, bytes | None]:
        """Read what the running firmware has under `names`.

        Raises:
            NoSettings: it has no settings group.
            RequestFailed: it refuses to tell one.
            DeviceSilent, DeviceUnreachable: no answer.
        """
        return {name: await self._read_one(name) for name in names}

    async def apply(
        self, values: Mapping[str, bytes], running_hash: str, boot_id: int | None = None
    ) -> None:
        """Give the running firmware `values`, let them take effect, and read them back.

        A reset undoes it.

        Args:
            values: bytes by name.
            running_hash: hash in hex of the image that must run.
            boot_id: the boot that it must be; None: any.

        Raises:
            ImageNotRunning, BootChanged: another image runs, or in another boot.
            NoSettings: the firmware has no settings group.
            RequestFailed: it refuses a value.
            ChangeNotSeen: it accepted them, but does not have them.
            DeviceSilent, DeviceUnreachable: no answer.
        """
        await self._require(running_hash, boot_id)
        found = await self.read(values)
        for name, value in values.items():
            if found[name] != value:
                request = messages.write_setting(name, value)
                await self._examiner.command(request, f"take the setting {name}")
        # Also when nothing differs: a run before this one may have died before its commit.
        await self._examiner.command(messages.commit_settings(), "apply its settings")
        await self._require(running_hash, boot_id)  # a boot meanwhile is no fault of the settings
        await self._require_values(values, "it took them, but does not have them")

    async def save(self, values: Mapping[str, bytes], running_hash: str) -> None:
        """Apply `values` and keep them over resets; proven by loading them from the storage.

        Raises:
            NotReady: the running image is not confirmed, so a reset may bring another.
            ChangeNotSeen: the storage does not have them.
            As `apply`.
        """
        seen = await self._require(running_hash, None)
        if not seen.settled:
            raise NotReady(
                f"{self._target.name} must not keep its settings now",
                why="the image that runs is not confirmed: the next reset may bring the other",
                hint="confirm it first.",
            )
        await self.apply(values, running_hash)
        await self._examiner.command(messages.save_settings(), "save its settings")
        # A save is answered with success also when the storage is full: only a load tells.
        await self._examiner.command(messages.load_settings(), "load its settings")
        await self._require_values(values, "it saved them, but its storage does not have them")

    async def restore(self, values: Mapping[str, bytes | None], running_hash: str) -> None:
        """Make `values` the saved ones again; what was None is removed from the storage.

        Raises:
            As `save`, and as `BootWatcher.reset` and `BootWatcher.wait_for_boot`.
        """
        known = {name: value for name, value in values.items() if value is not None}
        await self._require(running_hash, None)
        if known:
            await self.save(known, running_hash)
        absent = [name for name, value in values.items() if value is None]
        for name in absent:
            await self._delete(name)
        left = [name for name, value in (await self.read(absent)).items() if value is not None]
        if left:
            # The running firmware keeps what it has loaded until it boots again.
            seen = await self._require(running_hash, None)
            await self._boot.reset()
            await self._boot.wait_for_boot(seen)
            await self._require_absent(left)

    async def _delete(self, name: str) -> None:
        """Also what this firmware does not know: the storage may hold it for another one."""
        request = messages.delete_setting(name)
        try:
            await self._examiner.command(request, f"delete the setting {name}")
        except RequestFailed as error:
            if not _is_absent(error.status):
                raise

    async def _read_one(self, name: str) -> bytes | None:
        answer = await self._link.request(messages.read_setting(name))
        if unsupported(answer.error):
            raise NoSettings(
                f"{self._target.name} has no settings over SMP",
                why="its firmware was built without the settings group (3)",
                hint="build it with CONFIG_MCUMGR_GRP_SETTINGS, or let a command of the lab write "
                "its coefficients: `coefficients: {command: [...]}` in fleet.yaml.",
            )
        if _is_absent(answer.error):
            return None
        if answer.error is not None:
            raise rejection(self._target.name, f"tell the setting {name}", answer.error)
        return messages.SettingValue.from_body(answer.body).value

    async def _require(self, running_hash: str, boot_id: int | None) -> Observation:
        seen = await self._boot.application()
        await self._examiner.require_same_device()
        if seen.active_hash != running_hash:
            raise ImageNotRunning(
                f"{self._target.name} does not run the image that the settings belong to",
                why=f"{seen.active_hash} runs, expected {running_hash}",
                hint="it reverted, or its bootloader found the image not valid.",
                recovery_escapes=seen.recovery_escapes,
            )
        if boot_id is not None and seen.boot_id != boot_id:
            raise BootChanged(
                f"{self._target.name} has booted since its settings were given to it",
                why=f"boot {seen.boot_id}, expected was boot {boot_id}",
                hint="what is not saved is lost with a boot.",
            )
        return seen

    async def _require_values(self, values: Mapping[str, bytes], why: str) -> None:
        found = await self.read(values)
        wrong = [
            f"{name} is {_shown(found[name])}, wanted {value.hex()}"
            for name, value in values.items()
            if found[name] != value
        ]
        if wrong:
            raise ChangeNotSeen(
                f"{self._target.name} does not have the settings that it was given",
                why=f"{why}: {'; '.join(wrong)}",
                hint="its log lines may say why; a storage may be full or worn out.",
            )

    async def _require_absent(self, names: Iterable[str]) -> None:
        left = [name for name, value in (await self.read(names)).items() if value is not None]
        if left:
            raise ChangeNotSeen(
                f"{self._target.name} still has settings that were deleted",
                why=", ".join(left),
                hint="its log lines may say why.",
            )


def _is_absent(status: SmpStatus | None) -> bool:
    if status is None:
        return False
    if status.group == Group.SETTINGS:
        return status.rc in _ABSENT
    return status.group is None and status.rc == MgmtCode.NO_ENTRY  # SMP version 1


def _shown(value: bytes | None) -> str:
    return "not known" if value is None else value.hex()
