"""One signed act against a policy: what counts, and each reason why something does not."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from cryofw.errors import BadInput, CryofwError
from cryofw.trust import (
    ActRefused,
    Expected,
    Proof,
    Role,
    SignatureInvalid,
    parse_statement,
    prove_act,
    time_text,
)
from tests.unit.trust.people import EXPECTED, NOW, People, signed, statement
from tests.unit.trust.soft_key import SoftKey, certificate, option


@pytest.fixture(scope="module")
def people() -> People:
    return People()


@pytest.mark.parametrize(
    ("who", "key"),
    [("anna", "anna"), ("bart", "bart"), ("bart", "bart-2"), ("carol", "carol")],
)
def test_a_key_of_the_policy_speaks_for_its_principal(people: People, who: str, key: str) -> None:
    policy = people.policy()
    said = statement(policy, f"{who}@lab")

    proven = prove_act(signed(people.keys[key], said), EXPECTED, policy, NOW)

    assert proven.principal == f"{who}@lab"
    assert proven.key == people.keys[key].fingerprint
    assert proven.touched is people.keys[key].is_fido


def test_rsa_counts_only_where_the_policy_says_so(people: People) -> None:
    policy = people.policy(rsa=True)

    said = statement(policy, "rita@lab")

    assert prove_act(signed(people.keys["rita"], said), EXPECTED, policy, NOW).principal


def test_a_certificate_speaks_for_whom_its_authority_may_vouch(people: People) -> None:
    policy = people.policy()
    key, now = SoftKey("sk-ed25519"), int(NOW.timestamp())
    blob = certificate(
        people.keys["ca"], key, ("eve@lab",), valid_after=now - 60, valid_before=now + 1,
        options=option("verify-required"),
    )  # fmt: skip
    said = statement(policy, "eve@lab")

    proven = prove_act(signed(key, said, public=blob, flags=5), EXPECTED, policy, NOW)

    assert proven.principal == "eve@lab"
    with pytest.raises(ActRefused, match="proved to the FIDO token"):
        prove_act(signed(key, said, public=blob, flags=1), EXPECTED, policy, NOW)
    with pytest.raises(SignatureInvalid, match="expired"):
        prove_act(
            signed(key, said, public=blob, flags=5), EXPECTED, policy, NOW + timedelta(seconds=1)
        )


@pytest.mark.parametrize("touch", ["always", "fido", "never"])
@pytest.mark.parametrize(("key", "flags"), [("bart", 0), ("carol", 0), ("carol", 1)])
def test_what_touch_asks_of_which_key(people: People, touch: str, key: str, flags: int) -> None:
    approvals = {"stages": {"fleet": 2}, "touch": touch}
    policy = people.policy(approvals=approvals)
    proof = signed(people.keys[key], statement(policy, f"{key}@lab"), flags=flags)
    touched = key == "carol" and flags == 1
    counts = {"always": touched, "fido": touched or key == "bart", "never": True}[touch]

    if counts:
        assert prove_act(proof, EXPECTED, policy, NOW).touched is touched
    else:
        with pytest.raises(ActRefused, match="touch"):
            prove_act(proof, EXPECTED, policy, NOW)


def test_an_approval_ends_when_it_says_and_not_a_second_later(people: People) -> None:
    policy = people.policy()
    proof = signed(people.keys["bart"], statement(policy))
    end = NOW + timedelta(hours=24)

    assert prove_act(proof, EXPECTED, policy, end - timedelta(seconds=1)).principal == "bart@lab"
    with pytest.raises(ActRefused, match="has expired"):
        prove_act(proof, EXPECTED, policy, end)


def test_acts_are_shorter_lived_than_approvals(people: People) -> None:
    policy = people.policy()
    expected = replace(EXPECTED, role=Role.ABORT, subject="abort")
    soon, late = (time_text(NOW + timedelta(minutes=minutes)) for minutes in (10, 11))

    for until, counts in ((soon, True), (late, False)):
        said = statement(policy, act=Role.ABORT, subject="abort", expires=until)
        proof = signed(people.keys["bart"], said)
        if counts:
            assert prove_act(proof, expected, policy, NOW).principal == "bart@lab"
        else:
            with pytest.raises(ActRefused, match="longer than the policy allows"):
                prove_act(proof, expected, policy, NOW)


def test_what_a_later_policy_revokes_does_not_count_under_an_earlier_one(people: People) -> None:
    frozen = people.policy()
    later = people.policy(
        version=4,
        revoked=[{"principal": "bart@lab", "at": "2026-11-20", "why": "left the lab"}],
    )
    proof = signed(people.keys["bart"], statement(frozen))

    assert prove_act(proof, EXPECTED, frozen, NOW).principal == "bart@lab"
    with pytest.raises(ActRefused, match="left the lab"):
        prove_act(proof, EXPECTED, frozen, NOW, later)


def test_without_a_subject_to_expect_any_will_do(people: People) -> None:
    policy = people.policy()
    proof = signed(people.keys["bart"], statement(policy, subject="anything"))

    anything = Expected(Role.APPROVE, None, EXPECTED.rollout, EXPECTED.plan)

    assert prove_act(proof, anything, policy, NOW).statement.subject == "anything"


@pytest.mark.parametrize("at", range(0, 560, 7))
def test_no_byte_of_a_statement_can_be_changed(people: People, at: int) -> None:
    policy = people.policy()
    proof = signed(people.keys["bart"], statement(policy))
    text = proof.statement
    at = at % len(text)
    other = "~" if text[at] != "~" else "!"

    with pytest.raises(CryofwError):
        prove_act(
            replace(proof, statement=text[:at] + other + text[at + 1 :]), EXPECTED, policy, NOW
        )


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text + " ",
        lambda text: text.replace("\n", ""),
        lambda text: text.replace('"nonce"', '"extra": 1, "nonce"'),
        lambda text: text.replace('"nonce": "00112233"', '"nonce": 7'),
        lambda text: text.replace('"size": 0', '"size": -1'),
        lambda text: text.replace("cryofw.act/v1", "cryofw.act/v2"),
        lambda text: text.replace('"approve"', '"adore"'),
        lambda text: text.replace("2026-11-20T23:00:00Z", "yesterday"),
        lambda text: "[" * 5000,
        lambda text: "{}",
        lambda text: "null",
        lambda text: "",
    ],
)
def test_what_is_no_statement_is_told_as_bad_input(people: People, edit: object) -> None:
    text = statement(people.policy()).canonical.decode()
    assert callable(edit)

    with pytest.raises(BadInput, match="not a statement"):
        parse_statement(edit(text).encode())


def test_a_proof_comes_back_from_a_record_as_it_went_in(people: People) -> None:
    proof = signed(people.keys["bart"], statement(people.policy()), job={"job_id": "41"})

    assert Proof.of(proof.fields) == proof
    assert Proof.of({}) is None
    assert Proof.of("text") is None
    assert Proof.of({"statement": 1, "signature": ""}) is None
