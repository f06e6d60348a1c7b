"""`cryofw audit` and `cryofw schema`, as a person and as a program call them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cryofw.cli.main import run
from cryofw.fleet import fleet_json_schema
from cryofw.journal import FileStorage, Journal

if TYPE_CHECKING:
    from pathlib import Path

    from cryofw.clock import Clock


@pytest.fixture
def state(tmp_path: Path, clock: Clock) -> Path:
    """A state directory whose journal has two records."""
    directory = tmp_path / "state"
    with Journal.open(FileStorage(directory), clock=clock, who="anna@lab") as journal:
        journal.append("lab-adopted", device="c1-a", why="flashed by hand")
        journal.append("lab-adopted", device="c1-b", why="flashed by hand")
    return directory


def test_whole_journal_is_verified(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", "verify", "--state", str(state)]) == 0
    shown = capsys.readouterr().out
    assert "verified  2 records" in shown
    assert "no rules for  lab-adopted" in shown
    assert run(["audit", "verify", "--state", str(state), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    checkpoint = json.loads((state / "checkpoint.json").read_text())
    assert (report["verified"], report["records"]) == (True, 2)
    assert report["root"] == checkpoint["root"]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda data: data.replace(b"c1-b", b"c1-c"), "record 1 of the journal, at byte 1"),
        (lambda data: data.replace(b'{"v":1,"n":1', b'{"v":1,"n":7'), "record 1 of the journal"),
        (lambda data: data[:-3], "ends after record 0"),
        (lambda data: b"", "the journal is empty"),
    ],
)
def test_changed_journal_ends_with_exit_code_4(
    state: Path, capsys: pytest.CaptureFixture[str], damage: object, says: str
) -> None:
    path = state / "journal.jsonl"
    assert callable(damage)
    path.write_bytes(damage(path.read_bytes()))
    before = content(state)
    assert run(["audit", "verify", "--state", str(state)]) == 4
    assert says in capsys.readouterr().err
    assert content(state) == before


def content(directory: Path) -> dict[str, bytes]:
    """Every file below a directory."""
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_missing_journal_ends_with_exit_code_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["verify"], ["show"], ["checkpoint"], ["prove", "c1-a"], ["retire"]):
        assert run(["audit", *command, "--state", str(tmp_path / "none")]) == 3
        said = capsys.readouterr().err
        assert "does not exist" in said or "there is no journal" in said
    assert not (tmp_path / "none").exists()


def test_journal_is_told(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", "show", "--state", str(state), "--device", "c1-b"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "2026-11-20",
        "21:07:03      1  anna@lab: lab adopted c1-b",
        "                 flashed by hand",
    ]


def test_records_come_out_as_they_lie_in_the_journal(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["audit", "show", "--state", str(state), "--json"]) == 0
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    written = [json.loads(line) for line in (state / "journal.jsonl").read_bytes().splitlines()]
    assert printed == written


@pytest.mark.parametrize(
    ("filters", "says"),
    [
        (["--device", "c1-c"], "knows no device 'c1-c'"),
        (["--kind", "lab-adopte"], "knows no kind 'lab-adopte'"),
        (["--rollout", "r-1"], "knows no rollout 'r-1'"),
        (["--who", "bert"], "knows no person 'bert'"),
        (["--around", "2"], "there is no record 2"),
    ],
)
def test_filter_that_nothing_can_pass_is_wrong_usage(
    state: Path, capsys: pytest.CaptureFixture[str], filters: list[str], says: str
) -> None:
    """Or a misspelt device would look like one that nothing happened to."""
    assert run(["audit", "show", "--state", str(state), *filters]) == 2
    captured = capsys.readouterr()
    assert says in captured.err
    assert captured.out == ""


def test_known_kind_that_did_not_happen_is_no_error(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["audit", "show", "--state", str(state), "--kind", "gate-failed"]) == 0
    assert run(["audit", "show", "--state", str(state), "--who", "anna@lab"]) == 0
    assert "c1-b" in capsys.readouterr().out


def test_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == fleet_json_schema()


def test_misspelt_kind_names_all_that_there_are(
    tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = [f"kind-{letter}" for letter in "abcdefghijklmnopqrst"]
    with Journal.open(FileStorage(tmp_path), clock=clock, who="anna@lab") as journal:
        for kind in kinds:
            journal.append(kind, device=f"c-{kind}")
    assert run(["audit", "show", "--kind", "gate-pased", "--state", str(tmp_path)]) == 2
    shown = capsys.readouterr().err
    assert all(kind in shown for kind in kinds)
    assert "gate-passed" in shown
    assert run(["audit", "show", "--kind", "gate-passed", "--state", str(tmp_path)]) == 0
    assert run(["audit", "show", "--device", "x", "--state", str(tmp_path)]) == 2
    assert "and 8 more" in capsys.readouterr().err
