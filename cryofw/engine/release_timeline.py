"""Which image ran when on each device, from the journal."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from cryofw.rollout import events as e
from cryofw.rollout import step_from_record

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryofw.journal import Record


class ReleaseSpell(NamedTuple):
    """An image ran on a device from `t_s` (seconds since 1970) on.

    `hash` is empty while nobody knows what runs. `installed` is false for the first one: it was
    read then, and nobody knows since when it ran.
    """

    t_s: float
    hash: str
    version: str
    rollout: str
    installed: bool


@dataclass
class ReleaseTimeline:
    """Folded from all records of a journal, oldest first.

    Attributes:
        latest_rollout: id of the last one that was started; empty when there was none.
    """

    latest_rollout: str = ""
    _spells: dict[str, list[ReleaseSpell]] = field(default_factory=dict)
    _versions: dict[str, str] = field(default_factory=dict)

    @classmethod
    def fold(cls, records: Iterable[Record]) -> ReleaseTimeline:
        """The timeline of `records`."""
        timeline = cls()
        for record in records:
            step = step_from_record(record)
            if isinstance(step, e.Event):
                timeline._take(record, step)
        return timeline

    def at(self, device: str, t_s: float) -> ReleaseSpell | None:
        """What ran at `t_s`; before the first record that is what it was read to run then."""
        spells = self._spells.get(device)
        if not spells:
            return None
        return spells[max(0, bisect_right(spells, t_s, key=lambda one: one.t_s) - 1)]

    def installed_between(self, device: str, start_s: float, end_s: float) -> ReleaseSpell | None:
        """The latest image that began to run from `start_s` to `end_s`; None: none did."""
        spells = self._spells.get(device, ())
        found = [one for one in spells if one.installed and start_s <= one.t_s <= end_s]
        return found[-1] if found else None

    def before(self, device: str, spell: ReleaseSpell) -> ReleaseSpell | None:
        """What ran before `spell`."""
        spells = self._spells.get(device, [])
        place = spells.index(spell) if spell in spells else 0
        return spells[place - 1] if place else None

    def _take(self, record: Record, event: e.Event) -> None:
        match event:
            case e.RolloutStarted():
                self.latest_rollout = record.rollout
                self._versions[event.release] = event.version
            case e.DeviceChecked():
                self._versions.setdefault(event.hash, event.version)
                self._runs(record, event.hash)
            case (
                e.DeviceSkipped()
                | e.TestBooted()
                | e.ImageConfirmed()
                | e.DeviceReverted()
                | e.DeviceRolledBack()
            ):
                self._runs(record, event.hash)
            case e.DeviceStuck():
                self._runs(record, "")
            case _:
                pass

    def _runs(self, record: Record, image: str) -> None:
        spells = self._spells.setdefault(str(record.device), [])
        if spells and spells[-1].hash == image:
            return
        t_s = datetime.fromisoformat(record.t).timestamp()
        if spells:
            t_s = max(t_s, spells[-1].t_s)  # a host's clock may have been set back
        version = self._versions.get(image) or image[:12]
        spells.append(ReleaseSpell(t_s, image, version, record.rollout, bool(spells)))
