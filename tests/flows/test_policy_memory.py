"""A policy that is in force stays in force, also for who can write into the state directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cryofw.engine.policy_store import RELEASES, PolicyStore
from tests.faults.guarded_lab import GuardedLab

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def waiting_lab(tmp_path_factory: pytest.TempPathFactory) -> GuardedLab:
    return GuardedLab.lay_out(tmp_path_factory.mktemp("waiting") / "all")


@pytest.fixture
def lab(waiting_lab: GuardedLab, tmp_path: Path) -> GuardedLab:
    made = waiting_lab.copy_to(tmp_path / "all")
    made.person = "anna"
    return made


def lose(lab: GuardedLab) -> None:
    for name in ("policy/policy.yaml", "policy/source"):
        lab.home.storage.remove(name)


def write(lab: GuardedLab, **changes: object) -> str:
    name = f"policy-{len(changes)}-{changes.get('version', 3)}.yaml"
    (lab.directory / "lab" / name).write_bytes(lab.people.text(**changes))
    return name


def test_a_policy_that_is_gone_is_missed(lab: GuardedLab) -> None:
    """A start that was signed tells that there was one, also in an older journal."""
    lose(lab)
    lab.lab.run("resume").expect(5, "the policy that was in force here is gone")
    lab.person = "bart"
    lab.lab.run("abort", "--yes").expect(0)  # what makes a lab safer does not wait for it
    lab.lab.run("plan", "drift.bin").expect(5, "is gone", "cryofw policy unpin")
    lab.lab.run("deploy", "--plan", "free.json", "--yes").expect(5, "is gone")


def test_an_older_one_is_not_put_in_its_place(lab: GuardedLab) -> None:
    newer, older = write(lab, version=5), write(lab, version=4, rsa=True)
    lab.lab.run("policy", "pin", newer).expect(0)
    lab.lab.run("policy", "pin", older).expect(5, "has seen version 5")
    lose(lab)
    lab.lab.run("policy", "pin", older).expect(5, "has seen version 5")
    PolicyStore(lab.home.storage).pin(lab.people.text(version=4, rsa=True), "by hand")
    lab.lab.run("resume").expect(5, "is not the one that was put in force")

    lab.lab.run("policy", "pin", newer).expect(0, "version 5")
    lab.lab.run("resume").expect(75, "0 of 2 approvals")
    lab.lab.run("policy", "pin", older, "--force").expect(0, "version 4")
    lab.lab.run("resume").expect(75, "0 of 2 approvals")
    lab.lab.run("audit", "show", "--kind", "policy-pinned").expect(0, "version 4", "version 5")
    lab.lab.run("audit", "verify").expect(0, "verified")


def test_a_damaged_one_is_put_right_by_the_same_file(lab: GuardedLab) -> None:
    newer = write(lab, version=5)
    lab.lab.run("policy", "pin", newer).expect(0)
    lab.home.storage.write_atomic("policy/policy.yaml", b"version: [")
    lab.lab.run("resume").expect(3, "policy")
    lab.lab.run("policy", "pin", newer).expect(0, "version 5")
    lab.lab.run("resume").expect(75, "0 of 2 approvals")


def test_the_policy_of_the_releases_is_not_replaced_by_a_file(lab: GuardedLab) -> None:
    """A higher number, or the same file, would cut the host off from what is released."""
    lose(lab)
    PolicyStore(lab.home.storage).pin(lab.people.text(version=9), RELEASES)
    for name in (write(lab, version=99), write(lab, version=9)):
        lab.lab.run("policy", "pin", name).expect(5, "comes with the releases", "--force")
    lab.lab.run("policy", "show").expect(0, "version 9 from releases")
    lab.lab.run("policy", "pin", write(lab, version=99), "--force").expect(0, "version 99")


def test_it_is_taken_out_of_force_by_name(lab: GuardedLab) -> None:
    lab.lab.run("policy", "unpin", "--why", " ").expect(2, "needs a reason")
    lab.lab.run("policy", "unpin", "--why", "the lab moves").expect(0, "none is in force")
    lab.lab.run("policy", "unpin", "--why", "again").expect(5, "no policy is in force")
    lab.lab.run("audit", "show", "--kind", "policy-unpinned").expect(0, "the lab moves")
    lab.lab.run("audit", "verify").expect(0, "verified")
