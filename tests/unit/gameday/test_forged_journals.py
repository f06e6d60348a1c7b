"""A net that catches nothing proves nothing: forged journals, and the invariant each breaks."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from cryofw.engine.virtual_time import run_virtual
from cryofw.gameday import Invariant, InvariantBroken, play
from cryofw.gameday import testimony as journals
from cryofw.gameday.draw import draw_game
from cryofw.gameday.evidence import EvidenceWitness
from cryofw.gameday.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryofw.gameday import Result

Records = list[dict[str, Any]]


def is_calm(seed: int) -> bool:
    """A good release on several stages, in no weather."""
    game = draw_game(seed)
    return not game.happenings and len(game.fleet.stages) > 1 and game.name.endswith("good")


SEED = next(seed for seed in range(200) if is_calm(seed))


@cache
def calm() -> Result:
    return play(draw_game(SEED))


def records() -> Records:
    """The records of a calm evening, to be forged."""
    return [json.loads(line) for line in calm().journal.splitlines()]


def told(forged: Records) -> bytes:
    """As a journal whose numbers are right."""
    numbered = [record | {"n": n} for n, record in enumerate(forged)]
    return b"".join(json.dumps(record).encode() + b"\n" for record in numbered)


def without(*kinds: str) -> Callable[[Records], Records]:
    return lambda records: [one for one in records if one["kind"] not in kinds]


def changed(kind: str, **fields: Any) -> Callable[[Records], Records]:
    return lambda records: [one | fields if one["kind"] == kind else one for one in records]


def test_the_true_journal_is_believed() -> None:
    testimony = journals.Testimony()

    testimony.read(told(records()))

    assert testimony.latest is not None
    assert testimony.latest.ended


@pytest.mark.parametrize(
    ("forge", "broken"),
    [
        (changed("image-test-requested", hash="0" * 64), Invariant.VERIFIED_ONLY),
        (without("verdict-reached"), Invariant.CONFIRM_AFTER_VERDICT),
        (changed("image-confirm-requested", boot=7), Invariant.CONFIRM_AFTER_VERDICT),
        (changed("image-confirmed", hash="0" * 64), Invariant.CONFIRM_AFTER_VERDICT),
        (without("gate-passed"), Invariant.GATES_IN_ORDER),
        (without("image-upload-requested"), Invariant.NOTHING_LOST),
        (without("image-test-requested"), Invariant.NOTHING_LOST),
        (without("image-confirm-requested"), Invariant.NOTHING_LOST),
        (changed("verdict-reached", why=""), Invariant.EVERY_DECISION_EXPLAINED),
        (changed("verdict-reached", evidence={}), Invariant.EVERY_DECISION_EXPLAINED),
        (lambda records: records + records[:1], Invariant.ONE_WRITER),
    ],
)
def test_a_forged_journal_is_not(forge: Callable[[Records], Records], broken: Invariant) -> None:
    forged = forge(without("rollout-ended")(records()))

    with pytest.raises(InvariantBroken) as caught:
        journals.Testimony().read(told(forged))

    assert caught.value.invariant is broken


def test_a_record_that_was_read_may_not_change_or_go() -> None:
    testimony = journals.Testimony()
    testimony.read(told(records()))

    with pytest.raises(InvariantBroken) as caught:
        testimony.read(told(records()[:-1]))

    assert caught.value.invariant is Invariant.NOTHING_LOST


def weigh(forged: Records) -> Invariant:
    """The invariant that the evidence in these records breaks, with no reading on the disk."""

    async def take() -> Invariant:
        game = draw_game(SEED)
        async with World(game).lab as lab:
            with pytest.raises(InvariantBroken) as caught:
                EvidenceWitness(game.fleet, lab).take(forged, {})
            return caught.value.invariant

    return run_virtual(take())


def verdict(**beats: object) -> Records:
    """A Passed verdict that claims this of the heartbeats, and stands on no reading."""
    one = next(record for record in records() if record.get("outcome") == "passed")
    heartbeats = one["evidence"]["heartbeats"] | beats
    readings = {"count": 0, "sha256": hashlib.sha256().hexdigest()}
    return [one | {"evidence": one["evidence"] | {"heartbeats": heartbeats}, "readings": readings}]


def test_readings_have_to_be_on_the_disk() -> None:
    assert weigh(without("baseline-taken")(records())) is Invariant.NOTHING_LOST


@pytest.mark.parametrize("beats", [{"soaked_s": 1.0}, {"boot": 7}], ids=["too-short", "no-boot"])
def test_a_soak_has_to_have_taken_place(beats: dict[str, object]) -> None:
    assert weigh(verdict(**beats)) is Invariant.UNKNOWN_IS_NOT_HEALTHY


def test_a_second_attempt_has_to_pay_more() -> None:
    first = verdict()[0] | {"outcome": "failed"}
    again = {"kind": "image-test-requested", "n": 9, "rollout": first["rollout"], "attempt": 2}
    again["device"] = first["device"]

    assert weigh([first, again, first]) is Invariant.EVERY_DECISION_EXPLAINED


def test_a_decision_without_a_reason_is_none() -> None:
    granted = {"kind": "retry-granted", "n": 3, "why": ""}

    assert weigh([granted]) is Invariant.EVERY_DECISION_EXPLAINED
