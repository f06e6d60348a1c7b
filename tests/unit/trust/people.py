"""The people of a lab, their keys, and the policy that knows them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryofw.trust import Expected, Policy, Proof, Role, Statement, parse_policy, time_text
from tests.unit.trust.soft_key import SoftKey

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = datetime(2026, 11, 20, 23, 0, tzinfo=UTC)
PLAN = "ab" * 32


@dataclass
class People:
    """Keys by whose they are; the policy's text is made of them."""

    keys: dict[str, SoftKey] = field(
        default_factory=lambda: {
            "anna": SoftKey(),
            "bart": SoftKey(),
            "bart-2": SoftKey("ecdsa"),
            "carol": SoftKey("sk-ed25519"),
            "dora": SoftKey("sk-ecdsa"),
            "rita": SoftKey("rsa"),
            "ca": SoftKey("ecdsa"),
            "deploy-ca": SoftKey(),
            "stranger": SoftKey(),
        }
    )

    def document(self) -> dict[str, object]:
        """The policy as YAML's values, to be changed by a test."""

        def line(name: str) -> str:
            return self.keys[name].line

        return {
            "schema": "cryofw.policy/v1",
            "version": 3,
            "principals": {
                "anna@lab": {"keys": [line("anna")], "gitlab": "anna"},
                "bart@lab": {"keys": [line("bart"), line("bart-2")], "gitlab": "bart"},
                "carol@lab": {"keys": [line("carol")]},
                "dora@lab": {"keys": [line("dora")]},
                "rita@lab": {"keys": [line("rita")]},
                "eve@lab": {},
            },
            "authorities": [
                {"key": line("ca"), "principals": ["eve@lab"], "roles": ["approve"]},
                {"key": line("deploy-ca"), "principals": ["eve@lab"], "roles": ["deploy"]},
            ],
            "roles": {
                "deploy": ["anna@lab", "dora@lab", "eve@lab"],
                "approve": ["anna@lab", "bart@lab", "carol@lab", "rita@lab", "eve@lab"],
                "abort": ["bart@lab"],
                "override": ["anna@lab"],
                "accept": ["carol@lab"],
                "sign": ["anna@lab"],
                "release": ["rita@lab"],
            },
            "approvals": {"stages": {"fleet": 2}},
        }

    def text(self, **changes: object) -> bytes:
        """The policy's file; JSON is YAML."""
        return json.dumps({**self.document(), **changes}, indent=1).encode()

    def policy(self, **changes: object) -> Policy:
        """The policy."""
        return parse_policy(self.text(**changes))


def statement(policy: Policy, who: str = "bart@lab", **changes: object) -> Statement:
    """An approval of the stage `fleet` that would count."""
    made = Statement(
        act=Role.APPROVE,
        subject="fleet",
        rollout="r-abababab",
        plan=PLAN,
        principal=who,
        policy=policy.digest,
        issued=time_text(NOW),
        expires=time_text(NOW + timedelta(hours=24)),
        nonce="00112233",
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # a test names fields that there are


def signed(
    key: SoftKey,
    said: Statement,
    *,
    namespace: str = "",
    job: Mapping[str, object] | None = None,
    flags: int = 1,
    said_flags: int | None = None,
    public: bytes | None = None,
    algorithm: str = "",
) -> Proof:
    """A statement with a signature."""
    signature = key.sign(
        said.canonical,
        namespace or said.act.namespace,
        flags=flags,
        said_flags=said_flags,
        public=public,
        algorithm=algorithm,
    )
    return Proof(said.canonical.decode(), signature, key.fingerprint, job or {})


EXPECTED = Expected(Role.APPROVE, "fleet", "r-abababab", PLAN)
