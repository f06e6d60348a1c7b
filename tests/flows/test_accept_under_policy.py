"""Acceptances of held devices where a policy says who may give them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from cryofw.rollout import fields_of
from cryofw.rollout.operator_events import DeviceAccepted
from cryofw.trust import ActRefused, Role, SignatureInvalid, time_text
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


def forge(lab: GuardedLab, event: DeviceAccepted) -> None:
    """Write it into the journal past the command that would ask for a signature."""
    with lab.home.open_journal(lab.home.clock, event.by) as journal:
        rollout = lab.plan.rollout
        journal.append(event.kind, rollout=rollout, device=event.device, **fields_of(event))


def signed(lab: GuardedLab, device: str, who: str = "carol") -> dict[str, object]:
    soon = time_text(lab.home.now() + timedelta(minutes=5))
    said = lab.statement(f"{who}@lab", act=Role.ACCEPT, subject=device, expires=soon)
    return lab.proof(said, who)


def test_an_acceptance_that_nobody_signed_stops_the_rollout(lab: GuardedLab) -> None:
    event = DeviceAccepted("c2-a", "carol@lab", "trust me")
    with pytest.raises(SignatureInvalid, match="nobody signed the device-accepted"):
        lab.home.record(lab.plan, event, "carol@lab")
    forge(lab, event)
    lab.lab.run("resume").expect(4, "holds an acceptance that nobody gave")
    lab.lab.run("audit", "verify").expect(4, "the policy asks for the role `accept`")


@pytest.mark.parametrize(
    ("device", "who", "says"),
    [
        ("c1-a", "carol", "is for another subject"),
        ("c2-a", "bart", "bart@lab"),
    ],
)
def test_an_acceptance_is_of_one_device_by_somebody_with_the_role(
    lab: GuardedLab, device: str, who: str, says: str
) -> None:
    event = DeviceAccepted("c2-a", f"{who}@lab", "trust me", "accept", signed(lab, device, who))
    with pytest.raises(ActRefused) as caught:
        lab.home.record(lab.plan, event, f"{who}@lab")
    assert says in str(caught.value)
    forge(lab, event)
    lab.lab.run("resume").expect(4, "holds an acceptance that nobody gave")


def test_a_request_without_a_signature_is_not_obeyed(lab: GuardedLab) -> None:
    box = lab.home.requests(lab.plan.rollout)
    box.put(DeviceAccepted("c2-a", "rita@lab", "trust me"), "01")
    lab.approve("bart")
    lab.approve("carol")
    ran = lab.lab.run("resume").expect(0)
    assert "was refused" in ran.err
    assert not box.waiting()
    lab.lab.run("audit", "verify").expect(0)


def test_a_signed_one_is_proven_again(lab: GuardedLab) -> None:
    event = DeviceAccepted("c2-a", "carol@lab", "trust me", "accept", signed(lab, "c2-a"))
    lab.home.record(lab.plan, event, "carol@lab")
    lab.lab.run("resume").expect(75, "0 of 2 approvals")
    lab.lab.run("audit", "verify").expect(0)
