"""The shape of a policy file (`cryofw.policy/v1`), for its loader and its JSON Schema."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from cryofw.errors import BadInput
from cryofw.fleet.strict_document import Duration, StrictDocument, Text
from cryofw.trust.policy import Touch
from cryofw.trust.ssh_key import parse_key_line
from cryofw.trust.statement import Role


def _key(value: object) -> object:
    if isinstance(value, str):
        try:
            parse_key_line(value)
        except BadInput as error:
            hint = "the line of a .pub file: `ssh-ed25519 AAAA... comment`"
            raise PydanticCustomError(
                "ssh_key", "{message}", {"message": f"not a public ssh key: {error}", "hint": hint}
            ) from None
    return value


Key = Annotated[
    str,
    BeforeValidator(_key),
    WithJsonSchema({
        "type": "string",
        "pattern": "^(ssh-|ecdsa-sha2-|sk-)[^ ]+ [A-Za-z0-9+/=]+( .*)?$",
        "examples": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA... anna@lab"],
    }),
]  # fmt: skip
PrincipalName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}$")]
RoleName = Annotated[Role, Field(strict=False)]
Names = Annotated[list[PrincipalName], Field(min_length=1, max_length=200)]
Count = Annotated[int, Field(ge=1, le=100)]
Date = Annotated[str, Field(pattern=r"^20[0-9]{2}-[01][0-9]-[0-3][0-9]$", examples=["2026-11-20"])]
Fingerprint = Annotated[str, Field(pattern=r"^SHA256:[A-Za-z0-9+/]{43}$")]


class PrincipalDocument(StrictDocument):
    """A person, or a job: their keys, and how GitLab calls them."""

    keys: list[Key] = Field(
        default_factory=list,
        max_length=100,
        description="Public ssh keys. Several keys of one principal count once.",
    )
    gitlab: Text | None = Field(
        None,
        description="Login at GitLab: who starts a pipeline there has asked for its rollout.",
    )


class AuthorityDocument(StrictDocument):
    """An ssh certificate authority."""

    key: Key = Field(description="Its public key.")
    principals: Names = Field(description="For whom its certificates count.")
    roles: list[RoleName] = Field(min_length=1, description="For which acts they count.")


class RolesDocument(StrictDocument):
    """Role to principals; a role that is not named is nobody's."""

    sign: Names | None = Field(None, description="May sign images with `cryofw sign`.")
    release: Names | None = Field(None, description="May change the release repository.")
    approve: Names | None = Field(None, description="May approve stages.")
    deploy: Names | None = Field(None, description="May start and resume rollouts.")
    abort: Names | None = Field(None, description="May abort and roll back.")
    override: Names | None = Field(None, description="May pass over guards and take risks.")
    accept: Names | None = Field(None, description="May accept devices by name.")


class ApprovalsDocument(StrictDocument):
    """How many must agree, and whose word counts."""

    stages: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")], Count] = (
        Field(
            default_factory=dict,
            description="How many different principals must approve the start of a stage.",
        )
    )
    default: Count = Field(
        1, description="The same for other stages that come after `then: approve`; default 1."
    )
    lifetime: Duration = Field(86_400.0, description="How long an approval is good; default 24 h.")
    requester: bool = Field(False, description="Whether who asked for it may approve it.")
    touch: Touch = Field(
        Touch.FIDO,
        strict=False,
        description="`always`: only a touched FIDO key approves. `fido` (default): FIDO keys must "
        "have been touched. `never`: nobody looks.",
    )


class RevocationDocument(StrictDocument):
    """A key or a principal that does not count any more."""

    key: Fingerprint | None = Field(None, description="As `ssh-keygen -l` shows it.")
    principal: PrincipalName | None = Field(None, description="With all of their keys.")
    at: Date = Field(description="Since when, for people: nothing of it counts, old or new.")
    why: Text = Field(description="What people will read.")


class JwksDocument(StrictDocument):
    """A JSON Web Key Set, as `/oauth/discovery/keys` gives it."""

    keys: list[dict[str, Any]] = Field(min_length=1, max_length=20)


class GitlabDocument(StrictDocument):
    """Which CI jobs are believed to be who they say (`id_tokens`)."""

    issuer: Text = Field(description="`iss` of its tokens.", examples=["https://gitlab.example"])
    audience: Text = Field(description="`aud` of the job's id_token.")
    projects: list[Text] = Field(min_length=1, description="`project_path` of jobs that may act.")
    protected: bool = Field(True, description="Only from protected branches and tags.")
    jwks: JwksDocument = Field(description="The issuer's keys.")


class PolicyDocument(StrictDocument):
    """Who may do what to this lab, with which keys, and how many must agree."""

    schema_: Literal["cryofw.policy/v1"] = Field(alias="schema", description="Format of this file.")
    version: int = Field(ge=1, le=2**31 - 1, description="Goes up with every change.")
    principals: dict[PrincipalName, PrincipalDocument] = Field(
        min_length=1, description="People and jobs, by the names that the record will show."
    )
    authorities: list[AuthorityDocument] = Field(
        default_factory=list, description="Who makes ssh certificates."
    )
    roles: RolesDocument
    approvals: ApprovalsDocument | None = None
    acts: Duration = Field(600.0, description="A signed act must begin so soon; default 10 min.")
    rsa: bool = Field(False, description="Whether RSA keys count.")
    revoked: list[RevocationDocument] = Field(default_factory=list)
    gitlab: GitlabDocument | None = None
