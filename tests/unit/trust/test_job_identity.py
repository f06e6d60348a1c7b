"""Tokens of CI jobs: what a good one leaves in the record, and what is none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cryofw.errors import CryofwError
from cryofw.trust import ActRefused, SignatureInvalid, verify_job_token
from cryofw.trust.policy import GitlabTrust
from tests.faults.guarded_lab import ISSUER, JobIssuer

NOW = datetime.now(UTC)
ISSUING = JobIssuer()


def claims_now(**changes: object) -> dict[str, object]:
    """What a token says that was made when these tests began."""
    at = int(NOW.timestamp())
    return ISSUING.claims(**{"iat": at, "nbf": at, "exp": at + 300, **changes})


def trust(**changes: object) -> GitlabTrust:
    jwks = changes.pop("jwks", ISSUING.jwks)
    assert isinstance(jwks, dict)
    return GitlabTrust(
        ISSUER, "cryofw", ("lab/firmware",), bool(changes.get("protected", True)), jwks
    )


@pytest.mark.parametrize(("alg", "kid"), [("RS256", "r1"), ("ES256", "e1")])
def test_a_good_token_leaves_its_claims_and_not_itself(alg: str, kid: str) -> None:
    token = ISSUING.token(claims_now(secret="hush"), alg, kid)

    claims = verify_job_token(token, trust(), NOW)

    assert (claims["project_path"], claims["job_id"], claims["user_login"]) == (
        "lab/firmware", "41", "anna",
    )  # fmt: skip
    assert "secret" not in claims
    assert token not in str(claims)


def test_several_audiences_and_an_open_branch_where_that_is_allowed() -> None:
    claims = claims_now(aud=["vault", "cryofw"], ref_protected="false", ref="try-this")
    token = ISSUING.token(claims)

    assert verify_job_token(token, trust(protected=False), NOW)["ref"] == "try-this"
    with pytest.raises(ActRefused, match="not protected"):
        verify_job_token(token, trust(), NOW)


def test_a_minute_of_another_clock_is_forgiven_and_not_two() -> None:
    token = ISSUING.token(claims_now())
    end = NOW + timedelta(seconds=300)

    assert verify_job_token(token, trust(), end + timedelta(seconds=50))
    assert verify_job_token(token, trust(), NOW - timedelta(seconds=50))
    with pytest.raises(ActRefused, match="expired"):
        verify_job_token(token, trust(), end + timedelta(seconds=120))
    with pytest.raises(ActRefused, match="not valid yet"):
        verify_job_token(token, trust(), NOW - timedelta(seconds=120))


@pytest.mark.parametrize("claim", ["iss", "aud", "exp", "project_path", "ref_protected"])
@pytest.mark.parametrize("value", [None, True, [], {}, 7])
def test_a_claim_that_is_not_what_it_should_be(claim: str, value: object) -> None:
    if (claim, value) == ("ref_protected", True):
        return
    token = ISSUING.token(claims_now(**{claim: value}))

    with pytest.raises(ActRefused):
        verify_job_token(token, trust(), NOW)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a.b",
        "a.b.c",
        "....",
        "x" * 20_000,
        "e30.e30.e30",
        "e30.W10.AA",
        "eyJhbGciOiJub25lIn0.e30.",
    ],
)
def test_what_is_no_token(token: str) -> None:
    with pytest.raises(SignatureInvalid):
        verify_job_token(token, trust(), NOW)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_no_part_of_a_token_can_be_changed(part: int) -> None:
    parts = ISSUING.token(claims_now()).split(".")
    at = len(parts[part]) // 2
    letter = "A" if parts[part][at] != "A" else "B"
    parts[part] = parts[part][:at] + letter + parts[part][at + 1 :]

    with pytest.raises(CryofwError):
        verify_job_token(".".join(parts), trust(), NOW)


def test_a_key_set_that_cannot_be_used() -> None:
    token = ISSUING.token(claims_now())
    key = ISSUING.jwks["keys"][0]
    broken: list[dict[str, object]] = [
        {"keys": []},
        {"keys": "r1"},
        {},
        {"keys": [key, key]},
        {"keys": [{**key, "kty": "oct"}]},
        {"keys": [{**key, "alg": "RS512"}]},
        {"keys": [{**key, "use": "enc"}]},
        {"keys": [{**key, "n": 7}]},
        {"keys": [{**key, "n": "AQAB"}]},
    ]
    for jwks in broken:
        with pytest.raises(SignatureInvalid):
            verify_job_token(token, trust(jwks=jwks), NOW)
    critical = ISSUING.token(claims_now(), crit=["b64"], b64=False)
    with pytest.raises(SignatureInvalid, match="not signed with a signing key"):
        verify_job_token(critical, trust(), NOW)
