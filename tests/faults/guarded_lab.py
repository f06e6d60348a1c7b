"""A lab under a policy whose rollout waits for two approvals, and the means to forge them."""

from __future__ import annotations

import base64
import json
import shutil
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from cryofw.engine.home import Home
from cryofw.engine.policy_store import PolicyStore
from cryofw.trust import Proof, Role, SeenHead, Statement, time_text
from tests.faults.attacked_lab import AttackedLab
from tests.flows.small_lab import SmallLab
from tests.unit.trust.people import People

if TYPE_CHECKING:
    from pathlib import Path

    from cryofw.rollout import Event, Plan
    from tests.unit.trust.soft_key import SoftKey

ISSUER = "https://gitlab.example"


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@dataclass
class JobIssuer:
    """A GitLab that makes job tokens."""

    rsa: rsa.RSAPrivateKey = field(
        default_factory=lambda: rsa.generate_private_key(65537, 2048), repr=False
    )
    ec: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1()), repr=False
    )

    @property
    def jwks(self) -> dict[str, Any]:
        numbers, point = self.rsa.public_key().public_numbers(), self.ec.public_key()
        at = point.public_numbers()
        return {
            "keys": [
                {
                    "kty": "RSA", "kid": "r1", "use": "sig", "alg": "RS256",
                    "n": base64url(numbers.n.to_bytes(256)), "e": base64url(b"\x01\x00\x01"),
                },
                {
                    "kty": "EC", "kid": "e1", "use": "sig", "crv": "P-256",
                    "x": base64url(at.x.to_bytes(32)), "y": base64url(at.y.to_bytes(32)),
                },
            ]
        }  # fmt: skip

    def claims(self, **changes: object) -> dict[str, object]:
        """What a good token says."""
        now = int(datetime.now(UTC).timestamp())
        return {
            "iss": ISSUER, "aud": "cryofw", "sub": "project_path:lab/firmware:ref:main",
            "project_path": "lab/firmware", "ref": "main", "ref_protected": "true",
            "job_id": "41", "pipeline_id": "7", "user_login": "anna", "sha": "ab" * 20,
            "iat": now, "nbf": now, "exp": now + 300, **changes,
        }  # fmt: skip

    def token(
        self, claims: dict[str, object], alg: str = "RS256", kid: str = "r1", **header: object
    ) -> str:
        """A token, signed as its algorithm says; `none` and unknown ones with nothing."""
        head = {"alg": alg, "kid": kid, "typ": "JWT", **header}
        signed = f"{base64url(json.dumps(head).encode())}.{base64url(json.dumps(claims).encode())}"
        raw = b""
        if alg == "RS256":
            raw = self.rsa.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        elif alg == "ES256":
            r, s = decode_dss_signature(self.ec.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
            raw = r.to_bytes(32) + s.to_bytes(32)
        return f"{signed}.{base64url(raw)}"


@dataclass
class GuardedLab(AttackedLab):
    """A lab whose stage `fleet` needs two of anna, bart, carol, rita and eve; anna asked for it.

    Attributes:
        person: whose ssh key is at hand.
        env: what else commands see.
    """

    people: People = field(default_factory=People)
    issuer: JobIssuer = field(default_factory=JobIssuer)
    person: str = "bart"
    env: dict[str, str] = field(default_factory=dict)

    @property
    def lab(self) -> SmallLab:
        """The lab, with a person's key at hand."""
        lab = SmallLab(self.directory / "lab")
        lab.env = {"CRYOFW_SSH_KEY": str(self.directory / "ssh" / self.person), **self.env}
        return lab

    @classmethod
    def lay_out(cls, directory: Path) -> GuardedLab:
        """A lab whose rollout waits; a plan that has not started lies in plan.json."""
        made = cls(directory)
        SmallLab.lay_out(directory / "lab")
        ssh = directory / "ssh"
        ssh.mkdir()
        for name, key in made.people.keys.items():
            if not key.is_fido:
                key.write(ssh / name)
        made.lab.run("plan", "drift.bin", "-o", "free.json").expect(0)
        made.pin()
        made.person = "anna"
        made.lab.run("plan", "drift.bin", "-o", "plan.json").expect(0)
        made.lab.run("deploy", "good.bin", "--yes").expect(75, "stage fleet has 0 of 2 approvals")
        made.person = "bart"
        return made

    def copy_to(self, directory: Path) -> GuardedLab:
        """Another one in the same state."""
        shutil.copytree(self.directory, directory, symlinks=True)
        return GuardedLab(directory, self.people, self.issuer)

    def pin(self, *, replace_it: bool = False, **changes: object) -> None:
        """Put a policy in force: that of the people, as changed."""
        gitlab = {
            "issuer": ISSUER,
            "audience": "cryofw",
            "projects": ["lab/firmware"],
            "jwks": self.issuer.jwks,
        }
        text = self.people.text(**{"gitlab": gitlab, **changes})
        PolicyStore(self.home.storage).pin(text, "policy.yaml", replace=replace_it)

    def revoke(self, **what: str) -> None:
        """Put a newer policy in force that revokes a key or a principal."""
        self.pin(version=4, revoked=[{**what, "at": "2026-11-20", "why": "laptop stolen"}])

    @property
    def home(self) -> Home:
        """The state directory."""
        return Home(self.directory / "lab" / ".cryofw")

    @property
    def plan(self) -> Plan:
        """The plan of the rollout that waits."""
        return self.home.load_plan(self.home.find(None))

    def statement(self, who: str = "bart@lab", **changes: Any) -> Statement:
        """An approval that would count, as changed."""
        home, plan = self.home, self.plan
        head, now = home.head(), home.now()
        assert head is not None
        assert plan.policy is not None
        made = Statement(
            act=Role.APPROVE,
            subject="fleet",
            rollout=plan.rollout,
            plan=plan.digest,
            principal=who,
            policy=plan.policy.digest,
            issued=time_text(now),
            expires=time_text(now + timedelta(hours=8)),
            nonce="0011",
            checkpoint=SeenHead(head.origin, head.size, head.root.hex()),
        )
        return replace(made, **changes)

    def key(self, name: str) -> SoftKey:
        """Somebody's key."""
        return self.people.keys[name]

    def offer(self, said: Statement | bytes, signature: str, *options: str) -> tuple[str, ...]:
        """The command that brings a signed statement from elsewhere."""
        file = self.directory / "lab" / "statement"
        file.write_bytes(said if isinstance(said, bytes) else said.canonical)
        file.with_name("statement.sig").write_text(signature)
        return ("approve", "--statement", "statement", "--signature", "statement.sig", *options)

    def approve(self, name: str, **changes: Any) -> None:
        """Let somebody approve rightly."""
        said = self.statement(f"{name.partition('-')[0]}@lab", **changes)
        signature = self.key(name).sign(said.canonical, said.act.namespace)
        self.lab.run(*self.offer(said, signature)).expect(0, "approved")

    def journal(self, event: Event) -> None:
        """Write a record that cryofw would not have written."""
        from cryofw.rollout import fields_of

        home = self.home
        with home.open_journal(home.clock, "mallory") as journal:
            journal.append(event.kind, rollout=self.plan.rollout, **fields_of(event))

    def proof(self, said: Statement, key: str) -> dict[str, object]:
        """A signed statement as a record has it."""
        signer = self.key(key)
        signature = signer.sign(said.canonical, said.act.namespace)
        return Proof(said.canonical.decode(), signature, signer.fingerprint).fields
