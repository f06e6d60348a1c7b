"""Taking a device over, replacing it, pinning it: what is written down, and what follows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cryofw.errors import BadInput, Refused
from cryofw.journal import Record
from cryofw.rollout import (
    History,
    Plan,
    PlanRefused,
    Running,
    Wish,
    fields_of,
    make_plan,
    parse_plan,
)
from cryofw.rollout import events as e
from cryofw.rollout import lab_events as lab
from cryofw.rollout.adoption import AdoptionRefused, AdoptionWish, KnownImage, adopt
from cryofw.rollout.lab_planner import require_host
from cryofw.rollout.register import DeviceRegister
from tests.unit.rollout.test_planner import NEW, OLD, RUNNING, a_fleet, plan_of

if TYPE_CHECKING:
    from cryofw.release import Firmware

FLEET = a_fleet()
A, B = FLEET.by_name["a"], FLEET.by_name["b"]
ANSWER = replace(RUNNING, hw="aa01", board="cc40", serial="S1")
OTHER = replace(ANSWER, hw="aa02", serial="S2")
WISH = Wish(NEW, "anna", "2026-11-20T23:00:00Z", "00")
BY_ANNA = AdoptionWish("anna@lab", "taken over")
FOREIGN = replace(OLD, key_hash="")


def history(*events: e.Event) -> History:
    """What a journal of these events says."""
    return History.fold(
        Record(
            v=1,
            n=n,
            t="2026-01-01T00:00:00.000Z",
            who="anna@lab",
            rollout="",
            device=getattr(event, "device", None),
            kind=event.kind,
            fields=fields_of(event),
        )
        for n, event in enumerate(events)
    )


def adopted(answer: Running = ANSWER, **changes: object) -> lab.DeviceAdopted:
    event = adopt(A, answer, DeviceRegister(), KnownImage(OLD, OLD.key_hash), BY_ANNA)
    assert event is not None
    return replace(event, **changes)  # type: ignore[arg-type]  # rows of tables


def test_what_is_adopted_is_what_was_read() -> None:
    event = adopted()
    assert (event.hw, event.board, event.serial, event.port) == ("aa01", "cc40", "S1", "sim://a")
    assert (event.hash, event.version, event.security_counter) == (OLD.hash, "1.0.0", 2)
    assert (event.image, event.file_sha256) == ("verified", OLD.file_sha256)
    assert event.replaces is None


@pytest.mark.parametrize(
    ("image", "standing", "counter"),
    [
        (KnownImage(OLD, OLD.key_hash), "verified", 2),
        (KnownImage(FOREIGN, "ab" * 32), "foreign", 2),
        (KnownImage(security_counter=7), "unknown", 7),
        (KnownImage(), "unknown", None),
    ],
)
def test_an_image_is_named_as_what_it_is(
    image: KnownImage, standing: str, counter: int | None
) -> None:
    event = adopt(A, ANSWER, DeviceRegister(), image, BY_ANNA)
    assert event is not None
    assert (event.image, event.security_counter) == (standing, counter)


def test_the_same_again_says_nothing_new() -> None:
    register = history(adopted()).register
    image = KnownImage(OLD, OLD.key_hash)
    assert adopt(A, ANSWER, register, image, AdoptionWish("bart@lab", "again")) is None
    assert adopt(A, ANSWER, register, image, AdoptionWish("b", "x", frozenset("a"))) is None
    newer = replace(ANSWER, hash=NEW.hash, version="1.1.0")
    assert adopt(A, newer, register, KnownImage(NEW, NEW.key_hash), BY_ANNA) is not None


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (OTHER, "known is hardware id aa01, serial number S1; hardware id aa02, serial number S2"),
        (replace(ANSWER, hw=""), "hardware id none, serial number S1 answers"),
        (replace(ANSWER, serial="S2"), "hardware id aa01, serial number S2 answers"),
    ],
)
def test_another_controller_is_refused_until_somebody_says_that_it_was_replaced(
    answer: Running, says: str
) -> None:
    register = history(adopted()).register
    with pytest.raises(AdoptionRefused) as caught:
        adopt(A, answer, register, KnownImage(), BY_ANNA)
    assert says in caught.value.why
    assert "--replace" in caught.value.hint
    said = replace(BY_ANNA, replaced=frozenset({"a"}))
    event = adopt(A, answer, register, KnownImage(), said)
    assert event is not None
    assert event.replaces == "aa01"


def test_hardware_that_was_only_checked_counts_too() -> None:
    register = history(e.DeviceChecked("a", OLD.hash, "1.0.0", "aa01", "cc40")).register
    with pytest.raises(AdoptionRefused, match="another controller"):
        adopt(A, OTHER, register, KnownImage(), BY_ANNA)


def test_one_controller_cannot_be_two_devices() -> None:
    register = history(adopted()).register
    with pytest.raises(AdoptionRefused, match="is known as a"):
        adopt(B, ANSWER, register, KnownImage(), BY_ANNA)
    both = replace(BY_ANNA, replaced=frozenset({"a", "b"}))
    assert adopt(B, ANSWER, register, KnownImage(), both) is not None


# --- what follows ---------------------------------------------------------------------------


def test_what_was_known_of_a_controller_goes_with_it() -> None:
    before = (
        adopted(),
        e.BaselineTaken("a", {"samples": {}}),
        e.DeviceQuarantined("a", "it hangs", "cycle its power"),
    )
    assert history(*before).quarantine.keys() == {"a"}
    new = adopted(OTHER, replaces="aa01", why="it hung")
    after = history(*before, new)
    assert (after.quarantine, after.baselines) == ({}, {})
    (gone,) = after.register.replaced
    assert (gone.device, gone.hw, gone.why) == ("a", "aa01", "it hung")
    assert after.devices["a"].hash == OLD.hash

    elsewhere = adopted(device="b")
    again = history(*before, new, elsewhere)
    assert again.quarantine["b"].why == "it hangs"


def test_adopting_again_clears_no_quarantine() -> None:
    shut_out = e.DeviceQuarantined("a", "it hangs", "")
    assert "a" in history(adopted(), shut_out, adopted()).quarantine


@pytest.mark.parametrize(
    ("events", "left_out"),
    [
        ([lab.DevicePinned("a", "1.0.0", "eve", "x")], {"a": "pinned to 1.0.0 by eve: x"}),
        ([lab.DevicePinned("a", "1.1.0", "eve", "x")], {}),
        (
            [lab.DeviceExcluded("a", "eve", "x")],
            {"a": "excluded from every rollout by eve: x"},
        ),
        ([lab.DeviceExcluded("a", "eve", "x"), lab.DeviceUnpinned("a", "eve", "y")], {}),
        ([lab.DeviceExcluded("zz", "eve", "not in fleet.yaml")], {}),
    ],
)
def test_who_is_pinned_is_left_out_of_the_plan(
    events: list[e.Event], left_out: dict[str, str]
) -> None:
    plan = plan_with(history(*events).register)
    assert {n: why for n, why in plan.excluded.items() if n != "s"} == left_out
    assert ("a" in plan.devices) is not ("a" in left_out)
    assert parse_plan(plan.canonical) == plan


def plan_with(
    register: DeviceRegister,
    known: tuple[Firmware, ...] = (OLD,),
    wish: Wish = WISH,
) -> Plan:
    answers = {c.name: RUNNING for c in FLEET.controllers}
    return make_plan(FLEET, wish, answers, {f.hash: f for f in known}, {}, register)


def test_the_plan_holds_a_device_to_what_was_adopted() -> None:
    register = history(adopted()).register
    device = plan_with(register).devices["a"]
    assert (device.hw, device.serial) == ("aa01", "S1")
    assert plan_with(DeviceRegister()).devices["a"].hw == RUNNING.hw
    named = a_fleet(('{a: {port: "sim://a"}', '{a: {port: "sim://a", hw: "aa02"}'))
    answers = {c.name: RUNNING for c in named.controllers}
    with pytest.raises(PlanRefused) as caught:
        make_plan(named, WISH, answers, {OLD.hash: OLD}, {}, register)
    assert "fleet.yaml names the hardware id aa02, it was adopted as aa01" in caught.value.why


def test_an_image_that_nobody_has_is_named_with_who_said_so() -> None:
    unknown = adopted(image="unknown", security_counter=5, file_sha256="")
    with pytest.raises(PlanRefused) as caught:
        plan_with(history(unknown).register, known=())
    why = caught.value.why
    assert "no way back after confirm: the file of 1.0.0 (bbbbbbbb) is unknown, as anna@lab" in why
    assert "security counter 2 is below the running 5, as anna@lab said at its adoption" in why
    assert "cryofw adopt --image FILE" in caught.value.hint


def test_a_file_that_was_found_once_is_not_forgotten_by_another_device() -> None:
    foreign = adopted(image="foreign")
    unknown = replace(foreign, device="b", image="unknown", file_sha256="")
    register = history(foreign, unknown).register
    assert register.foreign_files() == {OLD.hash: OLD.file_sha256}


# --- versions -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ranges", "says"),
    [
        ({"from_versions": ">=1.0, <2"}, ""),
        ({"from_versions": ">1.0"}, "1.1.0 may come from >1.0 only, it runs 1.0.0"),
        ({"host_versions": ">=0.1", "host": "0.1.0"}, ""),
        ({"host_versions": ">=2", "host": "0.1.0"}, "the release needs cryofw >=2, this is 0.1.0"),
    ],
)
def test_versions_bound_a_plan(ranges: dict[str, str], says: str) -> None:
    wish = replace(WISH, **ranges)  # type: ignore[arg-type]  # rows of a table
    if not says:
        plan = plan_with(DeviceRegister(), wish=wish)
        assert plan.from_versions == ranges.get("from_versions", "")
        assert plan.host_versions == ranges.get("host_versions", "")
        return
    with pytest.raises(PlanRefused) as caught:
        plan_with(DeviceRegister(), wish=wish)
    assert says in caught.value.why
    assert caught.value.hint


def test_a_version_that_is_none_lies_in_no_range() -> None:
    with pytest.raises(PlanRefused) as caught:
        plan_of_odd_version()
    assert "it runs a version that it does not tell" in caught.value.why


def plan_of_odd_version() -> None:
    wish = replace(WISH, overrides={"no-way-back": ("*",)})
    odd = replace(RUNNING, version="")
    answers = {c.name: odd for c in FLEET.controllers}
    make_plan(FLEET, replace(wish, from_versions=">=1"), answers, {}, {}, None)


def test_a_plan_is_run_by_a_cryofw_of_its_range() -> None:
    plan = replace(plan_of(a_fleet()), host_versions=">=0.1, <1")
    require_host(plan, "0.9")
    with pytest.raises(Refused, match="is not for this cryofw"):
        require_host(plan, "1.0")
    with pytest.raises(BadInput):
        require_host(replace(plan, host_versions="new"), "1.0")
