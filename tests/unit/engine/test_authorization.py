"""Whose acts count in a rollout: people, never their keys, certificates or files."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from cryofw.engine.authorization import Authorization
from cryofw.engine.home import Home
from cryofw.engine.request_box import AdmittedRequests, RequestBox
from cryofw.errors import VerificationFailed
from cryofw.journal import MemoryStorage
from cryofw.journal.record import Entry, Record, make_record
from cryofw.rollout import Event, Plan, fields_of
from cryofw.rollout import cryostat_events as ce
from cryofw.rollout import events as e
from cryofw.rollout.plan import PlannedPolicy
from cryofw.trust import ActRefused, Policy, Role, SignatureInvalid, time_text
from tests.unit.rollout.perfect_lab import a_plan
from tests.unit.trust.people import NOW, People, signed, statement
from tests.unit.trust.soft_key import SoftKey, certificate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class Desk:
    """A rollout whose stage `fleet` needs two approvals; anna asked for it."""

    def __init__(self, **changes: object) -> None:
        self.people = People()
        self.policy: Policy = self.people.policy(**changes)
        frozen = PlannedPolicy(self.policy.digest, 3, "policy.yaml", {"fleet": 2})
        self.plan: Plan = replace(a_plan(), requester="anna@lab", policy=frozen)

    def proof(
        self, who: str, key: SoftKey, public: bytes | None = None, **changes: Any
    ) -> Mapping[str, object]:
        plan = self.plan
        act = {"rollout": plan.rollout, "plan": plan.digest, **changes}
        return signed(key, statement(self.policy, who, **act), public=public).fields

    def approval(
        self, who: str, key: SoftKey, public: bytes | None = None, nonce: str = "01"
    ) -> e.StageApproved:
        return e.StageApproved("fleet", who, "", self.proof(who, key, public, nonce=nonce))

    def start(self, by: str = "anna") -> e.RolloutStarted:
        release = self.plan.release
        soon = time_text(NOW + timedelta(minutes=5))
        said: dict[str, Any] = {"act": Role.DEPLOY, "subject": "start", "expires": soon}
        proof = self.proof(f"{by}@lab", self.people.keys[by], **said)
        return e.RolloutStarted(
            self.plan.digest, release.hash, release.version, "", f"{by}@lab", proof
        )

    def records(self, *events: Event) -> list[Record]:
        return [
            make_record(
                Entry(event.kind, self.plan.rollout, None, fields_of(event)),
                n,
                NOW.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
                "anna@lab",
            )
            for n, event in enumerate(events)
        ]

    def authorization(
        self, records: Sequence[Record] = (), current: Policy | None = None
    ) -> Authorization:
        return Authorization(self.plan, self.policy, current, lambda _head: True, records)

    def with_authority_for(self, *names: str) -> Desk:
        """The same with an authority that vouches for these people."""
        authority = {"key": self.people.keys["ca"].line, "principals": [*names]}
        self.policy = self.people.policy(authorities=[{**authority, "roles": ["approve"]}])
        frozen = PlannedPolicy(self.policy.digest, 3, "policy.yaml", {"fleet": 2})
        self.plan = replace(self.plan, policy=frozen)
        return self


def test_one_key_is_not_two_people_by_a_certificate_for_both() -> None:
    desk = Desk().with_authority_for("eve@lab", "bart@lab", "carol@lab")
    lent = SoftKey()
    blob = certificate(desk.people.keys["ca"], lent, ("bart@lab", "carol@lab"))
    authorization = desk.authorization()
    authorization.admit(desk.approval("bart@lab", lent, blob), NOW)
    with pytest.raises(ActRefused, match="one key"):
        authorization.admit(desk.approval("carol@lab", lent, blob, "02"), NOW)


def test_one_key_is_not_two_people_by_two_certificates() -> None:
    desk = Desk().with_authority_for("eve@lab", "bart@lab", "carol@lab")
    lent, authority = SoftKey(), desk.people.keys["ca"]
    first, second = (certificate(authority, lent, (who,)) for who in ("bart@lab", "carol@lab"))
    past = desk.records(desk.start(), desk.approval("bart@lab", lent, first))
    with pytest.raises(ActRefused, match="one key"):
        desk.authorization(past).admit(desk.approval("carol@lab", lent, second, "02"), NOW)


def test_a_certificate_does_not_make_a_persons_own_key_somebody_elses() -> None:
    """anna asked for it; with her own key under another name she would approve it."""
    desk = Desk().with_authority_for("eve@lab")
    own = desk.people.keys["anna"]
    blob = certificate(desk.people.keys["ca"], own, ("eve@lab",))
    with pytest.raises(SignatureInvalid, match="anna@lab"):
        desk.authorization().admit(desk.approval("eve@lab", own, blob), NOW)


def test_one_key_in_two_names_in_the_journal_stops_the_rollout() -> None:
    desk = Desk().with_authority_for("eve@lab", "bart@lab", "carol@lab")
    lent, authority = SoftKey(), desk.people.keys["ca"]
    first, second = (certificate(authority, lent, (who,)) for who in ("bart@lab", "carol@lab"))
    past = desk.records(
        desk.start(),
        desk.approval("bart@lab", lent, first),
        desk.approval("carol@lab", lent, second, "02"),
    )
    with pytest.raises(VerificationFailed, match="record 2"):
        desk.authorization(past).recheck(past)


def test_the_second_key_of_a_person_can_be_revoked_too() -> None:
    """An approval that was given again, with another key, is looked at like the first one."""
    desk = Desk()
    keys = desk.people.keys
    gone = [
        {"key": keys[name].fingerprint, "at": "2026-11-20", "why": "stolen"}
        for name in ("bart", "bart-2")
    ]
    past = desk.records(
        desk.start(),
        desk.approval("bart@lab", keys["bart"]),
        e.ApprovalVoided("fleet", "bart@lab", "stolen"),
        desk.approval("bart@lab", keys["bart-2"], nonce="02"),
    )
    first_only = desk.people.policy(version=4, revoked=gone[:1])
    assert desk.authorization(past, first_only).recheck(past) == []
    both = desk.people.policy(version=5, revoked=gone)
    (voided,) = desk.authorization(past, both).recheck(past)
    assert (voided.stage, voided.principal) == ("fleet", "bart@lab")


def test_an_override_that_nobody_signed_stops_the_rollout() -> None:
    desk = Desk()
    past = desk.records(desk.start(), ce.GuardOverridden(ce.EXPERIMENT, "anna@lab", "I may", "a"))
    with pytest.raises(VerificationFailed, match="an override that nobody gave"):
        desk.authorization(past).recheck(past)


def test_a_statement_stands_in_the_journal_once() -> None:
    desk = Desk()
    approval = desk.approval("bart@lab", desk.people.keys["bart"])
    past = desk.records(desk.start(), approval, approval)
    with pytest.raises(VerificationFailed, match="record 2"):
        desk.authorization(past).recheck(past)


def test_the_record_names_the_key_that_signed() -> None:
    desk = Desk()
    proof = {**desk.proof("bart@lab", desk.people.keys["bart"]), "key": "SHA256:" + "A" * 43}
    with pytest.raises(SignatureInvalid, match="another key"):
        desk.authorization().admit(e.StageApproved("fleet", "bart@lab", "", proof), NOW)


def test_a_clock_that_was_set_back_between_two_runs_brings_nothing_back(tmp_path: Path) -> None:
    desk = Desk()
    home = Home(tmp_path, MemoryStorage())
    past = desk.records(desk.start(), desk.approval("bart@lab", desk.people.keys["bart"]))
    readings = home.readings(desk.plan.rollout)
    soon = home.fold_rollout(desk.plan, past, readings).state
    assert soon.approvals.standing("fleet", NOW.timestamp()) == ["bart@lab"]

    late = make_record(Entry("journal-repaired"), 2, "2026-11-22T00:00:00.000Z", "anna@lab")
    state = home.fold_rollout(desk.plan, [*past, late], readings).state
    assert state.approvals.standing("fleet", NOW.timestamp()) == []


def test_a_request_is_looked_at_again_when_its_file_changes() -> None:
    """Whoever can write there swaps the file after it was let through, or uses its name again."""
    desk = Desk()
    storage, rollout = MemoryStorage(), desk.plan.rollout
    authorization = desk.authorization()
    refused: list[Event] = []
    box = AdmittedRequests(
        storage,
        rollout,
        lambda event: authorization.admit(event, NOW),
        lambda event, _why: refused.append(event),
    )
    good = desk.approval("bart@lab", desk.people.keys["bart"])
    name = RequestBox(storage, rollout).put(good, "01")
    assert box.waiting() == [(name, good)]
    assert box.waiting() == [(name, good)]  # it waits, and is not counted twice

    RequestBox(storage, rollout).put(e.StageApproved("fleet", "carol@lab"), "01")
    assert box.waiting() == []
    RequestBox(storage, rollout).put(e.StageApproved("fleet", "dora@lab"), "01")
    assert box.waiting() == []
    assert [getattr(event, "by", "") for event in refused] == ["carol@lab", "dora@lab"]


def test_a_request_of_another_form_is_none() -> None:
    storage = MemoryStorage()
    box = RequestBox(storage, "r-1")
    for number, stage in enumerate(("[]", "{}", "null", "7")):
        text = f'{{"stage": {stage}, "by": "anna"}}'
        storage.write_atomic(f"requests/r-1/1-stage-approved-{number}.json", text.encode())
    assert box.waiting() == []
    assert storage.list("requests/") == []
