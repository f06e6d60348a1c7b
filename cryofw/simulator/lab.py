"""A simulated lab: controllers that outlive the process, behind `sim://` ports.

The lab's clock advances only while a process runs the lab. Everything a device knows is kept
after each change, so a command killed at any moment leaves devices that the next command finds
exactly as they were, an upload in progress included.
"""

from __future__ import annotations

import asyncio
import functools
import json
from typing import TYPE_CHECKING, Self

from cryofw.errors import BadInput
from cryofw.simulator.controller import Ports, SimulatedController
from cryofw.simulator.flash_storage import MemoryStorage
from cryofw.simulator.lab_climate import LabClimate
from cryofw.simulator.lab_file import check_delivery, create_files, read_description
from cryofw.simulator.lab_lines import LabLines
from cryofw.simulator.lab_store import (
    DiskStore,
    Kind,
    LabStore,
    MemoryStore,
)
from cryofw.simulator.physics import HeatedStage
from cryofw.simulator.ram import Mode, Ram, ResetCause
from cryofw.simulator.spec import LabSpec, ThermalSpec
from cryofw.simulator.validator import SignatureCheck
from cryofw.transport import UnknownPort

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from cryofw.image import PublicKey
    from cryofw.simulator.faults import Fault, ScheduledFault
    from cryofw.simulator.line import CallLater, Timer
    from cryofw.simulator.port import SimulatedPort
    from cryofw.simulator.spec import ControllerSpec

SCHEME = "sim://"
INSTALLED_S = 3600.0
"""A new lab has been running for an hour: its devices are long up."""


class SimulatedLab:
    """All devices of a lab; an `Opener` for `sim://NAME` while it runs.

    Made by `create`, `load` or `in_memory`; run as an async context manager, or by `start` and
    `close`.
    """

    def __init__(self, spec: LabSpec, keys: Sequence[PublicKey], store: LabStore) -> None:
        self.spec = spec
        self._store = store
        self._validator = SignatureCheck(keys)
        self._specs = {one.name: one for one in spec.controllers}
        self._controllers: dict[str, SimulatedController] = {}
        self._stages: dict[str, HeatedStage] = {}
        self._heat: dict[str, Mapping[str, float]] = {}  # as it was saved last
        self.climate = LabClimate(self.now_s, store, self._stages)
        self._loop_time: Callable[[], float] | None = None
        self._call_later: CallLater | None = None
        self._scheduled: list[Timer] = []
        self._offset_s = 0.0
        self.lines = LabLines(self.now_s, lambda: store.advance(self.now_s()))

    @classmethod
    def create(
        cls,
        directory: Path,
        spec: LabSpec,
        *,
        factory_image: bytes,
        public_keys: Sequence[PublicKey],
    ) -> Self:
        """Lay out a new lab on disk: every device has run `factory_image` for an hour, confirmed.

        `public_keys` are what the bootloaders trust. The lab is returned closed.

        Raises:
            BadInput: a bootloader with these keys would not start the image.
            Refused: there is a lab already, or the directory cannot be written.
        """
        create_files(directory, spec, factory_image, public_keys)
        return cls.load(directory)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Describe the lab that lies in `directory`; nothing runs before `start`.

        Raises:
            BadInput: there is none, or its description is damaged.
        """
        spec, keys = read_description(directory / "lab.json")
        return cls(
            spec, keys, DiskStore(directory, {one.name: one.slot_size for one in spec.controllers})
        )

    @classmethod
    def in_memory(
        cls, spec: LabSpec, *, factory_image: bytes, public_keys: Sequence[PublicKey]
    ) -> Self:
        """Make a lab that ends with the process; cheap enough for thousands of devices.

        Raises:
            BadInput: a bootloader with these keys would not start the image.
        """
        check_delivery(factory_image, spec, public_keys)
        chips: dict[int, MemoryStorage] = {}
        for size in {one.slot_size for one in spec.controllers}:
            chips[size] = MemoryStorage(2 * size)
            chips[size].write(0, factory_image)
        storages = {one.name: chips[one.slot_size].copy() for one in spec.controllers}
        return cls(spec, public_keys, MemoryStore(storages))

    # -- life

    def start(
        self,
        *,
        time: Callable[[], float] | None = None,
        call_later: CallLater | None = None,
    ) -> None:
        """Take the lab for this process and let its clock run.

        Time comes from the running event loop unless both ports are given.

        Raises:
            Refused: another process has it open, or its files cannot be used.
            BadInput: what a device knows is damaged.
        """
        if time is None or call_later is None:
            loop = asyncio.get_running_loop()
            time, call_later = loop.time, loop.call_later
        self._store.open()
        try:
            self._loop_time, self._call_later = time, call_later
            self._offset_s = (self._store.clock_s or INSTALLED_S) - time()
            for spec in self.spec.controllers:
                self._start_controller(spec, call_later)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop the clock and give the lab back; the devices keep what they know."""
        self.lines.close()
        for timer in self._scheduled:
            timer.cancel()
        self._scheduled.clear()
        for controller in self._controllers.values():
            controller.detach()
        self._controllers.clear()
        self._stages.clear()
        self._heat.clear()
        self.climate.close()
        if self._loop_time is not None:
            self._store.advance(self.now_s())
            self._loop_time = None
        self._store.close()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def now_s(self) -> float:
        """Seconds of the lab's clock; it never goes back, also not between processes."""
        assert self._loop_time is not None, "the lab is not running"
        return self._offset_s + self._loop_time()

    # -- devices

    @property
    def names(self) -> tuple[str, ...]:
        """Every device of the lab."""
        return tuple(self._specs)

    def controller(self, name: str) -> SimulatedController:
        """A running device.

        Raises:
            UnknownPort: no device has this name.
        """
        if name not in self._controllers:
            raise UnknownPort(
                f"the simulated lab has no device {name!r}",
                hint=f"it has: {', '.join(list(self._specs)[:20])}",
            )
        return self._controllers[name]

    def stage(self, cryostat: str) -> HeatedStage:
        """The temperature stage of a cryostat."""
        if cryostat not in self._stages:
            self._stages[cryostat] = self._load_stage(cryostat)
        return self._stages[cryostat]

    def measure(self, name: str) -> dict[str, float]:
        """What instruments beside a device show of it now; nothing while it does not run.

        Raises UnknownPort as `controller` does.
        """
        return self.controller(name).measure()

    def power_cycle(self, name: str, off_s: float = 1.0) -> None:
        """Do what a power hook does; raises UnknownPort as `controller` does."""
        self.controller(name).power_cycle(off_s)

    def inject(self, name: str, fault: Fault) -> None:
        """Let a fault act on a device from now on; raises UnknownPort as `controller` does."""
        self.controller(name).inject(fault)

    def schedule(self, faults: Iterable[ScheduledFault]) -> None:
        """Let faults come at their times, counted from now, while the lab runs."""
        assert self._call_later is not None, "the lab is not running"
        for one in faults:
            inject = functools.partial(self.controller(one.device).inject, one.fault)
            self._scheduled.append(self._call_later(one.at_s, inject))

    # -- lines

    async def open(self, url: str, *, baud: int) -> SimulatedPort:
        """Open `sim://NAME`; `baud` decides how long bytes take. See `Opener.open`."""
        name = url.removeprefix(SCHEME)
        return self.lines.open_port(name, self.controller(name), baud)

    # -- what outlives the process

    def _load_stage(self, cryostat: str) -> HeatedStage:
        saved = self._store.load(Kind.STAGE, cryostat)
        spec = self.spec.stages.get(cryostat, ThermalSpec())
        try:
            heat = json.loads(saved) if saved.strip() else {"rise_k": 0.0, "at_s": 0.0}
            stage = HeatedStage(spec, rise_k=float(heat["rise_k"]), at_s=float(heat["at_s"]))
        except (ValueError, TypeError, KeyError) as error:
            raise BadInput(
                f"the heat of simulated cryostat {cryostat} is damaged", why=str(error)
            ) from error
        stage.heaters = self.climate.heaters(cryostat)
        return stage

    def _start_controller(self, spec: ControllerSpec, call_later: CallLater) -> None:
        name = spec.name
        saved = self._store.load(Kind.DEVICE, name)
        try:
            ram = Ram.from_json(saved) if saved.strip() else _installed()
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput(
                f"what simulated device {name} knows is damaged", why=str(error)
            ) from error
        ports = Ports(
            now_s=self.now_s,
            call_later=call_later,
            send=functools.partial(self.lines.deliver, name),
            validator=self._validator,
            save=functools.partial(self._save, spec),
            unplug=functools.partial(self.lines.unplug, name),
        )
        controller = SimulatedController(
            spec,
            self._store.storage(name),
            ports,
            seed=self.spec.seed,
            stage=self.stage(spec.cryostat),
            ram=ram,
        )
        self._controllers[name] = controller
        controller.resume()

    def _save(self, spec: ControllerSpec, ram: Ram) -> None:
        self._store.advance(self.now_s())
        self._store.save(Kind.DEVICE, spec.name, ram.to_json())
        heat = self.stage(spec.cryostat).to_json()
        if heat != self._heat.get(spec.cryostat):
            self._heat[spec.cryostat] = heat
            self._store.save(Kind.STAGE, spec.cryostat, json.dumps(heat).encode())


def _installed() -> Ram:
    return Ram(mode=Mode.APPLICATION, boots=1, boot_id=1, reset_cause=int(ResetCause.POWER_ON))
