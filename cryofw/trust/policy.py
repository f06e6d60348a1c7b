"""A policy: who may do what, with which keys, and how many must agree."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from cryofw.trust.statement import Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cryofw.trust.ssh_key import SshKey


class Touch(StrEnum):
    """What is asked of FIDO keys.

    ALWAYS: only a FIDO key that was touched approves. FIDO: a FIDO key must have been touched;
    other keys are as good. NEVER: nobody looks.
    """

    ALWAYS = "always"
    FIDO = "fido"
    NEVER = "never"


@dataclass(frozen=True)
class Principal:
    """A person or a job, with their keys; `gitlab` is the login by which GitLab knows them."""

    name: str
    keys: tuple[SshKey, ...] = ()
    gitlab: str = ""


@dataclass(frozen=True)
class Authority:
    """A key that makes certificates: for these principals, and for these roles."""

    key: SshKey
    principals: tuple[str, ...]
    roles: tuple[Role, ...]


@dataclass(frozen=True)
class Revocation:
    """A key (by its fingerprint) or a principal that does not count any more; why, since when."""

    key: str
    principal: str
    at: str
    why: str

    @property
    def text(self) -> str:
        """In words."""
        return f"{self.key or self.principal} was revoked on {self.at}: {self.why}"


@dataclass(frozen=True)
class ApprovalRules:
    """How many approvals each stage needs, and which of them count.

    Attributes:
        stages: stage to the number of different principals who must approve its start.
        default: the same for stages behind `then: approve` that are not named.
        lifetime_s: an approval is good for so many seconds.
        requester: whether whoever asked for the rollout may approve it.
    """

    stages: Mapping[str, int] = field(default_factory=dict)
    default: int = 1
    lifetime_s: float = 86_400.0
    requester: bool = False
    touch: Touch = Touch.FIDO


@dataclass(frozen=True)
class GitlabTrust:
    """Whose job tokens are believed.

    Attributes:
        issuer, audience: what a token must say of who made it, and for whom.
        projects: paths of the projects whose jobs may act.
        protected: whether only jobs of protected branches and tags may.
        jwks: the JSON Web Key Set of the issuer.
    """

    issuer: str
    audience: str
    projects: tuple[str, ...]
    protected: bool
    jwks: Mapping[str, object]


@dataclass(frozen=True)
class Policy:
    """A whole policy; `digest` is the hex SHA-256 of its file, which plans freeze.

    Attributes:
        version: a number that only grows; an older policy is refused where a newer one was seen.
        act_lifetime_s: a signed act must begin within so many seconds.
        rsa: whether RSA keys count.
    """

    version: int
    digest: str
    principals: Mapping[str, Principal]
    roles: Mapping[Role, tuple[str, ...]]
    approvals: ApprovalRules = field(default_factory=ApprovalRules)
    authorities: tuple[Authority, ...] = ()
    revoked: tuple[Revocation, ...] = ()
    rsa: bool = False
    act_lifetime_s: float = 600.0
    gitlab: GitlabTrust | None = None

    def holders(self, role: Role) -> tuple[str, ...]:
        """Who has a role; nobody, if the policy does not name it."""
        return self.roles.get(role, ())

    def owner_of(self, key: SshKey) -> Principal | None:
        """Whose key it is: it stands under one principal only."""
        return next((p for p in self.principals.values() if key in p.keys), None)

    def authority(self, key: SshKey) -> Authority | None:
        """The authority with this key."""
        return next((one for one in self.authorities if one.key == key), None)

    def by_gitlab(self, login: str) -> str:
        """The principal behind a GitLab login; empty if there is none."""
        return next((p.name for p in self.principals.values() if login and p.gitlab == login), "")

    def approvers(self, requester: str) -> list[str]:
        """Who may approve what `requester` asked for."""
        gone = {revoked.principal for revoked in self.revoked}
        if not self.approvals.requester:
            gone.add(requester)
        return [name for name in self.holders(Role.APPROVE) if name not in gone]

    def needed(self, stages: Iterable[tuple[str, bool]]) -> dict[str, int]:
        """How many approvals each stage needs.

        Args:
            stages: name, and whether fleet.yaml wants its start approved.
        """
        found = {}
        for name, wanted in stages:
            count = self.approvals.stages.get(name, self.approvals.default if wanted else 0)
            if count:
                found[name] = count
        return found


def revocation_of(
    policies: Iterable[Policy], principal: str, fingerprints: Iterable[str]
) -> Revocation | None:
    """Why a principal or one of these keys does not count; None if they do."""
    keys = set(fingerprints)
    for policy in policies:
        for revoked in policy.revoked:
            if revoked.key in keys or (revoked.principal and revoked.principal == principal):
                return revoked
    return None
