"""Requests that one process leaves for another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.engine.request_box import RequestBox
from cryofw.journal import FileStorage, MemoryStorage
from cryofw.rollout import events as e

if TYPE_CHECKING:
    from pathlib import Path


def test_requests_come_out_as_they_went_in_and_urgent_ones_first() -> None:
    storage = MemoryStorage()
    box = RequestBox(storage, "r-1")
    asked = [
        e.StageApproved("fleet", "bert", "soaked well"),
        e.QuarantineCleared("c1-a", "anna"),
        e.StopRequested("anna", "smoke"),
        e.AbortRequested("anna"),
    ]
    for i, event in enumerate(asked):
        box.put(event, f"{i:x}")
    found = [event for _, event in RequestBox(storage, "r-1").waiting()]
    assert set(map(str, found)) == set(map(str, asked))
    assert {type(event) for event in found[:2]} == {e.StopRequested, e.AbortRequested}


def test_a_request_stays_until_it_is_removed() -> None:
    box = RequestBox(MemoryStorage(), "r-1")
    box.put(e.AbortRequested("anna"), "0")
    ((name, _),) = box.waiting()
    assert len(box.waiting()) == 1
    box.remove(name)
    assert box.waiting() == []


def test_requests_of_another_rollout_are_not_ours() -> None:
    storage = MemoryStorage()
    RequestBox(storage, "r-1").put(e.AbortRequested("anna"), "0")
    assert RequestBox(storage, "r-10").waiting() == []


def test_a_broken_request_does_not_hide_the_others() -> None:
    storage = MemoryStorage()
    box = RequestBox(storage, "r-1")
    for name in ("0-abort-requested-1.json", "nonsense", "1-rollout-ended-2.json"):
        storage.write_atomic(f"requests/r-1/{name}", b"not json")
    box.put(e.StopRequested("anna"), "9")
    assert [event for _, event in box.waiting()] == [e.StopRequested("anna")]
    assert len(storage.list("requests/")) == 1


def test_a_link_in_place_of_a_request_is_removed_and_hides_no_stop(tmp_path: Path) -> None:
    storage = FileStorage(tmp_path / "state")
    box = RequestBox(storage, "r-1")
    box.put(e.StopRequested("anna"), "9")
    (tmp_path / "elsewhere").write_text("{}")
    planted = tmp_path / "state" / "requests" / "r-1" / "0-abort-requested-1.json"
    planted.symlink_to(tmp_path / "elsewhere")
    assert [event for _, event in box.waiting()] == [e.StopRequested("anna")]
    assert not planted.is_symlink()
    assert (tmp_path / "elsewhere").exists()
