"""Plans that a person edited after they were made: what the policy demands does not lie in them."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from cryofw.engine.policy_store import policy_entry
from cryofw.rollout import Plan, fields_of, parse_plan
from cryofw.rollout import events as e
from cryofw.trust import Proof, Role, time_text
from tests.faults.guarded_lab import GuardedLab
from tests.unit.trust.people import signed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def waiting_lab(tmp_path_factory: pytest.TempPathFactory) -> GuardedLab:
    return GuardedLab.lay_out(tmp_path_factory.mktemp("waiting") / "all")


@pytest.fixture
def lab(waiting_lab: GuardedLab, tmp_path: Path) -> GuardedLab:
    """The rollout that waited was aborted; nobody approved anything."""
    made = waiting_lab.copy_to(tmp_path / "all")
    made.person = "bart"
    made.lab.run("abort", "--yes").expect(0)
    made.person = "anna"
    made.lab.run("plan", "drift.bin", "-o", "plan.json", "--force").expect(0)
    return made


def edit(lab: GuardedLab, change: Callable[[dict[str, Any]], None]) -> Plan:
    """The plan in plan.json, edited, in the one form that is read."""
    file = lab.directory / "lab" / "plan.json"
    fields = json.loads(file.read_bytes())
    change(fields)
    data = json.dumps(fields, sort_keys=True, indent=1).encode() + b"\n"
    file.write_bytes(data)
    return parse_plan(data)


def ask_for_no_approvals(fields: dict[str, Any]) -> None:
    fields["policy"]["approvals"] = {}


def call_the_fleet_something_else(fields: dict[str, Any]) -> None:
    fields["policy"]["approvals"] = {}
    for stage in fields["stages"]:
        stage["name"] = stage["name"].replace("fleet", "others")
    for device in fields["devices"].values():
        device["stage"] = device["stage"].replace("fleet", "others")


@pytest.mark.parametrize("change", [ask_for_no_approvals, call_the_fleet_something_else])
def test_a_plan_cannot_ask_for_fewer_approvals_than_its_policy(
    lab: GuardedLab, change: Callable[[dict[str, Any]], None]
) -> None:
    edit(lab, change)
    before = lab.lab.running()

    lab.lab.run("deploy", "--plan", "plan.json", "--yes").expect(5, "approvals", "make a new plan")

    assert lab.lab.running() == before
    assert lab.lab.records()[-1]["kind"] == "rollout-ended"


def test_one_that_was_started_past_the_command_does_not_go_on(lab: GuardedLab) -> None:
    """The journal of a host where an older cryofw, or somebody else, wrote the start."""
    plan = edit(lab, ask_for_no_approvals)
    assert plan.policy is not None
    lab.home.save_plan(plan)
    lab.home.storage.write_atomic(
        policy_entry(plan.rollout), lab.home.storage.read("policy/policy.yaml")
    )
    said = lab.statement(
        "anna@lab",
        act=Role.DEPLOY,
        subject="start",
        rollout=plan.rollout,
        plan=plan.digest,
        policy=plan.policy.digest,
        expires=time_text(lab.home.now() + timedelta(minutes=5)),
    )
    proof: Proof = signed(lab.key("anna"), said)
    started = e.RolloutStarted(
        plan.digest, plan.release.hash, plan.release.version, "", "anna@lab", proof.fields
    )
    with lab.home.open_journal(lab.home.clock, "anna@lab") as journal:
        journal.append(started.kind, rollout=plan.rollout, **fields_of(started))

    lab.lab.run("resume", plan.rollout).expect(4, "approvals")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--no-way-back", "*"), "no way back"),
    ],
)
def test_a_risk_that_was_taken_is_not_struck_out(
    lab: GuardedLab, options: tuple[str, ...], says: str
) -> None:
    """Who starts a plan with risks needs the role `override`: they stand in it."""
    for image in lab.home.storage.list("images/"):
        lab.home.storage.remove(image)
    lab.lab.run("plan", "drift.bin", *options, "-o", "plan.json", "--force").expect(0)
    plan = edit(lab, lambda fields: fields.update(overrides={}))

    lab.lab.run("deploy", "--plan", "plan.json", "--yes").expect(5, says, "make a new plan")

    assert plan.rollout not in {r["rollout"] for r in lab.lab.records()}
