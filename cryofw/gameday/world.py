"""The lab of one game, and who drives it: chips, lines and disks outlive every process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.audit import verify_log
from cryofw.engine.site import Site
from cryofw.errors import CryofwError
from cryofw.gameday.chip import ChipObserver
from cryofw.gameday.evidence import EvidenceWitness
from cryofw.gameday.game import Note
from cryofw.gameday.host import Host, HostClock
from cryofw.gameday.invariant import Invariant, InvariantBroken, require
from cryofw.gameday.operator import Operator
from cryofw.gameday.weather import Weather
from cryofw.gameday.witness import Witness
from cryofw.journal import MemoryStorage
from cryofw.simulator import MemoryStorage as Chip
from cryofw.simulator import SimulatedLab
from cryofw.simulator.lab_store import MemoryStore
from cryofw.simulator.ram import Mode as DeviceMode
from cryofw.transport import SchemeOpener

if TYPE_CHECKING:
    from cryofw.gameday.game import Game


class World:
    """Everything of one game that is not inside a deploying process.

    Args:
        game: what is played.

    Attributes:
        broken: the first invariant that did not hold; the game is over then.
        affected: devices that ran the release at some moment, in order.
        sends: writes to lines so far.
        notes: what took place beside the journals.

    Raises:
        ImageRejected: an image of the game does not verify.
    """

    def __init__(self, game: Game) -> None:
        self.game = game
        self._chips = {one.name: Chip(2 * one.slot_size) for one in game.spec.controllers}
        for chip in self._chips.values():
            chip.write(0, game.factory)
        self.lab = SimulatedLab(game.spec, game.device_keys, MemoryStore(self._chips))
        self.operators = {"anna": Operator("anna", [game.factory, game.release], game.keys)}
        self.broken: InvariantBroken | None = None
        self.affected: dict[str, None] = {}
        self.sends = 0
        self.notes: list[Note] = []
        self.weather = Weather(self)
        self._evidence = {"anna": EvidenceWitness(game.fleet, self.lab)}
        self._observer = ChipObserver(self._chips, game.device_keys)
        self._witness = Witness(
            self._observer.see(),
            [image.hash for image in self.first.images],
            {name: one.thermal.flashes_at_once for name, one in game.fleet.cryostats.items()},
            {one.name: one.cryostat for one in game.fleet.controllers},
        )

    @property
    def first(self) -> Operator:
        """Whose rollout the game is about."""
        return self.operators["anna"]

    def join(self, operator: Operator) -> None:
        """Somebody else comes to the lab."""
        self.operators[operator.name] = operator
        self._evidence[operator.name] = EvidenceWitness(self.game.fleet, self.lab)
        for image in operator.images:
            self._witness.believe(image.hash)

    def note(self, text: str) -> None:
        """Keep what takes place, for the story of the game."""
        records = self.first.journal.count(b"\n")
        self.notes.append(Note(self.lab.now_s(), records, text))

    def open_host(self, operator: Operator) -> Host:
        """Start a process of an operator."""
        operator.disk.locks.clear()
        clock = HostClock(self.lab)
        clock.wrong_by_s = operator.clock_wrong_by_s
        host = Host(self.lab, operator.disk, clock, lambda: self.look(operator))
        host.route = self.weather.route
        host.direct = self.game.direct
        operator.host = host
        return host

    def close_host(self, operator: Operator) -> None:
        """A process of an operator has ended, one way or the other."""
        if operator.host is not None:
            operator.host.close()
            self.sends += operator.host.sent
            operator.host = None
        self.look(operator)

    def site(self, host: Host) -> Site:
        """The devices as a process reaches them."""
        return Site(host.clock, SchemeOpener({"sim": host}), self.lab)

    def ended(self, operator: Operator) -> str:
        """How the latest rollout of an operator ended, by the journal; empty if it did not."""
        latest = self._witness.testimony(operator.name).latest
        return latest.ended if latest is not None else ""

    def has_begun(self, operator: Operator) -> bool:
        """The operator's rollout is in the journal."""
        return self._witness.testimony(operator.name).latest is not None

    def look(self, operator: Operator) -> None:
        """See the journal of an operator and all chips, and hold one against the other."""
        if self.broken is not None:
            return
        try:
            if operator.right_disk:
                records = self._witness.testimony(operator.name).read(operator.journal)
                self._evidence[operator.name].take(records, operator.disk.entries)
                if operator is self.first:
                    self.weather.hear(records)
            chips = self._observer.see()
            self.affected.update(dict.fromkeys(self._running_release()))
            self._witness.moment(chips)
        except InvariantBroken as error:
            self._end_with(error)

    def judge(self) -> None:
        """See that everything is settled, now that nobody is left to do anything."""
        try:
            chips = self._observer.see()
            self._witness.moment(chips)
            hung = [n for n in chips if self.lab.controller(n).ram.mode is DeviceMode.HUNG]
            self._witness.end(chips, hung)
            if self.game.never:
                kept = [n for n in self._running_release() if not self._is_named(n)]
                words = f"{kept} keep a firmware that is bad beyond doubt"
                require(not kept, Invariant.CONFIRM_AFTER_VERDICT, words)
            for operator in self.operators.values():
                self._evidence[operator.name].end()
                if operator.journal:
                    self._audit(operator)
        except InvariantBroken as error:
            self._end_with(error)

    def _running_release(self) -> list[str]:
        wanted = self.first.release.hash
        return [name for name, chip in self._observer.see().items() if chip.active == wanted]

    def _is_named(self, device: str) -> bool:
        """It was given up by name, for a person to see to."""
        latest = self._witness.testimony(self.first.name).latest
        return latest is not None and latest.device(device).quarantined

    def _audit(self, operator: Operator) -> None:
        try:
            verify_log(MemoryStorage(operator.disk))
        except CryofwError as error:
            words = f"the journal of {operator.name} does not prove itself: {error}"
            raise InvariantBroken(Invariant.NOTHING_LOST, words) from error

    def _end_with(self, error: InvariantBroken) -> None:
        self.broken = self.broken or error
        for operator in self.operators.values():
            if operator.host is not None:
                operator.host.die()
