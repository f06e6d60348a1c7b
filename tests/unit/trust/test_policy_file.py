"""The policy file: every defect at once, with its place; and what the schema says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # no stubs here

from cryofw.trust import PolicyError, Role, Touch, parse_policy, policy_json_schema
from tests.unit.trust.people import People

PEOPLE = People()
KEY = PEOPLE.keys["anna"].line
OTHER = PEOPLE.keys["bart"].line

GOOD = f"""\
schema: cryofw.policy/v1
version: 7
principals:
  anna@lab: {{keys: ["{KEY} a comment"], gitlab: anna}}
  bart@lab: {{keys: ["{OTHER}"]}}
roles: {{approve: [bart@lab], deploy: [anna@lab]}}
approvals: {{stages: {{fleet: 1}}, lifetime: 8 h, touch: always, requester: true}}
acts: 2 min
revoked:
  - {{key: "SHA256:{"a" * 43}", at: "2026-11-20", why: laptop stolen}}
"""


def test_a_policy_is_read_whole() -> None:
    policy = parse_policy(GOOD.encode())

    assert policy.version == 7
    assert policy.holders(Role.APPROVE) == ("bart@lab",)
    assert policy.holders(Role.SIGN) == ()
    rules = policy.approvals
    assert (rules.lifetime_s, rules.touch, rules.requester) == (8 * 3600, Touch.ALWAYS, True)
    assert policy.act_lifetime_s == 120
    assert policy.by_gitlab("anna") == "anna@lab"
    assert policy.by_gitlab("") == policy.by_gitlab("eve") == ""
    assert policy.revoked[0].text.endswith("was revoked on 2026-11-20: laptop stolen")


def test_thresholds_by_stage_and_where_fleet_yaml_wants_an_approval() -> None:
    policy = PEOPLE.policy(approvals={"stages": {"fleet": 2}, "default": 3})

    needed = policy.needed([("rig", False), ("canary", True), ("fleet", True)])

    assert needed == {"canary": 3, "fleet": 2}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("cryofw.policy/v1", "cryofw.policy/v2", "policy.yaml:1:9: `cryofw.policy/v2`"),
        ("version: 7", "version: 0", "it must be at least 1"),
        ("version: 7\n", "", "`version` is missing"),
        ("acts: 2 min", "acts: 120", "a duration needs a unit"),
        ("acts: 2 min", "act: 2 min", "did you mean `acts`?"),
        ("touch: always", "touch: allways", "did you mean `always`?"),
        ("fleet: 1", "fleet: 0", "it must be at least 1"),
        ("fleet: 1", "fleet: 2", "2 must approve, and 1 may"),
        ("approve: [bart@lab]", "aprove: [bart@lab]", "did you mean `approve`?"),
        ("[bart@lab]", "[brat@lab]", "no principal `brat@lab`"),
        ("[bart@lab]", "[bart@lab, bart@lab]", "`bart@lab` stands twice"),
        (OTHER, KEY, "this is the key of anna@lab already"),
        (OTHER, "ssh-ed25519 AAAA", "not a public ssh key"),
        (f'bart@lab: {{keys: ["{OTHER}"]}}', "bart@lab: {}", "no key, and no authority"),
        ("laptop stolen}", "laptop stolen, principal: anna@lab}", "either a key or a principal"),
        ("2026-11-20", "yesterday", "not a date"),
        ("SHA256:", "MD5:", "not a fingerprint"),
        ("  bart@lab:", "  anna@lab:", "duplicate key `anna@lab`"),
        ("gitlab: anna", "gitlab: no", "policy.yaml:4:"),
        (GOOD, "[1, 2]", "a policy is a mapping"),
    ],
    ids=lambda text: "key" if "AAAA" in text else text[:20],
)
def test_each_defect_is_told_with_its_place(old: str, new: str, says: str) -> None:
    assert old in GOOD

    with pytest.raises(PolicyError) as refused:
        parse_policy(GOOD.replace(old, new, 1).encode())

    assert says in str(refused.value.why)
    assert "policy.yaml:" in refused.value.why
    assert refused.value.exit_code == 3


def test_all_defects_are_told_at_once() -> None:
    text = GOOD.replace("version: 7", "version: x").replace("acts: 2 min", "acts: soon")

    with pytest.raises(PolicyError, match="2 errors") as refused:
        parse_policy(text.encode())

    assert len(refused.value.findings) == 2


def test_one_login_is_one_person() -> None:
    principals: Any = PEOPLE.document()["principals"]

    with pytest.raises(PolicyError, match="the login of anna@lab already"):
        PEOPLE.policy(principals={**principals, "rita@lab": {"keys": [PEOPLE.keys["rita"].line],
                                                              "gitlab": "anna"}})  # fmt: skip


@pytest.mark.parametrize("data", [b"\xff\xfe", b"", b"a: &a [*a]", b"#" * (1 << 20 | 1)])
def test_what_is_no_policy_is_refused_in_words(data: bytes) -> None:
    with pytest.raises(PolicyError):
        parse_policy(data)


def test_the_schema_takes_what_the_loader_takes() -> None:
    schema = policy_json_schema()
    validator = Draft202012Validator(schema)

    assert validator.is_valid(json.loads(PEOPLE.text()))
    assert not validator.is_valid({**PEOPLE.document(), "version": 0})
    assert not validator.is_valid({**PEOPLE.document(), "extra": 1})


def test_the_schema_in_the_documents_is_the_one_of_the_loader() -> None:
    written = Path(__file__).parents[3] / "docs" / "policy.v1.schema.json"

    assert json.loads(written.read_text("utf-8")) == policy_json_schema()
