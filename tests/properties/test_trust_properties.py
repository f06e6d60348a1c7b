"""Whatever stands in a policy, a statement, a signature or a token: words, never a traceback."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from cryofw.errors import CryofwError
from cryofw.trust import (
    Expected,
    Policy,
    PolicyError,
    Proof,
    Role,
    parse_policy,
    parse_signature,
    prove_act,
    verify_job_token,
)
from cryofw.trust.policy import GitlabTrust
from tests.unit.trust.people import EXPECTED, NOW, People, signed, statement

PEOPLE = People()
POLICY = PEOPLE.policy()
TEXT = PEOPLE.text().decode()
SIGNED = signed(PEOPLE.keys["bart"], statement(POLICY))
GITLAB = GitlabTrust("https://gitlab.example", "cryofw", ("lab/firmware",), True, {"keys": []})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_a_policy_is_read_or_refused_with_its_defects(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(TEXT) - 1))
    cut = data.draw(st.integers(0, 30))
    text = TEXT[:at] + data.draw(st.text(max_size=10)) + TEXT[at + cut :]

    try:
        found = parse_policy(text.encode("utf-8", "surrogatepass"))
    except PolicyError as error:
        findings = error.findings
        assert findings
    else:
        assert isinstance(found, Policy)


@settings(max_examples=120, deadline=None)
@given(key=st.sampled_from(sorted(PEOPLE.document())), value=JSON)
def test_a_policy_with_any_value_anywhere(key: str, value: object) -> None:
    with suppress(PolicyError):  # and nothing else
        parse_policy(json.dumps({**PEOPLE.document(), key: value}).encode())


@settings(max_examples=150, deadline=None)
@given(statement_text=st.text(max_size=300) | JSON.map(json.dumps), signature=st.text(max_size=300))
def test_any_statement_with_any_signature_is_refused(statement_text: str, signature: str) -> None:
    for proof in (
        Proof(statement_text, SIGNED.signature),
        Proof(SIGNED.statement, signature),
        Proof(statement_text, signature),
    ):
        with suppress(CryofwError):
            prove_act(proof, EXPECTED, POLICY, NOW)
            raise AssertionError("it was taken")


@settings(max_examples=150, deadline=None)
@given(blob=st.binary(max_size=400))
def test_any_armoured_bytes_are_no_signature_of_ours(blob: bytes) -> None:
    text = base64.b64encode(b"SSHSIG" + blob).decode()
    with suppress(CryofwError):
        found = parse_signature(
            f"-----BEGIN SSH SIGNATURE-----\n{text}\n-----END SSH SIGNATURE-----\n"
        )
        assert POLICY.owner_of(found.key) is None


@settings(max_examples=150, deadline=None)
@given(token=st.text(max_size=200) | st.lists(JSON.map(json.dumps)).map(".".join))
def test_any_token_is_refused(token: str) -> None:
    with suppress(CryofwError):
        verify_job_token(token, GITLAB, datetime.now(UTC))
        raise AssertionError("it was taken")


@given(
    role=st.sampled_from([role for role in Role if role is not Role.APPROVE]),
    subject=st.text(max_size=10),
)
def test_an_approval_is_no_other_act(role: Role, subject: str) -> None:
    expected = Expected(role, subject, EXPECTED.rollout, EXPECTED.plan)

    with suppress(CryofwError):
        prove_act(SIGNED, expected, POLICY, NOW)
        raise AssertionError("it was taken")
