"""Rollouts that calibrate: devices by themselves, or a bench of the simulated lab."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cryofw.journal import JOURNAL_NAME
from cryofw.rollout import Ending
from tests.flows.invariants import Fields, read_records
from tests.flows.memory_room import FLEET, IMAGES, Prepared, Room, prepare
from tests.flows.small_lab import FLEET as SMALL_FLEET
from tests.flows.small_lab import SmallLab

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from cryofw.image import Algorithm, PublicKey

CALIBRATE, CALIBRATED = "device-calibration-requested", "device-calibrated"
TRIM = ({"trim": {"metric": "readout_snr", "by": -3.0}}, Ending.CONFIRMED)
"""Off by 3 dB until it was calibrated in its present boot."""


def fleet(recalibrate: str) -> str:
    text = FLEET.replace("    every: 5 s\n", f"    every: 5 s\n    {recalibrate}\n")
    assert recalibrate in text
    return text


@pytest.fixture(scope="module")
def prepared(
    image_keys: Mapping[Algorithm, tuple[PublicKey, Callable[[bytes], bytes]]],
) -> Callable[[str], Prepared]:
    made: dict[str, Prepared] = {}
    key = next(iter(image_keys.values()))

    def of(recalibrate: str) -> Prepared:
        if recalibrate not in made:
            made[recalibrate] = prepare(
                *key, fleet(recalibrate), behaviours={**IMAGES, "trim": TRIM}
            )
        return made[recalibrate]

    return of


DEVICE = "recalibrate: device"
COMMAND = 'recalibrate: {command: [no-such-program, "${controller}"]}'


def records(room: Room, *kinds: str, device: str = "") -> list[Fields]:
    found = read_records(room.disk.entries.get(JOURNAL_NAME, b""))
    return [r for r in found if r["kind"] in kinds and (not device or r["device"] == device)]


def test_a_firmware_that_has_to_be_calibrated_is_rolled_back_without(
    prepared: Callable[[str], Prepared],
) -> None:
    room = Room(prepared("settle: 5 s"), "trim")
    room.run(room.host())
    assert room.ended == Ending.ROLLED_BACK
    assert not records(room, CALIBRATE)


@pytest.mark.parametrize("how", [DEVICE, COMMAND, f"{DEVICE}\n    settle: 20 s"])
def test_it_is_confirmed_where_it_is_calibrated(
    prepared: Callable[[str], Prepared], how: str
) -> None:
    room = Room(prepared(how), "trim")
    room.run(room.host())
    assert room.ended == Ending.CONFIRMED
    room.check_end()
    order = (CALIBRATED, "baseline-taken", "test-booted", "verdict-reached")
    for name in ("rig-a", "c1-a", "c1-b"):
        kinds = [r["kind"] for r in records(room, *order, device=name)]
        assert kinds == [CALIBRATED, "baseline-taken", "test-booted", CALIBRATED, order[-1]], name
    if "settle" in how:
        booted, calibrated = (
            records(room, kind, device="rig-a")[-1]["t_s"] for kind in ("test-booted", CALIBRATED)
        )
        assert calibrated >= booted + 20


@pytest.mark.parametrize("how", [DEVICE, COMMAND])
def test_the_controls_are_calibrated_before_they_are_compared_with(
    prepared: Callable[[str], Prepared], how: str
) -> None:
    """And not in the middle of it: c1-b is the control of c1-a."""
    room = Room(prepared(how), "good")
    room.run(room.host())
    assert room.ended == Ending.CONFIRMED
    (frozen,) = [r for r in records(room, "cohort-frozen") if r["devices"] == ["c1-a"]]
    assert frozen["controls"] == ["c1-b"]
    (judged,) = records(room, "verdict-reached", device="c1-a")
    first, second = records(room, CALIBRATED, device="c1-b")
    assert first["n"] < frozen["n"]
    assert second["n"] > judged["n"]


def test_a_bench_has_one_controller_of_a_cryostat_at_a_time(
    prepared: Callable[[str], Prepared],
) -> None:
    room = Room(prepared(COMMAND), "good")
    room.run(room.host())
    kinds = [(r["kind"], r["device"]) for r in records(room, CALIBRATE, CALIBRATED)]
    assert len(kinds) == 12
    for (asked, one), (ended, other) in zip(kinds[::2], kinds[1::2], strict=True):
        assert (asked, ended, one) == (CALIBRATE, CALIBRATED, other)


@pytest.mark.parametrize("how", [DEVICE, COMMAND])
def test_what_goes_back_is_calibrated_again(prepared: Callable[[str], Prepared], how: str) -> None:
    room = Room(prepared(how), "drift")
    room.run(room.host())
    assert room.ended == Ending.ROLLED_BACK
    room.check_end()
    kinds = (CALIBRATED, "test-booted", "device-rolled-back")
    assert [r["kind"] for r in records(room, *kinds, device="rig-a")] == [
        CALIBRATED,
        "test-booted",
        CALIBRATED,
        "device-rolled-back",
        CALIBRATED,
    ]


@pytest.mark.parametrize("image", ["trim", "drift"])
@pytest.mark.parametrize("share", [0.15, 0.35, 0.5, 0.65, 0.8, 0.95])
def test_a_host_that_dies_leaves_the_calibration_to_the_next_one(
    prepared: Callable[[str], Prepared], sends: dict[str, int], image: str, share: float
) -> None:
    room = Room(prepared(COMMAND), image)
    if image not in sends:
        whole = Room(prepared(COMMAND), image)
        host = whole.host()
        whole.run(host)
        sends[image] = host.sent
    dying = room.host()
    dying.die_at_send = int(share * sends[image])
    assert room.run(dying) is None
    room.check_moment()
    if not room.ended:
        assert room.run(room.host()) is not None
    assert room.ended == (Ending.CONFIRMED if image == "trim" else Ending.ROLLED_BACK)
    room.check_end()


@pytest.fixture(scope="module")
def sends() -> dict[str, int]:
    """Image to the writes to lines of a whole run."""
    return {}


def test_the_t_mixture_judges_where_it_is_asked_for(tmp_path: Path) -> None:
    asked = "    every: 5 s\n    test: t-mixture\n    recalibrate: {command: [no-such-program]}\n"
    text = SMALL_FLEET.replace("    every: 5 s\n", asked)
    assert asked in text
    lab = SmallLab.lay_out(tmp_path / "lab", text)
    words = "Evidence of all: calibrated by the lab before its baseline, in its test boot and"
    deployed = lab.run("deploy", "good.bin", "--yes")
    deployed.expect(75, "needs an approval", words, "judged by the t-mixture")
    found = [r for r in lab.records() if r["kind"] == "verdict-reached"]
    assert found
    rules = {metric["rule"] for r in found for metric in r["evidence"]["metrics"].values()}
    assert rules == {"t-mixture"}
