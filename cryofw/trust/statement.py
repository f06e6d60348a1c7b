"""What a person signs when they approve, deploy, abort or override: a small file of its own.

It is JSON in one form only, readable before it is signed. It names the plan by its digest, says
for how long it holds, and carries the tree head of the journal that its author saw: whoever signs
is a witness that the journal had come so far.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from cryofw.errors import BadInput

SCHEMA: Final = "cryofw.act/v1"
APPROVAL_NAMESPACE: Final = "cryofw-approval@v1"
ACT_NAMESPACE: Final = "cryofw-act@v1"
_LONGEST: Final = 8_192
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"


class Role(StrEnum):
    """What a policy lets people do, and what a statement says that its author does."""

    SIGN = "sign"
    RELEASE = "release"
    APPROVE = "approve"
    DEPLOY = "deploy"
    ABORT = "abort"
    OVERRIDE = "override"
    ACCEPT = "accept"

    @property
    def namespace(self) -> str:
        """What its signatures are for: no ssh signature for one thing is good for another."""
        return APPROVAL_NAMESPACE if self is Role.APPROVE else ACT_NAMESPACE


@dataclass(frozen=True)
class SeenHead:
    """The journal as its author saw it: origin, size and hex tree head; size 0: none was seen."""

    origin: str = ""
    size: int = 0
    root: str = ""


@dataclass(frozen=True)
class Statement:
    """One act of one person.

    Attributes:
        act: the role that it needs.
        subject: what it is about: the stage that is approved, the guard that is overridden, the
            device that is accepted, the image that is signed; empty for the whole rollout.
        rollout, plan: the rollout and the hex digest of its plan; empty for acts outside of one.
        principal: who says it, by the name in the policy.
        policy: hex digest of the policy under which it is said.
        issued, expires: RFC 3339 times.
        nonce: hex, so that saying it again is another statement.
    """

    act: Role
    subject: str
    rollout: str
    plan: str
    principal: str
    policy: str
    issued: str
    expires: str
    nonce: str
    why: str = ""
    checkpoint: SeenHead = field(default_factory=SeenHead)
    schema: str = SCHEMA

    @property
    def canonical(self) -> bytes:
        """The exact bytes that are signed."""
        return json.dumps(asdict(self), sort_keys=True, indent=1).encode() + b"\n"

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the canonical bytes: what tells two statements apart."""
        return hashlib.sha256(self.canonical).hexdigest()

    @property
    def issued_at(self) -> datetime:
        """`issued` as a time."""
        return datetime.strptime(self.issued, _TIME).replace(tzinfo=UTC)

    @property
    def expires_at(self) -> datetime:
        """`expires` as a time."""
        return datetime.strptime(self.expires, _TIME).replace(tzinfo=UTC)


def time_text(moment: datetime) -> str:
    """A time as statements have it."""
    return moment.astimezone(UTC).strftime(_TIME)


def parse_statement(data: bytes, name: str = "the statement") -> Statement:
    """Read a statement, byte for byte as it is written.

    Raises:
        BadInput: it is none, or was changed.
    """
    try:
        if len(data) > _LONGEST:
            raise ValueError(f"longer than {_LONGEST} bytes")  # noqa: TRY301  # one way out
        raw = json.loads(data)
        head = SeenHead(**raw.pop("checkpoint"))
        statement = Statement(act=Role(raw.pop("act")), checkpoint=head, **raw)
        texts = [getattr(statement, one.name) for one in fields(statement)[1:-2]]
        texts += [head.origin, head.root]
        if not all(isinstance(text, str) and text.isprintable() for text in texts):
            raise ValueError("a field is not text")  # noqa: TRY301
        if type(head.size) is not int or head.size < 0:
            raise ValueError("the size of the journal is not a number")  # noqa: TRY301
        if statement.schema != SCHEMA:
            raise ValueError(f"its schema is {statement.schema!r}")  # noqa: TRY301
        if statement.issued_at > statement.expires_at:
            raise ValueError("it expires before it was issued")  # noqa: TRY301
        if statement.canonical != data:
            raise ValueError("it is not byte for byte as it was written")  # noqa: TRY301
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadInput(
            f"{name} is not a statement that can be signed",
            why=str(error)[:200],
            hint="`cryofw approve PLAN --statement FILE` writes one; it is never edited",
        ) from error
    return statement
