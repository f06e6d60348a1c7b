"""Which image ran when, from the records of a journal."""

from __future__ import annotations

from datetime import UTC, datetime

from cryofw.engine.release_timeline import ReleaseTimeline
from cryofw.journal import Record

OLD, NEW = "0a" * 32, "1b" * 32


def record(n: int, at_s: float, kind: str, device: str | None = "c1-a", **fields: object) -> Record:
    t = datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return Record(1, n, t, "anna@lab", "r-1", device, kind, fields)


def story(*more: Record) -> ReleaseTimeline:
    return ReleaseTimeline.fold([
        record(0, 1000, "rollout-started", None, plan="p", release=NEW, version="1.1.0"),
        record(1, 1010, "device-checked", hash=OLD, version="1.0.0"),
        record(2, 2000, "test-booted", hash=NEW, t_s=2000.0),
        record(3, 3000, "image-confirmed", hash=NEW),
        *more,
    ])  # fmt: skip


def test_what_ran_when() -> None:
    timeline = story()

    versions = [
        one.version
        for t_s in (0, 1500, 2000, 9000)
        if (one := timeline.at("c1-a", t_s)) is not None
    ]
    assert versions == ["1.0.0", "1.0.0", "1.1.0", "1.1.0"]
    assert timeline.latest_rollout == "r-1"
    assert timeline.at("c1-b", 2000) is None


def test_the_first_image_was_read_and_not_installed() -> None:
    timeline = story()

    assert timeline.installed_between("c1-a", 0, 1500) is None
    installed = timeline.installed_between("c1-a", 1500, 2500)
    assert installed is not None
    assert (installed.t_s, installed.hash, installed.installed) == (2000, NEW, True)
    before = timeline.before("c1-a", installed)
    assert before is not None
    assert (before.version, before.installed) == ("1.0.0", False)
    assert timeline.before("c1-a", before) is None


def test_a_confirm_of_what_runs_is_no_new_beginning() -> None:
    assert story().installed_between("c1-a", 2500, 9000) is None


def test_the_way_back_is_a_beginning_too() -> None:
    timeline = story(record(4, 4000, "device-rolled-back", hash=OLD))

    found = timeline.at("c1-a", 5000)
    assert found is not None
    assert (found.version, found.t_s) == ("1.0.0", 4000)


def test_nobody_knows_what_a_stuck_device_runs() -> None:
    found = story(record(4, 4000, "device-stuck", why="silent")).at("c1-a", 5000)

    assert found is not None
    assert found.hash == ""


def test_a_clock_that_was_set_back_does_not_mix_the_order() -> None:
    timeline = story(record(4, 1500, "device-reverted", hash=OLD, why="it hung"))

    found = timeline.at("c1-a", 2000)
    assert found is not None
    assert (found.version, found.t_s) == ("1.0.0", 2000)
