"""Rollouts judged by what the lab measures: in virtual time the simulated lab shows it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cryofw.health import MetricSample, reading_from_json
from cryofw.journal import JOURNAL_NAME
from cryofw.rollout import Ending, PlannedSource, parse_plan
from cryofw.simulator import PullCable, ScheduledFault
from tests.flows.memory_room import FLEET, Room, prepare
from tests.flows.small_lab import FLEET as SMALL_FLEET
from tests.flows.small_lab import SmallLab

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from cryofw.image import Algorithm, PublicKey
    from cryofw.simulator import LabSpec
    from tests.flows.memory_room import Prepared

READOUT = "readout_snr: {unit: dB, worse: lower, margin: 0.5, reject: 1.5, limit: 26}"
BY_QUERY = (
    "readout_snr: {unit: dB, worse: lower, margin: 0.5, reject: 1.5, limit: 26, "
    "source: prometheus, "
    "query: 'snr_db{controller=\"${controller}\"}'}"
)
BY_COMMAND = (
    "gain: {unit: dB, worse: lower, margin: 0.5, reject: 1.5, source: command, "
    'run: [no-such-program, "${cryostat}"]}'
)
SERVER = "telemetry: {prometheus: {url: 'http://127.0.0.1:9'}}\n"


def fleet(metrics: str, *, hardware: bool = True) -> str:
    text = FLEET.replace(READOUT, metrics)
    assert metrics in text
    text = text.replace("defaults:\n", f"{SERVER}defaults:\n")
    if "gain:" in metrics:
        simulated = "metrics: {readout_snr: {nominal"
        gain = "metrics: {gain: {nominal: 20}, readout_snr: {nominal"
        assert simulated in text
        text = text.replace(simulated, gain)
    if not hardware:
        for word in ("5a01", "5a11", "5a12"):
            text = text.replace(f', hw: "{word}"', "")
        assert "hw:" not in text
    return text


def samples(room: Room) -> list[MetricSample]:
    (name,) = [name for name in room.disk.entries if name.endswith("readings.jsonl")]
    lines = [json.loads(line) for line in room.disk.entries[name].splitlines()]
    found = [reading_from_json(line) for line in lines if "c" not in line]
    return [one for one in found if isinstance(one, MetricSample)]


@pytest.fixture(scope="module")
def key(
    image_keys: Mapping[Algorithm, tuple[PublicKey, Callable[[bytes], bytes]]],
) -> tuple[PublicKey, Callable[[bytes], bytes]]:
    return next(iter(image_keys.values()))


@pytest.fixture(scope="module")
def mixed(key: tuple[PublicKey, Callable[[bytes], bytes]]) -> Prepared:
    """One metric of the device, one of the lab."""
    return prepare(*key, fleet(f"{READOUT}, {BY_COMMAND}"))


def without_cryo_group(spec: LabSpec) -> LabSpec:
    profiled = (
        replace(one, profile=replace(one.profile, cryo_group=False)) for one in spec.controllers
    )
    return replace(spec, controllers=tuple(profiled))


@pytest.fixture(scope="module")
def plain(key: tuple[PublicKey, Callable[[bytes], bytes]]) -> Prepared:
    """Devices without group 64; the lab measures all there is."""
    text = fleet(f"{BY_QUERY}, {BY_COMMAND}", hardware=False)
    return prepare(*key, text, change=without_cryo_group)


def test_the_plan_names_the_sources_of_each_device_and_keeps_them(plain: Prepared) -> None:
    plan = plain.plans["good"]
    sources = plan.devices["c1-a"].sources
    assert sources == {
        "readout_snr": PlannedSource("prometheus", query='snr_db{controller="c1-a"}', stale_s=60.0),
        "gain": PlannedSource("command", run=("no-such-program", "cryo-1"), stale_s=60.0),
    }
    assert parse_plan(plan.canonical) == plan


def test_device_and_lab_are_sampled_together(mixed: Prepared) -> None:
    room = Room(mixed, "good")
    room.run(room.host())
    assert room.ended == Ending.CONFIRMED
    room.check_end()
    seen = samples(room)
    assert all(one.lab.keys() == {"gain"} for one in seen if one.lab)
    whole = [one for one in seen if one.lab and one.values]
    assert len(whole) > 0.9 * len(seen)
    assert all(one.values.keys() == {"readout_snr"} for one in whole)


@pytest.mark.parametrize("image", ["good", "drift"])
def test_devices_without_the_cryo_group_are_judged_by_the_lab_alone(
    plain: Prepared, image: str
) -> None:
    room = Room(plain, image)
    room.run(room.host())
    room.finish()
    assert not any(one.values for one in samples(room)), "no device was asked for a metric"
    if image == "drift":
        assert b"readout_snr" in room.disk.entries[JOURNAL_NAME]


def test_a_host_that_dies_in_the_soak_replays_what_the_lab_measured(mixed: Prepared) -> None:
    counted = Room(mixed, "good")
    host = counted.host()
    counted.run(host)
    for share in (0.3, 0.6, 0.9):
        room = Room(mixed, "good")
        dying = room.host()
        dying.die_at_send = int(share * host.sent)
        assert room.run(dying) is None
        room.finish()


def test_a_device_that_is_gone_hides_nothing_of_the_lab(mixed: Prepared) -> None:
    """Its cable is out for a moment: the instruments beside it go on."""
    room = Room(mixed, "good")
    room.run(room.host(), faults=[ScheduledFault(4.0, "rig-a", PullCable(60.0))])
    room.finish()
    alone = [one for one in samples(room) if one.lab and not one.values]
    assert alone
    assert all(one.gaps["readout_snr"].startswith("unavailable: ") for one in alone)


def test_a_metric_that_nothing_measures_lets_no_device_be_touched(
    key: tuple[PublicKey, Callable[[bytes], bytes]],
) -> None:
    unknown = BY_COMMAND.replace("gain:", "phase:")
    room = Room(prepare(*key, fleet(f"{READOUT}, {unknown}")), "good")
    room.run(room.host())
    assert room.ended == Ending.REFUSED
    room.check_end()
    assert {one.gaps["phase"] for one in samples(room)} == {
        "missing: the simulated lab has no such reading"
    }


def test_the_commands_drive_a_fleet_that_prometheus_measures(tmp_path: Path) -> None:
    """`plan` no longer refuses it, and no server is asked in virtual time."""
    text = SMALL_FLEET.replace(
        "worse: lower, margin: 0.5, reject: 1.5, limit: 20}",
        "worse: lower, margin: 0.5, reject: 1.5, limit: 20, source: prometheus, "
        "query: 'snr_db{controller=\"${controller}\"}'}",
    ).replace("defaults:\n", f"{SERVER}defaults:\n")
    lab = SmallLab.lay_out(tmp_path / "lab", text)
    before = lab.see()
    lab.run("deploy", "drift.bin", "--yes").expect(6, "readout_snr from prometheus")
    assert set(lab.running().values()) == {"factory"}
    lab.check_end(before)
