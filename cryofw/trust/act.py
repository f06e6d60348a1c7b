"""Did this person sign this act, and does the policy let them? Pure: the time is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from cryofw.trust.errors import ActRefused, SignatureInvalid
from cryofw.trust.policy import Touch, revocation_of
from cryofw.trust.ssh_key import TOUCHED, VERIFIED, KeyType
from cryofw.trust.sshsig import SshSignature, parse_signature
from cryofw.trust.statement import Role, Statement, parse_statement

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from cryofw.trust.policy import Policy

_SKEW = timedelta(minutes=5)


@dataclass(frozen=True)
class Proof:
    """What stands in the journal beside an act that was signed.

    Attributes:
        statement: its exact text; signature: armored.
        key: fingerprint of the key that signed, for people; the signature has the key itself.
        job: claims of the CI job that acted, if its identity was verified.
    """

    statement: str
    signature: str
    key: str = ""
    job: Mapping[str, object] = field(default_factory=dict)

    @property
    def fields(self) -> dict[str, object]:
        """As a field of a record."""
        found: dict[str, object] = {
            "statement": self.statement,
            "signature": self.signature,
            "key": self.key,
        }
        return {**found, "job": dict(self.job)} if self.job else found

    @classmethod
    def of(cls, fields: object) -> Proof | None:
        """From the field of a record or a request; None if it holds none."""
        if not isinstance(fields, dict):
            return None
        statement, signature = fields.get("statement"), fields.get("signature")
        if not isinstance(statement, str) or not isinstance(signature, str):
            return None
        job = fields.get("job")
        return cls(
            statement, signature, str(fields.get("key", "")), job if isinstance(job, dict) else {}
        )


@dataclass(frozen=True)
class Expected:
    """What an act has to be about; None where anything will do."""

    role: Role
    subject: str | None
    rollout: str = ""
    plan: str = ""


@dataclass(frozen=True)
class ProvenAct:
    """An act whose signature was checked and whose author may do it."""

    statement: Statement
    key: str
    touched: bool

    @property
    def principal(self) -> str:
        """Who did it."""
        return self.statement.principal


def prove_act(
    proof: Proof, expected: Expected, policy: Policy, now: datetime, current: Policy | None = None
) -> ProvenAct:
    """Check a signed act against a policy.

    Args:
        proof: statement and signature.
        expected: what it has to be about.
        policy: in force for this act: the one that its plan froze.
        now: when it is used, or was.
        current: the latest policy that is known; what it revokes does not count either.

    Raises:
        BadInput: statement or signature are malformed.
        SignatureInvalid: the signature or the certificate does not hold.
        ActRefused: the policy says no: another act, role, plan or time, a revoked key, no touch.
    """
    data = proof.statement.encode()
    statement = parse_statement(data)
    signature = parse_signature(proof.signature)
    flags = signature.verify(data, expected.role.namespace)
    if proof.key not in ("", signature.key.fingerprint):
        raise SignatureInvalid(
            f"the {_what(statement)} is said to be signed with another key than it is",
            why=f"said is {proof.key[:60]}, it is {signature.key.fingerprint}",
        )
    _require_same(statement, expected, policy)
    _require_time(statement, policy, now)
    _require_owner(signature, statement, policy, now)
    known = [policy, *([current] if current else [])]
    keys = [signature.key.fingerprint]
    if signature.certificate is not None:
        keys.append(signature.certificate.authority.fingerprint)
    if revoked := revocation_of(known, statement.principal, keys):
        raise ActRefused(
            f"the {_what(statement)} does not count: its key or principal was revoked",
            why=revoked.text,
            hint="somebody else has to do it, or the same person with another key",
        )
    require_role(policy, statement.principal, expected.role)
    touched = _require_touch(signature, flags, policy, statement)
    return ProvenAct(statement, signature.key.fingerprint, touched)


def require_role(policy: Policy, principal: str, role: Role) -> None:
    """Raises ActRefused if the policy does not give the role to the principal."""
    holders = policy.holders(role)
    if principal not in holders:
        raise ActRefused(
            f"{principal} may not {role}",
            why=f"the policy gives the role `{role}` to {', '.join(holders) or 'nobody'}",
            hint="ask one of them",
        )


def _what(statement: Statement) -> str:
    about = f" of {statement.subject}" if statement.subject else ""
    word = "approval" if statement.act is Role.APPROVE else f"{statement.act}"
    return f"{word}{about} by {statement.principal}"


def _require_same(statement: Statement, expected: Expected, policy: Policy) -> None:
    pairs = (
        ("act", statement.act, expected.role),
        ("plan", statement.plan, expected.plan),
        ("rollout", statement.rollout, expected.rollout),
        ("subject", statement.subject, expected.subject),
        ("policy", statement.policy, policy.digest),
    )
    for name, said, wanted in pairs:
        if wanted is not None and said != wanted:
            what = "stage" if name == "subject" and expected.role is Role.APPROVE else name
            raise ActRefused(
                f"the {_what(statement)} is for another {what}",
                why=f"it says {said[:40] or 'none'!r}, this is {wanted[:40] or 'none'!r}",
                hint="each statement is good for one act of one plan: sign a new one",
            )


def _require_time(statement: Statement, policy: Policy, now: datetime) -> None:
    approves = statement.act is Role.APPROVE
    lifetime_s = policy.approvals.lifetime_s if approves else policy.act_lifetime_s
    if statement.issued_at > now + _SKEW:
        raise ActRefused(
            f"the {_what(statement)} was issued in the future",
            why=f"at {statement.issued}, it is {now:%Y-%m-%dT%H:%M:%SZ}",
            hint="one of the clocks is wrong",
        )
    if statement.expires_at - statement.issued_at > timedelta(seconds=lifetime_s):
        raise ActRefused(
            f"the {_what(statement)} would hold for longer than the policy allows",
            why=f"until {statement.expires}; the policy allows {lifetime_s:g} s",
            hint="sign a new one",
        )
    if now >= statement.expires_at:
        raise ActRefused(
            f"the {_what(statement)} has expired",
            why=f"at {statement.expires}, it is {now:%Y-%m-%dT%H:%M:%SZ}",
            hint="sign a new one",
        )


def _require_owner(
    signature: SshSignature, statement: Statement, policy: Policy, now: datetime
) -> None:
    """The key, or the authority behind it, speaks for the principal that the statement names."""
    if signature.key.type is KeyType.RSA and not policy.rsa:
        raise ActRefused(
            "the policy takes no RSA keys",
            why=f"{signature.key.fingerprint} is one",
            hint="use an Ed25519, ECDSA or FIDO key, or say `rsa: true` in the policy",
        )
    if signature.certificate is None:
        owner = policy.owner_of(signature.key)
        if owner is None or owner.name != statement.principal:
            raise SignatureInvalid(
                f"the key {signature.key.fingerprint} is not one of {statement.principal}",
                why=f"the policy knows it as one of {owner.name}" if owner else "nobody has it",
                hint="`cryofw policy show` lists who has which keys",
            )
        return
    certificate = signature.certificate
    authority = policy.authority(certificate.authority)
    if authority is None:
        raise SignatureInvalid(
            f"the certificate {certificate.identity!r} comes from an unknown authority",
            why=certificate.authority.fingerprint,
            hint="`cryofw policy show` lists the authorities",
        )
    certificate.require_valid(now)
    owner = policy.owner_of(certificate.key)
    if owner is not None and owner.name != statement.principal:
        raise SignatureInvalid(
            f"the certificate {certificate.identity!r} is of a key of {owner.name}",
            why=f"{certificate.key.fingerprint} stands in the policy: it speaks for nobody else",
            hint="whoever certified it was misled: tell the authority",
        )
    if statement.principal not in certificate.principals:
        raise SignatureInvalid(
            f"the certificate {certificate.identity!r} is not one of {statement.principal}",
            why=f"it is for {', '.join(certificate.principals)}",
            hint="the principals of a certificate are those names of the policy",
        )
    if statement.principal not in authority.principals or statement.act not in authority.roles:
        raise ActRefused(
            f"the authority {certificate.authority.fingerprint} may not vouch for that",
            why=f"the policy takes its word for {', '.join(authority.principals)}, "
            f"and to {', '.join(authority.roles)}",
            hint="get a certificate from the authority of that role",
        )


def _require_touch(
    signature: SshSignature, flags: int, policy: Policy, statement: Statement
) -> bool:
    rule = policy.approvals.touch
    is_fido = signature.key.type.is_fido
    touched = bool(is_fido and flags & TOUCHED)
    if is_fido and not touched and rule is not Touch.NEVER:
        raise ActRefused(
            f"nobody touched the key for the {_what(statement)}",
            why="the FIDO token says that no user was present",
            hint="make the key without `-O no-touch-required`, and touch it when it blinks",
        )
    if rule is Touch.ALWAYS and statement.act is Role.APPROVE and not touched:
        raise ActRefused(
            f"the {_what(statement)} was not made by touching a FIDO key",
            why=f"{signature.key.fingerprint} is a key of the kind {signature.key.type}",
            hint="the policy says `touch: always`: sign with an `sk-` key",
        )
    if signature.certificate and signature.certificate.verify_required and not flags & VERIFIED:
        raise ActRefused(
            f"nobody proved to the FIDO token who they are for the {_what(statement)}",
            why="the certificate asks for a PIN or a finger (verify-required)",
            hint="make the key with `-O verify-required`",
        )
    return touched
