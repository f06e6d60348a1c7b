"""A simulated lab and its host in memory: hosts die, the disk and the chips stay."""

from __future__ import annotations

import asyncio
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cryofw.audit import VerdictEvidence, verify_log
from cryofw.engine.deployment import Deployment, survey
from cryofw.engine.home import Home
from cryofw.engine.site import LabClock, Site
from cryofw.engine.virtual_time import run_virtual
from cryofw.errors import CryofwError
from cryofw.fleet import parse_fleet
from cryofw.image import ImageOptions, Payload, Version, attach, build_image
from cryofw.journal import JOURNAL_NAME, HostDied, MemoryDisk, MemoryStorage, StorageFenced
from cryofw.release import ImageStore
from cryofw.rollout import Ending, Plan, Running, Wish, make_plan
from cryofw.rollout import events as e
from cryofw.simulator import LabSpec, ScheduledFault, SimulatedLab, spec_of_fleet
from cryofw.simulator import MemoryStorage as Chip
from cryofw.simulator.lab_store import Kind, MemoryStore
from cryofw.transport import SchemeOpener
from tests.flows.flash_observer import see_chips
from tests.flows.invariants import check_end, check_moment, read_records
from tests.flows.small_lab import firmware

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cryofw.image import PublicKey
    from cryofw.release.coefficients import Coefficients
    from cryofw.rollout import Event, RolloutState
    from cryofw.transport import ByteStream

FLEET = """\
schema: cryofw.fleet/v1
lab: tiny
board: cc40
defaults:
  heartbeat: {every: 10 s, misses_allowed: 4}
  reset: watchdog
  slot_size: 64 KiB
  thermal: {stage: 4k, capacity: 1.5 W, headroom: 80 %, flash: 60 mW, max_rise: 150 mK}
  calibration:
    false_rollback: 0.01
    every: 5 s
    baseline_samples: 30
    min_samples: 12
    metrics: {readout_snr: {unit: dB, worse: lower, margin: 0.5, reject: 1.5, limit: 26}}
stages:
  - {name: rig, targets: [rig-1], soak: 100 s}
  - {name: fleet, targets: [cryo-1], soak: 100 s, waves: [1, 100 %]}
cryostats:
  rig-1: {controllers: {rig-a: {port: "sim://rig-a", hw: "5a01"}}}
  cryo-1:
    controllers:
      c1-a: {port: "sim://c1-a", hw: "5a11"}
      c1-b: {port: "sim://c1-b", hw: "5a12"}
# Without noise: these labs are killed at every step, and judge a clear case.
simulation: {seed: 3, metrics: {readout_snr: {nominal: 27}}}
"""
WHO = "anna@lab"

_DRIFT = {"metric": "readout_snr", "by": -3.0}
IMAGES: Mapping[str, tuple[Mapping[str, object], Ending]] = {
    "good": ({}, Ending.CONFIRMED),
    "drift": ({"shift": {**_DRIFT, "after_s": 10}}, Ending.ROLLED_BACK),
    # Shows when the rig and the first of the fleet are confirmed: they are taken back too.
    "late-drift": ({"shift": {**_DRIFT, "after_s": 372}}, Ending.ROLLED_BACK),
    "hang": ({"hang_s": 0, "wdt": True}, Ending.ROLLED_BACK),
    "late-hang": ({"hang_s": 15, "wdt": True}, Ending.ROLLED_BACK),
}


class Host:
    """One process: it may die at a write to a line, and then sends nothing any more.

    Attributes:
        sent: writes to lines so far.
        die_at_send: the write at which it dies.
        too_late: whether that write still arrives.
    """

    def __init__(self, lab: SimulatedLab, storage: MemoryStorage) -> None:
        self.lab = lab
        self.storage = storage
        self.sent = 0
        self.die_at_send = -1
        self.too_late = False

    async def open(self, url: str, *, baud: int) -> ByteStream:
        """See `Opener.open`."""
        return _Line(self, await self.lab.open(url, baud=baud))

    @property
    def is_dead(self) -> bool:
        """Its storage is fenced."""
        try:
            self.storage.list()
        except StorageFenced:
            return True
        return False

    def die(self) -> None:
        """End without warning."""
        self.storage.die()
        raise HostDied(f"power lost in send {self.sent}")


class _Line:
    """A line that ends with its host."""

    def __init__(self, host: Host, line: ByteStream) -> None:
        self._host = host
        self._line = line

    async def read(self, max_bytes: int = 65536) -> bytes:
        return await self._line.read(max_bytes)

    async def write(self, data: bytes) -> None:
        host = self._host
        if host.is_dead:
            raise HostDied("a dead host sends nothing")
        dies = host.sent == host.die_at_send
        host.sent += 1
        if dies and not host.too_late:
            host.die()
        try:
            await self._line.write(data)
        finally:
            if dies:
                host.die()

    async def close(self) -> None:
        await self._line.close()


class Room:
    """What outlives a host: the disk and the chips. One rollout of one image."""

    def __init__(self, prepared: Prepared, image: str) -> None:
        self.prepared = prepared
        self.image = image
        self.plan = prepared.plans[image]
        self.disk = MemoryDisk(dict(prepared.disk.entries))
        self.chips = {name: chip.copy() for name, chip in prepared.chips.items()}
        self._ram = MemoryStore(self.chips)
        self.before = see_chips(self.chips, prepared.keys)

    def host(self) -> Host:
        """A new process."""
        lab = SimulatedLab(self.prepared.spec, self.prepared.keys, self._ram)
        return Host(lab, MemoryStorage(self.disk))

    def run(
        self,
        host: Host,
        *,
        faults: Sequence[ScheduledFault] = (),
        said: Sequence[Event] = (),
        meanwhile: Callable[[SimulatedLab], None] = lambda _lab: None,
    ) -> RolloutState | None:
        """Start the rollout, or resume it with what people said; None if the host died.

        `meanwhile` is called once the lab runs, to let things happen in it.
        """
        self.disk.locks.clear()
        fresh = b"rollout-started" not in self.disk.entries.get(JOURNAL_NAME, b"")

        async def main() -> RolloutState:
            host.lab.start()
            host.lab.schedule(faults)
            meanwhile(host.lab)
            try:
                home = Home(Path("nowhere"), host.storage)
                deployment = Deployment(home, self.plan, self.prepared.keys, WHO)
                site = Site(LabClock(host.lab), SchemeOpener({"sim": host}), host.lab)
                if fresh:
                    return await deployment.start(site, "", said)
                return await deployment.go_on(site, [*said, e.RolloutResumed("", WHO)])
            finally:
                host.lab.close()

        try:
            state = run_virtual(main())
        except (HostDied, CryofwError):
            if host.is_dead:
                return None
            raise
        # What is sent after the end, to give leases back, may die unnoticed.
        return None if host.is_dead else state

    def let_pass(self, seconds: float) -> None:
        """Time passes for the devices, and no host is there."""

        async def main() -> None:
            async with self.host().lab:
                await asyncio.sleep(seconds)

        run_virtual(main())

    def check_moment(self) -> None:
        """See `invariants.check_moment`."""
        records = read_records(self.disk.entries.get(JOURNAL_NAME, b""))
        chips = see_chips(self.chips, self.prepared.keys)
        check_moment(records, chips, self.before, verified=frozenset(self.prepared.hashes.values()))

    def stored(self, name: str) -> dict[str, float]:
        """The settings in a device's storage, seen without SMP; none after its delivery."""
        ram = self._ram.load(Kind.DEVICE, name).strip()
        kept = json.loads(ram)["settings"]["stored"] if ram else {}
        return {key: struct.unpack("<f", bytes.fromhex(text))[0] for key, text in kept.items()}

    @property
    def ended(self) -> str:
        """How it ended, from the journal; empty while it is open."""
        records = read_records(self.disk.entries.get(JOURNAL_NAME, b""))
        return next((r["outcome"] for r in records if r["kind"] == "rollout-ended"), "")

    def finish(self) -> None:
        """Resume once, to the end, and check everything; the end is that of its firmware."""
        self.check_moment()
        if not self.ended:
            assert self.run(self.host()) is not None
        assert self.ended == self.prepared.endings[self.image], self.ended
        self.check_end()

    def check_end(self) -> None:
        """See `invariants.check_end`; and the journal proves itself."""
        self.check_moment()
        records = read_records(self.disk.entries[JOURNAL_NAME])
        check_end(records, see_chips(self.chips, self.prepared.keys), self.before)
        storage = MemoryStorage(self.disk)
        verify_log(storage, checks=[VerdictEvidence(storage)])


@dataclass(frozen=True)
class Prepared:
    """A lab with its images in the store and a plan for each."""

    keys: tuple[PublicKey, ...]
    spec: LabSpec
    disk: MemoryDisk
    chips: Mapping[str, Chip]
    hashes: Mapping[str, str]
    plans: Mapping[str, Plan]
    endings: Mapping[str, Ending]


def prepare(
    key: PublicKey,
    sign: Callable[[bytes], bytes],
    text: str = FLEET,
    change: Callable[[LabSpec], LabSpec] = lambda spec: spec,
    behaviours: Mapping[str, tuple[Mapping[str, object], Ending]] = IMAGES,
    factory_behaviour: Mapping[str, object] | None = None,
    coefficients: Coefficients | None = None,
) -> Prepared:
    """Sign the images, keep them, ask the devices, and plan a rollout of each image.

    `change` makes the devices others than fleet.yaml says; `coefficients` come with each image.
    """
    images = {"factory": signed("1.0.0", factory_behaviour or {}, key, sign)} | {
        name: signed(f"1.1.{number}", behaviour, key, sign)
        for number, (name, (behaviour, _)) in enumerate(behaviours.items())
    }
    fleet = parse_fleet(text, "fleet.yaml")
    spec = change(spec_of_fleet(fleet))
    chips = {one.name: Chip(2 * one.slot_size) for one in spec.controllers}
    for chip in chips.values():
        chip.write(0, images["factory"])
    disk = MemoryDisk()
    store = ImageStore(MemoryStorage(disk), [key])
    firmwares = {name: store.add(data) for name, data in images.items()}
    lab = SimulatedLab(spec, [key], MemoryStore({n: chip.copy() for n, chip in chips.items()}))

    async def ask() -> dict[str, Running]:
        async with lab:
            site = Site(LabClock(lab), SchemeOpener({"sim": lab}), lab)
            return await survey(site, fleet.controllers)

    running = run_virtual(ask())
    factory = firmwares["factory"]
    plans = {
        name: make_plan(
            fleet,
            Wish(firmwares[name], WHO, "2026-01-01T00:00:00Z", "00", coefficients=coefficients),
            running,
            {factory.hash: factory},
            {},
        )
        for name in behaviours
    }
    hashes = {name: one.hash for name, one in firmwares.items()}
    endings = {name: ending for name, (_, ending) in behaviours.items()}
    return Prepared((key,), spec, disk, chips, hashes, plans, endings)


def signed(
    version: str,
    behaviour: Mapping[str, object],
    key: PublicKey,
    sign: Callable[[bytes], bytes],
) -> bytes:
    """An image of the firmware that behaves so."""
    options = ImageOptions(version=Version.parse(version), pad_header=True, board="cc40")
    unsigned = build_image(Payload(firmware(behaviour)), options)
    return attach(unsigned, key, sign(unsigned.to_sign(key.algorithm)))
