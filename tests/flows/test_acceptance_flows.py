"""A firmware that the evidence cannot decide on, and a person who does, seen on the chips."""

from __future__ import annotations

import asyncio
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cryofw.audit import find_violations
from cryofw.audit.evidence import Evidence
from cryofw.engine.home import Home
from cryofw.image import Algorithm
from cryofw.journal import JOURNAL_NAME, MemoryStorage, read_journal
from cryofw.rollout import Ending
from cryofw.rollout.operator_events import DeviceAccepted
from tests.flows.invariants import read_records
from tests.flows.memory_room import FLEET, Prepared, Room, prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryofw.image import PublicKey
    from cryofw.simulator import SimulatedLab

    Keys = Mapping[Algorithm, tuple[PublicKey, Callable[[bytes], bytes]]]

_BLIND = {"metric": "readout_snr", "by": math.nan, "after_s": 0}
"""Its readout says nothing any more, which proves neither that it is good nor that it is bad."""

IMAGES: Mapping[str, tuple[Mapping[str, object], Ending]] = {
    "blind": ({"shift": _BLIND}, Ending.CONFIRMED),
    "bad": ({"shift": {**_BLIND, "by": -3.0}}, Ending.ROLLED_BACK),
}
WHY = "measured with the spectrum analyser"


@pytest.fixture(scope="module")
def prepared(image_keys: Keys) -> Prepared:
    fleet = FLEET.replace("min_samples: 12\n", "min_samples: 12\n    hold: 30 min\n")
    fleet = re.sub(r"  - {name: fleet.*\n", "", fleet)
    fleet = re.sub(r"  cryo-1:\n(    .*\n)+", "", fleet)
    return prepare(*image_keys[Algorithm.ED25519], fleet, behaviours=IMAGES)


def records(room: Room, *kinds: str) -> list[Mapping[str, Any]]:
    found = read_records(room.disk.entries.get(JOURNAL_NAME, b""))
    return [r for r in found if not kinds or r["kind"] in kinds]


class Operator:
    """Reads the journal now and then, and accepts each device that is held."""

    def __init__(self, room: Room, *, said_for: str = "inconclusive") -> None:
        self.room = room
        self.accepted: list[str] = []
        self._said_for = said_for
        self.task: asyncio.Task[None] | None = None

    def __call__(self, _lab: SimulatedLab) -> None:
        self.task = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        box = Home(Path("nowhere"), MemoryStorage(self.room.disk)).requests(self.room.plan.rollout)
        while True:
            await asyncio.sleep(5)
            for verdict in records(self.room, "verdict-reached"):
                name = str(verdict["device"])
                if verdict["outcome"] == self._said_for and name not in self.accepted:
                    self.accepted.append(name)
                    box.put(DeviceAccepted(name, "bart@lab", WHY), f"{len(self.accepted)}")


def test_what_a_person_accepts_is_confirmed_and_the_record_says_so(prepared: Prepared) -> None:
    room = Room(prepared, "blind")
    operator = Operator(room)

    state = room.run(room.host(), meanwhile=operator)

    assert state is not None
    assert state.ended is Ending.CONFIRMED, state.why
    assert operator.accepted == ["rig-a"]
    assert [r["by"] for r in records(room, "device-accepted")] == ["bart@lab"]
    gates = [r["evidence"]["accepted"] for r in records(room, "gate-passed")]
    assert gates == [{"rig-a": "bart@lab"}]
    room.check_end()


def test_without_a_person_the_hold_ends_and_takes_it_back(prepared: Prepared) -> None:
    room = Room(prepared, "blind")
    state = room.run(room.host())
    assert state is not None
    assert state.ended is Ending.ROLLED_BACK
    assert records(room, "device-accepted") == []
    room.check_end()


def test_who_accepts_what_failed_is_not_obeyed(prepared: Prepared) -> None:
    room = Room(prepared, "bad")
    state = room.run(room.host(), meanwhile=Operator(room, said_for="failed"))
    assert state is not None
    assert state.ended is Ending.ROLLED_BACK
    room.check_end()


@pytest.mark.parametrize(
    ("dropped", "says"),
    [
        ("device-accepted", "and nobody had accepted it while it was held"),
        ("by", "it does not say who did it"),
        ("accepted", "does not say whom a person accepted: rig-a by bart@lab"),
    ],
)
def test_the_audit_finds_a_confirm_that_nobody_answers_for(
    prepared: Prepared, dropped: str, says: str
) -> None:
    room = Room(prepared, "blind")
    room.run(room.host(), meanwhile=Operator(room))
    storage = MemoryStorage(room.disk)
    forged = []
    for record in read_journal(storage).records:
        if record.kind == dropped:
            continue
        fields = dict(record.fields)
        if record.kind == "device-accepted" and dropped == "by":
            fields["by"] = ""
        if record.kind == "gate-passed" and dropped == "accepted":
            fields["evidence"] = {}
        forged.append(replace(record, fields=fields))
    found = [one.message for one in find_violations(forged, Evidence(storage))]
    assert any(says in message for message in found), found
