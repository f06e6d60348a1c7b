"""Reads a policy file, strictly: all defects at once, or a complete policy."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from cryofw.fleet.document import MAX_BYTES, Document, Mark, Problem, read_document
from cryofw.fleet.finding import Finding
from cryofw.fleet.shape import check_shape
from cryofw.trust.errors import PolicyError
from cryofw.trust.policy import (
    ApprovalRules,
    Authority,
    GitlabTrust,
    Policy,
    Principal,
    Revocation,
)
from cryofw.trust.policy_document import PolicyDocument
from cryofw.trust.ssh_key import parse_key_line
from cryofw.trust.statement import Role

if TYPE_CHECKING:
    from cryofw.fleet.document import Path

SCHEMA_ID = "urn:cryofw:policy:v1"


def parse_policy(data: bytes, name: str = "policy.yaml") -> Policy:
    """Read a policy.

    Raises:
        PolicyError: with every defect of the file `name`.
    """
    document = read_document(_text(data, name), name)
    if isinstance(document.value, dict):
        check_shape(document, PolicyDocument)
    elif not document.findings:
        document.report(Mark(1, 1), "a policy is a mapping of keys to values")
    if not document.findings:
        written = PolicyDocument.model_validate(document.value)
        _check(document, written)
        if not document.findings:
            return _policy(written, hashlib.sha256(data).hexdigest())
    raise PolicyError(name, sorted(document.findings))


def _text(data: bytes, name: str) -> str:
    if len(data) > MAX_BYTES:
        raise PolicyError(name, [Finding(0, 0, "the file is larger than 1 MiB")])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        finding = Finding(line, column, "not UTF-8 text", "save the file as UTF-8")
        raise PolicyError(name, [finding]) from None


def _check(document: Document, written: PolicyDocument) -> None:
    """What a shape cannot say: names that exist, keys of one person, enough approvers."""
    _check_names(document, written)
    _check_keys(document, written)
    approvers = len(set(written.roles.approve or ()))
    rules = written.approvals
    counts: list[tuple[Path, int]] = []
    if rules is not None:
        counts = [(("approvals", "stages", n), count) for n, count in rules.stages.items()]
        counts.append((("approvals", "default"), rules.default))
    for path, count in counts:
        if count > approvers:
            what = f"{count} must approve, and {approvers or 'nobody'} may"
            _report(document, path, what, "name more principals under `roles: approve`")
    for index, revoked in enumerate(written.revoked):
        if (revoked.key is None) == (revoked.principal is None):
            what = "a revocation names either a key or a principal"
            _report(document, ("revoked", index), what)


def _check_names(document: Document, written: PolicyDocument) -> None:
    lists: list[tuple[Path, list[str]]] = [
        (("roles", role.value), names)
        for role in Role
        if (names := getattr(written.roles, role.value)) is not None
    ]
    lists += [
        (("authorities", index, "principals"), one.principals)
        for index, one in enumerate(written.authorities)
    ]
    for path, names in lists:
        for index, name in enumerate(names):
            if name not in written.principals:
                known = ", ".join(written.principals)
                _report(document, (*path, index), f"no principal `{name}`", f"known: {known}")
            elif name in names[:index]:
                _report(document, (*path, index), f"`{name}` stands twice")
    vouched = {name for one in written.authorities for name in one.principals}
    for name, principal in written.principals.items():
        if not principal.keys and name not in vouched:
            what = f"`{name}` has no key, and no authority vouches for them"
            _report(document, ("principals", name), what, "keys: [ssh-ed25519 ...]")
    logins: dict[str, str] = {}
    for name, principal in written.principals.items():
        if principal.gitlab and (other := logins.setdefault(principal.gitlab, name)) != name:
            what = f"`{principal.gitlab}` is the login of {other} already"
            _report(document, ("principals", name, "gitlab"), what)


def _check_keys(document: Document, written: PolicyDocument) -> None:
    """A key that stood under two names would let one person count twice."""
    seen: dict[bytes, str] = {}
    places: list[tuple[Path, str, str]] = [
        (("principals", name, "keys", index), name, line)
        for name, principal in written.principals.items()
        for index, line in enumerate(principal.keys)
    ]
    places += [
        (("authorities", index, "key"), f"authority {index + 1}", one.key)
        for index, one in enumerate(written.authorities)
    ]
    for path, owner, line in places:
        other = seen.setdefault(parse_key_line(line).blob, owner)
        if other != owner:
            hint = "one key is one person, or else one authority"
            _report(document, path, f"this is the key of {other} already", hint)


def _report(document: Document, path: Path, message: str, hint: str = "") -> None:
    document.report_problem(Problem(path, message, hint))


def _policy(written: PolicyDocument, digest: str) -> Policy:
    rules = written.approvals
    gitlab = written.gitlab
    return Policy(
        version=written.version,
        digest=digest,
        principals={
            name: Principal(name, tuple(map(parse_key_line, one.keys)), one.gitlab or "")
            for name, one in written.principals.items()
        },
        roles={role: tuple(getattr(written.roles, role.value) or ()) for role in Role},
        approvals=ApprovalRules(
            dict(rules.stages), rules.default, rules.lifetime, rules.requester, rules.touch
        )
        if rules
        else ApprovalRules(),
        authorities=tuple(
            Authority(parse_key_line(one.key), tuple(one.principals), tuple(one.roles))
            for one in written.authorities
        ),
        revoked=tuple(
            Revocation(one.key or "", one.principal or "", one.at, one.why)
            for one in written.revoked
        ),
        rsa=written.rsa,
        act_lifetime_s=written.acts,
        gitlab=GitlabTrust(
            gitlab.issuer,
            gitlab.audience,
            tuple(gitlab.projects),
            gitlab.protected,
            gitlab.jwks.model_dump(),
        )
        if gitlab
        else None,
    )


def policy_json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a policy file, for editors and offline checks."""
    from cryofw.fleet.schema import tidy

    schema: dict[str, Any] = tidy(PolicyDocument.model_json_schema(by_alias=True))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        **schema,
    }
